"""A folder of plain tables as history."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mlflow_recall.adapters.tables.folder_history import FolderHistory, RecordedCurve
from mlflow_recall.core.history.overview import noise_floor
from mlflow_recall.core.history.tasks import PRIMARY
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
    assert [r.final_score for r in records[:2]] == [0.5, 0.25]
    assert [r.is_complete for r in records] == [True, True, False]


def test_a_loss_is_turned_round(tmp_path: Path) -> None:
    ROWS.to_csv(tmp_path / "matrix.csv", index=False)

    assert FolderHistory(tmp_path, minimize=True).records("accuracy")[0].final_score == -0.5


def test_names_that_look_like_numbers_stay_names(tmp_path: Path) -> None:
    ROWS.assign(model=[1, 2, 1], dataset=[7, 7, 8]).to_csv(tmp_path / "matrix.csv", index=False)

    assert FolderHistory(tmp_path).records("accuracy")[0].model == "1"


def test_a_metric_that_is_not_recorded_is_refused_with_those_that_are(tmp_path: Path) -> None:
    pd.concat([ROWS, ROWS.assign(metric="f1")]).to_csv(tmp_path / "matrix.csv", index=False)
    history = FolderHistory(tmp_path)

    assert len(history.records("f1")) == 3
    with pytest.raises(HistoryError, match="metric 'auc': expected one of accuracy, f1: name it"):
        history.records("auc")


def test_a_folder_without_tables_lists_the_names_it_looked_for(tmp_path: Path) -> None:
    with pytest.raises(HistoryError, match=r"expected matrix\.csv, matrix\.csv\.gz or matrix\.par"):
        FolderHistory(tmp_path).records("accuracy")


def test_missing_columns_are_named(tmp_path: Path) -> None:
    ROWS.drop(columns=["metric", "value"]).to_csv(tmp_path / "matrix.csv", index=False)

    with pytest.raises(HistoryError, match=r"expected the columns .*, missing metric, value"):
        FolderHistory(tmp_path).records("accuracy")


@pytest.mark.parametrize("value", ["high", "inf", "-inf"])
def test_a_value_that_is_no_finite_number_is_named_by_its_row(tmp_path: Path, value: str) -> None:
    """The header is row 1, as an editor counts."""
    table = ROWS.astype({"value": object})
    table.loc[1, "value"] = value
    table.to_csv(tmp_path / "matrix.csv", index=False)

    with pytest.raises(HistoryError, match=r"expected finite numbers as value, got row 3 .model b"):
        FolderHistory(tmp_path).records("accuracy")


def test_rows_of_parquet_are_counted_from_one(tmp_path: Path) -> None:
    ROWS.assign(value=[0.5, math.inf, 0.5]).to_parquet(tmp_path / "matrix.parquet")

    with pytest.raises(HistoryError, match="got row 2 "):
        FolderHistory(tmp_path).records("accuracy")


def test_of_many_wrong_rows_three_are_named(tmp_path: Path) -> None:
    table = pd.DataFrame({**ROWS.iloc[0], "value": ["x"] * 5})
    table.to_csv(tmp_path / "matrix.csv", index=False)

    with pytest.raises(HistoryError, match=r"row 2 .*row 3 .*row 4 \(.*\) and 2 more"):
        FolderHistory(tmp_path).records("accuracy")


def test_a_row_without_a_name_is_named(tmp_path: Path) -> None:
    ROWS.assign(model=["a", "", "a"]).to_csv(tmp_path / "matrix.csv", index=False)

    with pytest.raises(HistoryError, match="expected a model in every row, got row 3 "):
        FolderHistory(tmp_path).records("accuracy")


@pytest.mark.parametrize("name", ["NA", "null", "007", "1e3"])
def test_every_text_is_a_name(tmp_path: Path, name: str) -> None:
    """Readers of tables take such names for missing values or numbers."""
    ROWS.assign(model=[name, "b", name]).to_csv(tmp_path / "matrix.csv", index=False)
    (tmp_path / "models.csv").write_text(f"model,size\n{name},3\n")
    history = FolderHistory(tmp_path)

    assert history.records(PRIMARY)[0].model == name
    assert history.model_features() == {"size": {name: 3.0}}


def test_one_table_in_two_formats_is_refused(tmp_path: Path) -> None:
    """Which of the two files is read would be arbitrary."""
    ROWS.to_csv(tmp_path / "matrix.csv", index=False)
    ROWS.to_parquet(tmp_path / "matrix.parquet")

    with pytest.raises(HistoryError, match=r"got matrix\.csv, matrix\.parquet: remove all but one"):
        FolderHistory(tmp_path).records(PRIMARY)


def test_models_that_share_no_dataset_are_refused(tmp_path: Path) -> None:
    """Nothing can be compared; a row without a value is no measurement."""
    table = ROWS.assign(dataset=["d", "e", "e"])
    table.to_csv(tmp_path / "matrix.csv", index=False)

    with pytest.raises(HistoryError, match="a on d, b on e: no two of the 2 models"):
        FolderHistory(tmp_path).records(PRIMARY)


# --- primary metrics -----------------------------------------------------------------------------

#: x has accuracy and F1, y a correlation alone, z two metrics of a regression
MIXED = [
    (model, dataset, metric, value)
    for model, shift in (("a", 0.0), ("b", 0.25))
    for dataset, metric, value in (
        ("x", "accuracy", 0.5),
        ("x", "f1", 0.25),
        ("y", "matthews", -0.25),
        ("z", "rmse", 4.0),
        ("z", "spearman", 0.125),
    )
    for value in [value + shift]
]


def write_mixed(folder: Path, datasets: str) -> FolderHistory:
    columns = ["model", "dataset", "metric", "value"]
    pd.DataFrame(MIXED, columns=columns).to_csv(folder / "matrix.csv", index=False)
    (folder / "datasets.csv").write_text(datasets)
    return FolderHistory(folder)


@pytest.mark.parametrize(
    ("datasets", "expected"),
    [
        ("dataset,metric\nz,rmse\n", {"x": "accuracy", "y": "matthews", "z": "rmse"}),
        ("dataset,metric\nx,f1\nz,rmse\n", {"x": "f1", "y": "matthews", "z": "rmse"}),
        ("dataset,task\nz,regression\n", {"x": "accuracy", "y": "matthews", "z": "spearman"}),
        (
            "dataset,task,metric\nx,classification,\nz,regression,rmse\n",
            {"x": "accuracy", "y": "matthews", "z": "rmse"},
        ),
    ],
)
def test_each_dataset_is_read_by_its_own_metric(
    tmp_path: Path, datasets: str, expected: dict[str, str]
) -> None:
    """The one that ``datasets`` names, that of its task, accuracy, or the only one."""
    history = write_mixed(tmp_path, datasets)
    value = {(model, dataset, metric): value for model, dataset, metric, value in MIXED}

    records = history.records(PRIMARY)

    assert history.primary_metrics() == expected
    assert {(r.model, r.dataset): (r.metric, r.final_score) for r in records} == {
        (model, dataset): (metric, (-1 if metric == "rmse" else 1) * value[model, dataset, metric])
        for model in "ab"
        for dataset, metric in expected.items()
    }
    assert {r.task for r in records if r.dataset == "z"} == {
        "regression" if "regression" in datasets else "classification"
    }
    assert history.left_out(PRIMARY) == ()


@pytest.mark.parametrize(
    ("datasets", "got"),
    [
        ("dataset\nx\n", "'z': expected accuracy or one metric, got rmse, spearman"),
        ("dataset,metric\nz,mae\n", "'z': expected one of its metrics, got mae"),
        ("dataset,metric\nx,mae\nz,rmse\n", "'x': expected one of its metrics, got mae"),
    ],
)
def test_a_dataset_without_a_primary_metric_is_one_line(
    tmp_path: Path, datasets: str, got: str
) -> None:
    history = write_mixed(tmp_path, datasets)

    with pytest.raises(HistoryError, match=f"primary metric of {got}: name one with --metric, or"):
        history.records(PRIMARY)
    assert len(history.records("spearman")) == 2


def test_curves_are_those_of_the_primary_metrics(tmp_path: Path) -> None:
    history = write_mixed(tmp_path, "dataset,metric\nz,rmse\n")
    rows = [
        ("a", dataset, 1, split, metric, value)
        for _, dataset, metric, value in MIXED[:5]
        for split in ("val", "test")
    ]
    columns = ["model", "dataset", "step", "split", "metric", "value"]
    pd.DataFrame(rows, columns=columns).to_csv(tmp_path / "curves.csv", index=False)

    curves = history.curves(PRIMARY)

    assert {(c.dataset, c.metric, c.values) for c in curves} == {
        ("x", "accuracy", (0.5,)),
        ("y", "matthews", (-0.25,)),
        ("z", "rmse", (-4.0,)),
    }
    assert {r.validation_scores for r in history.records(PRIMARY) if r.model == "a"} == {
        (0.5,),
        (-0.25,),
        (-4.0,),
    }


@pytest.mark.parametrize(
    ("models_of_g", "modalities"),
    [
        ("cd", {"f1": "accuracy+f1", "accuracy": "accuracy+f1", "g": "g"}),
        ("bc", {"f1": "", "accuracy": "", "g": ""}),
    ],
)
def test_metrics_without_a_common_model_are_apart(
    tmp_path: Path, models_of_g: str, modalities: dict[str, str]
) -> None:
    """No text model will ever be measured on pictures, whether or not the tables say so."""
    rows = [(model, "x", "accuracy", 0.5) for model in "ab"]
    rows += [(model, "y", "f1", 0.5) for model in "ab"]
    rows += [(model, "z", "g", 0.5) for model in models_of_g]
    columns = ["model", "dataset", "metric", "value"]
    pd.DataFrame(rows, columns=columns).to_csv(tmp_path / "matrix.csv", index=False)

    records = FolderHistory(tmp_path).records(PRIMARY)

    assert {r.metric: r.modality for r in records} == modalities
    assert {r.modality for r in FolderHistory(tmp_path).records("g")} == {""}


# --- direction -----------------------------------------------------------------------------------


def test_named_losses_are_turned_and_others_are_not(tmp_path: Path) -> None:
    table = pd.concat([ROWS, ROWS.assign(metric="rmse"), ROWS.assign(metric="log_loss")])
    table.to_csv(tmp_path / "matrix.csv", index=False)
    history = FolderHistory(tmp_path, minimize=["rmse"])

    first = {metric: history.records(metric)[0].final_score for metric in history.metrics()}
    assert first == {"accuracy": 0.5, "log_loss": -0.5, "rmse": -0.5}
    assert [history.is_loss(metric) for metric in first] == [False, True, True]


def test_a_loss_that_is_no_metric_of_the_tables_is_refused(tmp_path: Path) -> None:
    ROWS.to_csv(tmp_path / "matrix.csv", index=False)

    with pytest.raises(HistoryError, match="expected metrics of the tables, accuracy, got 'rmse'"):
        FolderHistory(tmp_path, minimize=["rmse"]).records(PRIMARY)


def test_a_score_named_as_a_loss_is_refused(tmp_path: Path) -> None:
    ROWS.to_csv(tmp_path / "matrix.csv", index=False)

    with pytest.raises(HistoryError, match="'accuracy' is better when higher, got it as a loss"):
        FolderHistory(tmp_path, minimize=["accuracy"]).records(PRIMARY)


def test_tables_that_turn_one_loss_but_not_the_other_are_refused(tmp_path: Path) -> None:
    """The matrix was written higher-is-better, the curves as they were measured."""
    write_curves(tmp_path, [("a", "d", 1, "val", 0.7), ("a", "d", 1, "test", 0.5)])
    ROWS.assign(value=[-0.5, -0.25, math.nan], metric="acc").to_csv(
        tmp_path / "matrix.csv", index=False
    )

    with pytest.raises(
        HistoryError, match=r"expected one direction, got -0\.5 and 0\.5 as the end of"
    ):
        FolderHistory(tmp_path).records(PRIMARY)


@pytest.mark.parametrize(("name", "content"), [("csv", b""), ("parquet", b"x"), ("csv.gz", b"x")])
def test_a_table_that_cannot_be_read_is_one_line(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / f"matrix.{name}").write_bytes(content)

    with pytest.raises(
        HistoryError, match=rf"matrix\.{name}: cannot be read as a table: "
    ) as error:
        FolderHistory(tmp_path).records("accuracy")
    assert "\n" not in str(error.value)


def test_a_table_without_rows_is_reported_as_empty(tmp_path: Path) -> None:
    ROWS.iloc[:0].to_csv(tmp_path / "matrix.csv", index=False)

    with pytest.raises(HistoryError, match="matrix: expected at least one row, got none"):
        FolderHistory(tmp_path).records("accuracy")


def test_curves_are_read_in_the_order_of_their_steps(tmp_path: Path) -> None:
    rows = [("a", "d", 20, "val", "acc", 0.7), ("a", "d", 10, "val", "acc", 0.5)]
    rows += [("a", "d", 10, "test", "acc", 0.4), ("b", "d", 10, "val", "acc", math.nan)]
    columns = ["model", "dataset", "step", "split", "metric", "value"]
    pd.DataFrame(rows, columns=columns).to_csv(tmp_path / "curves.csv.gz", index=False)

    curve = partial(RecordedCurve, model="a", dataset="d", metric="acc")
    assert FolderHistory(tmp_path).curves() == [
        curve(split="test", steps=(10.0,), values=(0.4,)),
        curve(split="val", steps=(10.0, 20.0), values=(0.5, 0.7)),
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
    (tmp_path / "models.csv").write_text('model,size,kind\na,"1,014.5",bert\nb,,\n')
    (tmp_path / "datasets.csv").write_text("finetune_dataset,classes\nd,2\n")
    history = FolderHistory(tmp_path)

    sizes = history.model_features()["size"]

    assert sizes["a"] == 1014.5
    assert math.isnan(float(sizes["b"]))
    assert history.model_features()["kind"] == {"a": "bert", "b": ""}
    assert history.dataset_features() == {"classes": {"d": 2.0}}


@pytest.mark.parametrize("name", ["models", "datasets"])
def test_duplicate_features_are_named_by_their_rows(tmp_path: Path, name: str) -> None:
    (tmp_path / f"{name}.csv").write_text(f"{name[:-1]},size\na,1\nb,2\na,3\n")
    history = FolderHistory(tmp_path)

    with pytest.raises(HistoryError, match=rf"expected every {name[:-1]} once, .*row 2 .*row 4 "):
        history.model_features() if name == "models" else history.dataset_features()


def test_the_modality_is_the_dataset_s_else_the_model_s(tmp_path: Path) -> None:
    rows = ROWS.assign(value=0.5)
    rows.to_csv(tmp_path / "matrix.csv", index=False)
    (tmp_path / "models.csv").write_text("model,modality\na,text\n")
    (tmp_path / "datasets.csv").write_text("dataset,modality\ne,image\n")

    assert [r.modality for r in FolderHistory(tmp_path).records(PRIMARY)] == ["text", "", "image"]


# --- curves --------------------------------------------------------------------------------------


def write_curves(folder: Path, rows: Sequence[tuple[object, ...]]) -> None:
    """Rows of model, dataset, step, split, value[, run], all of the metric ``acc``."""
    columns = ["model", "dataset", "step", "split", "value", "run"][: len(rows[0])]
    table = pd.DataFrame(rows, columns=columns).assign(metric="acc")
    table.to_csv(folder / "curves.csv", index=False)


def write_matrix(folder: Path, rows: Sequence[tuple[object, ...]]) -> None:
    """Rows of model, dataset, value[, run], all of the metric ``acc``."""
    columns = ["model", "dataset", "value", "run"][: len(rows[0])]
    table = pd.DataFrame(rows, columns=columns).assign(metric="acc")
    table.to_csv(folder / "matrix.csv", index=False)


def test_a_record_has_the_curves_of_its_cell(tmp_path: Path) -> None:
    """The test curve only where every stage was tested."""
    both = [("a", "d", s, split, s / 8) for s in (1, 2, 3) for split in ("val", "test")]
    write_curves(tmp_path, [*both, ("b", "d", 1, "val", 0.5), ("b", "d", 2, "val", 0.5)])
    write_matrix(tmp_path, [("a", "d", 0.375), ("b", "d", 0.25), ("c", "d", 0.125)])

    a, b, c = FolderHistory(tmp_path).records("acc")

    assert (a.validation_scores, a.test_scores, a.final_score) == (
        (0.125, 0.25, 0.375),
        (0.125, 0.25, 0.375),
        0.375,
    )
    assert (b.validation_scores, b.test_scores, b.final_score, b.epochs) == (
        (0.5, 0.5),
        (),
        0.25,
        2,
    )
    assert (c.validation_scores, c.epochs, c.is_complete) == ((), 0, True)


def test_curves_of_another_metric_are_not_a_record_s(tmp_path: Path) -> None:
    write_curves(tmp_path, [("a", "d", 1, "val", 0.5)])
    ROWS.to_csv(tmp_path / "matrix.csv", index=False)

    assert FolderHistory(tmp_path).records("accuracy")[0].validation_scores == ()
    assert len(FolderHistory(tmp_path).curves()) == 1


def test_repeats_are_distinguished_by_their_run(tmp_path: Path) -> None:
    """As repeated rows of the matrix, with a curve each."""
    write_curves(tmp_path, [("a", "d", 1, "val", 0.1, "x"), ("a", "d", 1, "val", 0.2, "y")])
    write_matrix(tmp_path, [("a", "d", 0.25, "y"), ("a", "d", 0.75, "x")])
    history = FolderHistory(tmp_path)

    assert [(c.run, c.values) for c in history.curves()] == [("x", (0.1,)), ("y", (0.2,))]
    assert [(r.run_id, r.validation_scores, r.final_score) for r in history.records(PRIMARY)] == [
        ("y", (0.2,), 0.25),
        ("x", (0.1,), 0.75),
    ]
    assert noise_floor(history.records(PRIMARY)).std == pytest.approx(0.5 / 2**0.5)


@pytest.mark.parametrize(("mean", "repeats"), [(0.5, 2), (0.5004, 2), (0.51, 0)])
def test_one_row_stands_for_several_runs_where_it_is_their_mean(
    tmp_path: Path, mean: float, repeats: int
) -> None:
    """Up to rounding; a number of unknown origin is kept."""
    ends = [
        ("a", "d", 1, split, v, run)
        for split in ("val", "test")
        for v, run in ((0.25, 0), (0.75, 1))
    ]
    write_curves(tmp_path, ends)
    write_matrix(tmp_path, [("a", "d", mean)])

    records = FolderHistory(tmp_path).records(PRIMARY)

    assert noise_floor(records).runs == repeats
    assert [r.final_score for r in records] == ([0.25, 0.75] if repeats else [mean])


def test_a_step_measured_twice_is_named_by_its_rows(tmp_path: Path) -> None:
    rows = [("a", "d", 1, "test", 0.5), ("b", "d", 1, "test", 0.5), ("a", "d", 1.0, "test", 0.5)]
    write_curves(tmp_path, rows)

    with pytest.raises(
        HistoryError, match=r"every step of a curve once, got row 2 .*; row 4 .*run"
    ):
        FolderHistory(tmp_path).curves()


def test_runs_may_share_their_steps(tmp_path: Path) -> None:
    write_curves(tmp_path, [("a", "d", 1, "test", 0.5, run) for run in "xy"])

    assert len(FolderHistory(tmp_path).curves()) == 2


def test_an_unknown_split_is_named_by_its_row(tmp_path: Path) -> None:
    write_curves(tmp_path, [("a", "d", 1, "test", 0.5), ("a", "d", 1, "train", 0.5)])

    with pytest.raises(HistoryError, match=r"expected the split val or test, got row 3 .*train"):
        FolderHistory(tmp_path).curves()


def test_a_row_without_a_step_is_named(tmp_path: Path) -> None:
    write_curves(tmp_path, [("a", "d", 1, "test", 0.5), ("a", "d", None, "test", 0.5)])

    with pytest.raises(HistoryError, match="expected a step in every row, got row 3 "):
        FolderHistory(tmp_path).curves()


def test_a_curve_without_an_end_is_named_by_its_rows(tmp_path: Path) -> None:
    """A final score is a test value of the same run, or a row of the matrix with a value."""
    write_curves(
        tmp_path,
        [(m, "d", s, "val", 0.5) for m in "abc" for s in (1, 2)] + [("b", "d", 2, "test", 0.5)],
    )
    write_matrix(tmp_path, [("a", "d", 0.5), ("c", "d", math.nan)])

    with pytest.raises(
        HistoryError, match=r"or a row of matrix, got row 6 .model c.*; row 7 [^;]*$"
    ):
        FolderHistory(tmp_path).curves()


def test_curves_are_what_a_loop_over_the_rows_finds(tmp_path: Path) -> None:
    """In any order of the rows, and with values missing here and there."""
    random = np.random.default_rng(0)
    keys = [
        (m, d, s, p, r)
        for m in "abc"
        for d in "xy"
        for s in (3, 1, 20)
        for p in ("val", "test")
        for r in "01"
    ]
    rows = [
        (m, d, s, p, random.choice([0.5, math.nan, 0.25]) if p == "val" else 0.5, r)
        for m, d, s, p, r in keys
    ]
    random.shuffle(rows)
    write_curves(tmp_path, rows)

    expected: dict[tuple[str, ...], dict[float, float]] = {}
    for model, dataset, step, split, value, run in rows:
        if not math.isnan(value):
            expected.setdefault((model, dataset, split, run), {})[step] = value
    result = {
        (c.model, c.dataset, c.split, c.run): dict(zip(c.steps, c.values, strict=True))
        for c in FolderHistory(tmp_path).curves()
    }

    assert list(result) == sorted(expected)
    assert result == expected
    assert all(list(c.steps) == sorted(c.steps) for c in FolderHistory(tmp_path).curves())


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


def test_a_run_of_a_cell_appears_once(tmp_path: Path) -> None:
    """Two scores of one fine-tuning by one metric contradict each other; nameless rows repeat."""
    columns = ["model", "dataset", "metric", "value", "run"]
    rows = [("a", "d", "acc", 0.5, "1"), ("a", "d", "acc", 0.6, "1"), ("b", "d", "acc", 0.7, "1")]
    pd.DataFrame(rows, columns=columns).to_csv(tmp_path / "matrix.csv", index=False)

    with pytest.raises(HistoryError, match=r"every run of a cell once, got row 2 .*; row 3 .*"):
        FolderHistory(tmp_path).records("acc")

    rows = [(*row[:4], "" if row[0] == "a" else row[4]) for row in rows]
    pd.DataFrame(rows, columns=columns).to_csv(tmp_path / "matrix.csv", index=False)
    assert len(FolderHistory(tmp_path).records("acc")) == 3
