"""Rows of a matrix and the recorded curves that led to them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from mlflow_recall.errors import HistoryError

#: how far a matrix may be rounded, as a share of values above one
_ROUNDED = 5e-4


@dataclass(frozen=True)
class RecordedCurve:
    """One model's scores on one split of one dataset, in the order of its steps."""

    model: str
    dataset: str
    split: str
    #: whatever the table counts in: epochs, samples
    steps: tuple[float, ...]
    values: tuple[float, ...]
    #: which of several fine-tunings; empty where the table has no such column
    run: str = ""


@dataclass(frozen=True)
class FineTuning:
    """One row of the matrix with the curves that led to it, higher is better."""

    model: str
    dataset: str
    #: final test score; NaN: never measured
    final_score: float
    run: str = ""
    validation_curve: RecordedCurve | None = None
    test_curve: RecordedCurve | None = None

    @property
    def validation_scores(self) -> tuple[float, ...]:
        """Validation score at each step; empty without a curve."""
        return self.validation_curve.values if self.validation_curve else ()

    @property
    def test_scores(self) -> tuple[float, ...]:
        """Test score at each of these steps, the last of them the final one; else empty."""
        if self.test_curve is None or self.validation_curve is None:
            return ()
        same = self.test_curve.steps == self.validation_curve.steps and self.ends_with_test
        return self.test_curve.values if same else ()

    @property
    def ends_with_test(self) -> bool:
        """Whether the test curve ends in the final score."""
        return self.test_curve is not None and math.isclose(
            self.test_curve.values[-1], self.final_score
        )


#: run -> its validation and its test curve
Runs: TypeAlias = Mapping[str, tuple[RecordedCurve | None, RecordedCurve | None]]


def join_curves(
    rows: Sequence[FineTuning], curves: Iterable[RecordedCurve], *, by_run: bool
) -> list[FineTuning]:
    """The rows with their curves, in their order.

    A curve belongs to the row of its run, or to the only row of its cell. Where one row stands for
    several runs, and is the mean of what they ended in, each of them is a fine-tuning.

    Args:
        rows: of one metric, without curves.
        curves: of the same metric.
        by_run: rows and curves tell repeats apart by the same names.

    Raises:
        HistoryError: a row is the negative of what its curve ended in.
    """
    cells: dict[tuple[str, str], dict[str, dict[str, RecordedCurve]]] = {}
    for curve in curves:
        runs = cells.setdefault((curve.model, curve.dataset), {})
        runs.setdefault(curve.run, {})[curve.split] = curve
    there: dict[tuple[str, str], list[FineTuning]] = {}
    for row in rows:
        there.setdefault((row.model, row.dataset), []).append(row)
    found = []
    for cell, some in there.items():
        splits = cells.get(cell, {})
        known = {run: (two.get("val"), two.get("test")) for run, two in sorted(splits.items())}
        _check_direction(some, known)
        found += _of_cell(some, known, by_run)
    return found


def _of_cell(rows: Sequence[FineTuning], runs: Runs, by_run: bool) -> list[FineTuning]:
    if by_run and any(run for run in runs):
        told = (runs.get(row.run, (None, None)) for row in rows)
        return [
            replace(r, validation_curve=v, test_curve=t)
            for r, (v, t) in zip(rows, told, strict=True)
        ]
    if len(rows) > 1 or not runs:
        return list(rows)
    row = rows[0]
    if len(runs) == 1:
        ((run, (validation, tested)),) = runs.items()
        return [replace(row, run=row.run or run, validation_curve=validation, test_curve=tested)]
    ends = [tested.values[-1] for _, tested in runs.values() if tested]
    mean = sum(ends) / len(ends) if ends else math.nan
    if len(ends) < len(runs) or not abs(mean - row.final_score) <= _ROUNDED * max(1.0, abs(mean)):
        return [row]
    return [
        FineTuning(row.model, row.dataset, end, run, validation, tested)
        for end, (run, (validation, tested)) in zip(ends, runs.items(), strict=True)
    ]


def _check_direction(rows: Sequence[FineTuning], runs: Runs) -> None:
    """A final score of one sign in the matrix and of the other in the curves is one mistake."""
    for row in rows:
        for _, tested in runs.values():
            if tested and row.final_score and math.isclose(tested.values[-1], -row.final_score):
                raise HistoryError(
                    f"matrix and curves: expected one direction, got {row.final_score:g} and "
                    f"{tested.values[-1]:g} as the end of {row.model} on {row.dataset}: write both "
                    "as they were measured, and name losses with --minimize"
                )
