"""The unit of scores is told by all values of an experiment and by names, or asked for."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_recall.core.external_runs.logging_conventions import LoggedRun
from mlflow_recall.core.external_runs.units import infer_units
from mlflow_recall.errors import ConfigError


def unit(key: str, values: Sequence[float], **others: float) -> str:
    """The unit of a key with a value in each run; the first run has other metrics, too."""
    runs = [
        LoggedRun(
            run_id=str(i), name="r", experiment="e",
            metrics={key: value, **(others if i == 0 else {})},
        )
        for i, value in enumerate(values)
    ]  # fmt: skip
    return infer_units(runs, [key])[key]


@pytest.mark.parametrize(
    ("key", "values", "expected"),
    [
        ("val_acc", [0.7, 0.9], "fraction"),
        ("val_acc", [0.0, 1.0], "fraction"),
        ("val_acc", [72.5, 70.1, 0.9], "percent"),
        ("val_acc", [85.0, 0.8], "percent"),
        ("eval_top1", [81.5, 0.9], "percent"),
        ("eval_top1", [81.5, 0.9, 0.8, 0.1], "percent"),
        ("test/acc1", [81.5], "percent"),
        ("val_acc_pct", [0.9], "percent"),
        ("val/accuracy_percent", [0.9, 0.8], "percent"),
        ("eval_top1", [0.0], "fraction"),
        ("val_acc", [0.7, 870.0], "fraction"),
        ("val_acc", [0.7, float("nan"), float("inf")], "fraction"),
        ("eval_matthews", [-12.0, 40.0], "percent"),
        ("eval_matthews", [-0.1, 0.4], "fraction"),
    ],
)
def test_values_and_names_tell_the_unit(key: str, values: list[float], expected: str) -> None:
    """Values above 1 are percent, and values of no unit do not count."""
    assert unit(key, values) == expected


@pytest.mark.parametrize(
    ("key", "other", "expected"),
    [
        ("val_acc", "test_acc", "percent"),
        ("val/acc_epoch", "train_acc", "percent"),
        ("eval_top1", "eval_top5", "percent"),
        ("val_acc", "val_loss", "fraction"),
    ],
)
def test_the_same_score_on_another_split_counts(key: str, other: str, expected: str) -> None:
    """One piece of code logs both, in one unit."""
    assert unit(key, [0.9], **{other: 60.0}) == expected


@pytest.mark.parametrize(
    ("key", "values", "got"),
    [
        ("val_acc", [0.8, 0.7, 85.0], "2 values up to 1 and 1 above"),
        ("eval_top1", [0.85, 0.9], "2 values up to 1: name it with --unit percent or --unit fr"),
    ],
)
def test_what_cannot_be_told_is_asked_for(key: str, values: list[float], got: str) -> None:
    """Either guess would reorder models without a word."""
    with pytest.raises(ConfigError, match=f"{key}: expected one unit, got {got}"):
        unit(key, values)


@given(st.lists(st.floats(2, 100), min_size=1), st.randoms(use_true_random=False))
def test_the_order_of_runs_is_no_matter(values: list[float], random: object) -> None:
    """Stores return runs in any order."""
    mixed = [*values, *[0.5] * (len(values) // 2)]
    shuffled = list(mixed)
    random.shuffle(shuffled)  # type: ignore[attr-defined]

    assert unit("val_acc", shuffled) == unit("val_acc", mixed) == "percent"
