"""Rows of a matrix and the recorded curves that belong to them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from mlflow_recall.errors import HistoryError

#: difference of a rounded mean, as a share of values above one
_ROUNDING_TOLERANCE = 5e-4


@dataclass(frozen=True, kw_only=True)
class RecordedCurve:
    """Scores of one model on one split of one dataset, in the order of its steps."""

    model: str
    dataset: str
    split: str
    #: in the unit of the table, such as epochs or samples
    steps: tuple[float, ...]
    values: tuple[float, ...]
    #: name of the fine-tuning among its repeats; empty where the table has no such column
    run: str = ""
    metric: str = ""


@dataclass(frozen=True, kw_only=True)
class FineTuning:
    """One row of the matrix with its curves; higher values are better."""

    model: str
    dataset: str
    #: final test score; NaN where it was not measured
    final_score: float
    run: str = ""
    validation_curve: RecordedCurve | None = None
    test_curve: RecordedCurve | None = None

    @property
    def validation_scores(self) -> tuple[float, ...]:
        """Validation scores by step; empty without a curve."""
        return self.validation_curve.values if self.validation_curve else ()

    @property
    def test_scores(self) -> tuple[float, ...]:
        """Test scores by step; empty where the steps or the final score are not the same."""
        if self.test_curve is None or self.validation_curve is None:
            return ()
        is_parallel = self.test_curve.steps == self.validation_curve.steps and self.ends_with_test
        return self.test_curve.values if is_parallel else ()

    @property
    def ends_with_test(self) -> bool:
        """Whether the last value of the test curve is the final score."""
        return self.test_curve is not None and math.isclose(
            self.test_curve.values[-1], self.final_score
        )


#: run -> its validation and its test curve
Runs: TypeAlias = Mapping[str, tuple[RecordedCurve | None, RecordedCurve | None]]


def join_curves(
    rows: Sequence[FineTuning], curves: Iterable[RecordedCurve], *, by_run: bool
) -> list[FineTuning]:
    """Return the rows with their curves, cell by cell.

    A curve belongs to the row of its run, or to the only row of its cell. Where one row stands for
    several runs, and is the mean of their last test scores, each run is a fine-tuning.

    Args:
        rows: Rows of one metric, without curves.
        curves: Curves of the same metric.
        by_run: Whether rows and curves distinguish repeats by the same names.

    Raises:
        HistoryError: A row is the negative of the last value of its curve.
    """
    curves_of: dict[tuple[str, str], dict[str, dict[str, RecordedCurve]]] = {}
    for curve in curves:
        by_split = curves_of.setdefault((curve.model, curve.dataset), {})
        by_split.setdefault(curve.run, {})[curve.split] = curve
    rows_of: dict[tuple[str, str], list[FineTuning]] = {}
    for row in rows:
        rows_of.setdefault((row.model, row.dataset), []).append(row)
    joined = []
    for cell, cell_rows in rows_of.items():
        runs = {
            run: (splits.get("val"), splits.get("test"))
            for run, splits in sorted(curves_of.get(cell, {}).items())
        }
        _check_direction(cell_rows, runs)
        joined += _join_cell(cell_rows, runs, by_run=by_run)
    return joined


def _join_cell(rows: Sequence[FineTuning], runs: Runs, *, by_run: bool) -> list[FineTuning]:
    """Return the rows of one cell with their curves."""
    if by_run and any(run for run in runs):
        curves = (runs.get(row.run, (None, None)) for row in rows)
        return [
            replace(row, validation_curve=validation, test_curve=test)
            for row, (validation, test) in zip(rows, curves, strict=True)
        ]
    if len(rows) > 1 or not runs:
        return list(rows)
    row = rows[0]
    if len(runs) == 1:
        ((run, (validation, test)),) = runs.items()
        return [replace(row, run=row.run or run, validation_curve=validation, test_curve=test)]
    final_scores = [test.values[-1] for _, test in runs.values() if test]
    mean = sum(final_scores) / len(final_scores) if final_scores else math.nan
    is_mean = abs(mean - row.final_score) <= _ROUNDING_TOLERANCE * max(1.0, abs(mean))
    if len(final_scores) < len(runs) or not is_mean:
        return [row]
    return [
        FineTuning(
            model=row.model,
            dataset=row.dataset,
            final_score=final_score,
            run=run,
            validation_curve=validation,
            test_curve=test,
        )
        for final_score, (run, (validation, test)) in zip(final_scores, runs.items(), strict=True)
    ]


def _check_direction(rows: Sequence[FineTuning], runs: Runs) -> None:
    """Raise an error if a score has one sign in the matrix and the other in its curve."""
    for row in rows:
        for _, test in runs.values():
            if test and row.final_score and math.isclose(test.values[-1], -row.final_score):
                raise HistoryError(
                    f"matrix and curves: expected one direction, got {row.final_score:g} and "
                    f"{test.values[-1]:g} as the end of {row.model} on {row.dataset}: write both "
                    "as they were measured, and name losses with --minimize"
                )
