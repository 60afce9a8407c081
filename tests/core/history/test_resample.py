"""Facts of turning long recorded curves into the stages that a policy decides at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlflow_recall.core.history.resample import resample_curves
from mlflow_recall.errors import HistoryError


@dataclass(frozen=True)
class Curve:
    model: str
    dataset: str
    split: str
    steps: tuple[float, ...]
    values: tuple[float, ...]
    metric: str = "accuracy"


def both(model: str, steps: list[float], dataset: str = "d") -> list[Curve]:
    """Validation scores are the steps themselves, test scores ten times that."""
    values = tuple(steps)
    return [
        Curve(model, dataset, "val", values, values),
        Curve(model, dataset, "test", values, tuple(10 * step for step in values)),
    ]


def slow(curves: list[Curve], stages: int, min_models: int) -> dict[tuple[str, str], list[float]]:
    """Section 8 of the design, word by word: (model, dataset) -> stages and the end."""
    resampled: dict[tuple[str, str], list[float]] = {}
    for dataset in sorted({c.dataset for c in curves}):
        own = [c for c in curves if c.dataset == dataset]
        steps = sorted({s for c in own if c.split == "val" for s in c.steps})
        common = [
            s for s in steps if sum(s in c.steps for c in own if c.split == "val") >= min_models
        ]
        if len(common) < stages + 1:
            continue
        first = len(common) - 9 if len(common) - 9 >= 1 else 1  # ninth from last, or the second
        last = len(common) - 1
        places = [
            last
            if stages == 1 and first == last
            else round(first + i * (last - first) / max(1, stages - 1))
            for i in range(stages)
        ]
        chosen = [common[place] for place in places]
        complete = {}
        for c in own:
            if c.split != "val" or not all(s in c.steps for s in chosen):
                continue
            tests = [t for t in own if t.split == "test" and t.model == c.model]
            if tests and chosen[-1] in tests[0].steps:
                curve = [c.values[c.steps.index(s)] for s in chosen]
                end = tests[0].values[tests[0].steps.index(chosen[-1])]
                complete[c.model, dataset] = [*curve, end]
        if len(complete) >= min_models:
            resampled |= complete
    return resampled


@given(
    seed=st.integers(0, 10_000),
    stages=st.integers(2, 6),
    min_models=st.integers(1, 4),
)
@settings(max_examples=60)
def test_stages_are_those_of_the_definition(seed: int, stages: int, min_models: int) -> None:
    rng = np.random.default_rng(seed)
    curves = []
    for dataset in "uvw":
        length = int(rng.integers(2, 16))
        for model in "abcdef":
            for split in ("val", "test"):
                kept = [float(2**s) for s in range(length) if rng.random() < 0.95]
                values = rng.random(len(kept)).tolist()
                curves.append(Curve(model, dataset, split, tuple(kept), tuple(values)))
    expected = slow(curves, stages, min_models)
    if not expected:
        with pytest.raises(HistoryError, match=f"on at least {stages + 1} common steps"):
            resample_curves(curves, stages, min_models)
        return

    got = resample_curves(curves, stages, min_models)

    assert got.models == tuple(sorted({m for m, _ in expected}))
    assert got.datasets == tuple(sorted({d for _, d in expected}))
    for i, model in enumerate(got.models):
        for j, dataset in enumerate(got.datasets):
            cell = [*got.scores[i, j], got.final_scores[i, j]]
            unknown = [np.nan] * (stages + 1)
            np.testing.assert_array_equal(cell, expected.get((model, dataset), unknown))


@pytest.mark.parametrize(
    ("steps", "stages", "chosen"),
    [
        (20, 5, [12, 14, 16, 18, 20]),  # from the ninth from last
        (9, 5, [2, 4, 6, 7, 9]),  # from the second, of nine
        (6, 5, [2, 3, 4, 5, 6]),
        (20, 2, [12, 20]),
    ],
)
def test_stages_are_spread_between_two_ends(steps: int, stages: int, chosen: list[int]) -> None:
    curves = [c for m in "ab" for c in both(m, [float(s) for s in range(1, steps + 1)])]

    got = resample_curves(curves, stages, 2)

    assert sorted(set(got.scores[0, 0])) == got.scores[0, 0].tolist()  # no stage twice
    assert (got.scores[0, 0][0], got.scores[0, 0][-1]) == (chosen[0], chosen[-1])
    assert np.abs(got.scores[0, 0] - chosen).max() <= 1
    assert got.final_scores[0, 0] == 10 * chosen[-1]


def test_who_lacks_a_common_step_is_missing_on_that_dataset_only() -> None:
    steps = [float(s) for s in range(1, 7)]
    curves = [c for d in "xy" for m in "abc" for c in both(m, steps, d)]
    curves += [*both("late", steps[:2] + steps[3:], "x"), *both("late", steps, "y")]

    got = resample_curves(curves, 5, 3)

    row = got.models.index("late")
    assert np.isnan(got.scores[row, 0]).all()
    assert np.isnan(got.final_scores[row, 0])
    assert not np.isnan(got.scores[row, 1]).any()


def test_without_a_test_value_at_the_last_stage_a_model_is_missing() -> None:
    steps = [float(s) for s in range(1, 7)]
    curves = [c for m in "abc" for c in both(m, steps)]
    untested = [c for c in both("d", steps) if c.split == "val"]

    assert resample_curves([*curves, *untested], 5, 3).models == ("a", "b", "c")


def test_datasets_with_few_models_or_few_steps_are_left_out() -> None:
    steps = [float(s) for s in range(1, 7)]
    curves = [c for m in "abc" for c in both(m, steps, "whole")]
    curves += [c for m in "ab" for c in both(m, steps, "few")]
    curves += [c for m in "abc" for c in both(m, steps[:5], "short")]

    assert resample_curves(curves, 5, 3).datasets == ("whole",)


def test_nothing_left_is_refused_with_what_to_try() -> None:
    with pytest.raises(HistoryError, match="try fewer --stages or --min-models"):
        resample_curves(both("a", [1.0, 2.0]), 5, 1)
    with pytest.raises(HistoryError, match="stages: expected at least 1, got -1"):
        resample_curves([], -1, 1)


def test_without_a_number_of_stages_they_are_the_recorded_epochs() -> None:
    """As many as most datasets have; longer curves are read from their end."""
    curves = [
        c
        for d, n in (("x", 3), ("y", 3), ("z", 4))
        for m in "ab"
        for c in both(m, [float(s) for s in range(1, n + 1)], d)
    ]

    got = resample_curves(curves, None, 2)

    assert got.stages == 3
    np.testing.assert_array_equal(got.scores[0], [[1, 2, 3], [1, 2, 3], [2, 3, 4]])


@pytest.mark.parametrize("stages", [0, -1])
def test_fewer_than_one_stage_is_refused(stages: int) -> None:
    with pytest.raises(HistoryError, match=f"stages: expected at least 1, got {stages}"):
        resample_curves(both("a", [1.0, 2.0], "x"), stages, 1)
