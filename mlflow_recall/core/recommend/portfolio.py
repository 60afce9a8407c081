"""The set that most likely holds a near-best model."""

from __future__ import annotations

import numpy as np

from mlflow_recall.core.arrays import FloatArray, IntArray
from mlflow_recall.core.recommend.blend import (
    DatasetFit,
    blend_with_fits,
    fit_datasets,
    standardized_components,
)
from mlflow_recall.core.recommend.evidence import Evidence, Ranking
from mlflow_recall.core.recommend.standardize import fill_zero

#: (3, 2) weights of history and scores where one, both or the other is right about a target
_SCENARIOS = np.array([[0.7, 0.0], [0.5, 0.5], [0.0, 0.7]])
#: without scores there is only the history
_HISTORY = np.array([[0.7, 0.0]])
#: share of a model's error that comes from a recorded dataset; the rest is its own luck
_SHARED = 0.5
_DRAWS = 1200
#: places that are chosen as a set; the rest follows the blend
_PLACES = 24


def portfolio(evidence: Evidence, *, seed: int = 0) -> Ranking:
    """Rank so that each next model raises the expected best of those before it the most.

    Fine-selection finds the best of the recalled, so two candidates that are good on the same
    targets are worth hardly more than one. Outcomes on the target are drawn jointly. Each draw
    supposes that the history, the scores or both are right, equally likely at first, while each
    recorded dataset with past scores votes for the supposition that is nearest to its own weights.
    To that it adds the errors of all models on one recorded dataset, predicted from the others,
    and independent noise, half of the variance each. The first pick is the blend's; the others
    are chosen greedily. The score of a place is its reciprocal, the part ``raises`` is by how much
    the expected best grew, in standard deviations between models.
    """
    fits = fit_datasets(evidence)
    ranked = blend_with_fits(evidence, fits)
    names = np.array(ranked.models, dtype=object)
    if not len(names):
        return Ranking(ranked.models, ranked.scores, {**ranked.parts, "raises": ranked.scores})
    # the ranking's order: draws must not depend on the order in which candidates were given
    place = {model: i for i, model in enumerate(evidence.matrix.models)}
    rows = np.array([place[name] for name in names], dtype=np.intp)
    columns = standardized_components(evidence).as_columns[rows]
    draws = sample_outcomes(columns, fits, rows, np.random.default_rng(seed))
    draws = draws[~np.isnan(ranked.scores)]
    chosen, raised = greedy(draws, min(_PLACES, len(draws)), first=0)
    order = [*chosen, *(i for i in range(len(names)) if i not in set(chosen))]
    raises = np.full(len(names), np.nan)
    raises[: len(raised)] = raised
    return Ranking(
        tuple(names[order]),
        1.0 / np.arange(1, len(names) + 1),
        {**{name: values[order] for name, values in ranked.parts.items()}, "raises": raises},
    )


def sample_outcomes(
    columns: FloatArray, fits: list[DatasetFit], rows: IntArray, rng: np.random.Generator
) -> FloatArray:
    """(m, n) joint draws of what m candidates reach on the target, as normal scores.

    Args:
        columns: (m, 2) standardized history and scores.
        learned: lessons of the recorded datasets.
        rows: (m,) which of a lesson's residuals is whose.
        rng: of the draws.
    """
    scenarios = _SCENARIOS if columns[:, 1].any() else _HISTORY
    unit = scenarios / np.linalg.norm(scenarios, axis=1, keepdims=True)
    votes = np.ones(len(scenarios))
    for fit in fits:
        if fit.weights is not None:
            votes[np.argmax(unit @ fit.weights)] += 1.0 / len(scenarios)
    supposed = rng.choice(len(scenarios), size=_DRAWS, p=votes / votes.sum())
    errors = np.zeros((len(columns), 1))
    if fits:
        errors = fill_zero(np.column_stack([fit.residuals[rows] for fit in fits]))
    spread = np.sqrt(np.mean(errors**2)) or 1.0
    shared = errors[:, rng.integers(errors.shape[1], size=_DRAWS)]
    own = spread * rng.standard_normal(shared.shape)
    drawn: FloatArray = columns @ scenarios[supposed].T
    drawn += np.sqrt(_SHARED) * shared + np.sqrt(1.0 - _SHARED) * own
    return drawn


def greedy(draws: FloatArray, count: int, first: int | None = None) -> tuple[list[int], FloatArray]:
    """Add whoever raises the expected best of the set the most, one by one.

    The expected best of a set is submodular, so this reaches at least 1 - 1/e of what the best
    set of that size raises over the first one (Nemhauser et al. 1978).

    Args:
        draws: (m, n) joint outcomes.
        count: size of the set, at most m.
        first: who is in it already.

    Returns:
        Row numbers in the order chosen, and (count,) the raise by each, the first one's being the
        lead of its expectation over the mean of all.
    """
    best = np.full(draws.shape[1], draws.mean() if draws.size else 0.0)  # (n,)
    chosen: list[int] = []
    raised = np.zeros(count)
    for place in range(count):
        if not place:
            gains = (draws - best).mean(axis=1)
        else:
            gains = np.maximum(draws - best, 0.0).mean(axis=1)
            gains[chosen] = -np.inf
        pick = first if first is not None and not place else int(np.argmax(gains))
        chosen.append(pick)
        raised[place] = gains[pick]
        best = draws[pick] if not place else np.maximum(best, draws[pick])
    return chosen, raised
