"""Facts of epoch times: models' and datasets' effects are separated."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import pytest

from mlflow_recall.core.history.recipes import Recipe
from mlflow_recall.core.history.records import Record
from mlflow_recall.core.planning.epoch_times import EpochTimes, estimate_epoch_times, forward_passes

RECIPE = Recipe(train_samples=500, eval_samples=300)
#: seconds of a pass of each model, and how much longer those of a dataset take
MODELS = {"small": 0.001, "middle": 0.004, "large": 0.01}
DATASETS = {"short": 0.5, "usual": 1.0, "long": 3.0}


def timed(recipe: Recipe | None = RECIPE) -> list[Record]:
    """Every model on every dataset, each epoch exactly as long as model times dataset says."""
    work = 3 * 500 + 300 if recipe else 1
    return [
        Record(
            model=model,
            dataset=dataset,
            seconds=(seconds * factor * work,) * 3,
            recipe=recipe.to_json() if recipe else "",
        )
        for model, seconds in MODELS.items()
        for dataset, factor in DATASETS.items()
    ]


def estimate(
    records: list[Record],
    *,
    sizes: Mapping[str, int] | None = None,
    parameters: Mapping[str, float] | None = None,
    unknown: tuple[str, ...] = (),
    recipe: Recipe = RECIPE,
) -> EpochTimes:
    times = estimate_epoch_times(
        records,
        [*MODELS, *unknown],
        dict.fromkeys(MODELS, recipe),
        parameters=parameters or {},
        sizes=sizes,
    )
    assert times is not None
    return times


def test_passes_of_an_epoch_by_hand() -> None:
    """A training sample is a forward pass and a backward pass of two; a validated one is one."""
    assert forward_passes(Recipe(train_samples=100, eval_samples=50)) == 350
    assert forward_passes(RECIPE, {"train": 100, "validation": 20}) == 320
    assert forward_passes(Recipe(train_samples=0), {"train": 10, "validation": 5}) == 35
    assert math.isnan(forward_passes(Recipe(train_samples=0)))
    assert math.isnan(forward_passes(None))


def test_seconds_of_a_world_of_products_are_found_exactly() -> None:
    """The target is like the median dataset; here that is the usual one."""
    times = estimate(timed())

    assert times.seconds == pytest.approx({m: s * 1800 for m, s in MODELS.items()})
    assert (times.estimated, times.is_scaled) == ((), False)
    assert 0.5 <= times.spread[0] < 1 < times.spread[1] <= 3


def test_seconds_grow_with_the_samples_of_the_target() -> None:
    small = estimate(timed(), sizes={"train": 100, "validation": 50})
    large = estimate(timed(), sizes={"train": 90_000, "validation": 50_000})

    assert small.is_scaled
    assert small.seconds == pytest.approx({m: s * 350 for m, s in MODELS.items()})
    assert large.seconds == pytest.approx(estimate(timed()).seconds)  # no more than the recipe uses


def test_a_day_on_which_the_machine_was_busy_does_not_count() -> None:
    records = timed()
    records[4] = replace(records[4], seconds=(1e6, 1e6, 1e6))
    records[0] = replace(records[0], seconds=(1e6, *records[0].seconds[1:]))  # a cold start

    assert estimate(records).seconds == pytest.approx(estimate(timed()).seconds)


def test_missing_cells_do_not_bias_the_models_that_miss_them() -> None:
    """The large model ran on the long dataset alone, the small one everywhere."""
    records = [r for r in timed() if r.model != "large" or r.dataset == "long"]

    assert estimate(records).seconds == pytest.approx(estimate(timed()).seconds)


def test_seconds_of_a_model_without_any_are_predicted_from_its_parameters() -> None:
    """Here seconds go with the root of the parameters, and the line in logarithms is exact."""
    parameters = {model: (1e4 * s) ** 2 for model, s in MODELS.items()}

    times = estimate(
        timed(),
        parameters={**parameters, "new": (1e4 * 0.002) ** 2},
        unknown=("new", "nameless"),
    )

    assert times.estimated == ("new", "nameless")
    assert times.seconds["new"] == pytest.approx(0.002 * 1800)
    assert times.seconds["nameless"] == pytest.approx(MODELS["middle"] * 1800)


def test_without_parameters_a_new_model_is_as_slow_as_the_median_one() -> None:
    assert estimate(timed(), unknown=("new",)).seconds["new"] == pytest.approx(0.004 * 1800)


def test_without_a_recipe_seconds_are_those_of_a_recorded_dataset() -> None:
    """How many samples they were made with is unknown, so the target's cannot scale them."""
    times = estimate(timed(None), sizes={"train": 7, "validation": 7})

    assert not times.is_scaled
    assert times.seconds == pytest.approx(MODELS)


def test_without_recorded_seconds_there_is_no_estimate() -> None:
    assert (
        estimate_epoch_times(
            [Record(model="a", dataset="x", final_score=1.0)], ["a"], {}, parameters={}
        )
        is None
    )
