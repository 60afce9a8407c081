"""Do predicted gaps hold what they promise? Nested: a target has no part in its own prediction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mlflow_recall.core.arrays import FloatArray, is_within, nan_mean, read_only
from mlflow_recall.core.backtest.holdout import Case
from mlflow_recall.core.backtest.recommender_comparison import (
    Estimate,
    correlation,
    visible_evidence,
)
from mlflow_recall.core.recommend import (
    find_smallest_set,
    get_recommender,
    predict_gaps,
    rank_held_out,
)
from mlflow_recall.errors import ConfigError

#: what is checked of a target, in the order of ``_checked``
_CHECKED = (
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
#: first picks whose chance to hold a near-best model is checked
_FIRST = 5


@dataclass(frozen=True, eq=False)
class Calibration:
    """What was said of gaps to the best model and what they were, target by target.

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
    pearson: FloatArray  # (d,) of predicted and true gaps

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
    given: Sequence[Case], name: str, *, tolerance: float = 0.01, coverage: float = 0.8
) -> Calibration:
    """Predict every target's gaps from the others, as ``recall`` would, and look.

    Targets for which the recommender cannot rank, or of whose past nothing is known, are left out.

    Args:
        given: the targets.
        name: of a recommender, built in or installed.
        tolerance: gap that does not matter, in the unit of the metric.
        coverage: share of gaps that an interval shall hold, in (0, 1).

    Raises:
        SettingError: no such recommender.
    """
    checked = {case.dataset: _checked(case, name, tolerance, coverage) for case in given}
    rows = {dataset: row for dataset, row in checked.items() if row is not None}
    columns = np.array(list(rows.values()), dtype=np.float64).reshape(len(rows), len(_CHECKED)).T
    arrays = {field: read_only(column) for field, column in zip(_CHECKED, columns, strict=True)}
    return Calibration(name, tuple(rows), coverage, tolerance, **arrays)


def _checked(case: Case, name: str, tolerance: float, coverage: float) -> list[float] | None:
    """One target's row of ``_CHECKED``; None where nothing can be said of it."""
    recommend, evidence = get_recommender(name), visible_evidence(name, case.evidence)
    try:
        ranking = recommend(evidence)
    except ConfigError:
        return None
    past = rank_held_out(evidence, recommend)
    if not past.datasets:
        return None
    said = predict_gaps(ranking, evidence.matrix, past, tolerance=tolerance, coverage=coverage)
    chosen = find_smallest_set(ranking, past, tolerance=tolerance)
    gap = case.truth.max() - case.truth
    inside = (gap >= said.low) & (gap <= np.nan_to_num(said.high, nan=np.inf))
    near = is_within(gap, tolerance)
    of = dict(zip(evidence.matrix.models, near.tolist(), strict=True))
    first = ranking.models[:_FIRST]
    return [
        float(inside.mean()),
        float(np.mean(said.high - said.low)),
        float(nan_mean(said.p_within, axis=0)),
        float(near.mean()),
        float(nan_mean((said.p_within - near) ** 2, axis=0)),
        said.p_holds_best(first),
        float(any(of[model] for model in first)),
        float(len(chosen.models)),
        chosen.p_holds_best,
        float(any(of[model] for model in chosen.models)),
        correlation(said.mean, gap),
    ]
