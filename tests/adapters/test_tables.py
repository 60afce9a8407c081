"""A folder of plain tables as history."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
import pytest

from mlflow_recall.adapters.tables import FolderHistory
from mlflow_recall.errors import HistoryError

ROWS = pd.DataFrame(
    {
        "model": ["a", "b", "a"],
        "dataset": ["d", "d", "e"],
        "metric": ["accuracy"] * 3,
        "value": [0.5, 0.25, math.nan],
    }
)


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "parquet"])
def test_every_kind_of_table_is_read(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"matrix.{ending}"
    if ending == "parquet":
        ROWS.to_parquet(path)
    else:
        ROWS.to_csv(path, index=False)

    records = FolderHistory(tmp_path).records("accuracy")

    assert [(r.model, r.dataset) for r in records] == [("a", "d"), ("b", "d"), ("a", "e")]
    assert [r.test for r in records[:2]] == [0.5, 0.25]
    assert [r.complete for r in records] == [True, True, False]


def test_a_loss_is_turned_round(tmp_path: Path) -> None:
    ROWS.to_csv(tmp_path / "matrix.csv", index=False)

    assert FolderHistory(tmp_path, minimize=True).records("accuracy")[0].test == -0.5


def test_names_that_look_like_numbers_stay_names(tmp_path: Path) -> None:
    ROWS.assign(model=[1, 2, 1], dataset=[7, 7, 8]).to_csv(tmp_path / "matrix.csv", index=False)

    assert FolderHistory(tmp_path).records("accuracy")[0].model == "1"


def test_the_only_metric_need_not_be_named(tmp_path: Path) -> None:
    ROWS.to_csv(tmp_path / "matrix.csv", index=False)

    assert len(FolderHistory(tmp_path).records("")) == 3


def test_of_several_metrics_one_must_be_named(tmp_path: Path) -> None:
    pd.concat([ROWS, ROWS.assign(metric="f1")]).to_csv(tmp_path / "matrix.csv", index=False)
    history = FolderHistory(tmp_path)

    assert len(history.records("f1")) == 3
    for metric in ("", "auc"):
        with pytest.raises(HistoryError, match=f"metric '{metric}': expected one of accuracy, f1"):
            history.records(metric)


def test_a_folder_without_tables_lists_the_names_it_looked_for(tmp_path: Path) -> None:
    with pytest.raises(HistoryError, match=r"expected matrix\.csv, matrix\.csv\.gz or matrix\.par"):
        FolderHistory(tmp_path).records("accuracy")


def test_missing_columns_are_named(tmp_path: Path) -> None:
    ROWS.drop(columns=["metric", "value"]).to_csv(tmp_path / "matrix.csv", index=False)

    with pytest.raises(HistoryError, match=r"expected the columns .*, missing metric, value"):
        FolderHistory(tmp_path).records("accuracy")


def test_a_value_that_is_no_number_is_named_by_its_cell(tmp_path: Path) -> None:
    table = ROWS.astype({"value": object})
    table.loc[1, "value"] = "high"
    table.to_csv(tmp_path / "matrix.csv", index=False)

    with pytest.raises(HistoryError, match="expected numbers, got 'high' for b on d"):
        FolderHistory(tmp_path).records("accuracy")


@pytest.mark.parametrize(("name", "content"), [("csv", b""), ("parquet", b"x"), ("csv.gz", b"x")])
def test_a_table_that_cannot_be_read_is_one_line(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / f"matrix.{name}").write_bytes(content)

    with pytest.raises(
        HistoryError, match=rf"matrix\.{name}: cannot be read as a table: "
    ) as error:
        FolderHistory(tmp_path).records("accuracy")
    assert "\n" not in str(error.value)


def test_a_table_without_rows_has_no_metric(tmp_path: Path) -> None:
    ROWS.iloc[:0].to_csv(tmp_path / "matrix.csv", index=False)

    with pytest.raises(HistoryError, match="metric 'accuracy': expected one of none"):
        FolderHistory(tmp_path).records("accuracy")
