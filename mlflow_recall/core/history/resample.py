"""Long recorded curves -> the few stages that a policy decides at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import numpy as np

from mlflow_recall.core.history.curves import Curves
from mlflow_recall.errors import HistoryError

#: stages of curves that were recorded in more than ``MANY`` steps, where nobody says how many
DEFAULT_STAGES, MAX_STAGES = 5, 10
#: the first stage is no earlier than so many common steps before the last
_BEFORE = 8


class RecordedSteps(Protocol):
    """One model's scores on one split of one dataset, as plain tables record them."""

    @property
    def model(self) -> str:
        """Of which model."""
        ...

    @property
    def dataset(self) -> str:
        """On which dataset."""
        ...

    @property
    def split(self) -> str:
        """``val`` or ``test``."""
        ...

    @property
    def steps(self) -> Sequence[float]:
        """Where it was measured, ascending: epochs, samples."""
        ...

    @property
    def values(self) -> Sequence[float]:
        """What was measured there, higher is better."""
        ...


def resample_curves(curves: Iterable[RecordedSteps], stages: int, min_models: int) -> Curves:
    """The curves at ``stages`` steps of each dataset, with the test value at the last as end.

    Common steps of a dataset are those that at least ``least`` models have on the validation
    split. The stages are spread evenly by position between the ninth from last of them (the second,
    where there are fewer) and the last. A model that lacks one of the chosen steps, or the test
    value at the last, is missing on that dataset; datasets with fewer than ``least`` models left,
    or fewer than ``stages`` + 1 common steps, are left out.

    Args:
        curves: validation and test splits.
        stages: at least 1; 0: the last common steps of each dataset, as many as most datasets
            have, as where epochs were recorded.
        least: models that a step and a dataset need.

    Raises:
        HistoryError: no dataset is left.
    """
    if stages < 0:
        raise HistoryError(f"stages: expected at least 1, got {stages}")
    points: dict[str, dict[str, dict[str, dict[float, float]]]] = {}
    for curve in curves:
        by_split = points.setdefault(curve.dataset, {"val": {}, "test": {}})
        if curve.split in by_split:
            by_split[curve.split][curve.model] = dict(zip(curve.steps, curve.values, strict=True))
    common = {dataset: _common(points[dataset]["val"].values(), min_models) for dataset in points}
    counts = Counter(len(steps) for steps in common.values() if steps)
    usual = max(counts, key=lambda count: (counts[count], count), default=1)
    found: dict[str, dict[str, tuple[list[float], float]]] = {}
    for dataset, steps in sorted(common.items()):
        chosen = _spread(steps, stages) if stages else _last(steps, usual)
        validation, test = points[dataset]["val"], points[dataset]["test"]
        complete = {
            model: ([scores[step] for step in chosen], test[model][chosen[-1]])
            for model, scores in validation.items()
            if chosen and set(chosen) <= set(scores) and chosen[-1] in test.get(model, {})
        }
        if len(complete) >= max(1, min_models):
            found[dataset] = complete
    if not found:
        raise HistoryError(
            f"curves: expected datasets with {min_models} models on at least "
            f"{stages + 1 if stages else usual} common steps of the splits val and test, got none "
            f"of {len(points)}: try fewer --stages or --min-models"
        )
    return _curves(found, stages or usual)


def _common(measured: Iterable[Mapping[float, float]], min_models: int) -> list[float]:
    """The steps that at least ``least`` models have, ascending."""
    counts = Counter(step for steps in measured for step in steps)
    return sorted(step for step, count in counts.items() if count >= min_models)


def _spread(common: Sequence[float], stages: int) -> list[float]:
    """The common steps that are stages; none where there are too few."""
    if len(common) < stages + 1:
        return []
    first = max(1, len(common) - 1 - _BEFORE)
    first = min(first, len(common) - stages)  # stages differ
    places = np.linspace(first, len(common) - 1, stages).round().astype(int)
    return [common[place] for place in places]


def _last(common: Sequence[float], stages: int) -> list[float]:
    return list(common[-stages:]) if len(common) >= stages else []


def _curves(found: Mapping[str, Mapping[str, tuple[list[float], float]]], stages: int) -> Curves:
    models = tuple(sorted({model for complete in found.values() for model in complete}))
    datasets = tuple(found)
    row = {model: i for i, model in enumerate(models)}
    scores = np.full((len(models), len(datasets), stages), np.nan)
    ends = np.full((len(models), len(datasets)), np.nan)
    for j, complete in enumerate(found.values()):
        for model, (curve, end) in complete.items():
            scores[row[model], j] = curve
            ends[row[model], j] = end
    return Curves(models, datasets, scores, ends)
