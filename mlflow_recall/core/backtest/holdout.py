"""Every recorded dataset as the target once: what was known before it, and what then came out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias, TypeVar

import numpy as np

from mlflow_recall.core.arrays import FloatArray
from mlflow_recall.core.clusters.clustering import Clustering, cluster_models, no_clusters
from mlflow_recall.core.history.matrix import PerformanceMatrix
from mlflow_recall.core.recommend import Evidence
from mlflow_recall.errors import HistoryError

#: feature -> model or dataset -> value, as a ``History`` tells them
Features: TypeAlias = Mapping[str, Mapping[str, float | str]]
#: models that a dataset, and a score on it, need to be measured on
MIN_MODELS = 5
_Item = TypeVar("_Item")


@dataclass(frozen=True, eq=False)
class Case:
    """One dataset as the target."""

    dataset: str
    #: the other datasets as history, and the scores on this one
    evidence: Evidence
    #: (m,) what the models of the evidence reached, higher is better; NaN: not judged
    truth: FloatArray


def hold_out_each(
    matrix: PerformanceMatrix,
    scores: Mapping[str, FloatArray] | None = None,
    model_features: Features | None = None,
    dataset_features: Features | None = None,
    *,
    min_models: int = MIN_MODELS,
    most: int | None = None,
) -> list[Case]:
    """Leave one dataset out at a time.

    Nothing that was measured on the target is known of it but its scores. Candidates are the models
    that were measured on it and on at least one other dataset.

    Args:
        matrix: (m, d) recorded final scores, higher is better.
        scores: score -> (m, d) values, NaN where never computed.
        model_features: of models; unknown ones may lack.
        dataset_features: of datasets.
        least: models that a target, and a score on it, need.
        most: targets at most, evenly spread over those there are; None: all.

    Returns:
        In the order of the matrix; empty where no dataset can be a target.

    Raises:
        HistoryError: scores of another shape than the matrix.
    """
    scores = informative_scores(matrix, scores or {}, min_models)
    chosen = target_columns(matrix, scores, min_models=min_models)
    return [
        _leave_out(matrix, target, scores, model_features or {}, dataset_features or {}, min_models)
        for target in (chosen if most is None else evenly_spaced(chosen, most))
    ]


def target_columns(
    matrix: PerformanceMatrix, scores: Mapping[str, FloatArray], *, min_models: int = MIN_MODELS
) -> list[int]:
    """Numbers of the datasets to predict: those with scores where at least two have any, else all.

    Args:
        matrix: (m, d).
        scores: the usable ones, (m, d) each.
        least: measured models that a target needs.
    """
    measured = ~np.isnan(matrix.values)
    enough = measured.sum(axis=0) >= min_models
    scored = np.zeros(len(matrix.datasets), dtype=bool)
    for values in scores.values():
        scored |= (~np.isnan(values) & measured).sum(axis=0) >= min_models
    found: list[int] = np.flatnonzero(enough & scored if scored.sum() >= 2 else enough).tolist()
    return found


def informative_scores(
    matrix: PerformanceMatrix, scores: Mapping[str, FloatArray], min_models: int = MIN_MODELS
) -> dict[str, FloatArray]:
    """Scores that were computed on at least two datasets: one that is the same for all is none."""
    for name, values in scores.items():
        if values.shape != matrix.values.shape:
            raise HistoryError(
                f"score {name}: expected {matrix.values.shape} values of models x datasets, "
                f"got {values.shape}"
            )
    return {
        name: values
        for name, values in scores.items()
        if ((~np.isnan(values)).sum(axis=0) >= min_models).sum() >= 2
    }


def cluster_for_backtest(matrix: PerformanceMatrix) -> Clustering:
    """Twice as many clusters as the root of the number of models, many of them singletons."""
    m = len(matrix.models)
    return cluster_models(matrix, count=min(m, max(2, round(2 * m**0.5))))


def evenly_spaced(items: Sequence[_Item], most: int) -> list[_Item]:
    """At most so many, evenly spaced."""
    if len(items) <= most:
        return list(items)
    return [items[i] for i in np.linspace(0, len(items) - 1, most).round().astype(int)]


def keep_scores(case: Case, only: str = "", *, representatives: bool = False) -> Case:
    """The case with one score only, or with scores of the representatives only.

    Args:
        case: the target.
        only: name of the score; empty: all.
        representatives: forget what was computed of others than the clusters' representatives.
    """
    evidence = case.evidence
    probed = np.isin(evidence.matrix.models, evidence.clustering.representatives) | (
        not representatives
    )
    return replace(
        case,
        evidence=replace(
            evidence,
            scores={
                name: np.where(probed, values, np.nan)
                for name, values in evidence.scores.items()
                if only in ("", name)
            },
            recorded_scores={
                n: values for n, values in evidence.recorded_scores.items() if only in ("", n)
            },
        ),
    )


def keep_one_dataset(case: Case, dataset: int) -> Case:
    """The case with one recorded dataset, of that number, as its whole history."""
    evidence, one = case.evidence, slice(dataset, dataset + 1)
    matrix = PerformanceMatrix(
        evidence.matrix.models, evidence.matrix.datasets[one], evidence.matrix.values[:, one]
    )
    known = replace(
        evidence,
        matrix=matrix,
        recorded_scores={name: values[:, one] for name, values in evidence.recorded_scores.items()},
        dataset_features={n: list(c)[one] for n, c in evidence.dataset_features.items()},
    )
    return replace(case, evidence=known)


def hold_out_models(case: Case, fold: int) -> Case | None:
    """A fifth of the models without any history; the others' on every dataset, target included.

    Only the new models are judged.

    Args:
        case: the target.
        fold: which fifth, from 0.

    Returns:
        None where fewer than three models are new, or all of them are equal.
    """
    evidence, truth = case.evidence, case.truth
    models = evidence.matrix.models
    new = np.arange(len(models)) % 5 == fold
    values = np.column_stack([evidence.matrix.values, truth])
    values[new] = np.nan
    if new.sum() < 3 or np.ptp(truth[new]) == 0:
        return None
    past = {
        name: np.column_stack([known, evidence.scores[name]])
        for name, known in evidence.recorded_scores.items()
    }
    full = replace(
        evidence,
        matrix=PerformanceMatrix(models, (*evidence.matrix.datasets, case.dataset), values),
        recorded_scores={name: np.where(new[:, None], np.nan, v) for name, v in past.items()},
        dataset_features={
            n: [*c, evidence.target_features[n]] for n, c in evidence.dataset_features.items()
        },
        clustering=no_clusters(),
    )
    return Case(f"{case.dataset} {fold}", full, np.where(new, truth, np.nan))


def _leave_out(
    matrix: PerformanceMatrix,
    target: int,
    scores: Mapping[str, FloatArray],
    model_features: Features,
    dataset_features: Features,
    min_models: int,
) -> Case:
    known = np.delete(matrix.values, target, axis=1)
    keep = ~np.isnan(matrix.values[:, target]) & ~np.isnan(known).all(axis=1)
    models = tuple(m for m, kept in zip(matrix.models, keep, strict=True) if kept)
    own = matrix.datasets[target]
    datasets = (*matrix.datasets[:target], *matrix.datasets[target + 1 :])
    history = PerformanceMatrix(models, datasets, known[keep])
    told = {
        name: values[keep]
        for name, values in scores.items()
        if (~np.isnan(values[keep, target])).sum() >= min_models
    }
    evidence = Evidence(
        history,
        cluster_for_backtest(history) if told else no_clusters(),
        scores={name: values[:, target] for name, values in told.items()},
        recorded_scores={name: np.delete(values, target, axis=1) for name, values in told.items()},
        model_features={n: _column(of, models) for n, of in model_features.items()},
        dataset_features={n: _column(of, datasets) for n, of in dataset_features.items()},
        target_features={n: _column(of, [own])[0] for n, of in dataset_features.items()},
    )
    return Case(own, evidence, matrix.values[keep, target])


def _column(of: Mapping[str, float | str], names: Sequence[str]) -> list[float | str]:
    blank: float | str = "" if any(isinstance(v, str) for v in of.values()) else float("nan")
    return [of.get(name, blank) for name in names]
