"""Calibration of predicted gaps, nested: a target has no part in its own prediction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mlflow_recall.core.arrays import FloatArray, is_within, nan_mean, read_only
from mlflow_recall.core.backtest.holdout import HeldOutTarget
from mlflow_recall.core.backtest.recommender_comparison import Estimate, correlation
from mlflow_recall.core.recommend import (
    RECOMMENDERS,
    find_smallest_set,
    predict_gaps,
    rank_held_out,
)
from mlflow_recall.errors import ConfigError

#: measures of a target, by the name of their array
_MEASURES = (
    "covered",
    "width",
    "predicted",
    "observed",
    "brier",
    "predicted_first",
    "observed_first",
    "set_size",
    "predicted_smallest",
    "observed_smallest",
    "pearson",
)
#: first models whose probability to hold a near-best model is checked
_FIRST = 5


@dataclass(frozen=True, eq=False, kw_only=True)
class Calibration:
    """Predicted gaps to the best model and the observed ones, target by target.

    Standard errors of its summary are clustered: the models of one target count as one.
    """

    name: str
    datasets: tuple[str, ...]
    #: share of gaps that the intervals promise to hold
    promised: float
    tolerance: float
    covered: FloatArray  # (d,) share of the models' gaps inside their intervals
    #: (d,) mean width of the intervals, in the unit of the metric; NaN: they have no upper end
    width: FloatArray
    predicted: FloatArray  # (d,) mean P(within tolerance) of the models
    observed: FloatArray  # (d,) share of the models within it
    brier: FloatArray  # (d,) mean squared error of P(within tolerance), in [0, 1]
    predicted_first: FloatArray  # (d,) P(first five hold a model within tolerance)
    observed_first: FloatArray  # (d,) 1 where they did, else 0
    set_size: FloatArray  # (d,) models of the smallest set
    predicted_smallest: FloatArray  # (d,) P(smallest set holds a model within tolerance)
    observed_smallest: FloatArray  # (d,) 1 where it did, else 0
    pearson: FloatArray  # (d,) correlation of predicted and observed gaps

    @property
    def summary(self) -> dict[str, Estimate]:
        """Every array over the targets."""
        return {
            name: Estimate.from_values(values)
            for name, values in vars(self).items()
            if isinstance(values, np.ndarray)
        }

    @property
    def is_nominal(self) -> bool:
        """Whether coverage is what was promised, within two standard errors."""
        covered = Estimate.from_values(self.covered)
        return abs(covered.mean - self.promised) <= 2.0 * covered.standard_error


def check_calibration(
    targets: Sequence[HeldOutTarget], name: str, *, tolerance: float = 0.01, coverage: float = 0.8
) -> Calibration:
    """Predict every target's gaps from the others, as ``recall`` would, and compare.

    Targets for which the recommender cannot rank, or without recorded datasets to learn from, are
    left out.

    Args:
        targets: The targets.
        name: A recommender, built in or installed.
        tolerance: Gap that is treated as zero, in the unit of the metric.
        coverage: Share of gaps that an interval shall hold, in (0, 1).

    Raises:
        ConfigError: There is no such recommender.
    """
    checks = {t.dataset: _check_target(t, name, tolerance, coverage) for t in targets}
    known = {dataset: check for dataset, check in checks.items() if check is not None}
    return Calibration(
        name=name,
        datasets=tuple(known),
        promised=coverage,
        tolerance=tolerance,
        **{
            measure: read_only([check[measure] for check in known.values()])
            for measure in _MEASURES
        },
    )


def _check_target(
    target: HeldOutTarget, name: str, tolerance: float, coverage: float
) -> dict[str, float] | None:
    """Check one target; None where nothing can be predicted for it."""
    spec = RECOMMENDERS[name]
    evidence = spec.select_evidence(target.evidence)
    try:
        ranking = spec.rank(evidence)
    except ConfigError:
        return None
    held_out = rank_held_out(evidence, spec.rank)
    if not held_out.datasets:
        return None
    gaps = predict_gaps(ranking, evidence.matrix, held_out, tolerance=tolerance, coverage=coverage)
    smallest = find_smallest_set(ranking, held_out, tolerance=tolerance)
    true_gaps = target.final_scores.max() - target.final_scores
    inside = (true_gaps >= gaps.low) & (true_gaps <= np.nan_to_num(gaps.high, nan=np.inf))
    near = is_within(true_gaps, tolerance)
    is_near = dict(zip(evidence.matrix.models, near.tolist(), strict=True))
    first = ranking.models[:_FIRST]
    return {
        "covered": float(inside.mean()),
        "width": float(np.mean(gaps.high - gaps.low)),
        "predicted": float(nan_mean(gaps.p_within, axis=0)),
        "observed": float(near.mean()),
        "brier": float(nan_mean((gaps.p_within - near) ** 2, axis=0)),
        "predicted_first": gaps.p_holds_best(first),
        "observed_first": float(any(is_near[model] for model in first)),
        "set_size": float(len(smallest.models)),
        "predicted_smallest": smallest.p_holds_best,
        "observed_smallest": float(any(is_near[model] for model in smallest.models)),
        "pearson": correlation(gaps.mean, true_gaps),
    }
