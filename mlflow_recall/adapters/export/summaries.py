"""How much an export wrote or an import read, in any format."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ExportSummary:
    """How much was written."""

    #: fine-tunings
    runs: int
    models: int
    #: None where they are not counted
    datasets: int | None = None
    #: metrics that were written; empty: all that were logged
    metrics: tuple[str, ...] = ()
    #: metrics among them for which lower is better
    minimize: tuple[str, ...] = ()
    #: what was left out, one line each
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ImportSummary:
    """How much was imported, and how much was known already."""

    #: fine-tunings that were imported
    runs: int
    models: int
    #: fine-tunings that had been imported before
    known: int = 0
