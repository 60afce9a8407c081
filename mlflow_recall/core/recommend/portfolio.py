"""Portfolio: the set that most likely holds a near-best model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mlflow_recall.core.arrays import FloatArray, IntArray
from mlflow_recall.core.recommend.blend import (
    DatasetFit,
    blend_with_fits,
    fit_datasets,
    standardized_components,
)
from mlflow_recall.core.recommend.evidence import Evidence, Ranking
from mlflow_recall.core.recommend.greedy_set import choose_greedily
from mlflow_recall.core.standardize import fill_zero

#: (3, 2) weights of history and scores if the history, both or the scores are right on a target
_SCENARIOS = np.array([[0.7, 0.0], [0.5, 0.5], [0.0, 0.7]])
#: without scores there is only the history
_HISTORY_SCENARIO = np.array([[0.7, 0.0]])
#: share of a model's variance that comes from a recorded dataset; the rest is independent
_SHARED_VARIANCE = 0.5
_SAMPLES = 1200
#: ranks that are chosen as a set; the rest follows the blend
_SET_RANKS = 24


def portfolio(evidence: Evidence, *, seed: int = 0) -> Ranking:
    """Rank so that each next model raises the expected best of those before it the most.

    Fine-selection finds the best of the recalled models, so two candidates that are good on the
    same targets are worth little more than one. Final scores on the target are sampled jointly.
    Each sample assumes that the history, the scores or both are right, equally likely at first;
    each recorded dataset with recorded scores votes for the assumption that is nearest to its own
    weights. To that it adds the residuals of all models on one recorded dataset, predicted from
    the others, and independent noise, half of the variance each. The first pick is the blend's;
    the others are chosen greedily. The score of a rank is its reciprocal. The part ``raises`` is
    by how much the expected best grew, in standard deviations between models.

    Example:
        >>> from mlflow_recall.core.clusters.clustering import cluster_models
        >>> from mlflow_recall.core.history.matrix import PerformanceMatrix
        >>> values = np.array([[0.9, 0.8], [0.7, 0.9], [0.5, 0.4]])
        >>> matrix = PerformanceMatrix(("a", "b", "c"), ("x", "y"), values)
        >>> evidence = Evidence(
        ...     matrix=matrix, clustering=cluster_models(matrix)
        ... )
        >>> portfolio(evidence).models
        ('a', 'b', 'c')
    """
    fits = fit_datasets(evidence)
    ranked = blend_with_fits(evidence, fits)
    names = np.array(ranked.models, dtype=object)
    if not len(names):
        return Ranking(ranked.models, ranked.scores, {**ranked.parts, "raises": ranked.scores})
    # in the ranking's order: samples must not depend on the order of the candidates
    row_of = {model: i for i, model in enumerate(evidence.matrix.models)}
    rows = np.array([row_of[name] for name in names], dtype=np.intp)
    columns = standardized_components(evidence).as_columns[rows]
    samples = sample_outcomes(columns, fits, rows, np.random.default_rng(seed))
    samples = samples[~np.isnan(ranked.scores)]
    chosen, raises = choose_set(samples, min(_SET_RANKS, len(samples)))
    order = [*chosen, *(i for i in range(len(names)) if i not in set(chosen))]
    raised = np.full(len(names), np.nan)
    raised[: len(raises)] = raises
    return Ranking(
        tuple(names[order]),
        1.0 / np.arange(1, len(names) + 1),
        {**{name: values[order] for name, values in ranked.parts.items()}, "raises": raised},
    )


def choose_set(samples: FloatArray, size: int) -> tuple[list[int], FloatArray]:
    """Choose ``size`` rows of joint samples, starting with the first row.

    Args:
        samples: (m, n) joint samples without NaN.
        size: Of the set, at most m.

    Returns:
        Row numbers in the order chosen, and (size,) by how much each raised the expected best: the
        first one over the mean of all samples.
    """
    if not size:
        return [], np.zeros(0)
    chosen, gains = choose_greedily(
        samples,
        lambda best: np.maximum(samples - best, 0.0).mean(axis=1),
        first=0,
        size=size,
    )
    raises = gains[chosen]
    raises[0] = (samples[0] - samples.mean()).mean()
    return chosen, raises


def sample_outcomes(
    columns: FloatArray, fits: Sequence[DatasetFit], rows: IntArray, rng: np.random.Generator
) -> FloatArray:
    """Return (m, n) joint samples of the final scores of m candidates, as normal scores.

    Args:
        columns: (m, 2) standardized history and scores.
        fits: Fits of the recorded datasets.
        rows: (m,) row of each candidate in the residuals of a fit.
        rng: Generator of the samples.
    """
    scenarios = _SCENARIOS if columns[:, 1].any() else _HISTORY_SCENARIO
    directions = scenarios / np.linalg.norm(scenarios, axis=1, keepdims=True)
    votes = np.ones(len(scenarios))
    for fit in fits:
        if fit.weights is not None:
            votes[np.argmax(directions @ fit.weights)] += 1.0 / len(scenarios)
    assumed = rng.choice(len(scenarios), size=_SAMPLES, p=votes / votes.sum())
    residuals = np.zeros((len(columns), 1))
    if fits:
        residuals = fill_zero(np.column_stack([fit.residuals[rows] for fit in fits]))
    spread = np.sqrt(np.mean(residuals**2)) or 1.0
    shared = residuals[:, rng.integers(residuals.shape[1], size=_SAMPLES)]
    independent = spread * rng.standard_normal(shared.shape)
    samples: FloatArray = columns @ scenarios[assumed].T
    samples += np.sqrt(_SHARED_VARIANCE) * shared + np.sqrt(1.0 - _SHARED_VARIANCE) * independent
    return samples
