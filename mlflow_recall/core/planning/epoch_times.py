"""Seconds of an epoch of every model on a dataset that it was never trained on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import theilslopes

from mlflow_recall.core.arrays import FloatArray
from mlflow_recall.core.history.recipes import FROZEN, Recipe
from mlflow_recall.core.history.records import Record

#: forward passes that a training sample costs: one, and a backward pass that costs two
PASSES_PER_TRAINING_SAMPLE = 3.0


@dataclass(frozen=True)
class EpochTimes:
    """Seconds that one epoch of each model takes on the target."""

    #: model -> seconds
    seconds: Mapping[str, float]
    #: factors between which four of five recorded datasets are slower than the median one
    spread: tuple[float, float] = (1.0, 1.0)
    #: models without a recorded epoch, estimated from their parameters or as the median model
    estimated: tuple[str, ...] = ()
    #: whether the number of the target's samples is taken into account
    is_scaled: bool = False

    def for_models(self, models: Sequence[str]) -> FloatArray:
        """Return (n,) seconds of an epoch of these models."""
        return np.array([self.seconds[model] for model in models], dtype=np.float64)


def forward_passes(recipe: Recipe | None, sizes: Mapping[str, int] | None = None) -> float:
    """Return how many forward passes an epoch of a recipe costs, validation included.

    In the mode ``frozen`` every sample passes once, in the first epoch; an epoch costs its share.

    Args:
        recipe: Recipe with the maximum numbers of samples, 0 for all; None: unknown.
        sizes: Samples of each split; None: at least as many as the recipe uses.

    Returns:
        NaN where the number of samples is unknown.

    Example:
        >>> forward_passes(Recipe(train_samples=100, eval_samples=50))
        350.0
    """
    if recipe is None:
        return math.nan
    used = []
    for split, limit in (("train", recipe.train_samples), ("validation", recipe.eval_samples)):
        size = math.nan if sizes is None else float(sizes.get(split, 0))
        used.append(size if not limit else float(np.fmin(limit, size)))
    if recipe.mode == FROZEN:
        return (used[0] + used[1]) / recipe.epochs
    return PASSES_PER_TRAINING_SAMPLE * used[0] + used[1]


def estimate_epoch_times(
    records: Sequence[Record],
    models: Sequence[str],
    recipes: Mapping[str, Recipe],
    *,
    parameters: Mapping[str, float],
    sizes: Mapping[str, int] | None = None,
) -> EpochTimes | None:
    """Estimate the seconds of an epoch of every model on a target that it was never trained on.

    The logarithm of a recorded epoch's seconds per forward pass is the sum of a model's and a
    dataset's effect, fitted by median polish (Tukey 1977), so that neither a slow day of a machine
    nor an expensive dataset has much weight. The target has the effect of the median dataset. For a
    model without recorded seconds the effect is estimated from its parameters on a log-log line
    (Theil-Sen), or is that of the median model.

    Args:
        records: Records of datasets like the target.
        models: Models to estimate seconds for.
        recipes: Model -> recipe of its training; other models have the most frequent one.
        parameters: Model -> number of its parameters; unknown ones may be missing.
        sizes: Samples of each split of the target; None: as many as in the recorded datasets.

    Returns:
        None where no record has seconds. Where a recipe does not say how many samples it used,
        seconds are those on a recorded dataset, and ``is_scaled`` is False.
    """
    timed = [record for record in records if record.seconds]
    if not timed:
        return None
    trained = [Recipe.from_json(r.recipe) if r.recipe else None for r in timed]
    passes = [forward_passes(recipe) for recipe in trained]
    all_recipes = list(recipes.values())
    usual = max(all_recipes, key=all_recipes.count) if all_recipes else None
    target_passes = {model: forward_passes(recipes.get(model, usual), sizes) for model in models}
    per_pass = not np.isnan([*passes, *target_passes.values()]).any()
    logs = np.log([_seconds_per_epoch(r, recipe) for r, recipe in zip(timed, trained, strict=True)])
    names, model_effects, dataset_effects = _fit_effects(
        timed, logs - np.log(passes) if per_pass else logs
    )
    low, high = np.exp(np.quantile(dataset_effects, [0.1, 0.9])).tolist()
    effects = dict(zip(names, model_effects.tolist(), strict=True))
    estimated = tuple(model for model in models if model not in effects)
    effects |= _estimate_effects(estimated, effects, parameters)
    seconds = {m: math.exp(effects[m]) * (target_passes[m] if per_pass else 1.0) for m in models}
    return EpochTimes(
        seconds=seconds,
        spread=(low, high),
        estimated=estimated,
        is_scaled=per_pass and sizes is not None,
    )


def _seconds_per_epoch(record: Record, recipe: Recipe | None) -> float:
    """Return the median seconds of an epoch, or in the mode ``frozen`` the mean, above 0.

    There the first epoch, which computes the embeddings, is nearly all that a training costs.
    """
    average = np.mean if recipe and recipe.mode == FROZEN else np.median
    return max(1e-9, float(average(record.seconds)))


def _fit_effects(
    timed: Sequence[Record], logs: FloatArray
) -> tuple[list[str], FloatArray, FloatArray]:
    """Return the models, their effects, and the datasets' effects, whose median is 0.

    Args:
        timed: n records with seconds.
        logs: (n,) logarithms of their seconds.
    """
    models, rows = np.unique([record.model for record in timed], return_inverse=True)
    datasets, columns = np.unique([record.dataset for record in timed], return_inverse=True)
    total, count = np.zeros((2, len(models), len(datasets)))
    np.add.at(total, (rows, columns), logs)
    np.add.at(count, (rows, columns), 1)
    table = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
    model_effects, dataset_effects = np.nanmedian(table, axis=1), np.zeros(len(datasets))
    for _ in range(10):
        dataset_effects = np.nanmedian(table - model_effects[:, None], axis=0)
        dataset_effects -= np.median(dataset_effects)
        model_effects = np.nanmedian(table - dataset_effects, axis=1)
    return [str(model) for model in models], model_effects, dataset_effects


def _estimate_effects(
    unknown: Sequence[str], effects: Mapping[str, float], parameters: Mapping[str, float]
) -> dict[str, float]:
    """Return the effects of models without recorded seconds, by their parameters if known."""
    middle = float(np.median(list(effects.values())))
    pairs = [(math.log(parameters[m]), e) for m, e in effects.items() if parameters.get(m)]
    x, y = np.array(pairs, dtype=np.float64).reshape(-1, 2).T
    if len(np.unique(x)) < 3:
        return dict.fromkeys(unknown, middle)
    line = theilslopes(y, x)
    return {
        model: float(line[1] + line[0] * math.log(parameters[model]))
        if parameters.get(model)
        else middle
        for model in unknown
    }
