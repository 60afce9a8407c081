"""Fine-tunings that are in MLflow already become history for every command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from logged import log_hf, log_lightning, log_run, log_timm
from mlflow import MlflowClient
from prepared import registry_for, services_for
from tiny import tiny_bert

from mlflow_recall.adapters.tracking import tags
from mlflow_recall.adapters.tracking.adopted_runs import TAGS
from mlflow_recall.adapters.tracking.client import ensure_experiment
from mlflow_recall.cli import commands
from mlflow_recall.config import AdoptConfig, ClusterConfig, RecommendConfig
from mlflow_recall.core.external_runs.rules import ImportRules
from mlflow_recall.core.history.comparable import select_comparable
from mlflow_recall.errors import ConfigError, HistoryError, RecallError
from mlflow_recall.workflows.adopt import (
    AdoptionResult,
    adopt_runs,
    adoption_notes,
    release_runs,
    zoo_entry,
)
from mlflow_recall.workflows.cluster import cluster_zoo
from mlflow_recall.workflows.recommend import recommend_zoo
from mlflow_recall.workflows.services import Services

MODELS = {"org/a": 0.9, "org/b": 0.6, "org/c": 0.5}
DATASETS = {"sst2": 0.0, "cola": -0.2}


@pytest.fixture
def services(store: str, namespace: str) -> Services:
    return services_for(store, namespace)[0]


def theirs(services: Services) -> str:
    return f"{services.namespace}-theirs"


def log_all(services: Services) -> list[str]:
    """Three models on two datasets, each fine-tuned over three epochs and tested."""
    return [
        log_hf(
            services.client, theirs(services), model, dataset,
            [score + shift - 0.1, score + shift - 0.05, score + shift], test=score + shift,
        )
        for model, score in MODELS.items()
        for dataset, shift in DATASETS.items()
    ]  # fmt: skip


def run(
    services: Services, *, query: str = "", dry_run: bool = False, **rules: Any
) -> AdoptionResult:
    config = AdoptConfig(
        experiments=(theirs(services),), rules=ImportRules(**rules), filter=query, dry_run=dry_run
    )
    return adopt_runs(config, services, registry_for(services))


def put(services: Services, title: str, source: str, modality: str = "text") -> str:
    """A registered model that needs no weights."""
    name = registry_for(services).name_of(title)
    services.client.create_registered_model(name, tags={tags.NAMESPACE: services.namespace})
    run_tags = {
        tags.ARCH: "transformers/bert", tags.MODALITY: modality, tags.SOURCE: source,
        tags.NAMESPACE: services.namespace,
    }  # fmt: skip
    services.client.create_model_version(name, source, tags=run_tags)
    return name


def tags_of(services: Services) -> dict[str, dict[str, str]]:
    experiment = services.client.get_experiment_by_name(theirs(services))
    assert experiment is not None
    runs = services.client.search_runs([experiment.experiment_id])
    return {r.info.run_id: dict(r.data.tags) for r in runs}


# --- the main story ------------------------------------------------------------------------------


def test_adopted_runs_are_history_for_all_that_reads_it(services: Services) -> None:
    """Registered models are ranked; the one that is not teaches the clustering alone."""
    log_all(services)
    names = [
        put(services, title, f"hf:/{title.replace('--', '/')}") for title in ("org--a", "org--b")
    ]

    result = run(services)

    assert (result.written.adopted, result.selection.cells, result.selection.coverage) == (
        6,
        6,
        1.0,
    )
    records = services.history.records("accuracy")
    assert len(select_comparable(records, "text").records) == 6
    assert {len(record.validation_scores) for record in records} == {3}
    (clustered,) = cluster_zoo(ClusterConfig(), services)
    assert len(clustered.matrix.models) == 3
    assert clustered.tagged == 2
    recommendation = recommend_zoo(RecommendConfig(), services).recommendation
    assert recommendation.ranking.models == tuple(names)


def test_a_second_time_only_new_runs_are_adopted(services: Services) -> None:
    log_all(services)
    run(services)
    before = tags_of(services)

    second = run(services)
    assert (second.written.adopted, second.written.known, second.written.updated) == (0, 6, 0)
    assert tags_of(services) == before
    log_hf(services.client, theirs(services), "org/d", "sst2", [0.4], test=0.4)
    more = run(services)

    assert (more.written.adopted, more.written.known) == (1, 6)
    assert len(services.history.records("accuracy")) == 7


def test_a_dry_run_understands_the_same_and_changes_nothing(services: Services) -> None:
    log_all(services)
    before = tags_of(services)

    dry = run(services, dry_run=True)

    assert tags_of(services) == before
    assert services.client.get_experiment_by_name(f"{services.namespace}/benchmark") is None
    real = run(services)
    assert (dry.written, dry.selection, dry.states) == (real.written, real.selection, real.states)


def test_three_conventions_are_one_history(services: Services) -> None:
    """Curves of HF Trainer, Lightning and timm have one stage an epoch, all in [0, 1]."""
    log_hf(services.client, theirs(services), "org/a", "sst2", [0.5, 0.6, 0.7], test=0.65)
    log_lightning(services.client, theirs(services), "org/b", "sst2", [0.4, 0.5, 0.6], test=0.55)
    log_lightning(
        services.client, theirs(services), "org/c", "sst2", [0.3, 0.4], test=0.45, key="val/acc"
    )
    log_timm(services.client, theirs(services), "resnet18", "/data/pets", [50.0, 75.0, 81.5])

    run(services, modality="any")

    records = {r.model.rpartition("--")[2]: r for r in services.history.records("accuracy")}
    assert {
        name: (r.dataset, r.validation_scores, r.final_score) for name, r in records.items()
    } == {
        "a": ("sst2", (0.5, 0.6, 0.7), 0.65),
        "b": ("sst2", (0.4, 0.5, 0.6), 0.55),
        "c": ("sst2", (0.3, 0.4), 0.45),
        "resnet18": ("pets", (0.5, 0.75, pytest.approx(0.815)), pytest.approx(0.815)),
    }


def test_repeats_are_kept_and_a_better_configuration_takes_their_place(services: Services) -> None:
    for seed, score in enumerate((0.6, 0.7)):
        log_hf(services.client, theirs(services), "org/b", "sst2", [score], test=score, seed=seed)
    assert run(services).written.adopted == 2
    better = log_hf(
        services.client, theirs(services), "org/b", "sst2", [0.9], test=0.8, learning_rate=1e-3
    )

    result = run(services)

    assert (result.written.adopted, result.written.released) == (1, 2)
    assert [record.run_id for record in services.history.records("accuracy")] == [better]
    assert run(services).written.known == 1
    assert run(services, keep="all").written.adopted == 2


def test_a_namespace_gives_back_what_it_took(services: Services, store: str) -> None:
    log_all(services)
    before = tags_of(services)
    run(services)
    other, _ = services_for(store, f"{services.namespace}-other")
    with pytest.raises(
        HistoryError, match=f"history of namespace '{services.namespace}': `mlflow-re"
    ):
        adopt_runs(AdoptConfig(experiments=(theirs(services),)), other, registry_for(other))

    assert release_runs(AdoptConfig(experiments=(theirs(services),)), services) == 6

    assert tags_of(services) == before
    with pytest.raises(HistoryError, match="adopt --release: expected runs with the tag"):
        release_runs(AdoptConfig(experiments=(theirs(services),)), services)
    assert (
        adopt_runs(
            AdoptConfig(experiments=(theirs(services),)), other, registry_for(other)
        ).written.adopted
        == 6
    )


def test_a_model_registered_later_is_named_as_in_the_registry(services: Services) -> None:
    log_hf(services.client, theirs(services), "org/a", "sst2", [0.5])
    missing = run(services).selection.unregistered
    prefix = registry_for(services).name_of("")
    assert [zoo_entry(c, prefix) for c in missing] == [
        {"source": "hf:/org/a", "modality": "text", "name": "org--a"}
    ]
    name = put(services, "my-own-name", "hf:/org/a@main")

    result = run(services)

    assert (result.written.updated, result.selection.models, result.selection.unregistered) == (
        1,
        (name,),
        (),
    )


def test_notes_say_what_a_person_should_know(services: Services) -> None:
    log_hf(services.client, theirs(services), "org/a", "sst2", [0.9], test=40.0)
    log_hf(services.client, theirs(services), "org/b", "sst2", [50.0])
    log_run(
        services.client, theirs(services),
        {"model": "org/c", "dataset": "d", "vocab_size": 9},
        [("eval_accuracy", 0, 40.0), ("eval_accuracy", 0, 60.0)],
    )  # fmt: skip

    percent, single, *lines = adoption_notes(run(services))

    assert percent == (
        f"experiment {theirs(services)!r}: eval_accuracy in percent in all runs: accuracy is "
        "divided by 100 (3 runs)"
    )
    assert single.startswith(f"experiment {theirs(services)!r}: 1 run, such as run (")
    assert single.endswith(
        "logged all of eval_accuracy at step 0: the last value is the final score, and there is no "
        "curve"
    )
    assert [line.partition(":")[0] for line in lines] == [
        "2 of 3 runs without a test score, such as org/b sst2 "
        + lines[0].partition("org/b sst2 ")[2].partition(":")[0],
        "3 models not registered, so used for clustering only; a zoo file for `mlflow-recall "
        "register` needs - {source",
    ]
    assert "on d, sst2 the last validation score is used instead" in lines[0]


def test_a_curve_at_step_0_is_a_final_score_alone(services: Services) -> None:
    """Code that gives no step logs every epoch there, and only the last value can be told."""
    points = [("val_acc", 0, value) for value in (0.4, 0.6, 0.7)]
    params = {"model_name": "org/a", "dataset": "d", "vocab_size": 9}
    log_run(services.client, theirs(services), params, points)

    run(services)

    (record,) = services.history.records("accuracy")
    assert (record.final_score, record.validation_scores) == (0.7, ())
    assert run(services).written.known == 1


def test_experiments_of_one_dataset_are_compared_by_one_split(services: Services) -> None:
    """One of them is without test scores, so that the test scores of the other do not compare."""
    other = f"{theirs(services)}-2"
    log_hf(services.client, theirs(services), "org/a", "sst2", [0.5, 0.7], test=0.9)
    log_hf(services.client, other, "org/b", "sst2", [0.6, 0.8])
    for experiment in (theirs(services), other):
        adopt_runs(AdoptConfig(experiments=(experiment,)), services, registry_for(services))

    records = services.history.records("accuracy")

    assert sorted(record.final_score for record in records) == [0.7, 0.8]


def test_one_experiment_that_cannot_be_read_does_not_keep_the_others(services: Services) -> None:
    """The others are adopted, and the command says which was not, and why, with exit code 1."""
    log_all(services)
    other = f"{theirs(services)}-2"
    log_run(services.client, other, {"dataset": "d"}, [("val_acc", 1, 0.5)])

    answer = command(services, "--experiment", f"{theirs(services)},{other}", "--json", "-")
    data = json.loads(answer.stdout)

    assert answer.exit_code == 1
    assert data["adopted"] == 6
    assert list(data["failed"]) == [other]
    assert data["failed"][other].startswith("model: none of 1 finished runs")


# --- bad input -----------------------------------------------------------------------------------


def test_our_own_runs_are_not_adopted(services: Services) -> None:
    log_run(services.client, theirs(services), {}, [], run_tags={tags.KIND: "benchmark"})

    with pytest.raises(HistoryError, match="expected finished runs of others, got 1 FINISHED"):
        run(services)


def test_a_filter_that_matches_nothing_is_one_line(services: Services) -> None:
    log_all(services)

    with pytest.raises(HistoryError, match="got none: look for them with another --experiment"):
        run(services, query="tags.team = 'nobody'")


def test_a_metric_is_not_adopted_in_both_directions(services: Services) -> None:
    log_run(
        services.client, theirs(services), {"model": "a", "dataset": "d"}, [("val_drift", 1, 0.5)],
        run_tags={"team": "x"},
    )  # fmt: skip
    run(services, metric="drift", minimize=True, modality="text")

    with pytest.raises(ConfigError, match=r"drift is lower-is-better in run .* and higher-"):
        run(services, metric="drift", minimize=False, modality="text")


def test_no_experiment_is_one_line() -> None:
    with pytest.raises(ConfigError, match="expected at least one --experiment"):
        AdoptConfig(experiments=())


# --- the command ---------------------------------------------------------------------------------


def command(services: Services, *argv: str) -> Any:
    return CliRunner().invoke(commands, ["adopt", "--namespace", services.namespace, *argv])


def test_the_command_prints_one_object_for_machines(services: Services, tmp_path: Path) -> None:
    ids = log_all(services)
    failed = log_run(services.client, theirs(services), {}, [], status="FAILED")
    zoo = tmp_path / "zoo.yaml"
    argv = ("--experiment", theirs(services), "--json", "-", "--zoo-to", str(zoo))

    dry = json.loads(command(services, *argv, "--dry-run").stdout)
    data = json.loads(command(services, *argv).stdout)

    assert (dry["adopted"], dry["dry_run"], dry["runs"]) == (6, True, data["runs"])
    assert (data["cells"], data["models"], data["datasets"], data["coverage"]) == (6, 3, 2, 1.0)
    assert (data["adopted"], data["known"]) == (6, 0)
    assert data["left_out"] == {"FAILED, not FINISHED": [failed]}
    assert {entry["run_id"] for entry in data["runs"]} == set(ids)
    (rules,) = data["rules"].values()
    assert rules["model"] == ["params._name_or_path"]
    assert rules["validation"] == ["eval_accuracy"]
    assert rules["units"] == {"eval_accuracy": "fraction", "test_accuracy": "fraction"}
    assert data["failed"] == {}
    assert [entry["source"] for entry in yaml.safe_load(zoo.read_text())["models"]] == [
        "hf:/org/a", "hf:/org/b", "hf:/org/c",
    ]  # fmt: skip


def test_the_command_prints_what_it_understands_for_people(services: Services) -> None:
    log_all(services)

    answer = command(services, "--experiment", theirs(services), "--dry-run")

    assert answer.exit_code == 0
    for part in ("params._name_or_path", "eval_accuracy", "HF Trainer", "in fraction"):
        assert part in answer.stdout
    assert answer.stdout.splitlines()[-1].startswith("6 runs would be adopted, 0 known, 0 left out")


def test_options_come_before_the_file_of_rules(services: Services, tmp_path: Path) -> None:
    log_all(services)
    requested = {
        "experiment": theirs(services), "metric": "log_loss", "validation": "eval_loss",
        "test": "test_loss", "dataset": "params.model_type", "models": {"org/a": "mine"},
    }  # fmt: skip
    path = tmp_path / "adopt.yaml"
    path.write_text(yaml.safe_dump(requested))

    answer = command(
        services, "--rules", str(path), "--dataset", "params.finetuning_task", "--json", "-"
    )
    data = json.loads(answer.stdout)

    (rules,) = data["rules"].values()
    assert (rules["metric"], rules["minimize"]) == ("log_loss", True)
    assert {entry["dataset"] for entry in data["runs"]} == set(DATASETS)
    assert registry_for(services).name_of("mine") in {entry["model"] for entry in data["runs"]}


def test_the_command_releases_runs(services: Services) -> None:
    log_all(services)
    command(services, "--experiment", theirs(services))

    answer = command(services, "--experiment", theirs(services), "--release")

    assert answer.stdout.splitlines()[-1] == "6 runs released"
    assert not any(set(TAGS) & set(values) for values in tags_of(services).values())


def test_an_error_is_one_line(services: Services) -> None:
    answer = command(services, "--experiment", f"{services.namespace}-nowhere")

    assert isinstance(answer.exception, RecallError)
    assert "\n" not in str(answer.exception)


# --- the real callback ---------------------------------------------------------------------------


@pytest.mark.slow
def test_a_run_of_the_real_trainer_is_adopted(services: Services, tmp_path: Path) -> None:
    """Two epochs of a tiny BERT by transformers.Trainer with MLflowCallback, and its own test."""
    run_id = train(services.client, theirs(services), tiny_bert(tmp_path / "tiny"))

    result = run(services)

    assert result.selection.left_out == {}
    (rules,) = result.selection.rules.values()
    assert set(rules.validation) == {"eval_accuracy"}
    (record,) = services.history.records("accuracy")
    assert record.run_id == run_id
    assert (record.model, record.dataset, record.modality) == (
        registry_for(services).name_of("tiny"), "words", "text",
    )  # fmt: skip
    logged = services.client.get_metric_history(run_id, "eval_accuracy")
    assert record.validation_scores == tuple(point.value for point in logged)
    assert len(record.validation_scores) == len(record.seconds) == 2
    assert record.final_score == services.client.get_run(run_id).data.metrics["test_accuracy"]


def train(client: MlflowClient, experiment: str, folder: Path) -> str:
    """Return the id of the run that the callback logged to."""
    import mlflow
    import torch
    from transformers import AutoModelForSequenceClassification, Trainer, TrainingArguments
    from transformers.integrations.integration_utils import MLflowCallback

    rows = [
        {"input_ids": torch.randint(4, 28, (6,)), "labels": torch.tensor(i % 2)} for i in range(16)
    ]
    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=2)
    arguments = TrainingArguments(
        output_dir=str(folder / "out"), num_train_epochs=2, per_device_train_batch_size=8,
        eval_strategy="epoch", save_strategy="no", report_to="none", disable_tqdm=True,
        use_cpu=True,
    )  # fmt: skip

    def accuracy(predicted: Any) -> dict[str, float]:
        return {"accuracy": float((predicted[0].argmax(-1) == predicted[1]).mean())}

    trainer = Trainer(
        model, arguments, train_dataset=rows, eval_dataset=rows, compute_metrics=accuracy,
        callbacks=[MLflowCallback()],  # type: ignore[no-untyped-call]
    )  # fmt: skip
    experiment_id = ensure_experiment(client, experiment)
    with mlflow.start_run(experiment_id=experiment_id, tags={"dataset_name": "words"}) as active:
        trainer.train()
        trainer.evaluate(rows[:8], metric_key_prefix="test")  # type: ignore[arg-type]
        mlflow.flush_async_logging()
    return str(active.info.run_id)
