"""A folder of plain tables as history: no server, no runs."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from mlflow_recall.core.records import Record
from mlflow_recall.errors import HistoryError

_COLUMNS = ["model", "dataset", "metric", "value"]


class FolderHistory:
    """``matrix.csv`` (model, dataset, metric, value), gzipped or not; see ``ports.History``.

    Args:
        folder: where the tables are.
        minimize: the metric is a loss; its sign is turned, so that higher is better inside.
    """

    def __init__(self, folder: str | Path, *, minimize: bool = False) -> None:
        self._folder = Path(folder)
        self._sign = -1.0 if minimize else 1.0

    def records(self, metric: str) -> list[Record]:
        """See ``ports.History.records``; without a metric, the only one of the table."""
        table = self._read("matrix")
        if missing := [name for name in _COLUMNS if name not in table]:
            raise HistoryError(
                f"{self._folder}: matrix: expected the columns {', '.join(_COLUMNS)}, "
                f"missing {', '.join(missing)}"
            )
        metrics = sorted(table["metric"].unique())
        if not metric and len(metrics) == 1:
            metric = metrics[0]
        if metric not in metrics:
            raise HistoryError(
                f"{self._folder}: metric {metric!r}: expected one of "
                f"{', '.join(metrics) or 'none'}: name it with --metric"
            )
        chosen = table[table["metric"] == metric].reset_index(drop=True)
        values = pd.to_numeric(chosen["value"], errors="coerce")
        wrong = values.isna() & chosen["value"].notna()
        if wrong.any():
            row = chosen[wrong].iloc[0]
            raise HistoryError(
                f"{self._folder}: matrix: expected numbers, got {row['value']!r} for "
                f"{row['model']} on {row['dataset']}"
            )
        return [
            Record(model=str(model), dataset=str(dataset), test=self._sign * value)
            for model, dataset, value in zip(
                chosen["model"], chosen["dataset"], values, strict=True
            )
        ]

    def _read(self, name: str) -> pd.DataFrame:
        for ending in (".csv", ".csv.gz", ".parquet"):
            path = self._folder / f"{name}{ending}"
            if path.exists():
                try:
                    return pd.read_parquet(path) if ending == ".parquet" else pd.read_csv(path)
                except Exception as error:  # every format has exceptions of its own
                    reason = " ".join(str(error).split())
                    raise HistoryError(f"{path}: cannot be read as a table: {reason}") from error
        raise HistoryError(
            f"{self._folder}: expected {name}.csv, {name}.csv.gz or {name}.parquet, found none"
        )
