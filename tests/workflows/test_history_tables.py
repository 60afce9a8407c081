"""A history as plain tables: exported, imported elsewhere, and shown."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from mlflow import MlflowClient

from mlflow_recall.adapters.manifests.yaml_files import ZooEntry
from mlflow_recall.adapters.tables.folder_history import FolderHistory
from mlflow_recall.adapters.tracking import tags
from mlflow_recall.adapters.tracking.registry import MlflowRegistry
from mlflow_recall.adapters.tracking.run_history import TrackingHistory
from mlflow_recall.adapters.tracking.runs import RunWriter
from mlflow_recall.cli import main
from mlflow_recall.core.history.matrix import PerformanceMatrix
from mlflow_recall.core.history.recipes import Recipe
from mlflow_recall.core.history.records import Dataset, Record
from mlflow_recall.ports import StageResult


@dataclass(frozen=True)
class Answer:
    """Exit code and output of a command."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        return json.loads(self.out)


Cli = Callable[..., Answer]


@pytest.fixture
def cli(capfd: pytest.CaptureFixture[str], store: str) -> Cli:
    def run(*argv: object) -> Answer:
        capfd.readouterr()
        with pytest.raises(SystemExit) as leaving:
            main([str(token) for token in argv])
        out, err = capfd.readouterr()
        assert isinstance(leaving.value.code, int)
        return Answer(leaving.value.code, out, err)

    return run


ROWS = {"fox": 0.9, "org/wolf": 0.88, "trout": 0.5, "salmon": 0.52, "owl": 0.2}


def write(folder: Path, name: str, rows: Sequence[tuple[object, ...]], columns: str) -> None:
    folder.mkdir(exist_ok=True)
    pd.DataFrame(rows, columns=columns.split()).to_csv(folder / f"{name}.csv", index=False)


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    """Five models on six datasets by a score and a loss of the user's own; no curves."""
    cells = [
        (model, f"set-{i}", metric, sign * (value - 0.03 * ((i + j) % 3)))
        for j, (model, value) in enumerate(ROWS.items())
        for i in range(6)
        for metric, sign in (("auc", 1), ("wer", -1))
        if (model, i) != ("owl", 5)
    ]
    write(tmp_path / "tables", "matrix", cells, "model dataset metric value")
    return tmp_path / "tables"


def plain(records: list[Record], namespace: str = "") -> list[Record]:
    """Return records with the fields that tables have, sorted."""
    prefix = f"{namespace}--" if namespace else ""
    return sorted(
        (
            Record(
                model=r.model.removeprefix(prefix), dataset=r.dataset,
                validation_scores=r.validation_scores, final_score=r.final_score,
                test_scores=r.test_scores,
                epochs=len(r.validation_scores), modality=r.modality,
            )
            for r in records
        ),
        key=lambda r: (r.model, r.dataset, r.final_score),
    )  # fmt: skip


# --- export --------------------------------------------------------------------------------------


@pytest.fixture
def zoo(client: MlflowClient, namespace: str) -> str:
    """Two text models and a picture model with curves, a repeat, and runs that are not used."""
    registry = MlflowRegistry(client, namespace)
    for name, modality in (("a", "text"), ("b", "text"), ("p", "image")):
        registry.register(
            ZooEntry(
                source=f"hf:/{name}", modality=modality, family="bert", license="MIT", parameters=7
            )
        )
    writer = RunWriter(client, f"{namespace}/benchmark")
    for model, name, modality, seed, score in (
        ("a", "x", "text", 0, 1 / 3),
        ("a", "x", "text", 1, 2 / 3),
        ("a", "y", "text", 0, 0.1 + 0.2),
        ("b", "x", "text", 0, 0.875),
        ("p", "z", "image", 0, 0.125),
    ):
        run_tags = {
            tags.MODEL: f"{namespace}--{model}",
            tags.MODEL_VERSION: "1",
            tags.DATASET: name,
            tags.DIGEST: f"{name}1",
            tags.MODALITY: modality,
            tags.EPOCHS: "2",
            tags.RECIPE: Recipe(epochs=2, seed=seed).to_json(),
        }
        run = writer.open_run(f"{model} on {name}", "benchmark", run_tags)
        run.log_dataset_input(
            Dataset(
                name=name,
                digest=f"{name}1",
                modality=modality,
                classes=("no", "yes"),
                sizes={"train": 9},
                source="d.csv",
                folder="/nowhere",
            ),
            "benchmark",
        )
        for stage in (1, 2):
            scores = {"accuracy": score / (3 - stage), "log_loss": 1 / stage}
            # a test of every stage for text, of the last for pictures
            test = scores if modality == "text" or stage == 2 else {}
            run.log_stage(StageResult(stage=stage, validation=scores, seconds=0.5, test=test))
        run.finish()
    writer.open_run("torn", "benchmark", {tags.MODEL: f"{namespace}--b"}).finish("FAILED", "why")
    writer.close()
    return namespace


@pytest.mark.parametrize("kind", ["tables", "gzip", "parquet"])
def test_exported_tables_are_the_history(
    cli: Cli, client: MlflowClient, zoo: str, tmp_path: Path, kind: str
) -> None:
    """Record by record, to the last digit: matrix, curves, repeats and modality."""
    answer = cli("history", "export", "--to", tmp_path, "--format", kind, "--namespace", zoo)

    assert answer.code == 0, answer.err
    target, here = TrackingHistory(client, zoo), FolderHistory(tmp_path)
    assert here.metrics() == target.metrics() == ("accuracy", "log_loss")
    for metric in here.metrics():
        assert plain(here.records(metric)) == plain(target.records(metric), zoo)
    assert answer.out.splitlines()[-1] == (
        f"5 fine-tunings of 3 models on 3 datasets by accuracy, log_loss are in {tmp_path}; "
        "losses: log_loss"
    )


def test_exported_tables_tell_of_models_and_datasets(cli: Cli, zoo: str, tmp_path: Path) -> None:
    cli("history", "export", "--to", tmp_path, "--format", "tables", "--namespace", zoo)

    here = FolderHistory(tmp_path)
    models, datasets = here.model_features(), here.dataset_features()
    assert models["parameters"] == {"a": 7.0, "b": 7.0, "p": 7.0}
    assert models["license"] == dict.fromkeys("abp", "MIT")
    assert models["modality"] == {"a": "text", "b": "text", "p": "image"}
    assert datasets["classes"] == {"x": 2.0, "y": 2.0, "z": 2.0}
    assert datasets["samples"] == {"x": 9.0, "y": 9.0, "z": 9.0}
    assert here.scores() == {}
    values = pd.read_csv(tmp_path / "matrix.csv").query("metric == 'log_loss'")["value"]
    assert set(values) == {0.5}  # as it was measured
    assert {path.name for path in tmp_path.iterdir()} == {
        f"{name}.csv" for name in ("matrix", "curves", "proxy", "models", "datasets")
    }


def test_an_export_beside_tables_of_another_format_is_refused(
    cli: Cli, zoo: str, tmp_path: Path
) -> None:
    """A reader would find two tables of one name."""
    export = ["history", "export", "--to", tmp_path, "--namespace", zoo, "--format"]
    cli(*export, "tables")

    second, other = cli(*export, "tables"), cli(*export, "parquet")

    assert (second.code, other.code) == (0, 1)
    assert "matrix.csv: expected no table in another format than .parquet" in other.err


def test_recipes_that_tables_cannot_tell_apart_are_left_out(
    cli: Cli, client: MlflowClient, zoo: str, tmp_path: Path
) -> None:
    """They would be read as repeats, and their difference as noise."""
    writer = RunWriter(client, f"{zoo}/benchmark")
    run_tags = {
        tags.MODEL: f"{zoo}--a", tags.DATASET: "x", tags.MODALITY: "text", tags.DIGEST: "x1",
        tags.RECIPE: Recipe(learning_rate=1.0).to_json(),
    }  # fmt: skip
    run = writer.open_run("a on x", "benchmark", run_tags)
    run.log_stage(
        StageResult(stage=1, validation={"accuracy": 0.9}, seconds=1.0, test={"accuracy": 0.9})
    )
    run.finish()
    writer.close()

    answer = cli("history", "export", "--to", tmp_path, "--format", "tables", "--namespace", zoo)

    assert "warning: text accuracy: 1 records of rarer recipes are not used" in answer.err
    assert 0.9 not in {r.final_score for r in FolderHistory(tmp_path).records("accuracy")}


# --- import --------------------------------------------------------------------------------------


def test_imported_tables_are_the_history_of_the_tables(
    cli: Cli, client: MlflowClient, zoo: str, tmp_path: Path
) -> None:
    """Metrics, curves and repeats are the same, also in an export of the import."""
    other_namespace = f"{zoo}-2"
    cli("history", "export", "--to", tmp_path / "1", "--format", "tables", "--namespace", zoo)

    answer = cli("history", "import", "--from", tmp_path / "1", "--namespace", other_namespace)
    cli(
        "history",
        "export",
        "--to",
        tmp_path / "2",
        "--format",
        "tables",
        "--namespace",
        other_namespace,
    )

    assert (answer.code, answer.out) == (0, "5 runs imported, 0 skipped, 3 models\n"), answer.err
    for metric in ("accuracy", "log_loss"):
        arrived = TrackingHistory(client, other_namespace).records(metric)
        assert plain(arrived, other_namespace) == plain(
            FolderHistory(tmp_path / "1").records(metric)
        )
        assert all(record.is_complete for record in arrived)
    for name in ("matrix", "curves", "datasets", "models"):
        one, two = (sorted((tmp_path / i / f"{name}.csv").read_text().splitlines()) for i in "12")
        assert one == two, name


def test_metrics_of_the_user_s_own_keep_their_direction(
    cli: Cli, client: MlflowClient, tables: Path, namespace: str
) -> None:
    answer = cli(
        "history", "import", "--from", tables, "--namespace", namespace, "--modality", "text",
        "--minimize", "wer",
    )  # fmt: skip

    assert (answer.code, answer.out) == (0, "29 runs imported, 0 skipped, 5 models\n"), answer.err
    history = TrackingHistory(client, namespace)
    assert history.metrics() == ("auc", "wer")
    for metric in ("auc", "wer"):
        matrix = PerformanceMatrix.from_records(history.records(metric))
        expected = PerformanceMatrix.from_records(
            FolderHistory(tables, minimize=["wer"]).records(metric)
        )
        assert (
            matrix.values.tobytes()
            == expected.select_models(
                m.removeprefix(f"{namespace}--").replace("org--", "org/") for m in matrix.models
            ).values.tobytes()
        )
        assert matrix.datasets == expected.datasets


def test_an_imported_namespace_clusters_recommends_and_shows_as_its_tables(
    cli: Cli, tables: Path, namespace: str
) -> None:
    here = ["--namespace", namespace, "--metric", "wer", "--json", "-"]
    target = ["--history", tables, "--metric", "wer", "--minimize", "--json", "-"]
    cli(
        "history", "import", "--from", tables, "--namespace", namespace, "--modality", "text",
        "--minimize", "wer",
    )  # fmt: skip

    def titles(values: Any) -> Any:
        text = json.dumps(values).replace(f"{namespace}--", "").replace("org--", "org/")
        return json.loads(text)

    clusters = [cli("cluster", *argv) for argv in (here, target)]
    assert [answer.code for answer in clusters] == [0, 0], clusters[0].err
    first, second = (
        {frozenset(c["members"]) for c in titles(answer.data)["clusters"]} for answer in clusters
    )
    assert first == second
    assert len(first) > 1
    ranked = [
        [
            row["model"]
            for row in titles(cli("recommend", *argv, "--tolerance", 0.01).data)["ranking"]
        ]
        for argv in (here, target)
    ]
    assert ranked[0] == ranked[1]
    shown = [cli("history", "show", *argv).data for argv in (here, target)]
    one, two = titles(shown[0]["text"]["wer"]), titles(shown[1]["any"]["wer"])
    assert {**one, "missing": 0} == {**two, "missing": 0}
    assert one["missing"] == two["missing"] == [{"model": "owl", "dataset": "set-5"}]


@pytest.mark.slow
def test_importing_again_adds_nothing_and_more_adds_what_is_new(
    cli: Cli, client: MlflowClient, tables: Path, namespace: str
) -> None:
    take_in = [
        "history", "import", "--from", tables, "--namespace", namespace, "--modality", "text",
        "--minimize", "wer",
    ]  # fmt: skip
    one = cli(*take_in, "--metric", "auc", "--json", "-").data
    second = cli(*take_in, "--metric", "auc", "--json", "-").data
    both = cli(*take_in, "--json", "-").data
    with (tables / "matrix.csv").open("a") as file:
        file.write("owl,set-5,auc,0.25\n")
    more = cli(*take_in, "--json", "-").data

    assert (one, second) == (
        {"runs": 29, "models": 5, "known": 0},
        {"runs": 0, "models": 5, "known": 29},
    )
    assert (both["runs"], more["runs"]) == (29, 1)
    history = TrackingHistory(client, namespace)
    assert (len(history.records("auc")), len(history.records("wer"))) == (30, 29)
    versions = [m.version for m in MlflowRegistry(client, namespace).members()]
    assert versions == ["1"] * 5


def test_values_that_changed_since_are_refused(cli: Cli, tables: Path, namespace: str) -> None:
    """The runs would contradict each other."""
    take_in = [
        "history", "import", "--from", tables, "--namespace", namespace, "--modality", "text",
        "--metric", "auc",
    ]  # fmt: skip
    cli(*take_in)
    table = pd.read_csv(tables / "matrix.csv")
    table.loc[0, "value"] = 0.125
    table.to_csv(tables / "matrix.csv", index=False)

    answer = cli(*take_in)

    assert answer.code == 1
    assert "got other values of auc of fox on set-0: delete these runs" in answer.err


def test_a_torn_import_is_completed_by_the_next(
    cli: Cli, client: MlflowClient, tables: Path, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An incomplete run is no history."""
    take_in = [
        "history", "import", "--from", tables, "--namespace", namespace, "--modality", "text",
        "--metric", "auc",
    ]  # fmt: skip
    log_batch, calls = MlflowClient.log_batch, []

    def fail_late(self: MlflowClient, *args: Any, **kwargs: Any) -> None:
        calls.append(kwargs)
        if len(calls) == 8:
            raise KeyboardInterrupt
        log_batch(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "log_batch", fail_late)
        torn = cli(*take_in)
    known = len(TrackingHistory(client, namespace).records("auc"))
    done = cli(*take_in, "--json", "-")

    assert torn.code == 130
    assert known == 3
    assert (done.data["runs"], done.data["known"]) == (26, 3)
    assert len(TrackingHistory(client, namespace).records("auc")) == 29


def test_models_become_members_that_only_teach(
    cli: Cli, client: MlflowClient, tables: Path, namespace: str
) -> None:
    """Models that are registered already are not changed."""
    registry = MlflowRegistry(client, namespace)
    registry.register(ZooEntry(source="hf:/fox", modality="text", family="real"))
    (tables / "models.csv").write_text(
        "model,model_type,number_of_parameters,license,pretrain_dataset\n"
        'org/wolf,bert,"110,000,000",MIT,wolves\n'
    )

    cli(
        "history", "import", "--from", tables, "--namespace", namespace, "--modality", "text",
        "--metric", "auc",
    )  # fmt: skip

    members = {m.name.removeprefix(f"{namespace}--"): m for m in registry.members()}
    assert [name for name, m in members.items() if m.is_available] == ["fox"]
    assert members["fox"].family == "real"
    wolf = members["org--wolf"]
    assert (wolf.modality, wolf.family, wolf.parameters) == ("text", "bert", 110_000_000)
    assert wolf.tags["recall.license"] == "MIT"
    assert wolf.tags["recall.upstream"] == "wolves"


def test_steps_that_are_no_epochs_survive(
    cli: Cli, client: MlflowClient, tmp_path: Path, namespace: str
) -> None:
    """Sample sizes, say; as steps of the metric in MLflow, and in an export."""
    cells = [(m, "d", "acc", 0.5) for m in "ab"]
    points = [
        (m, "d", s, split, "acc", 0.5) for m in "ab" for s in (16, 23) for split in ("val", "test")
    ]
    write(tmp_path / "1", "matrix", cells, "model dataset metric value")
    write(tmp_path / "1", "curves", points, "model dataset step split metric value")

    cli(
        "history",
        "import",
        "--from",
        tmp_path / "1",
        "--namespace",
        namespace,
        "--modality",
        "text",
    )
    cli("history", "export", "--to", tmp_path / "2", "--namespace", namespace, "--format", "tables")

    curves = FolderHistory(tmp_path / "2").curves()
    assert [replace(c, run="") for c in curves] == FolderHistory(tmp_path / "1").curves()
    run_id = TrackingHistory(client, namespace).records("acc")[0].run_id
    assert [p.step for p in client.get_metric_history(run_id, "val/acc")] == [16, 23]


def test_long_curves_arrive_whole(
    cli: Cli, client: MlflowClient, tmp_path: Path, namespace: str
) -> None:
    """Beyond what one request and one tag of MLflow can hold."""
    points = [
        (m, "d", s, split, "acc", s / 7000 + (split == "val") / 9)
        for m in "ab" for s in range(1, 701) for split in ("val", "test")
    ]  # fmt: skip
    write(tmp_path, "matrix", [(m, "d", "acc", 0.1) for m in "ab"], "model dataset metric value")
    write(tmp_path, "curves", points, "model dataset step split metric value")

    answer = cli(
        "history", "import", "--from", tmp_path, "--namespace", namespace, "--modality", "text"
    )

    assert answer.code == 0, answer.err
    for record in TrackingHistory(client, namespace).records("acc"):
        assert len(record.validation_scores) == 700
        assert record.validation_scores[-1] == 0.1 + 1 / 9
        assert record.final_score == 0.1


def test_percentages_become_shares_where_they_are_asked_to(
    cli: Cli, client: MlflowClient, tmp_path: Path, namespace: str
) -> None:
    cells = [(m, "d", "top1", v) for m, v in (("a", 50.0), ("b", 75.0))]
    write(tmp_path, "matrix", cells, "model dataset metric value")
    take_in = [
        "history", "import", "--from", tmp_path, "--namespace", namespace, "--modality", "image",
        "--metric", "top1=accuracy",
    ]  # fmt: skip

    refused, taken = cli(*take_in), cli(*take_in, "--percent")

    assert refused.code == 1
    assert "top1 as accuracy: expected values in [0, 1], got 50 for a on d" in refused.err
    assert taken.code == 0, taken.err
    assert {r.final_score for r in TrackingHistory(client, namespace).records("accuracy")} == {
        0.5,
        0.75,
    }


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], ["metric 'wer'", "whether lower is better", "--minimize wer"]),
        (["--minimize", "wer", "--metric", "wer=accuracy"], ["got a loss: mixed directions"]),
        (["--metric", "auc=accuracy,wer=accuracy"], ["got auc, wer: name one"]),
        (["--metric", "f1"], ["metric 'f1': expected one of auc, wer"]),
        (["--metric", "auc=a(b)"], ["got 'a(b)'"]),
        (["--minimize", "mae"], ["expected metrics of the tables, auc, wer, got 'mae'"]),
        (["--modality", "sound"], ["expected one of image, text, got 'sound'"]),
    ],
)  # fmt: skip
def test_an_import_that_would_not_be_right_is_one_line(
    cli: Cli,
    client: MlflowClient,
    tables: Path,
    namespace: str,
    options: list[str],
    words: list[str],
) -> None:
    requested = options if "--modality" in options else [*options, "--modality", "text"]

    answer = cli("history", "import", "--from", tables, "--namespace", namespace, *requested)

    (line,) = answer.err.splitlines()
    assert answer.code == 1
    assert all(word in line for word in words), line
    assert not client.search_model_versions(f"name LIKE '{namespace}--%'")


def test_an_unknown_modality_is_requested(cli: Cli, tables: Path, namespace: str) -> None:
    answer = cli("history", "import", "--from", tables, "--metric", "auc", "--namespace", namespace)

    assert answer.code == 1
    assert "got 'none' for fox on set-0: give --modality" in answer.err


def test_a_metric_that_was_a_score_before_is_refused_as_a_loss(
    cli: Cli, tables: Path, namespace: str
) -> None:
    take_in = [
        "history", "import", "--from", tables, "--namespace", namespace, "--modality", "text",
    ]  # fmt: skip
    cli(*take_in, "--metric", "auc")

    answer = cli(*take_in, "--metric", "wer=auc", "--minimize", "wer")

    assert answer.code == 1
    assert "metric 'auc': expected a score as in " in answer.err


def test_two_models_of_one_name_in_the_registry_are_refused(
    cli: Cli, tmp_path: Path, namespace: str
) -> None:
    cells = [(m, "d", "auc", 0.5) for m in ("a/b", "a--b")]
    write(tmp_path, "matrix", cells, "model dataset metric value")

    answer = cli(
        "history", "import", "--from", tmp_path, "--namespace", namespace, "--modality", "text"
    )

    assert "got 'a--b' and 'a/b', which are both 'a--b'" in answer.err


def test_options_of_tables_are_refused_for_an_export(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "runs.jsonl").write_text("")

    answer = cli("history", "import", "--from", tmp_path, "--percent")

    assert "percent: expected only for a folder with a table matrix" in answer.err


# --- show ----------------------------------------------------------------------------------------


def test_show_draws_what_is_missing(cli: Cli, tables: Path, tmp_path: Path) -> None:
    answer = cli(
        "history", "show", "--history", tables, "--metric", "wer", "--minimize", "wer",
        "--figure", tmp_path / "missing.png",
    )  # fmt: skip

    assert answer.code == 0, answer.err
    lines = answer.out.splitlines()
    assert "4 models, fox … ██████" in lines
    assert "owl             █████·" in lines
    assert (tmp_path / "missing.png").read_bytes().startswith(b"\x89PNG")
    assert lines[-1].startswith("history: 5 models on 6 datasets, 29 cells, coverage 97%")


def test_a_loss_is_shown_as_it_was_measured(cli: Cli, tables: Path) -> None:
    """The worst value of a loss is the highest one."""
    answer = cli("history", "show", "--history", tables, "--metric", "wer", "--minimize")

    row = next(line for line in answer.out.splitlines() if line.startswith("│ set-0"))
    assert [cell.strip() for cell in row.split("│")[1:-1]] == [
        "set-0", "5", "0", "-0.900", "fox", "-0.520", "-0.170",
    ]  # fmt: skip


def test_show_of_a_complete_history_draws_nothing(cli: Cli, tmp_path: Path) -> None:
    cells = [(m, d, "auc", 0.5) for m in "ab" for d in "xy"]
    write(tmp_path, "matrix", cells, "model dataset metric value")

    assert "█" not in cli("history", "show", "--history", tmp_path).out


def test_show_counts_repeats_of_tables_as_noise(cli: Cli, tmp_path: Path) -> None:
    """Rows of the matrix that say the same twice, and runs of curves behind one row."""
    cells = [("a", "x", "acc", 0.25), ("a", "x", "acc", 0.75), ("b", "x", "acc", 0.5)]
    points = [("b", "x", 1, "test", "acc", v, r) for v, r in ((0.25, "i"), (0.75, "j"))]
    write(tmp_path, "matrix", cells, "model dataset metric value")
    write(tmp_path, "curves", points, "model dataset step split metric value run")

    data = cli("history", "show", "--history", tmp_path, "--json", "-").data["any"]["acc"]

    assert data["repeated"] == {"cells": 2, "runs": 4}
    assert data["noise"] == pytest.approx(math.sqrt((0.125 + 0.125) / 2))


def test_a_single_dataset_is_shown_with_what_it_cannot_teach(cli: Cli, tmp_path: Path) -> None:
    write(tmp_path, "matrix", [(m, "x", "acc", 0.5) for m in "ab"], "model dataset metric value")

    answer = cli("history", "show", "--history", tmp_path)
    data = cli("history", "show", "--history", tmp_path, "--json", "-").data["any"]["acc"]

    assert "warning: x is the only dataset: none can be held out" in answer.err
    assert data["notes"][0].startswith("x is the only dataset")


@pytest.mark.parametrize("command", ["cluster", "recommend", "history show"])
def test_models_that_share_no_dataset_are_refused_by_every_command(
    cli: Cli, tmp_path: Path, command: str
) -> None:
    cells = [("a", "x", "acc", 0.5), ("b", "y", "acc", 0.5)]
    write(tmp_path, "matrix", cells, "model dataset metric value")

    answer = cli(*command.split(), "--history", tmp_path, "--metric", "acc")

    (line,) = answer.err.splitlines()
    assert answer.code == 1
    assert "expected models that share a dataset, got a on x, b on y" in line


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--minimize"], "minimize: expected the name of a loss among auc, wer"),
        (["--figure", "missing.docx"], "figure: expected a file in an existing folder that ends"),
        (["--figure", "nowhere/missing.png"], "figure: expected a file in an existing folder"),
    ],
)
def test_show_says_what_it_cannot_do(
    cli: Cli, tables: Path, options: list[str], words: str
) -> None:
    answer = cli("history", "show", "--history", tables, *options)

    assert (answer.code, answer.out) == (1, "")
    assert words in answer.err
