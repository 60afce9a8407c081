"""Every recorded dataset as the target once: what was known before it, and what was observed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np

from mlflow_recall.core.arrays import FloatArray
from mlflow_recall.core.clusters.clustering import Clustering, cluster_models, no_clusters
from mlflow_recall.core.history.curves import Curves
from mlflow_recall.core.history.ground_truth import GroundTruth
from mlflow_recall.core.history.matrix import PerformanceMatrix
from mlflow_recall.core.history.score_units import RegretUnit
from mlflow_recall.core.policies import PolicyHistory
from mlflow_recall.core.recommend import RECOMMENDERS, Evidence, Recommender
from mlflow_recall.core.recommend.evidence import Features, feature_columns
from mlflow_recall.errors import ConfigError, HistoryError

#: models that a dataset, and a score on it, must be measured for
MIN_MODELS = 5
#: orders candidates by the history where no recommender does
_HISTORY_RANKER = "prior_rank"
_Item = TypeVar("_Item")


@dataclass(frozen=True, eq=False, kw_only=True)
class HeldOutTarget:
    """One recorded dataset as if it were new: what was known before it, and what was observed."""

    dataset: str
    #: the other datasets as history, and the scores on this one
    evidence: Evidence
    #: final scores of the models that are judged, the most recommended first
    ground_truth: GroundTruth
    #: candidate -> validation score by stage of one fine-tuning, as a selection would see it, while
    #: ``ground_truth`` is the mean of all repeats; empty: no curves are recorded
    curves: Mapping[str, Sequence[float]] = field(default_factory=dict)
    #: curves on the other datasets in the unit of this one; None: none are recorded
    history: PolicyHistory | None = None
    #: models that are probed before they are ranked
    probes: tuple[str, ...] = ()

    @property
    def final_scores(self) -> FloatArray:
        """(m,) final scores of the models of the evidence; NaN: not judged."""
        return np.array([self.ground_truth.score(model) for model in self.evidence.matrix.models])

    @property
    def candidates(self) -> tuple[str, ...]:
        """Selectable models, the most recommended first; those with a curve, if any have one."""
        return tuple(self.curves or self.ground_truth.final_scores)

    @property
    def stages(self) -> int:
        """Stages of a curve; 0 without any."""
        return len(next(iter(self.curves.values()), ()))

    def curves_of(self, candidates: Iterable[str]) -> dict[str, Sequence[float]]:
        """Return the curves of these candidates, in their order."""
        return {model: self.curves[model] for model in candidates}

    def with_curves(self, curves: Curves) -> HeldOutTarget:
        """Return the target with the complete curves of its models, and the others as history.

        Curves in another unit than the target's predict nothing, and are not part of it.
        """
        own: dict[str, Sequence[float]] = {}
        if self.dataset in curves.datasets:
            column = curves.single_run_scores[:, curves.datasets.index(self.dataset)]
            scores = dict(zip(curves.models, column, strict=True))
            own = {
                model: scores[model].tolist()
                for model in self.ground_truth.models
                if model in scores and not np.isnan(scores[model]).any()
            }
        others = curves.without_dataset(self.dataset).in_unit(curves.unit(self.dataset))
        return replace(self, curves=own, history=PolicyHistory(others))

    def with_order(self, order: Sequence[str], probes: tuple[str, ...] = ()) -> HeldOutTarget:
        """Return the target with its candidates in another order; models without a place are none.

        Args:
            order: Models, the most recommended first.
            probes: Models that were probed for that order.
        """
        known = self.ground_truth.final_scores
        final_scores = {model: known[model] for model in order if model in known}
        curves = self.curves_of(model for model in final_scores if model in self.curves)
        truth = replace(self.ground_truth, final_scores=final_scores)
        return replace(self, ground_truth=truth, curves=curves, probes=probes)


def hold_out_each(
    matrix: PerformanceMatrix,
    scores: Mapping[str, FloatArray] | None = None,
    model_features: Features | None = None,
    dataset_features: Features | None = None,
    *,
    min_models: int = MIN_MODELS,
    limit: int | None = None,
) -> list[HeldOutTarget]:
    """Hold out one dataset at a time.

    Nothing that was measured on the target is known of it except its scores. Candidates are the
    models that were measured on it and on at least one other dataset.

    Args:
        matrix: (m, d) recorded final scores, higher is better.
        scores: Score -> (m, d) values, NaN where never computed.
        model_features: Features of models; unknown ones may be missing.
        dataset_features: Features of datasets.
        min_models: Models that a target, and a score on it, need.
        limit: At most that many targets, evenly spaced over those there are; None: all.

    Returns:
        The targets in the order of the matrix; empty where no dataset can be one.

    Raises:
        HistoryError: Scores have another shape than the matrix.
    """
    scores = informative_scores(matrix, scores or {}, min_models)
    full = Evidence(
        matrix=matrix,
        clustering=no_clusters(),
        recorded_scores=scores,
        model_features=feature_columns(model_features or {}, matrix.models),
        dataset_features=feature_columns(dataset_features or {}, matrix.datasets),
    )
    columns = target_columns(matrix, scores, min_models=min_models)
    chosen = columns if limit is None else evenly_spaced(columns, limit)
    return [_hold_out(full, column, min_models) for column in chosen]


def target_columns(
    matrix: PerformanceMatrix,
    scores: Mapping[str, FloatArray],
    *,
    min_models: int = MIN_MODELS,
) -> list[int]:
    """Return the datasets to predict: those with scores if at least two have any, else all.

    Args:
        matrix: (m, d).
        scores: The informative ones, (m, d) each.
        min_models: Measured models that a target needs.
    """
    measured = ~np.isnan(matrix.values)
    enough = measured.sum(axis=0) >= min_models
    scored = np.zeros(len(matrix.datasets), dtype=bool)
    for values in scores.values():
        scored |= (~np.isnan(values) & measured).sum(axis=0) >= min_models
    columns: list[int] = np.flatnonzero(enough & scored if scored.sum() >= 2 else enough).tolist()
    return columns


def informative_scores(
    matrix: PerformanceMatrix, scores: Mapping[str, FloatArray], min_models: int = MIN_MODELS
) -> dict[str, FloatArray]:
    """Return the scores that were computed on at least two datasets."""
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
    """Make twice as many clusters as the root of the number of models, many of one model."""
    m = len(matrix.models)
    return cluster_models(matrix, count=min(m, max(2, round(2 * m**0.5))))


def evenly_spaced(items: Sequence[_Item], limit: int) -> list[_Item]:
    """Return at most ``limit`` items, evenly spaced."""
    if len(items) <= limit:
        return list(items)
    return [items[i] for i in np.linspace(0, len(items) - 1, limit).round().astype(int)]


def hold_out_curves(
    curves: Curves, *, unit: RegretUnit | None = None, min_models: int = 2
) -> Iterator[HeldOutTarget]:
    """Hold out every dataset with enough complete curves; its models are ranked by the others.

    Args:
        curves: Recorded on all datasets; incomplete ones are no candidates and judge nobody.
        unit: What regrets are measured in; None: points.
        min_models: Complete curves that a target needs.

    Raises:
        HistoryError: There are fewer than two datasets, so nothing would be left as history.
    """
    complete = ~np.isnan(curves.single_run_scores).any(axis=2) & ~np.isnan(curves.final_scores)
    if len(curves.datasets) < 2:
        raise HistoryError(
            "backtest: expected curves on at least 2 datasets, one to hold out and one to learn "
            f"from, got {len(curves.datasets)}"
        )
    matrix = PerformanceMatrix(curves.models, curves.datasets, curves.final_scores)
    full = Evidence(matrix=matrix, clustering=no_clusters())
    for column, dataset in enumerate(curves.datasets):
        if complete[:, column].sum() < max(2, min_models):
            continue
        evidence = full.hold_out(column)
        order = RECOMMENDERS[_HISTORY_RANKER].rank(evidence).models
        judged = np.where(complete[:, column], curves.final_scores[:, column], np.nan)
        target = _target(dataset, evidence, order, judged)
        spread = float((unit or RegretUnit()).spread(judged))
        truth = replace(target.ground_truth, spread=spread)
        yield replace(target, ground_truth=truth).with_curves(curves)


def hold_out_recorded(
    evidence: Evidence, recommend: Recommender, curves: Curves | None, limit: int
) -> list[HeldOutTarget]:
    """Hold out the recorded datasets of some candidates, each ranked for without it.

    Args:
        evidence: History of the candidates.
        recommend: Orders the candidates.
        curves: Curves of the same models and datasets; None: none were recorded.
        limit: At most that many targets, evenly spaced.
    """
    matrix = evidence.matrix
    measured = np.flatnonzero((~np.isnan(matrix.values)).sum(axis=0) >= 2)
    targets = []
    for column in evenly_spaced(measured.tolist(), limit):
        known = evidence.hold_out(column)
        try:
            order = recommend(known).models
        except ConfigError:  # the recommender needs scores, which this dataset does not have
            continue
        target = _target(matrix.datasets[column], known, order, matrix.values[:, column])
        targets.append(target if curves is None else target.with_curves(curves))
    return targets


def keep_scores(
    target: HeldOutTarget, name: str | None = None, *, representatives_only: bool = False
) -> HeldOutTarget:
    """Return the target with one score only, or with scores of the representatives only.

    Args:
        target: The target.
        name: Name of the score; None: all.
        representatives_only: Forget the scores of all but the clusters' representatives.
    """
    evidence = target.evidence
    kept = np.isin(evidence.matrix.models, evidence.clustering.representatives)
    kept |= not representatives_only
    return replace(
        target,
        evidence=replace(
            evidence,
            scores={
                score: np.where(kept, values, np.nan)
                for score, values in evidence.scores.items()
                if name in (None, score)
            },
            recorded_scores={
                n: values for n, values in evidence.recorded_scores.items() if name in (None, n)
            },
        ),
    )


def keep_one_dataset(target: HeldOutTarget, dataset: int) -> HeldOutTarget:
    """Return the target with one recorded dataset, of that index, as its whole history."""
    evidence, one = target.evidence, slice(dataset, dataset + 1)
    matrix = PerformanceMatrix(
        evidence.matrix.models, evidence.matrix.datasets[one], evidence.matrix.values[:, one]
    )
    known = replace(
        evidence,
        matrix=matrix,
        recorded_scores={n: values[:, one] for n, values in evidence.recorded_scores.items()},
        dataset_features={n: list(c)[one] for n, c in evidence.dataset_features.items()},
    )
    return replace(target, evidence=known)


def hold_out_models(target: HeldOutTarget, fold: int) -> HeldOutTarget | None:
    """Hide the history of a fifth of the models; the others keep theirs, the target included.

    Only the hidden models are judged.

    Args:
        target: The target.
        fold: Which fifth, from 0.

    Returns:
        None where fewer than three models are hidden, or all of them are equal.
    """
    evidence, final_scores = target.evidence, target.final_scores
    models = evidence.matrix.models
    hidden = np.arange(len(models)) % 5 == fold
    values = np.column_stack([evidence.matrix.values, final_scores])
    values[hidden] = np.nan
    if hidden.sum() < 3 or np.ptp(final_scores[hidden]) == 0:
        return None
    recorded = {
        name: np.column_stack([known, evidence.scores[name]])
        for name, known in evidence.recorded_scores.items()
    }
    datasets = (*evidence.matrix.datasets, target.dataset)
    full = replace(
        evidence,
        matrix=PerformanceMatrix(models, datasets, values),
        recorded_scores={n: np.where(hidden[:, None], np.nan, v) for n, v in recorded.items()},
        dataset_features={
            n: [*c, evidence.target_features[n]] for n, c in evidence.dataset_features.items()
        },
        clustering=no_clusters(),
    )
    judged = np.where(hidden, final_scores, np.nan)
    return _target(f"{target.dataset} {fold}", full, models, judged)


def _hold_out(full: Evidence, column: int, min_models: int) -> HeldOutTarget:
    """Hold out one dataset of the full evidence, and the models that are known nowhere else."""
    values = full.matrix.values
    others = np.delete(values, column, axis=1)
    keep = ~np.isnan(values[:, column]) & ~np.isnan(others).all(axis=1)
    enough = {
        name: np.ones(len(values), dtype=bool)
        for name, recorded in full.recorded_scores.items()
        if (~np.isnan(recorded[keep, column])).sum() >= min_models
    }
    recorded_scores = {name: full.recorded_scores[name] for name in enough}
    scored = replace(full, recorded_scores=recorded_scores)
    evidence = scored.hold_out(column, enough).select_models(keep)
    if enough:
        evidence = replace(evidence, clustering=cluster_for_backtest(evidence.matrix))
    dataset = full.matrix.datasets[column]
    return _target(dataset, evidence, evidence.matrix.models, values[keep, column])


def _target(
    dataset: str, evidence: Evidence, order: Sequence[str], final_scores: FloatArray
) -> HeldOutTarget:
    """Make a target of the (m,) final scores of the evidence's models; NaN: not judged."""
    score = dict(zip(evidence.matrix.models, final_scores.tolist(), strict=True))
    judged = {model: score[model] for model in order if not math.isnan(score[model])}
    return HeldOutTarget(dataset=dataset, evidence=evidence, ground_truth=GroundTruth(judged))
