"""Seconds of an epoch of every model on a dataset that none was trained on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import theilslopes

from mlflow_recall.core.arrays import FloatArray
from mlflow_recall.core.history.recipes import Recipe
from mlflow_recall.core.history.records import Record

#: forward passes that a training sample costs: one forward, and a backward pass of twice that
PASSES_PER_TRAINING_SAMPLE = 3.0


@dataclass(frozen=True)
class EpochTimes:
    """Seconds that one epoch of each model takes on the target."""

    seconds: Mapping[str, float]
    #: factors between which the recorded datasets are slower than the median one, four of five
    spread: tuple[float, float] = (1.0, 1.0)
    #: models that no epoch was recorded of: foretold from their parameters, or as the median
    estimated: tuple[str, ...] = ()
    #: whether the target's samples were taken into account
    is_scaled: bool = False

    def for_models(self, models: Sequence[str]) -> FloatArray:
        """(n,) seconds of an epoch of each."""
        return np.array([self.seconds[model] for model in models], dtype=np.float64)


def forward_passes(recipe: Recipe | None, sizes: Mapping[str, int] | None = None) -> float:
    """Forward passes that an epoch of a recipe is worth, validation included; NaN if unknown.

    Args:
        recipe: says how many samples are used at most; 0 is all.
        sizes: samples of each split; None: at least as many as the recipe uses.
    """
    if recipe is None:
        return math.nan
    used = []
    for split, wished in (("train", recipe.train_samples), ("validation", recipe.eval_samples)):
        there = math.nan if sizes is None else float(sizes.get(split, 0))
        used.append(there if not wished else float(np.fmin(wished, there)))
    return PASSES_PER_TRAINING_SAMPLE * used[0] + used[1]


def estimate_epoch_times(
    records: Sequence[Record],
    models: Sequence[str],
    recipes: Mapping[str, Recipe],
    *,
    parameters: Mapping[str, float],
    sizes: Mapping[str, int] | None = None,
) -> EpochTimes | None:
    """Seconds of an epoch of every model on a target that was never trained on.

    The logarithm of a recorded epoch's seconds per pass is a model's effect plus a dataset's, by
    median polish (Tukey 1977), so that neither a slow machine's day nor an expensive dataset counts
    for much; the target has the median dataset's effect. Of a model without recorded seconds the
    effect is foretold from its parameters on a log-log line (Theil-Sen), or is the median one.

    Args:
        records: of datasets like the target.
        models: whose seconds are wished.
        recipes: model -> how it will be trained; the most frequent one for the others.
        parameters: model -> how many, where that is known.
        sizes: samples of each split of the target; None: as those of the recorded datasets.

    Returns:
        None where no record tells seconds. Where a recipe does not say how many samples it used,
        seconds are those of a recorded dataset, and not ``scaled``.
    """
    timed = [record for record in records if record.seconds]
    if not timed:
        return None
    works = [forward_passes(Recipe.from_json(r.recipe) if r.recipe else None) for r in timed]
    named = list(recipes.values())
    usual = max(named, key=named.count) if named else None
    target = {model: forward_passes(recipes.get(model, usual), sizes) for model in models}
    scaled = not np.isnan([*works, *target.values()]).any()
    logs = np.log([max(1e-9, float(np.median(r.seconds))) for r in timed])
    known, effect, of_dataset = _effects(timed, logs - np.log(works) if scaled else logs)
    low, high = np.exp(np.quantile(of_dataset, [0.1, 0.9])).tolist()
    effects = dict(zip(known, effect.tolist(), strict=True))
    guessed = tuple(model for model in models if model not in effects)
    effects |= _foretold(guessed, effects, parameters)
    seconds = {m: math.exp(effects[m]) * (target[m] if scaled else 1.0) for m in models}
    return EpochTimes(seconds, (low, high), guessed, scaled and sizes is not None)


def _effects(timed: Sequence[Record], logs: FloatArray) -> tuple[list[str], FloatArray, FloatArray]:
    """Models, their effects, and the datasets' effects, which have the median 0."""
    models, rows = np.unique([record.model for record in timed], return_inverse=True)
    datasets, columns = np.unique([record.dataset for record in timed], return_inverse=True)
    total, count = np.zeros((2, len(models), len(datasets)))
    np.add.at(total, (rows, columns), logs)
    np.add.at(count, (rows, columns), 1)
    table = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
    effect, of_dataset = np.nanmedian(table, axis=1), np.zeros(len(datasets))
    for _ in range(10):
        of_dataset = np.nanmedian(table - effect[:, None], axis=0)
        of_dataset -= np.median(of_dataset)
        effect = np.nanmedian(table - of_dataset, axis=1)
    return [str(model) for model in models], effect, of_dataset


def _foretold(
    unknown: Sequence[str], effects: Mapping[str, float], parameters: Mapping[str, float]
) -> dict[str, float]:
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
