"""A folder of plain tables as history."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
import pytest

from mlflow_recall.adapters.tables import FolderHistory, RecordedCurve
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


def test_curves_are_read_in_the_order_of_their_steps(tmp_path: Path) -> None:
    rows = [("a", "d", 20, "val", "acc", 0.7), ("a", "d", 10, "val", "acc", 0.5)]
    rows += [("a", "d", 10, "test", "acc", 0.4), ("b", "d", 10, "val", "acc", math.nan)]
    columns = ["model", "dataset", "step", "split", "metric", "value"]
    pd.DataFrame(rows, columns=columns).to_csv(tmp_path / "curves.csv.gz", index=False)

    assert FolderHistory(tmp_path).curves() == [
        RecordedCurve("a", "d", "test", (10.0,), (0.4,)),
        RecordedCurve("a", "d", "val", (10.0, 20.0), (0.5, 0.7)),
    ]
    assert FolderHistory(tmp_path, minimize=True).curves("acc")[0].values == (-0.4,)
    with pytest.raises(HistoryError, match="curves: metric 'auc': expected one of acc"):
        FolderHistory(tmp_path).curves("auc")


def test_scores_are_read_by_name_and_repeats_are_averaged(tmp_path: Path) -> None:
    rows = [("a", "d", "LogME", 1.0), ("a", "d", "LogME", 3.0), ("b", "d", "LEEP", -1.0)]
    columns = ["model", "dataset", "score_name", "value"]
    pd.DataFrame(rows, columns=columns).to_csv(tmp_path / "proxy.csv", index=False)

    got = FolderHistory(tmp_path, minimize=True).scores()

    assert got == {"LEEP": {("b", "d"): -1.0}, "LogME": {("a", "d"): 2.0}}


def test_features_are_numbers_where_a_column_has_only_such(tmp_path: Path) -> None:
    """Thousands may be set off; the first column names the datasets, whatever it is called."""
    (tmp_path / "models.csv").write_text('model,size,kind\na,"1,014.5",bert\nb,,\na,7,t5\n')
    (tmp_path / "datasets.csv").write_text("finetune_dataset,classes\nd,2\n")
    history = FolderHistory(tmp_path)

    sizes = history.model_features()["size"]

    assert sizes["a"] == 1014.5
    assert math.isnan(float(sizes["b"]))
    assert history.model_features()["kind"] == {"a": "bert", "b": ""}
    assert history.dataset_features() == {"classes": {"d": 2.0}}


def test_optional_tables_may_be_absent(tmp_path: Path) -> None:
    ROWS.to_csv(tmp_path / "matrix.csv", index=False)
    history = FolderHistory(tmp_path)

    assert history.metrics() == ("accuracy",)
    assert history.curves() == []
    assert history.scores() == {}
    assert history.model_features() == {}
    assert history.dataset_features() == {}


@pytest.mark.parametrize("name", ["curves", "proxy"])
def test_missing_columns_of_optional_tables_are_named(tmp_path: Path, name: str) -> None:
    (tmp_path / f"{name}.csv").write_text("model,dataset,value\na,d,1\n")
    history = FolderHistory(tmp_path)

    with pytest.raises(HistoryError, match=f"{name}: expected the columns .*, missing "):
        history.curves() if name == "curves" else history.scores()
