"""Clusters of plain tables and of a zoo, and models without a history."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pandas as pd
import pytest
from prepared import RecordingReporter, find_runs, image_zoo, registry_for, services_for, text_zoo
from tiny import WORDS, tiny_bert

from mlflow_recall.adapters.export.transfer import HistoryTransfer
from mlflow_recall.adapters.manifests.yaml_files import ZooEntry
from mlflow_recall.adapters.tables.folder_history import FolderHistory
from mlflow_recall.adapters.tracking import tags
from mlflow_recall.adapters.tracking.registry import MlflowRegistry
from mlflow_recall.adapters.tracking.run_history import TrackingHistory
from mlflow_recall.cli import main
from mlflow_recall.config import ClusterConfig, RecommendConfig
from mlflow_recall.core.clusters.comparison import ClusteringComparison
from mlflow_recall.core.history.records import Member, Record
from mlflow_recall.errors import ConfigError, HistoryError
from mlflow_recall.ports import History, Probe, ProbeTask
from mlflow_recall.workflows.cluster import (
    cluster_history,
    cluster_zoo,
    compare_history_clusterings,
)
from mlflow_recall.workflows.recommend import recommend_zoo
from mlflow_recall.workflows.services import Services
from mlflow_recall.workflows.text_encoder import load_encoder, load_encoder_folder

#: two that agree, two that agree otherwise, and one alone
SCORES = {
    "fox": (0.90, 0.80, 0.70),
    "wolf": (0.88, 0.79, 0.70),
    "trout": (0.40, 0.90, 0.20),
    "salmon": (0.41, 0.88, 0.22),
    "owl": (0.10, 0.20, 0.99),
}
RECORDS = Path(os.environ.get("RECALL_RECORDS", Path(__file__).parents[3] / "shared" / "data"))
PAPER = RECORDS / "two_phase_paper"


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    """A folder of plain tables: a score, and a loss that says the opposite."""
    rows = [
        (model, f"set-{i}", metric, value)
        for model, values in SCORES.items()
        for i, score in enumerate(values)
        for metric, value in (("acc", score), ("loss", 1 - score))
    ]
    table = pd.DataFrame(rows, columns=["model", "dataset", "metric", "value"])
    table.to_csv(tmp_path / "matrix.csv", index=False)
    return tmp_path


@pytest.fixture(scope="module")
def copied(store: str, tmp_path_factory: pytest.TempPathFactory) -> Services:
    """A copy of the text zoo and its history in a namespace of this module."""
    zoo, folder = text_zoo(store), tmp_path_factory.mktemp("export")
    theirs, reporter = services_for(store, zoo.namespace)
    HistoryTransfer(zoo.client, zoo.namespace, registry_for(theirs)).export(folder, reporter)
    services, reporter = services_for(store, "copied")
    HistoryTransfer(zoo.client, services.namespace, registry_for(services)).import_history(
        folder, reporter
    )
    return services


def members_of(services: Services) -> list[Member]:
    """Return the members with a history, without the winners of other tests."""
    return [member for member in services.registry.members() if "tiny" in member.name]


def printed(argv: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Return the JSON object that a command prints."""
    with pytest.raises(SystemExit) as leaving:
        main([*argv, "--json", "-"])
    out, err = capsys.readouterr()
    assert (leaving.value.code, err) == (0, "")
    data: dict[str, Any] = json.loads(out)
    return data


def groups(clusters: list[dict[str, Any]]) -> set[frozenset[str]]:
    return {frozenset(cluster["members"]) for cluster in clusters}


def test_plain_tables_are_clustered_without_a_server(
    tables: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = printed(["cluster", "--history", str(tables), "--metric", "acc", "--cut", "0.1"], capsys)

    assert groups(data["clusters"]) == {
        frozenset({"fox", "wolf"}),
        frozenset({"trout", "salmon"}),
        frozenset({"owl"}),
    }
    for cluster in data["clusters"]:
        assert cluster["representative"] == cluster["members"][0]
    assert {c["representative"] for c in data["clusters"]} == {"fox", "salmon", "owl"}
    assert 0 < data["silhouette"] < 1
    assert data["run_id"] is None


def test_a_loss_is_turned(tables: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """1 - accuracy as a loss groups as accuracy does, with the same representatives."""
    argv = ["cluster", "--history", str(tables), "--cut", "0.1"]

    score = printed([*argv, "--metric", "acc"], capsys)
    loss = printed([*argv, "--metric", "loss", "--minimize"], capsys)

    assert loss["clusters"] == score["clusters"]


def test_a_dropped_dataset_does_not_count(tables: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On the second dataset alone the two pairs are close: 0.79 to 0.90."""
    dropped = ["--drop-dataset", "set-0", "--drop_dataset", "set-2"]
    argv = ["cluster", "--history", str(tables), "--metric", "acc", "--cut", "0.2", *dropped]

    data = printed(argv, capsys)

    assert frozenset({"fox", "wolf", "trout", "salmon"}) in groups(data["clusters"])


@pytest.mark.parametrize("metric", ["acc_NLP", "acc_CV"])
def test_the_paper_has_as_many_clusters_and_the_same_silhouette(
    metric: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Cui et al. 2024: text cut at 0.09, vision at 0.03."""
    if not PAPER.exists():
        pytest.skip(f"{PAPER} is absent")
    cut, clusters, holding, singletons, silhouette = {
        "acc_NLP": ("0.09", 8, 31, 8, 0.536),
        "acc_CV": ("0.03", 5, 29, 1, 0.778),
    }[metric]

    data = printed(["cluster", "--history", str(PAPER), "--metric", metric, "--cut", cut], capsys)

    sizes = [len(cluster["members"]) for cluster in data["clusters"]]
    assert sum(size > 1 for size in sizes) == clusters
    assert sum(size for size in sizes if size > 1) == holding
    assert sizes.count(1) == singletons
    assert round(data["silhouette_paper"], 3) == silhouette


def test_a_folder_is_read_and_left_as_it_was(tables: Path) -> None:
    before = sorted(tables.iterdir())

    cluster_history(ClusterConfig(metric="acc"), FolderHistory(tables))

    assert sorted(tables.iterdir()) == before


def test_an_unknown_dataset_to_drop_is_answered_with_the_known(tables: Path) -> None:
    config = ClusterConfig(metric="acc", drop_datasets=("set-9",))

    with pytest.raises(HistoryError, match="expected one of set-0, set-1, set-2, got 'set-9'"):
        cluster_history(config, FolderHistory(tables))


def test_cut_and_number_exclude_each_other() -> None:
    with pytest.raises(ConfigError, match="cut and clusters: expected one of them, got both"):
        ClusterConfig(cut=0.1, clusters=3)


def test_the_zoo_carries_its_clusters(copied: Services) -> None:
    (result,) = cluster_zoo(ClusterConfig(clusters=2), copied)

    members = members_of(copied)
    assert len(members) == 5
    # winners of other tests have no history: they are tagged too, provisionally
    assert result.tagged == sum(m.modality == "text" for m in copied.registry.members())
    for member in members:
        cluster = result.clustering.cluster_of(member.name)
        assert cluster is not None
        assert member.cluster == cluster.id
        assert member.is_representative == (member.name == cluster.representative)
        assert member.tags[tags.CLUSTERED_BY] == result.run_id
        assert member.tags[tags.CLUSTER_METRIC] == "primary"
    assert {member.cluster for member in members} == {"text-primary-1", "text-primary-2"}


def test_clustering_again_overwrites_the_tags(copied: Services) -> None:
    cluster_zoo(ClusterConfig(clusters=2), copied)

    cluster_zoo(ClusterConfig(clusters=1), copied)

    assert {member.cluster for member in members_of(copied)} == {"text-primary-1"}
    assert sum(member.is_representative for member in members_of(copied)) == 1


def test_clusters_by_another_metric_are_replaced_and_said(copied: Services) -> None:
    reporter = RecordingReporter()
    services = replace(copied, reporter=reporter)

    cluster_zoo(ClusterConfig(), services)
    assert not [line for line in reporter.warnings if "replaced" in line]
    cluster_zoo(ClusterConfig(metric="log_loss"), services)

    (line,) = [line for line in reporter.warnings if "replaced" in line]
    assert line.startswith("the clusters by primary are replaced: `mlflow-recall cluster --metric")


def test_a_clustering_is_a_run_that_shows_why(copied: Services) -> None:
    (result,) = cluster_zoo(ClusterConfig(clusters=2), copied)

    run = find_runs(copied.client.tracking_uri, copied.namespace, "cluster")[-1]
    assert (run.info.run_id, run.info.status) == (result.run_id, "FINISHED")
    paths = {artifact.path for artifact in copied.client.list_artifacts(run.info.run_id)}
    assert paths == {"clusters.json", "matrix.json", "matrix.png", "dendrogram.png"}
    assert run.data.metrics["cluster/clusters"] == 2
    assert run.data.metrics["cluster/coverage"] == 1
    assert run.data.metrics["cluster/silhouette"] == pytest.approx(result.clustering.silhouette)
    assert run.data.params["resolved.clusters"] == "2"
    assert "5 models in 2 clusters by accuracy" in run.data.tags["mlflow.note.content"]


def test_an_adopted_run_is_the_run(copied: Services) -> None:
    """`mlflow run` opens a run before the command starts: it must be the one that is filled."""
    experiment = copied.client.create_experiment(f"{copied.namespace}/elsewhere")
    own_run = copied.client.create_run(experiment).info.run_id

    (result,) = cluster_zoo(ClusterConfig(), replace(copied, run_id=own_run))

    assert result.run_id == own_run
    assert copied.client.get_run(own_run).data.tags[tags.KIND] == "cluster"


def test_an_empty_zoo_has_nothing_to_cluster(store: str, namespace: str) -> None:
    services, _ = services_for(store, namespace)

    with pytest.raises(HistoryError, match="expected benchmark runs, found none: run"):
        cluster_zoo(ClusterConfig(), services)

    assert find_runs(store, namespace, "cluster") == []


class Both:
    """A history of two modalities."""

    def __init__(self, *histories: History) -> None:
        self._histories = histories

    def is_loss(self, metric: str) -> bool:
        return any(history.is_loss(metric) for history in self._histories)

    def metrics(self) -> tuple[str, ...]:
        return tuple(sorted({m for history in self._histories for m in history.metrics()}))

    def records(self, metric: str) -> list[Record]:
        return [record for history in self._histories for record in history.records(metric)]

    def left_out(self, metric: str) -> list[str]:
        return [line for history in self._histories for line in history.left_out(metric)]


@pytest.fixture(scope="module")
def both(store: str, copied: Services) -> Both:
    """Five text models on set-0 to set-2, four of images on pictures-0 and pictures-1."""
    zoo = image_zoo(store)
    return Both(copied.history, TrackingHistory(zoo.client, zoo.namespace))


def test_text_and_image_are_clustered_apart(both: Both) -> None:
    """Clusters are per modality: no dataset is common to both."""
    result = cluster_history(ClusterConfig(), both)

    assert [(entry.modality, len(entry.clustering.models)) for entry in result] == [
        ("image", 4),
        ("text", 5),
    ]
    for entry in result:
        assert all(c.id.startswith(f"{entry.modality}-") for c in entry.clustering.clusters)


@pytest.mark.parametrize(
    ("dropped", "left"),
    [
        ("set-0", {"image": ("pictures-0", "pictures-1"), "text": ("set-1", "set-2")}),
        ("pictures-0", {"image": ("pictures-1",), "text": ("set-0", "set-1", "set-2")}),
    ],
)
def test_a_dataset_that_only_the_other_modality_has_may_be_dropped(
    both: Both, dropped: str, left: dict[str, tuple[str, ...]]
) -> None:
    result = cluster_history(ClusterConfig(drop_datasets=(dropped,)), both)

    assert {entry.modality: entry.matrix.datasets for entry in result} == left


# --- other similarities --------------------------------------------------------------------------

DESCRIPTIONS = {
    "fox": "a hunter that walks alone on land",
    "owl": "a hunter that walks alone in the air",
    "wolf": "lives among many others like it",
    "trout": "lives among many others like it",
    "salmon": "lives among many others, like it",
}


class Older:
    """A history whose records, one of a model and dataset, are of older versions of some models."""

    def __init__(self, history: History, older: Sequence[str]) -> None:
        self._history, self._older = history, older

    def records(self, metric: str) -> list[Record]:
        result = self._history.records(metric)
        older = [
            replace(r, model_version="0", final_score=0.0) for r in result if r.model in self._older
        ]
        return [*result, *older]

    def metrics(self) -> tuple[str, ...]:
        return self._history.metrics()

    def is_loss(self, metric: str) -> bool:
        return self._history.is_loss(metric)

    def left_out(self, metric: str) -> Sequence[str]:
        return self._history.left_out(metric)


def test_records_of_an_older_version_are_left_out_and_named(copied: Services) -> None:
    members = copied.registry.members()
    recorded = [record.model for record in copied.history.records("accuracy")]
    name = next(member.name for member in members if member.name in recorded)
    older = Older(copied.history, [name])
    reporter = RecordingReporter()

    (result,) = cluster_history(ClusterConfig(), older, members=members)
    cluster_zoo(ClusterConfig(), replace(copied, history=older, reporter=reporter))
    (straight,) = cluster_history(ClusterConfig(), copied.history)

    np.testing.assert_array_equal(result.matrix.values, straight.matrix.values)
    assert straight.notes == ()
    (note,) = result.notes
    count = recorded.count(name)
    assert note == f"{count} records of other model versions are not used: {name} {count}"
    assert note in reporter.warnings


def test_description_similarity_groups_models_whose_text_is_alike(tables: Path) -> None:
    """Scores do not matter: fox and wolf have nearly the same on every dataset."""
    config = ClusterConfig(metric="acc", clusters=2, similarity="description")

    (result,) = cluster_history(config, FolderHistory(tables), descriptions=DESCRIPTIONS)
    (scored,) = cluster_history(
        replace(config, similarity="performance"),
        FolderHistory(tables),
        descriptions=DESCRIPTIONS,
    )

    assert {frozenset(c.members) for c in result.clustering.clusters} == {
        frozenset({"fox", "owl"}),
        frozenset({"wolf", "trout", "salmon"}),
    }
    (with_fox,) = (c.members for c in scored.clustering.clusters if "fox" in c.members)
    assert "wolf" in with_fox


def test_a_model_without_a_description_is_compared_by_its_name(tmp_path: Path) -> None:
    rows = [
        (model, dataset, "acc", i + j / 10)
        for i, model in enumerate(("bert-a", "bert-b", "vit-a", "vit-b"))
        for j, dataset in enumerate("xy")
    ]
    table = pd.DataFrame(rows, columns=["model", "dataset", "metric", "value"])
    table.to_csv(tmp_path / "matrix.csv", index=False)
    config = ClusterConfig(metric="acc", clusters=2, similarity="description")

    (result,) = cluster_history(config, FolderHistory(tmp_path))

    assert {frozenset(c.members) for c in result.clustering.clusters} == {
        frozenset({"bert-a", "bert-b"}),
        frozenset({"vit-a", "vit-b"}),
    }


def test_the_zoo_is_clustered_by_what_its_registry_says(copied: Services) -> None:
    """Two are described alike, and the other three otherwise."""
    names = [member.name for member in members_of(copied)]
    for i, name in enumerate(names):
        text = "reads poems about the sea at night" if i < 2 else "counts bricks"
        copied.client.update_registered_model(name, description=text)

    (result,) = cluster_zoo(ClusterConfig(clusters=2, similarity="description"), copied)

    assert {frozenset(c.members) for c in result.clustering.clusters} == {
        frozenset(names[:2]),
        frozenset(names[2:]),
    }
    assert result.run_id is not None
    run = copied.client.get_run(result.run_id)
    assert run.data.params["resolved.similarity"] == "description"


@pytest.fixture
def texts(copied: Services) -> dict[str, str]:
    """Three descriptions of one set of words and two of another, each in its own order."""
    names = [member.name for member in members_of(copied)]
    words = [" ".join(WORDS[i % 2 :: 4][shift:] + WORDS[i % 2 :: 4][:shift])
             for shift, i in enumerate((0, 0, 0, 1, 1))]  # fmt: skip
    return dict(zip(names, words, strict=True))


def test_descriptions_are_compared_by_a_model_of_the_zoo(
    store: str, copied: Services, texts: dict[str, str]
) -> None:
    """Every name of the model, and its folder, give the same encoder."""
    services, _ = services_for(store, text_zoo(store).namespace)
    folder = str(text_zoo(store).folder / "bert-1")
    config = ClusterConfig(clusters=2, similarity="description")

    result = [
        cluster_history(config, copied.history, descriptions=texts, encode=encode)[0].clustering
        for encode in (
            load_encoder("tiny-1", services), load_encoder("text--tiny-1", services),
            load_encoder(folder, services), load_encoder_folder(folder),
        )
    ]  # fmt: skip
    plain = cluster_history(config, copied.history, descriptions=texts)[0].clustering

    for clustering in result:
        np.testing.assert_allclose(clustering.distance, result[0].distance, atol=1e-9)
    vectors = load_encoder_folder(folder)(list(texts.values()))
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    order = [list(texts).index(name) for name in result[0].models]
    np.testing.assert_allclose(
        result[0].distance, 1 - (unit @ unit.T)[np.ix_(order, order)], atol=1e-6
    )
    assert not np.allclose(plain.distance, result[0].distance, atol=1e-3)


def test_clusterings_by_an_encoder_are_compared(
    store: str, copied: Services, texts: dict[str, str]
) -> None:
    encode = load_encoder_folder(str(text_zoo(store).folder / "bert-1"))

    config = ClusterConfig(clusters=2)
    compare = partial(compare_history_clusterings, config, copied.history, descriptions=texts)
    plain = compare().by_modality["text"]
    encoded = compare(encode=encode).by_modality["text"]

    def own(rows: Sequence[ClusteringComparison], similarity: str) -> list[float]:
        return [row.own_silhouette for row in rows if row.similarity == similarity]

    assert own(plain, "performance") == own(encoded, "performance")
    assert own(plain, "description") != own(encoded, "description")


def test_an_encoder_that_is_none_is_answered_with_those_there_are(store: str) -> None:
    services, _ = services_for(store, text_zoo(store).namespace)

    with pytest.raises(ConfigError, match=r"encoder: expected a folder or one of .*text--tiny-0"):
        load_encoder("gpt-9", services)
    with pytest.raises(ConfigError, match=r"expected a folder with config.json, .* got 'tiny-1'"):
        load_encoder_folder("tiny-1")


def test_an_unknown_similarity_is_answered_with_the_known() -> None:
    with pytest.raises(
        ConfigError, match=r"unknown value of similarity 'smell': .* description, performance"
    ):
        ClusterConfig(similarity="smell")


def test_clusterings_are_compared_by_modality(both: Both) -> None:
    """Of five models 2 to 4 clusters are counted, of four 2 and 3; and each may be automatic."""
    compared = compare_history_clusterings(ClusterConfig(), both).by_modality

    assert set(compared) == {"image", "text"}
    for modality, counts in (("text", [2, 3, 4]), ("image", [2, 3])):
        rows = compared[modality]
        for similarity in ("performance", "description"):
            for method in ("hierarchical", "kmeans"):
                requested = [
                    r.requested for r in rows if (r.similarity, r.method) == (similarity, method)
                ]
                assert requested == [None, *counts]


def test_a_comparison_counts_and_cuts_what_is_asked_for(both: Both) -> None:
    counted = compare_history_clusterings(ClusterConfig(clusters=2, modality="text"), both)
    cut = compare_history_clusterings(ClusterConfig(cut=0.1, modality="text"), both)

    assert list(counted.by_modality) == ["text"]
    assert {row.requested for row in counted.by_modality["text"]} == {None, 2}
    assert [r.requested for r in cut.by_modality["text"] if r.choice == "cut"] == [0.1]
    assert counted.failed == cut.failed == {}


def test_an_encoder_that_cannot_be_read_leaves_the_comparison_of_scores(
    copied: Services, texts: dict[str, str], tmp_path: Path
) -> None:
    """The rest of what was asked for is done, and the failure is named with its reason."""
    folder = tmp_path / "broken"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    encode = load_encoder_folder(str(folder))

    result = compare_history_clusterings(
        ClusterConfig(clusters=2), copied.history, descriptions=texts, encode=encode
    )

    assert {row.similarity for row in result.by_modality["text"]} == {"performance"}
    ((what, reason),) = result.failed.items()
    assert what == "similarity by description, text"
    assert "broken" in reason


def test_a_comparison_tags_nothing_and_logs_no_run(
    copied: Services, capsys: pytest.CaptureFixture[str]
) -> None:
    def state() -> object:
        uri = copied.client.tracking_uri
        runs = [run.info.run_id for run in find_runs(uri, copied.namespace, "cluster")]
        return runs, {member.name: member.tags for member in copied.registry.members()}

    before = state()

    data = printed(["cluster", "--compare", "--namespace", copied.namespace], capsys)

    assert {row["modality"] for row in data["comparison"]} == {"text"}
    assert {row["similarity"] for row in data["comparison"]} == {"performance", "description"}
    assert state() == before


# --- new models -----------------------------------------------------------------------------------


class Anywhere(MlflowRegistry):
    """The registry of an imported zoo, on a machine that has the weights."""

    def members(self, on_left_out: Callable[[str], None] | None = None) -> list[Member]:
        return [replace(member, is_available=True) for member in super().members(on_left_out)]

    def weights(self, member: Member) -> str:
        return "somewhere"


class Looking:
    """A probe that tells classes apart the more clearly the stronger a model is in the history."""

    def __init__(self, clear: Mapping[str, float]) -> None:
        self.tasks: list[tuple[str, str]] = []
        self._clear = clear

    def __call__(self, task: ProbeTask) -> Iterator[Probe]:
        name, labels = task.member.name, np.arange(90) % 3
        self.tasks.append((name, task.dataset.name))
        noise = np.random.default_rng(crc32(f"{name} {task.dataset.name}".encode()))
        rows = self._clear[name] * np.eye(6)[labels] + noise.normal(size=(90, 6))
        yield Probe(labels=labels, embeddings=rows, probabilities=None, seconds=0.5)


def joined_by_one(store: str, namespace: str, folder: Path) -> tuple[Services, str]:
    """The text zoo with its history in a namespace of its own, and a model registered since."""
    zoo = text_zoo(store)
    theirs, reporter = services_for(store, zoo.namespace)
    HistoryTransfer(zoo.client, zoo.namespace, registry_for(theirs)).export(folder, reporter)
    models = folder / "models.jsonl"  # without the winners of other tests
    data = [line for line in models.read_text().splitlines() if "tiny" in json.loads(line)["title"]]
    models.write_text("".join(f"{line}\n" for line in data))
    services, reporter = services_for(store, namespace)
    HistoryTransfer(zoo.client, namespace, registry_for(services)).import_history(folder, reporter)
    entry = ZooEntry(
        source=str(tiny_bert(folder / "tiny-new")),
        modality="text",
        name="tiny-new",
        arch="transformers/bert",
        family="tiny",
    )
    name = registry_for(services).register(entry).name
    return replace(services, registry=Anywhere(services.client, namespace)), name


def clarity(services: Services, new_model: str) -> dict[str, float]:
    """Return how clear the probes of each model are: by its strength; the new one is the best."""
    matrix = cluster_history(ClusterConfig(), services.history)[0].matrix
    places = np.argsort(np.argsort(matrix.mean_z_score))
    values = {name: 0.5 + float(p) for name, p in zip(matrix.models, places, strict=True)}
    return {new_model: max(values.values()), **values}


@pytest.mark.slow
def test_a_new_model_is_scored_with_measured_ones_and_a_second_time_nothing_is_computed(
    store: str, namespace: str, tmp_path: Path
) -> None:
    """Its scores are those of the strongest, whatever its features say."""
    services, name = joined_by_one(store, namespace, tmp_path)
    clear = clarity(services, name)
    looking = Looking(clear)

    cluster_zoo(ClusterConfig(clusters=2, probe_new=2), replace(services, probe=looking))
    first, looking.tasks = looking.tasks, []
    cluster_zoo(ClusterConfig(clusters=2, probe_new=2), replace(services, probe=looking))

    assert looking.tasks == []
    assert sorted({model for model, _ in first}) == sorted({*clear})
    assert {dataset for _, dataset in first} == {"set-0", "set-1"}
    assert len(first) == 2 * len(clear)
    run_tags = services.client.get_registered_model(name).tags
    assert run_tags[tags.ESTIMATED] == "true"
    assert run_tags[tags.ESTIMATED_FROM] == "features and scores on 2 datasets"
    assert float(run_tags[tags.ESTIMATED_Z_SCORE]) > 0.5
    lines = getattr(services.reporter, "lines", [])
    assert lines[-1].endswith("by features and scores on 2 datasets")


@pytest.mark.slow
def test_what_scores_say_of_a_new_model_holds_for_later_commands(
    store: str, namespace: str, tmp_path: Path
) -> None:
    """Clustering without probes, and a recommendation, read the estimate from the tags."""
    services, name = joined_by_one(store, namespace, tmp_path)
    looking = Looking(clarity(services, name))
    cluster_zoo(ClusterConfig(clusters=2, probe_new=2), replace(services, probe=looking))
    run_tags = services.client.get_registered_model(name).tags

    cluster_zoo(ClusterConfig(clusters=2), services)
    result = recommend_zoo(RecommendConfig(), services)

    after = services.client.get_registered_model(name).tags
    assert {
        tag: after[tag] for tag in (tags.NEAREST_MODEL, tags.ESTIMATED_Z_SCORE, tags.CLUSTER)
    } == {tag: run_tags[tag] for tag in (tags.NEAREST_MODEL, tags.ESTIMATED_Z_SCORE, tags.CLUSTER)}
    assert result.evidence.estimated_z_scores == {
        name: pytest.approx(float(run_tags[tags.ESTIMATED_Z_SCORE]))
    }


def test_where_no_dataset_can_be_prepared_features_alone_count(
    store: str, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Imported runs do not say where a dataset was, and another machine has no copy."""
    services, name = joined_by_one(store, namespace, tmp_path / "export")
    monkeypatch.setenv("MLFLOW_RECALL_CACHE", str(tmp_path / "other"))
    looking = Looking({})

    (result,) = cluster_zoo(
        ClusterConfig(clusters=2, probe_new=2), replace(services, probe=looking)
    )

    assert looking.tasks == []
    assert set(result.failed) == {"set-0", "set-1", "set-2"}
    assert result.failed["set-0"].startswith("set-0: no prepared copy on this machine")
    run_tags = services.client.get_registered_model(name).tags
    assert run_tags[tags.ESTIMATED_FROM] == "features"
    (line,) = [
        line for line in getattr(services.reporter, "lines", []) if "can be prepared again" in line
    ]
    assert line.startswith("0 of 3 recorded datasets can be prepared again to score new models")
    assert "features alone count: set-0: no prepared copy on this machine" in line


def test_a_model_without_a_history_gets_a_provisional_cluster(store: str, tmp_path: Path) -> None:
    services, name = joined_by_one(store, "new-models", tmp_path)

    cluster_zoo(ClusterConfig(clusters=2), services)

    values = {member.name: member for member in members_of(services)}
    assert values[name].tags[tags.ESTIMATED] == "true"
    assert values[name].cluster in {m.cluster for m in values.values() if m.name != name}
    assert not values[name].is_representative
    assert {m.tags[tags.ESTIMATED] for m in values.values() if m.name != name} == {"false"}
    (line,) = [line for line in getattr(services.reporter, "lines", []) if name in line]
    assert "has no history: assigned to the cluster of" in line
    assert line.endswith("by features")
