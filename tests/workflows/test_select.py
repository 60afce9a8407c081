"""A selection from recall to a registered winner, and all that can go wrong."""

from __future__ import annotations

import base64
import json
import math
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
from mlflow.artifacts import download_artifacts
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from prepared import (
    EPOCHS,
    TARGET_ROWS,
    RecordingReporter,
    Zoo,
    find_runs,
    image_zoo,
    registry_for,
    services_for,
    text_zoo,
)
from tiny import CLASSES, tiny_texts

from mlflow_recall.adapters.manifests.dataset_spec import DatasetSpec
from mlflow_recall.adapters.tracking import tags
from mlflow_recall.adapters.tracking.client import search_runs
from mlflow_recall.adapters.tracking.registry import MlflowRegistry
from mlflow_recall.adapters.tracking.stored_defaults import write_defaults
from mlflow_recall.cache import cache_folder
from mlflow_recall.config import BenchmarkConfig, RecallConfig, RecommendConfig, SelectConfig
from mlflow_recall.core.defaults import Defaults
from mlflow_recall.core.history.ground_truth import GroundTruth
from mlflow_recall.core.history.records import Member
from mlflow_recall.core.policies import POLICIES
from mlflow_recall.core.policies.budget import Budget
from mlflow_recall.errors import ConfigError, ZooError
from mlflow_recall.ports import StageResult, TrainTask
from mlflow_recall.workflows.benchmark import run_benchmark
from mlflow_recall.workflows.select import run_selection
from mlflow_recall.workflows.selection import (
    RegisteredModel,
    SelectionResult,
    candidate_rows,
    compare_with_brute_force,
)
from mlflow_recall.workflows.services import Services

pytestmark = pytest.mark.slow

PICKLES = {".bin", ".pkl", ".pt", ".pth", ".ckpt", ".joblib"}


@dataclass(frozen=True)
class Page:
    """A selection as the tracking server shows it."""

    parent: Run
    #: candidates in the order of recall
    children: Sequence[Run]
    #: the winner once more on all samples
    finals: Sequence[Run]

    def child(self, model: str) -> Run:
        return next(run for run in self.children if run.data.tags[tags.MODEL] == model)


@pytest.fixture
def text(store: str) -> Zoo:
    return text_zoo(store)


@pytest.fixture(scope="module")
def page(store: str) -> tuple[SelectionResult, Page]:
    """One selection with all defaults."""
    zoo = text_zoo(store)
    selected, _ = selection(zoo)
    return selected, page_of(zoo, selected.run_id)


def configure(zoo: Zoo, *, dataset: DatasetSpec | None = None, **settings: Any) -> SelectConfig:
    """Return a selection among the models that the zoo began with.

    The name of its winner is none of theirs.
    """
    own = {f.name for f in fields(SelectConfig)}
    recommend = {name: settings.pop(name) for name in list(settings) if name not in own}
    usual = {"models": (zoo.everyone,), "recommender": "prior"}
    recall = RecallConfig(
        dataset=dataset or zoo.target, recommend=RecommendConfig(**{**usual, **recommend})
    )
    return SelectConfig(recall=recall, **{"register_as": f"{zoo.namespace}-winner", **settings})


def selection(
    zoo: Zoo, *, recommender: str = "auto", **settings: Any
) -> tuple[SelectionResult, RecordingReporter]:
    services, reporter = services_for(zoo.uri, zoo.namespace)
    config = configure(zoo, recommender=recommender, **settings)
    return run_selection(config, services, registry_for(services)), reporter


def page_of(zoo: Zoo, run_id: str) -> Page:
    parent = zoo.client.get_run(run_id)
    query = f"tags.`mlflow.parentRunId` = '{run_id}'"
    runs = list(search_runs(zoo.client, [parent.info.experiment_id], query))
    children = [run for run in runs if run.data.tags[tags.KIND] == "candidate"]
    finals = [run for run in runs if run.data.tags[tags.KIND] == "final"]
    assert len(children) + len(finals) == len(runs)
    return Page(parent, sorted(children, key=lambda run: int(run.data.params["rank"])), finals)


def latest(zoo: Zoo) -> Page:
    """Return the latest selection."""
    experiment = zoo.client.get_experiment_by_name(f"{zoo.namespace}/select")
    assert experiment is not None
    query = f"tags.`{tags.KIND}` = 'selection'"
    runs = search_runs(zoo.client, [str(experiment.experiment_id)], query)
    return page_of(zoo, max(runs, key=lambda run: run.info.start_time).info.run_id)


def winner_of(selected: SelectionResult) -> RegisteredModel:
    """Return where the winner is registered."""
    assert selected.registered is not None
    return selected.registered


def registered(zoo: Zoo, name: str = "") -> list[ModelVersion]:
    name = name or f"{zoo.namespace}-winner"
    return list(zoo.client.search_model_versions(f"name = '{name}'"))


def failing(
    services: Services, broken: Callable[[TrainTask], bool], error: BaseException | None = None
) -> Services:
    """Return services whose training raises for some tasks."""

    def train(task: TrainTask) -> Iterator[StageResult]:
        if broken(task):
            raise error or ZooError(f"{task.member.name}: broken on purpose")
        return services.train(task)

    return replace(services, train=train)


# --- what a selection leaves ---------------------------------------------------------------------


def test_a_selection_is_one_parent_and_a_child_for_each_recalled_model(
    page: tuple[SelectionResult, Page],
) -> None:
    selected, run_page = page

    assert run_page.parent.info.status == "FINISHED"
    assert run_page.parent.data.tags[tags.KIND] == "selection"
    assert [run.data.tags[tags.MODEL] for run in run_page.children] == list(
        selected.recall.selected
    )
    assert len(run_page.children) == 5
    assert {run.info.experiment_id for run in run_page.children} == {
        run_page.parent.info.experiment_id
    }


def test_statuses_reasons_and_rivals_are_those_that_were_decided(
    page: tuple[SelectionResult, Page],
) -> None:
    """FINISHED is trained to the end, KILLED is stopped, each with its reason."""
    selected, run_page = page

    assert Counter(c.status for c in selected.candidates)["winner"] == 1
    assert Counter(c.status for c in selected.candidates)["stopped"] >= 3
    for candidate in selected.candidates:
        run = run_page.child(candidate.name)
        run_tags = run.data.tags
        stopped = candidate.status == "stopped"
        assert run.info.status == ("KILLED" if stopped else "FINISHED")
        assert run_tags[tags.STATUS] == candidate.status
        assert run_tags[tags.STAGE] == str(candidate.stage)
        assert candidate.stage == EPOCHS or stopped
        assert run_tags[tags.REASON] == candidate.reason != ""
        assert run_tags.get(tags.RIVAL) == candidate.rival
        if stopped:
            assert run_tags[tags.REASON].startswith(f"after stage {candidate.stage}: ")
            assert candidate.rival in selected.recall.selected
            assert "Stopped after stage" in run_tags["mlflow.note.content"]


def test_no_candidate_is_trained_after_the_stage_that_stopped_it(
    page: tuple[SelectionResult, Page],
) -> None:
    selected, run_page = page

    for candidate in selected.candidates:
        run = run_page.child(candidate.name)
        client = services_for(mlflow.get_tracking_uri(), "text")[0].client
        points = client.get_metric_history(run.info.run_id, "val/accuracy")
        assert [point.step for point in points] == list(range(1, candidate.stage + 1))
        assert [point.value for point in points] == candidate.scores


def test_stopping_reads_validation_and_the_test_split_is_touched_once(
    page: tuple[SelectionResult, Page],
) -> None:
    selected, run_page = page

    tested = [run for run in run_page.children if "test/accuracy" in run.data.metrics]

    assert [run.data.tags[tags.MODEL] for run in tested] == [selected.winner.name]
    assert tested[0].data.metrics["test/accuracy"] == selected.test["accuracy"]
    assert run_page.parent.data.metrics["test/accuracy"] == selected.test["accuracy"]


def test_the_winner_is_the_best_finalist_on_validation(page: tuple[SelectionResult, Page]) -> None:
    selected, _ = page

    ends = {c.name: c.scores[-1] for c in selected.candidates if c.stage == EPOCHS}

    assert ends[selected.winner.name] == max(ends.values())


def test_the_cost_is_counted_in_epochs_and_seconds(page: tuple[SelectionResult, Page]) -> None:
    selected, run_page = page
    metrics = run_page.parent.data.metrics

    assert metrics["selection/epochs"] == selected.epochs
    assert selected.epochs == sum(candidate.stage for candidate in selected.candidates)
    assert metrics["selection/brute_force_epochs"] == 5 * EPOCHS
    assert metrics["selection/halving_epochs"] == 5 + 2 + 1
    assert selected.epochs <= 5 + 2 + 1  # fine-selection never costs more than halving
    assert metrics["selection/final_epochs"] == EPOCHS
    assert 0 < metrics["selection/train_seconds"] < metrics["selection/seconds"]


def test_the_parent_says_what_was_asked_and_what_came_out(
    page: tuple[SelectionResult, Page],
) -> None:
    selected, run_page = page
    run_tags = run_page.parent.data.tags

    assert run_page.parent.data.params["resolved.policy"] == "auto"
    assert run_page.parent.data.params["resolved.dataset"].endswith("target.csv")
    assert (run_tags[tags.POLICY], run_tags[tags.HAS_PREDICTIONS]) == ("fine_selection", "true")
    assert run_tags["recall.winner"] == selected.winner.name
    note = run_tags["mlflow.note.content"]
    wins = f"**{selected.winner.name}** wins on target (classification) with test accuracy"
    assert note.startswith(wins)
    for candidate in selected.candidates:
        assert candidate.reason in note
    assert run_page.parent.inputs is not None
    (entry,) = run_page.parent.inputs.dataset_inputs
    assert entry.dataset.name == "target"


def test_every_run_carries_its_owner_and_a_heartbeat(page: tuple[SelectionResult, Page]) -> None:
    _, run_page = page

    for run in (run_page.parent, *run_page.children, *run_page.finals):
        assert json.loads(run.data.tags[tags.OWNER])["process"] == os.getpid()
        assert int(run.data.tags[tags.HEARTBEAT]) >= 0


def test_a_predicted_final_score_is_a_metric_by_stage(page: tuple[SelectionResult, Page]) -> None:
    selected, run_page = page

    for candidate in selected.candidates:
        metrics = run_page.child(candidate.name).data.metrics
        if candidate.predictions:
            assert metrics["selection/predicted"] == pytest.approx(candidate.predictions[-1][1])
    assert any(candidate.predictions for candidate in selected.candidates)


def test_checkpoints_are_gone_afterwards(page: tuple[SelectionResult, Page]) -> None:
    assert not cache_folder("checkpoints", page[0].run_id).exists()


# --- the winner ----------------------------------------------------------------------------------


def test_the_winner_is_registered_under_its_alias(
    page: tuple[SelectionResult, Page], text: Zoo
) -> None:
    selected, run_page = page

    own_versions = [v for v in registered(text) if v.tags[tags.SELECTION] == selected.run_id]

    (version,) = own_versions
    assert selected.registered == RegisteredModel("text-winner", str(version.version), "winner")
    assert version.run_id == selected.run_id
    assert version.tags[tags.MODEL] == selected.winner.name
    assert run_page.parent.data.tags["recall.registered"] == f"text-winner/{version.version}"
    assert "winner" in text.client.get_registered_model("text-winner").aliases


def test_the_winner_predicts_through_mlflow(page: tuple[SelectionResult, Page]) -> None:
    version = winner_of(page[0]).version

    model = mlflow.pyfunc.load_model(f"models:/text-winner/{version}")
    answers = model.predict(pd.DataFrame({"text": ["w00 w03 w06", "w01 w04 w07"]}))

    assert set(answers["label"]) <= set(CLASSES)
    assert answers["score"].between(1 / len(CLASSES), 1).all()


def test_nothing_of_the_winner_is_pickled(
    page: tuple[SelectionResult, Page], tmp_path: Path
) -> None:
    version = winner_of(page[0]).version

    folder = Path(download_artifacts(f"models:/text-winner/{version}", dst_path=str(tmp_path)))

    files = {path.name for path in folder.rglob("*") if path.is_file()}
    assert "model.safetensors" in files
    assert not {name for name in files if Path(name).suffix in PICKLES}


def test_one_selection_never_registers_twice(
    page: tuple[SelectionResult, Page], text: Zoo, tmp_path: Path
) -> None:
    """The parent run is the key: a second call finds the first's version."""
    selected, _ = page
    before = [version.version for version in registered(text)]

    second = MlflowRegistry(text.client, text.namespace).register_winner(
        "text-winner",
        tmp_path,
        selected.winner.member,
        selected.recall.dataset,
        run_id=selected.winner.run.run_id,
        parent_id=selected.run_id,
        experiment_id=selected.experiment_id,
        alias="winner",
    )

    assert str(second.version) == winner_of(selected).version
    assert [version.version for version in registered(text)] == before


@pytest.mark.slow
@pytest.mark.parametrize("name", ["kay's tickets", '<b>"kay\'s"|*tickets*</b>'])
def test_a_second_selection_for_a_name_with_quotes_is_the_second_version(
    text: Zoo, name: str, tmp_path: Path
) -> None:
    """The name of a file becomes the name of a model, which filters and pages must bear."""
    target = DatasetSpec(path=str(tiny_texts(tmp_path / "kay's tickets.csv", 60)), name=name)

    versions = []
    for _ in range(2):
        selected, _ = selection(
            text, dataset=target, register_as=None, top_k=2, recommender="prior"
        )
        versions.append(str(winner_of(selected).version))
    note = page_of(text, selected.run_id).parent.data.tags["mlflow.note.content"]

    assert versions == ["1", "2"]
    assert winner_of(selected).name == name.replace("/", "--")
    assert "<b>" not in note


def test_the_winner_is_retrained_on_all_samples_as_one_more_child(
    page: tuple[SelectionResult, Page],
) -> None:
    """By default where the target has more samples than the recipe uses."""
    selected, run_page = page

    (final,) = run_page.finals
    assert final.info.status == "FINISHED"
    assert final.data.params["recipe.train_samples"] == "0"
    samples = round(TARGET_ROWS * 0.6)  # a fifth of all rows is the test, a fifth validation
    assert final.data.tags[tags.REASON] == f"the winner, trained on all {samples} samples"
    assert final.data.tags[tags.STAGE] == str(EPOCHS)
    assert selected.final.epochs == EPOCHS
    assert final.data.metrics["test/accuracy"] == selected.final.test["accuracy"]


def test_a_winner_that_cannot_be_retrained_is_registered_as_it_won(text: Zoo) -> None:
    """Hours of training are not lost, and the failure is named, with exit code 1 of the command."""
    healthy, _ = services_for(text.uri, text.namespace)
    config = configure(text, policy="brute_force", final="full", models=text.models[:1])

    def train(task: TrainTask) -> Iterator[StageResult]:
        if task.recipe.train_samples == 0:
            raise RuntimeError("out of memory")
        return healthy.train(task)

    services = replace(healthy, train=train)
    selected = run_selection(config, services, registry_for(services))

    assert selected.final.epochs == 0
    ((what, reason),) = selected.failed.items()
    assert what == "training on all samples"
    assert "out of memory" in reason
    assert winner_of(selected).version


def test_final_same_registers_what_won(text: Zoo) -> None:
    selected, _ = selection(text, top_k=2, final="same", recommender="prior")

    assert page_of(text, selected.run_id).finals == []
    assert (selected.final.epochs, selected.final.test) == (0, {})


def test_final_auto_does_not_train_again_on_the_same_samples(text: Zoo) -> None:
    selected, _ = selection(
        text, top_k=1, recommender="prior", recipe={"train_samples": TARGET_ROWS}
    )

    assert selected.final.epochs == 0
    assert page_of(text, selected.run_id).finals == []


@pytest.fixture
def champion(text: Zoo) -> Iterator[str]:
    """Register a winner; delete it and its runs afterwards."""
    name = "text-champion"
    selection(text, top_k=1, final="same", recommender="prior", register_as=name)
    yield name
    text.client.delete_registered_model(name)
    for run in find_runs(text.uri, text.namespace, "benchmark"):
        if run.data.tags[tags.MODEL] == name:
            text.client.delete_run(run.info.run_id)


def test_a_winner_competes_in_a_later_selection(text: Zoo, champion: str) -> None:
    """Its weights load as a zoo member, before and after it has a history of its own."""
    services, _ = services_for(text.uri, text.namespace)
    config = configure(text, policy="halving", final="same", models=(*text.models[2:4], champion))
    spec = replace(text.target, path=str(text.folder / "set-0.csv"))

    unknown = run_selection(config, services, registry_for(services))
    done = run_benchmark(
        BenchmarkConfig(datasets=(spec,), models=(champion,), recipe={"epochs": EPOCHS}), services
    )
    known = run_selection(config, services, registry_for(services))

    (new,) = unknown.recall.context.cold_start  # without a history it is like the one that won
    assert (new.model, new.nearest_model in text.models) == (champion, True)
    assert not known.recall.context.cold_start
    assert (done.completed, done.failed) == ([f"{champion} on set-0"], {})
    assert champion in known.recall.context.clustering.models
    for selected in (unknown, known):
        (candidate,) = (c for c in selected.candidates if c.name == champion)
        assert candidate.stage >= 1
        assert candidate.status != "failed"


# --- the judgment of a recorded brute force -----------------------------------------------------


@pytest.fixture(scope="module")
def judged(store: str) -> tuple[SelectionResult, Page]:
    """A selection for a dataset that the whole zoo was benchmarked on."""
    zoo = text_zoo(store)
    services, _ = services_for(zoo.uri, zoo.namespace)
    target = replace(zoo.target, path=str(zoo.folder / "set-0.csv"))
    config = configure(zoo, dataset=target, top_k=2, final="same", register_as="text-judged")
    selected = run_selection(config, services, registry_for(services))
    return selected, page_of(zoo, selected.run_id)


def recorded(zoo: Zoo, dataset: str) -> dict[str, float]:
    """Return model -> final test accuracy in the runs of the benchmark."""
    runs = find_runs(zoo.uri, zoo.namespace, "benchmark")
    return {
        run.data.tags[tags.MODEL]: run.data.metrics["test/accuracy"]
        for run in runs
        if run.data.tags[tags.DATASET] == dataset and run.data.tags[tags.MODEL] in zoo.models
    }


def test_a_recorded_brute_force_is_the_judge_of_a_selection(
    judged: tuple[SelectionResult, Page], text: Zoo
) -> None:
    selected, _ = judged
    known = recorded(text, "set-0")
    best = max(known.values())

    assert selected.ground_truth is not None
    assert set(selected.ground_truth.models) == set(known) == set(text.models)
    assert known[selected.ground_truth.best] == best
    assert selected.regret == pytest.approx(best - known[selected.winner.name])
    better = sum(score > known[selected.winner.name] for score in known.values())
    assert selected.ground_truth.rank(selected.winner.name) == 1 + better


def test_the_judgment_is_on_the_page_of_the_run(judged: tuple[SelectionResult, Page]) -> None:
    selected, run_page = judged

    data = run_page.parent.data
    assert data.metrics["selection/regret"] == pytest.approx(selected.regret)
    comparison = compare_with_brute_force(selected)
    assert comparison is not None
    assert comparison.startswith("Brute force is on record for this dataset: ")
    assert comparison in data.tags["mlflow.note.content"]


def test_the_recorded_brute_force_is_not_read_by_the_ranking(
    judged: tuple[SelectionResult, Page],
) -> None:
    """The target's records are no part of the history that ranks."""
    selected, _ = judged

    context = selected.recall.context
    assert context.matrix.datasets == ("set-1", "set-2")
    assert {record.dataset for record in context.comparable.records} == {"set-1", "set-2"}


def test_without_a_recorded_brute_force_there_is_no_comparison(
    page: tuple[SelectionResult, Page],
) -> None:
    selected, run_page = page

    assert selected.ground_truth is None
    assert selected.regret is None
    assert compare_with_brute_force(selected) is None
    assert "selection/regret" not in run_page.parent.data.metrics
    assert "rute force is on record" not in run_page.parent.data.tags["mlflow.note.content"]


def known_of(selected: SelectionResult, metric: str, scores: dict[str, float]) -> SelectionResult:
    """Return a result as if these models were recorded on the target; higher is better."""
    truth = GroundTruth(scores)
    context = replace(selected.recall.context, ground_truth=truth)
    return replace(selected, metric=metric, recall=replace(selected.recall, context=context))


def test_a_verdict_by_hand(page: tuple[SelectionResult, Page]) -> None:
    """The winner's 0.8 is third after 0.95 and 0.9: a regret of 0.15."""
    winner = page[0].winner.name
    selected = known_of(page[0], "accuracy", {"a": 0.9, winner: 0.8, "b": 0.95, "c": 0.8})

    assert selected.regret == pytest.approx(0.15)
    assert compare_with_brute_force(selected) == (
        "Brute force is on record for this dataset: the best of 4 models is b with test accuracy "
        "0.950; the winner ranks 3, with a regret of 0.150."
    )


def test_a_loss_is_reported_as_it_is_measured(page: tuple[SelectionResult, Page]) -> None:
    """Inside, a loss of 0.2 is -0.2."""
    winner = page[0].winner.name
    selected = known_of(page[0], "log_loss", {"a": -0.2, winner: -0.5})

    assert selected.regret == pytest.approx(0.3)
    assert "a with test log_loss 0.200" in (compare_with_brute_force(selected) or "")


def test_a_winner_like_a_constant_is_looked_at_with_doubt(
    page: tuple[SelectionResult, Page],
) -> None:
    """Whatever it scored on a split where one class prevails."""
    selected = page[0]
    worthless = replace(selected, test={"accuracy": 0.9, "matthews": 0.0})

    assert selected.caution is None
    assert worthless.caution == (
        "look at the winner with doubt: its test matthews is 0.000: it predicts no better than one "
        "class for all samples"
    )


def test_a_winner_that_brute_force_never_trained_is_not_judged(
    page: tuple[SelectionResult, Page],
) -> None:
    selected = known_of(page[0], "accuracy", {"a": 0.9, "b": 0.8})

    assert selected.ground_truth is None
    assert selected.regret is None
    assert compare_with_brute_force(selected) is None


# --- policies ------------------------------------------------------------------------------------


def test_brute_force_trains_everyone_to_the_end(text: Zoo) -> None:
    selected, _ = selection(text, top_k=3, policy="brute_force", final="same", recommender="prior")

    run_page = page_of(text, selected.run_id)
    assert [candidate.stage for candidate in selected.candidates] == [EPOCHS] * 3
    assert {run.info.status for run in run_page.children} == {"FINISHED"}
    assert selected.epochs == 3 * EPOCHS
    best = max(candidate.scores[-1] for candidate in selected.candidates)
    assert selected.winner.scores[-1] == best


def test_halving_keeps_the_better_half_of_every_stage(text: Zoo) -> None:
    selected, _ = selection(text, policy="halving", final="same", recommender="prior")

    stages = sorted(candidate.stage for candidate in selected.candidates)
    assert stages == [1, 1, 1, 2, 3]
    scheduled = POLICIES["halving"].max_epochs(5, EPOCHS)
    assert selected.epochs == selected.cost["halving"] == scheduled == 5 + 2 + 1
    by_first = sorted((c.scores[0] for c in selected.candidates), reverse=True)
    assert (
        sorted((c.scores[0] for c in selected.candidates if c.stage > 1), reverse=True)
        == (by_first[:2])
    )


def test_one_recalled_model_wins_without_a_race(text: Zoo) -> None:
    selected, _ = selection(text, top_k=1, final="same", recommender="prior")

    (winner,) = selected.candidates
    assert (winner.status, winner.stage) == ("winner", EPOCHS)


@pytest.mark.parametrize(
    "recipe", [{"epochs": 2}, {"learning_rate": 1e-2}], ids=["epochs", "learning_rate"]
)
def test_with_another_recipe_trends_are_off_and_halving_decides(
    text: Zoo, recipe: dict[str, object]
) -> None:
    """Trends hold only for the recipe that they were recorded with."""
    selected, reporter = selection(text, top_k=2, final="same", recipe=recipe, recommender="prior")

    parent = page_of(text, selected.run_id).parent
    assert parent.data.tags[tags.POLICY] == "halving"
    assert parent.data.tags[tags.HAS_PREDICTIONS] == "false"
    assert (
        "the recipe differs from the history's, so its trends do not hold: halving decides "
        "instead of fine_selection"
    ) in reporter.warnings
    stages = int(str(recipe.get("epochs", EPOCHS)))
    assert sorted(c.stage for c in selected.candidates) == [1, stages]
    assert not any(candidate.predictions for candidate in selected.candidates)


def test_a_loss_is_selected_by_its_lowest(text: Zoo) -> None:
    """Its regrets are shares of a spread, which is said."""
    services, reporter = services_for(text.uri, text.namespace)
    config = configure(text, top_k=2, policy="brute_force", final="same", metric="log_loss")

    selected = run_selection(config, services, registry_for(services))

    run_page = page_of(text, selected.run_id)
    losses = {r.data.tags[tags.MODEL]: r.data.metrics["val/log_loss"] for r in run_page.children}
    assert losses[selected.winner.name] == min(losses.values())
    assert any("because the best value of log_loss is not 1" in line for line in reporter.lines)
    assert selected.recall.recommendation.gaps.tolerance == 0.1


def with_own_metric(services: Services, metric: str) -> Services:
    """Services for which every target names a metric of its own."""
    prepare = services.prepare
    return replace(services, prepare=lambda spec: replace(prepare(spec), own_metric=metric))


def test_a_target_is_selected_for_by_its_own_metric(text: Zoo) -> None:
    """The history is one of accuracies; what is said of the target has its metric's real name."""
    services, reporter = services_for(text.uri, text.namespace)
    config = configure(text, top_k=3, policy="fine_selection", final="same")

    selected = run_selection(config, with_own_metric(services, "f1_macro"), registry_for(services))

    run_page = page_of(text, selected.run_id)
    winner = run_page.child(selected.winner.name)
    finalists = [c for c in selected.candidates if c.stage == EPOCHS]
    logged = {c.name: run_page.child(c.name).data.metrics["val/f1_macro"] for c in finalists}
    note = run_page.parent.data.tags["mlflow.note.content"]
    assert selected.metric == "f1_macro"
    assert selected.has_predictions  # of scores in points, as those of the history
    assert logged[selected.winner.name] == max(logged.values())
    assert f"test f1_macro {winner.data.metrics['test/f1_macro']:.3f}" in note
    assert "validation f1_macro" in candidate_rows(selected)[0]
    assert "primary" not in note
    assert not any("primary" in line for line in reporter.lines if "without a cluster" not in line)


def test_curves_in_another_unit_predict_nothing(text: Zoo) -> None:
    """An accuracy on one dataset says nothing of the nats on another."""
    services, reporter = services_for(text.uri, text.namespace)
    config = configure(text, top_k=2, policy="fine_selection", final="same")

    selected = run_selection(config, with_own_metric(services, "log_loss"), registry_for(services))

    assert (selected.metric, selected.policy, selected.has_predictions) == (
        "log_loss",
        "halving",
        False,
    )
    assert (
        "the history has no curves in the unit of log_loss: halving decides instead of "
        "fine_selection"
    ) in reporter.warnings


def test_the_regret_is_that_of_the_metric_that_the_target_has_now(text: Zoo) -> None:
    """Its runs were recorded when it had another one."""
    services, _ = services_for(text.uri, text.namespace)
    own = replace(text.target, path=str(text.folder / "set-0.csv"))
    config = configure(text, dataset=own, top_k=2, policy="brute_force", final="same")

    selected = run_selection(config, with_own_metric(services, "f1_macro"), registry_for(services))

    records = [r for r in services.history.records("f1_macro") if r.dataset == "set-0"]
    best = max(record.final_score for record in records)
    (winner,) = (r.final_score for r in records if r.model == selected.winner.name)
    assert selected.regret == pytest.approx(best - winner)
    assert f"with test f1_macro {best:.3f}" in str(compare_with_brute_force(selected))


@pytest.mark.parametrize(("metric", "own_metric"), [("spearman", ""), ("primary", "rmse")])
def test_a_metric_that_the_target_lacks_is_refused_before_anything_is_written(
    text: Zoo, metric: str, own_metric: str
) -> None:
    services, _ = services_for(text.uri, text.namespace)
    before = len(find_runs(text.uri, text.namespace, "selection", "select"))

    with pytest.raises(ConfigError, match=r"^metric: expected one of a classification of 3 clas"):
        run_selection(
            configure(text, metric=metric),
            with_own_metric(services, own_metric),
            registry_for(services),
        )
    assert len(find_runs(text.uri, text.namespace, "selection", "select")) == before


# --- what it may cost ----------------------------------------------------------------------------


def test_a_budget_of_one_fine_tuning_trains_the_first_recalled(text: Zoo) -> None:
    services, _ = services_for(text.uri, text.namespace)
    config = configure(text, top_k=4, policy="halving", budget=Budget(epochs=EPOCHS))

    selected = run_selection(config, services, registry_for(services))

    run_page = page_of(text, selected.run_id)
    assert selected.epochs == EPOCHS
    assert selected.winner.name == selected.recall.selected[0]
    assert (selected.budget_stop, selected.final.epochs) == (
        None,
        0,
    )  # nothing is trained once more
    for name in selected.recall.selected[1:]:
        run = run_page.child(name)
        assert run.info.status == "KILLED"
        assert f"the budget of {EPOCHS} epochs leaves 1 of 4" in run.data.tags[tags.REASON]


def test_a_budget_that_ends_early_registers_the_best_so_far_as_cut(text: Zoo) -> None:
    services, reporter = services_for(text.uri, text.namespace)
    config = configure(text, top_k=4, policy="halving", budget=Budget(epochs=1))

    selected = run_selection(config, services, registry_for(services))

    reason = f"the budget of 1 epochs ended after stage 1 of {EPOCHS}"
    run_page = page_of(text, selected.run_id)
    version = text.client.get_model_version_by_alias(winner_of(selected).name, "winner")
    assert (selected.epochs, selected.winner.stage, selected.budget_stop) == (1, 1, reason)
    assert reason in reporter.warnings
    assert run_page.parent.data.tags[tags.BUDGET_STOP] == version.tags[tags.BUDGET_STOP] == reason
    assert reason in run_page.parent.data.tags["mlflow.note.content"].lower()
    assert selected.test["accuracy"] == pytest.approx(
        run_page.child(selected.winner.name).data.metrics["test/accuracy"]
    )


def test_a_budget_between_stages_keeps_the_best_on_validation(text: Zoo) -> None:
    """Four train the first stage, and what is left pays for one to the end."""
    services, _ = services_for(text.uri, text.namespace)
    config = configure(text, top_k=4, policy="brute_force", budget=Budget(epochs=4 + EPOCHS - 1))

    selected = run_selection(config, services, registry_for(services))

    first = {c.name: c.scores[0] for c in selected.candidates}
    assert selected.epochs == 4 + EPOCHS - 1
    assert first[selected.winner.name] == max(first.values())
    assert [c.stage for c in selected.candidates if c is not selected.winner] == [1, 1, 1]


def test_cost_aware_on_a_small_history_halves_and_says_so(text: Zoo) -> None:
    """Three recorded datasets predict nothing: all eligible models start, and halving decides."""
    services, reporter = services_for(text.uri, text.namespace)

    selected = run_selection(
        configure(text, policy="cost_aware", final="same"), services, registry_for(services)
    )

    thin = "with the curves of only 3 datasets no final score can be predicted, so halving decides"
    assert any(thin in line for line in reporter.warnings)
    run_page = page_of(text, selected.run_id)
    stopped = [c for c in selected.candidates if c.status == "stopped"]
    assert sorted(c.stage for c in selected.candidates) == [1, 1, 1, 2, 3][: len(text.models)]
    assert run_page.parent.data.tags[tags.POLICY] == "cost_aware"
    assert all("too few recorded datasets to predict final scores" in c.reason for c in stopped)


def test_what_a_back_test_favored_stands_behind_auto(store: str) -> None:
    zoo = text_zoo(store)
    services, _ = services_for(zoo.uri, zoo.namespace)
    favored = Defaults(
        ranker="prior", set_selector="prior", policy="brute_force", top_k=2, run_id="r"
    )
    write_defaults(services.client, services.namespace, "text", "primary", favored)
    config = configure(zoo, final="same", recommender="auto")
    try:
        selected = run_selection(config, services, registry_for(services))
    finally:
        write_defaults(services.client, services.namespace, "text", "primary", Defaults())

    run_page = page_of(zoo, selected.run_id)
    assert [c.stage for c in selected.candidates] == [EPOCHS, EPOCHS]
    assert run_page.parent.data.tags[tags.POLICY] == "brute_force"
    assert not selected.recall.probes  # nobody asks a score


def test_an_option_that_the_policy_of_auto_lacks_is_refused_before_any_run(store: str) -> None:
    """Only the stored defaults say which policy that is, so no earlier check can tell."""
    zoo = text_zoo(store)
    services, _ = services_for(zoo.uri, zoo.namespace)
    runs = len(find_runs(zoo.uri, zoo.namespace, "selection", "select"))
    config = configure(zoo, policy_options={"threshold": 0.1})
    defaults = Defaults(policy="cost_aware", run_id="r")
    write_defaults(services.client, services.namespace, "text", "primary", defaults)
    try:
        with pytest.raises(ConfigError, match="threshold: expected an option of cost_aware"):
            run_selection(config, services, registry_for(services))
    finally:
        write_defaults(services.client, services.namespace, "text", "primary", Defaults())

    assert len(find_runs(zoo.uri, zoo.namespace, "selection", "select")) == runs


# --- what goes wrong -----------------------------------------------------------------------------


def test_corrupt_weights_fail_one_candidate_and_never_the_selection(
    text: Zoo, tmp_path: Path
) -> None:
    services, reporter = services_for(text.uri, text.namespace)
    (tmp_path / "model.safetensors").write_bytes(b"no tensors at all")
    config = configure(text, policy="brute_force", final="same", models=text.models[:2])
    broken = text.models[0]

    class Torn(MlflowRegistry):
        def weights(self, member: Member) -> str:
            return str(tmp_path) if member.name == broken else super().weights(member)

    services = replace(services, registry=Torn(services.client, services.namespace))
    selected = run_selection(config, services, registry_for(services))

    run = page_of(text, selected.run_id).child(broken)
    assert (run.info.status, run.data.tags[tags.STATUS]) == ("FAILED", "failed")
    assert f"{broken}: cannot be loaded" in run.data.tags[tags.REASON]
    assert [a.path for a in text.client.list_artifacts(run.info.run_id)] == ["traceback.txt"]
    assert (selected.winner.name, selected.winner.stage) == (text.models[1], EPOCHS)
    assert any(line.startswith(f"failed: {broken}: ") for line in reporter.warnings)


def test_a_diverged_candidate_fails_and_never_wins(text: Zoo) -> None:
    """It reports first, and no comparison with NaN is true, so it would stay ahead."""
    healthy, reporter = services_for(text.uri, text.namespace)
    config = configure(text, policy="brute_force", final="same", models=text.models[:2])
    diverging = text.models[0]

    def train(task: TrainTask) -> Iterator[StageResult]:
        for result in healthy.train(task):
            broken = task.member.name == diverging and result.stage == EPOCHS
            yield replace(result, validation={"accuracy": math.nan}) if broken else result

    services = replace(healthy, train=train)
    selected = run_selection(config, services, registry_for(services))

    run = page_of(text, selected.run_id).child(diverging)
    why = f"diverged: validation accuracy is nan after stage {EPOCHS}"
    assert (run.info.status, run.data.tags[tags.REASON]) == ("FAILED", why)
    assert selected.winner.name == text.models[1]
    assert f"failed: {diverging}: {why}" in reporter.warnings


def test_lost_weights_fail_one_candidate_before_the_first_stage(text: Zoo) -> None:
    services, _ = services_for(text.uri, text.namespace)
    lost = text.models[1]

    class Lost(MlflowRegistry):
        def weights(self, member: Member) -> str:
            if member.name == lost:
                raise ZooError(f"{lost} version 1: no weights: they are lost")
            return super().weights(member)

    services = replace(services, registry=Lost(services.client, services.namespace))
    config = configure(text, final="same", models=text.models[:2])
    selected = run_selection(config, services, registry_for(services))

    run = page_of(text, selected.run_id).child(lost)
    assert run.info.status == "FAILED"
    assert run.data.tags[tags.REASON] == f"{lost} version 1: no weights: they are lost"
    assert selected.winner.name == text.models[0]


def test_when_all_survivors_fail_the_best_of_the_stopped_goes_on(text: Zoo) -> None:
    services, reporter = services_for(text.uri, text.namespace)
    failed: list[str] = []

    def second_stage_of_two(task: TrainTask) -> bool:
        if task.first == 2 and len(failed) < 2:
            failed.append(task.member.name)
            return True
        return False

    config = configure(text, top_k=4, policy="halving", final="same")
    selected = run_selection(config, failing(services, second_stage_of_two), registry_for(services))

    assert len(failed) == 2
    result = {c.name: c for c in selected.candidates}
    assert {name for name, c in result.items() if c.status == "failed"} == set(failed)
    stopped = [c for c in selected.candidates if c.status == "stopped"]
    assert selected.winner.stage == EPOCHS
    assert all(selected.winner.scores[0] >= c.scores[0] for c in stopped)
    assert f"{selected.winner.name} is resumed, since all others failed" in reporter.warnings
    run_page = page_of(text, selected.run_id)
    assert Counter(run.info.status for run in run_page.children) == {
        "FAILED": 2,
        "KILLED": 1,
        "FINISHED": 1,
    }
    run_tags = run_page.child(selected.winner.name).data.tags
    assert (run_tags[tags.STATUS], run_tags[tags.STAGE]) == ("winner", str(EPOCHS))
    assert run_tags[tags.REASON] == "best of 4 recalled models"
    assert tags.RIVAL not in run_tags


def test_when_all_candidates_fail_each_says_why_and_none_is_registered(text: Zoo) -> None:
    services, _ = services_for(text.uri, text.namespace)
    before = len(registered(text))

    with pytest.raises(ConfigError, match=r"expected one model that trains, all failed: .*broken"):
        run_selection(
            configure(text, top_k=2), failing(services, lambda _: True), registry_for(services)
        )

    run_page = latest(text)
    assert run_page.parent.info.status == "FAILED"
    assert "all failed" in run_page.parent.data.tags[tags.REASON]
    assert {run.info.status for run in run_page.children} == {"FAILED"}
    assert len(registered(text)) == before


def test_an_interrupt_closes_every_run_as_killed(text: Zoo) -> None:
    services, _ = services_for(text.uri, text.namespace)
    services = failing(services, lambda task: task.first == 2, KeyboardInterrupt())

    with pytest.raises(KeyboardInterrupt):
        run_selection(
            configure(text, top_k=3, policy="brute_force"), services, registry_for(services)
        )

    run_page = latest(text)
    assert run_page.parent.info.status == "KILLED"
    assert {run.info.status for run in run_page.children} == {"KILLED"}
    reasons = Counter(run.data.tags[tags.REASON] for run in (run_page.parent, *run_page.children))
    assert reasons == {"interrupted: KeyboardInterrupt": 4}
    assert not cache_folder("checkpoints", run_page.parent.info.run_id).exists()


def test_a_bug_in_the_middle_closes_every_run_as_failed(text: Zoo) -> None:
    """A bug keeps its traceback, but leaves nothing RUNNING."""
    services, _ = services_for(text.uri, text.namespace)

    class Faulty(RecordingReporter):
        def advance(self, steps: int = 1, status: str = "") -> None:
            if "stage 1" in status:
                raise ZeroDivisionError("a bug")

    with pytest.raises(ZeroDivisionError, match="a bug"):
        run_selection(
            configure(text, top_k=2), replace(services, reporter=Faulty()), registry_for(services)
        )

    run_page = latest(text)
    assert {run.info.status for run in (run_page.parent, *run_page.children)} == {"FAILED"}
    assert len(run_page.children) == 2
    for run in (run_page.parent, *run_page.children):
        assert run.data.tags[tags.REASON] == "ZeroDivisionError: a bug"


@pytest.mark.parametrize("error", [ZooError("no room"), MlflowException("no room")])
def test_a_registry_that_refuses_fails_the_selection_and_leaves_its_result(
    text: Zoo, error: Exception
) -> None:
    """Who may train may not always register, and finds out after everything was trained."""
    services, reporter = services_for(text.uri, text.namespace)
    before = len(registered(text))

    class Full(MlflowRegistry):
        def register_winner(self, *_: object, **__: object) -> ModelVersion:
            raise error

    selected = run_selection(
        configure(text, final="same", models=text.models[:1]),
        services,
        Full(services.client, services.namespace),
    )

    assert selected.registered is None
    assert selected.failed == {"registration": "no room"}
    assert reporter.warnings[-1] == "failed: registration: no room"
    run_page = latest(text)
    assert run_page.parent.info.status == "FAILED"
    assert run_page.parent.data.tags[tags.REASON] == "no room"
    assert run_page.parent.data.tags[tags.WINNER] == text.models[0]
    assert tags.REGISTERED not in run_page.parent.data.tags
    assert "not registered" in run_page.parent.data.tags["mlflow.note.content"]
    assert "RUNNING" not in {run.info.status for run in (*run_page.children, *run_page.finals)}
    assert len(registered(text)) == before


def test_what_is_wrong_before_training_writes_no_run(text: Zoo) -> None:
    services, _ = services_for(text.uri, text.namespace)
    before = latest(text).parent.info.run_id
    config = configure(text, models=("nobody-*",))

    with pytest.raises(ConfigError, match=r"models: expected names or patterns of .*'nobody-\*'"):
        run_selection(config, services, registry_for(services))

    assert latest(text).parent.info.run_id == before


# --- images --------------------------------------------------------------------------------------


def test_images_are_selected_for_and_served_too(store: str) -> None:
    zoo = image_zoo(store)

    selected, _ = selection(zoo, final="same")

    assert "leep" in {*selected.recall.scores, *selected.recall.left_out}  # heads are real
    assert len(selected.candidates) == 4
    assert all(c.status != "failed" for c in selected.candidates)
    picture = next((zoo.folder / "target").rglob("*.png")).read_bytes()
    model = mlflow.pyfunc.load_model(f"models:/image-winner/{winner_of(selected).version}")
    (label,) = model.predict(pd.DataFrame({"image": [base64.b64encode(picture).decode()]}))["label"]
    assert label in CLASSES
