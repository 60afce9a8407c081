"""Every recorded dataset as the target once: what was known before it, and what then came out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias, TypeVar

import numpy as np

from mlflow_recall.core.arrays import FloatArray
from mlflow_recall.core.clustering import Clustering, cluster, unclustered
from mlflow_recall.core.matrix import PerformanceMatrix
from mlflow_recall.core.recommend import Evidence
from mlflow_recall.errors import HistoryError

#: feature -> model or dataset -> value, as a ``History`` tells them
Features: TypeAlias = Mapping[str, Mapping[str, float | str]]
#: models that a dataset, and a score on it, need to be measured on
LEAST = 5
_Item = TypeVar("_Item")


@dataclass(frozen=True, eq=False)
class Case:
    """One dataset as the target."""

    dataset: str
    #: the other datasets as history, and the scores on this one
    evidence: Evidence
    #: (m,) what the models of the evidence reached, higher is better; NaN: not judged
    truth: FloatArray


def cases(
    matrix: PerformanceMatrix,
    scores: Mapping[str, FloatArray] | None = None,
    model_features: Features | None = None,
    dataset_features: Features | None = None,
    *,
    least: int = LEAST,
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
    scores = usable_scores(matrix, scores or {}, least)
    chosen = targets(matrix, scores, least=least)
    return [
        _leave_out(matrix, target, scores, model_features or {}, dataset_features or {}, least)
        for target in (chosen if most is None else spread_out(chosen, most))
    ]


def targets(
    matrix: PerformanceMatrix, scores: Mapping[str, FloatArray], *, least: int = LEAST
) -> list[int]:
    """Numbers of the datasets to predict: those with scores where at least two have any, else all.

    Args:
        matrix: (m, d).
        scores: the usable ones, (m, d) each.
        least: measured models that a target needs.
    """
    measured = ~np.isnan(matrix.values)
    enough = measured.sum(axis=0) >= least
    scored = np.zeros(len(matrix.datasets), dtype=bool)
    for values in scores.values():
        scored |= (~np.isnan(values) & measured).sum(axis=0) >= least
    found: list[int] = np.flatnonzero(enough & scored if scored.sum() >= 2 else enough).tolist()
    return found


def usable_scores(
    matrix: PerformanceMatrix, scores: Mapping[str, FloatArray], least: int = LEAST
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
        if ((~np.isnan(values)).sum(axis=0) >= least).sum() >= 2
    }


def grouped(matrix: PerformanceMatrix) -> Clustering:
    """Twice as many clusters as the root of the number of models, many of them singletons."""
    m = len(matrix.models)
    return cluster(matrix, count=min(m, max(2, round(2 * m**0.5))))


def spread_out(items: Sequence[_Item], most: int) -> list[_Item]:
    """At most so many, evenly spaced."""
    if len(items) <= most:
        return list(items)
    return [items[i] for i in np.linspace(0, len(items) - 1, most).round().astype(int)]


def scored(case: Case, only: str = "", *, representatives: bool = False) -> Case:
    """The case with one score only, or with scores of the representatives only.

    Args:
        case: the target.
        only: name of the score; empty: all.
        representatives: forget what was computed of others than the clusters' representatives.
    """
    evidence = case.evidence
    probed = np.isin(evidence.matrix.models, evidence.clustering.probes) | (not representatives)
    return replace(
        case,
        evidence=replace(
            evidence,
            scores={
                name: np.where(probed, values, np.nan)
                for name, values in evidence.scores.items()
                if only in ("", name)
            },
            past={n: values for n, values in evidence.past.items() if only in ("", n)},
        ),
    )


def only_dataset(case: Case, dataset: int) -> Case:
    """The case with one recorded dataset, of that number, as its whole history."""
    evidence, one = case.evidence, slice(dataset, dataset + 1)
    matrix = PerformanceMatrix(
        evidence.matrix.models, evidence.matrix.datasets[one], evidence.matrix.values[:, one]
    )
    known = replace(
        evidence,
        matrix=matrix,
        past={name: values[:, one] for name, values in evidence.past.items()},
        dataset_features={n: list(c)[one] for n, c in evidence.dataset_features.items()},
    )
    return replace(case, evidence=known)


def unseen_models(case: Case, fold: int) -> Case | None:
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
        for name, known in evidence.past.items()
    }
    full = replace(
        evidence,
        matrix=PerformanceMatrix(models, (*evidence.matrix.datasets, case.dataset), values),
        past={name: np.where(new[:, None], np.nan, v) for name, v in past.items()},
        dataset_features={
            n: [*c, evidence.target_features[n]] for n, c in evidence.dataset_features.items()
        },
        clustering=unclustered(),
    )
    return Case(f"{case.dataset} {fold}", full, np.where(new, truth, np.nan))


def _leave_out(
    matrix: PerformanceMatrix,
    target: int,
    scores: Mapping[str, FloatArray],
    model_features: Features,
    dataset_features: Features,
    least: int,
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
        if (~np.isnan(values[keep, target])).sum() >= least
    }
    evidence = Evidence(
        history,
        grouped(history) if told else unclustered(),
        scores={name: values[:, target] for name, values in told.items()},
        past={name: np.delete(values, target, axis=1) for name, values in told.items()},
        model_features={n: _column(of, models) for n, of in model_features.items()},
        dataset_features={n: _column(of, datasets) for n, of in dataset_features.items()},
        target_features={n: _column(of, [own])[0] for n, of in dataset_features.items()},
    )
    return Case(own, evidence, matrix.values[keep, target])


def _column(of: Mapping[str, float | str], names: Sequence[str]) -> list[float | str]:
    blank: float | str = "" if any(isinstance(v, str) for v in of.values()) else float("nan")
    return [of.get(name, blank) for name in names]
