"""Long recorded curves, resampled at the few stages where a policy decides."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from mlflow_recall.core.history.curves import Curves
from mlflow_recall.core.history.score_units import unit_of
from mlflow_recall.errors import HistoryError

#: default number of stages of curves that were recorded in more than ``MAX_STAGES`` steps
DEFAULT_STAGES, MAX_STAGES = 5, 10
#: maximum number of common steps between the first stage and the last
_MAX_SPAN = 8


class RecordedSteps(Protocol):
    """One model's scores on one split of one dataset, as plain tables record them."""

    @property
    def model(self) -> str:
        """Name of the model."""
        ...

    @property
    def dataset(self) -> str:
        """Name of the dataset."""
        ...

    @property
    def metric(self) -> str:
        """Name of its metric."""
        ...

    @property
    def split(self) -> str:
        """``val`` or ``test``."""
        ...

    @property
    def steps(self) -> Sequence[float]:
        """Steps in ascending order, such as epochs or samples."""
        ...

    @property
    def values(self) -> Sequence[float]:
        """Score at each step, higher is better."""
        ...


def resample_curves(curves: Iterable[RecordedSteps], stages: int | None, min_models: int) -> Curves:
    """Return the curves at ``stages`` steps of each dataset, with the test score at the last one.

    Common steps of a dataset are those that at least ``min_models`` models have on the validation
    split. The stages are evenly spaced by position between the ninth from last of them (the second,
    where there are fewer) and the last. A model that lacks one of the chosen steps, or the test
    score at the last, is missing on that dataset. Datasets with fewer than ``min_models`` models
    left, or fewer than ``stages`` + 1 common steps, are left out.

    Args:
        curves: Curves on the validation and test splits.
        stages: Number of stages, at least 1; None: the last common steps of each dataset, as many
            as most datasets have, which suits recorded epochs.
        min_models: Models that a step and a dataset need.

    Raises:
        HistoryError: No dataset is left.
    """
    if stages is not None and stages < 1:
        raise HistoryError(f"stages: expected at least 1, got {stages}")
    points: dict[str, dict[str, dict[str, dict[float, float]]]] = {}
    units: dict[str, str] = {}
    for curve in curves:
        units[curve.dataset] = unit_of(curve.metric, curve.dataset)
        by_split = points.setdefault(curve.dataset, {"val": {}, "test": {}})
        if curve.split in by_split:
            by_split[curve.split][curve.model] = dict(zip(curve.steps, curve.values, strict=True))
    common = {
        dataset: _common_steps(points[dataset]["val"].values(), min_models) for dataset in points
    }
    counts = Counter(len(steps) for steps in common.values() if steps)
    usual = max(counts, key=lambda count: (counts[count], count), default=1)
    kept: dict[str, dict[str, tuple[list[float], float]]] = {}
    for dataset, steps in sorted(common.items()):
        chosen = _spread(steps, stages) if stages else _last_steps(steps, usual)
        validation, test = points[dataset]["val"], points[dataset]["test"]
        complete = {
            model: ([scores[step] for step in chosen], test[model][chosen[-1]])
            for model, scores in validation.items()
            if chosen and set(chosen) <= set(scores) and chosen[-1] in test.get(model, {})
        }
        if len(complete) >= max(1, min_models):
            kept[dataset] = complete
    if not kept:
        raise HistoryError(
            f"curves: expected datasets with {min_models} models on at least "
            f"{stages + 1 if stages else usual} common steps of the splits val and test, got none "
            f"of {len(points)}: try fewer --stages or --min-models"
        )
    return replace(_to_curves(kept, stages or usual), units=units)


def _common_steps(measured: Iterable[Mapping[float, float]], min_models: int) -> list[float]:
    """Return the steps that at least ``min_models`` models have, ascending."""
    counts = Counter(step for steps in measured for step in steps)
    return sorted(step for step, count in counts.items() if count >= min_models)


def _spread(common: Sequence[float], stages: int) -> list[float]:
    """Return ``stages`` evenly spaced common steps; none where there are too few."""
    if len(common) < stages + 1:
        return []
    first = max(1, len(common) - 1 - _MAX_SPAN)
    first = min(first, len(common) - stages)  # so that no two stages are equal
    positions = np.linspace(first, len(common) - 1, stages).round().astype(int)
    return [common[position] for position in positions]


def _last_steps(common: Sequence[float], stages: int) -> list[float]:
    """Return the last ``stages`` common steps; none where there are too few."""
    return list(common[-stages:]) if len(common) >= stages else []


def _to_curves(kept: Mapping[str, Mapping[str, tuple[list[float], float]]], stages: int) -> Curves:
    """Make curves of dataset -> model -> scores by stage and final score."""
    models = tuple(sorted({model for complete in kept.values() for model in complete}))
    datasets = tuple(kept)
    row = {model: i for i, model in enumerate(models)}
    scores = np.full((len(models), len(datasets), stages), np.nan)
    final_scores = np.full((len(models), len(datasets)), np.nan)
    for j, complete in enumerate(kept.values()):
        for model, (curve, final_score) in complete.items():
            scores[row[model], j] = curve
            final_scores[row[model], j] = final_score
    return Curves(models=models, datasets=datasets, scores=scores, final_scores=final_scores)
