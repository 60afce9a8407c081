"""A recall ranks the zoo for a dataset and selects the models to train."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pytest
from fakes import InlineEngine
from mlflow.artifacts import load_dict
from prepared import Zoo, find_runs, image_zoo, services_for, tag_clusters, text_zoo
from safetensors.numpy import load_file, save_file

from mlflow_recall.adapters.manifests.dataset_spec import DatasetSpec
from mlflow_recall.adapters.tracking import tags
from mlflow_recall.adapters.tracking.registry import MlflowRegistry
from mlflow_recall.config import RecallConfig, RecommendConfig
from mlflow_recall.core.history.recipes import Recipe
from mlflow_recall.core.history.records import Dataset, Member
from mlflow_recall.core.recommend.constraints import Constraints
from mlflow_recall.core.scores import with_depth
from mlflow_recall.errors import ConfigError, ZooError
from mlflow_recall.ports import Probe, ProbeTask, Progress
from mlflow_recall.workflows.context import SelectionContext
from mlflow_recall.workflows.probes import run_probes
from mlflow_recall.workflows.recall import RecallResult, load_target, recall_models, run_recall
from mlflow_recall.workflows.services import Services


class AlteredRegistry(MlflowRegistry):
    """The registry, with other facts about some members; ``None``: its weights are lost."""

    def __init__(self, services: Services, alter: Callable[[Member], Member | None]) -> None:
        super().__init__(services.client, services.namespace)
        self._alter = alter

    def members(self, on_left_out: Callable[[str], None] | None = None) -> list[Member]:
        return [self._alter(m) or m for m in super().members(on_left_out)]

    def weights(self, member: Member) -> str:
        if self._alter(member) is None:
            raise ZooError(f"{member.name} version {member.version}: no weights: they are lost")
        return super().weights(member)


@pytest.fixture(autouse=True)
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep no probe, so that each test sees what is probed."""
    monkeypatch.setenv("MLFLOW_RECALL_PROBES", "0")


@pytest.fixture
def text(store: str) -> Zoo:
    """Two pairs and a singleton, none with a source head."""
    zoo = text_zoo(store)
    names = zoo.models
    tag_clusters(
        zoo,
        {"text-primary-1": names[:2], "text-primary-2": names[2:4], "text-primary-3": names[4:]},
    )
    return zoo


@pytest.fixture
def image(store: str) -> Zoo:
    """Two pairs, each with a source head."""
    return image_zoo(store)


def configure(zoo: Zoo, **settings: Any) -> RecallConfig:
    """Return a recall among the models that the zoo began with."""
    own = {f.name for f in fields(RecallConfig)}
    recommend = {name: settings.pop(name) for name in list(settings) if name not in own}
    return RecallConfig(
        dataset=zoo.target,
        recommend=RecommendConfig(**{"models": (zoo.everyone,), **recommend}),
        **settings,
    )


def context_of(services: Services, config: RecallConfig) -> SelectionContext:
    _, context = load_target(config, services)
    return context


def recalled_by(services: Services, config: RecallConfig) -> RecallResult:
    return recall_models(config, context_of(services, config), services)


Prober = Callable[[ProbeTask], Iterator[Probe]]


def seeing(clear: Mapping[str, float], headless: Iterable[str] = ()) -> Prober:
    """Return a prober of 60 samples in three classes, each model as clear as ``clear`` says."""

    def probe(task: ProbeTask) -> Iterator[Probe]:
        name, labels = task.member.name, np.arange(60) % 3
        own = clear.get(name, 0.0) * np.eye(8)[labels]
        embeddings = own + np.random.default_rng(crc32(name.encode())).normal(size=own.shape)
        odds = np.exp(embeddings[:, :4])
        head = None if name in headless else odds / odds.sum(axis=1, keepdims=True)
        yield Probe(labels=labels, embeddings=embeddings, probabilities=head, seconds=0.5)

    return probe


def unlike(zoo: Zoo) -> Prober:
    """Return a prober whose models are each far clearer than the one before."""
    return seeing({name: 3.0**i for i, name in enumerate(zoo.models)}, zoo.models)


def test_leep_logme_and_hscore_score_representatives_with_real_source_heads(image: Zoo) -> None:
    services, _ = services_for(image.uri, image.namespace)

    result = recalled_by(services, configure(image))

    assert {*result.scores, *result.left_out} == {"leep", "logme", "hscore"}
    representatives = set(result.context.clustering.representatives)
    assert all(set(values) == representatives for values in result.scores.values())
    assert set(result.probes) == representatives
    assert len(representatives) == 2
    assert all(score <= 0 for score in result.scores.get("leep", {}).values())


def test_leep_is_left_out_where_one_model_has_no_source_head(image: Zoo) -> None:
    """Two scales are never mixed: LEEP for some and LogME for others cannot be compared."""
    services, _ = services_for(image.uri, image.namespace)
    (first, *_) = recalled_by(services, configure(image)).context.clustering.representatives

    def headless(member: Member) -> Member:
        return replace(member, has_source_head=member.has_source_head and member.name != first)

    result = recalled_by(
        replace(services, registry=AlteredRegistry(services, headless)), configure(image)
    )

    assert {*result.scores, *result.left_out} == {"logme", "hscore"}
    assert len(result.probes) == 2


def test_logme_and_hscore_score_encoders_and_only_the_representatives_are_probed(text: Zoo) -> None:
    services, _ = services_for(text.uri, text.namespace)
    probed = []

    def probe(task: ProbeTask) -> Iterator[Probe]:
        probed.append(task.member.name)
        return unlike(text)(task)

    result = recalled_by(replace(services, probe=probe), configure(text))

    assert tuple(result.scores) == ("logme", "hscore")
    assert result.ranked_by == "blend and portfolio with logme, hscore"
    assert (
        sorted(probed) == sorted(result.probes) == sorted(result.context.clustering.representatives)
    )
    for values in result.scores.values():
        assert sorted(values) == sorted(probed)
    assert len(probed) == 2
    assert (result.notes, result.left_out) == ((), {})


def test_the_default_picks_first_whom_it_ranks_first(text: Zoo) -> None:
    services, _ = services_for(text.uri, text.namespace)

    result = recalled_by(services, configure(text, top_k=2))

    assert (result.recommendation.ranker, result.recommendation.set_selector) == (
        "blend",
        "portfolio",
    )
    assert result.selected[0] == result.recommendation.ranking.models[0]
    assert len(set(result.selected)) == 2


def test_the_first_pick_of_interleaved_is_the_history_s(text: Zoo) -> None:
    services = replace(services_for(text.uri, text.namespace)[0], probe=unlike(text))

    interleaved = recalled_by(services, configure(text, recommender="interleaved"))
    prior = recalled_by(services, configure(text, recommender="prior"))

    assert interleaved.ranked_by == "interleaved with logme, hscore"
    assert interleaved.selected[0] == prior.selected[0]


@pytest.mark.parametrize("recommender", ["prior", "prior_rank"])
def test_the_history_alone_needs_no_probe(text: Zoo, recommender: str) -> None:
    services, reporter = services_for(text.uri, text.namespace)

    result = recalled_by(services, configure(text, recommender=recommender))

    assert (result.ranked_by, result.probes, result.scores) == (recommender, (), {})
    assert result.notes == ()
    assert not [line for line in reporter.lines if "no score" in line]


def test_the_paper_multiplies_mean_and_proxy(text: Zoo) -> None:
    """Eq. 2-4: every rank is explained by its two parts."""
    services = replace(services_for(text.uri, text.namespace)[0], probe=unlike(text))

    result = recalled_by(services, configure(text, recommender="paper"))

    parts = result.recommendation.ranking.parts
    assert result.recommendation.ranking.scores == pytest.approx(parts["mean"] * parts["proxy"])
    assert sorted(parts["proxy"])[-1] == 1


def test_leep_is_refused_without_source_heads(text: Zoo) -> None:
    services, reporter = services_for(text.uri, text.namespace)

    result = recalled_by(services, configure(text, scores=("leep",)))

    assert result.scores == {}
    why = "not every representative has a real source head"
    assert result.left_out == {"leep": why}
    note = f"no score is usable: ranked by the history alone; leep: {why}"
    assert result.notes == (note,)
    assert note in reporter.warnings
    assert set(result.recommendation.ranking.parts) == {"prior"}


@pytest.mark.parametrize(
    ("headless", "names"), [(0, ("leep", "logme", "hscore")), (1, ("logme", "hscore"))]
)
def test_leep_is_a_score_where_every_head_is_real(
    text: Zoo, headless: int, names: tuple[str, ...]
) -> None:
    services, _ = services_for(text.uri, text.namespace)
    first, second = context_of(services, configure(text)).clustering.representatives
    probe = seeing({first: 4.0, second: 1.0}, (first,)[:headless])

    result = recalled_by(replace(services, probe=probe), configure(text))

    assert tuple(result.scores) == names
    assert result.left_out == {}
    for values in result.scores.values():
        assert values[first] > values[second]


def test_scores_are_those_that_were_named(text: Zoo) -> None:
    services, _ = services_for(text.uri, text.namespace)
    first, second = context_of(services, configure(text)).clustering.representatives

    result = recalled_by(
        replace(services, probe=seeing({first: 4.0, second: 1.0})),
        configure(text, scores=("knn", "hscore")),
    )

    assert tuple(result.scores) == ("knn", "hscore")
    assert set(result.recommendation.ranking.parts) == {"prior", "knn", "hscore"}


def test_numbers_are_scored_by_what_serves_them(text: Zoo) -> None:
    """LogME by default; a score of classes is left out with one line, whatever the models."""
    services, _ = services_for(text.uri, text.namespace)
    first, second = context_of(services, configure(text)).clustering.representatives
    numbers = np.linspace(-1.0, 1.0, 60)

    def probe(task: ProbeTask) -> Iterator[Probe]:
        noise = np.random.default_rng(crc32(task.member.name.encode())).normal(size=(60, 8))
        clear = {first: 8.0, second: 1.0}[task.member.name] * numbers[:, None] * np.eye(8)[0]
        head = np.full((60, 2), 0.5)
        yield Probe(labels=numbers, embeddings=clear + noise, probabilities=head, seconds=0.5)

    def prepare(spec: DatasetSpec) -> Dataset:
        return replace(services.prepare(spec), task="regression", classes=())

    of_numbers = replace(services, probe=probe, prepare=prepare)

    by_default = recalled_by(of_numbers, configure(text))
    named = recalled_by(of_numbers, configure(text, scores=("hscore", "linear_probe", "leep")))

    assert tuple(by_default.scores) == ("logme",)
    assert by_default.left_out == {}
    assert by_default.scores["logme"][first] > by_default.scores["logme"][second]
    assert tuple(named.scores) == ("linear_probe",)
    assert named.left_out == {
        "hscore": "expected a task of classification or multilabel, got 'regression'",
        "leep": "expected a task of classification, got 'regression'",
    }


def test_a_score_may_have_the_depth_term(text: Zoo) -> None:
    """Each as a score of its own, the second from the first and the layers of the probes."""
    services, _ = services_for(text.uri, text.namespace)
    first, second = context_of(services, configure(text)).clustering.representatives
    layers = {first: 37, second: 73}

    def probe(task: ProbeTask) -> Iterator[Probe]:
        for known in seeing({first: 4.0, second: 1.0})(task):
            yield replace(known, layers=layers[task.member.name])

    result = recalled_by(
        replace(services, probe=probe), configure(text, scores=("hscore", "hscore+depth"))
    )

    deep, plain = result.scores["hscore+depth"], result.scores["hscore"]
    expected = with_depth([*plain.values()], [layers[model] for model in plain])
    assert [*deep.values()] == pytest.approx(expected.tolist())
    assert set(result.recommendation.ranking.parts) == {"prior", "hscore", "hscore+depth"}


def test_an_unknown_depth_leaves_its_score_out(text: Zoo) -> None:
    services, _ = services_for(text.uri, text.namespace)
    first, second = context_of(services, configure(text)).clustering.representatives
    probe = seeing({first: 4.0, second: 1.0})

    result = recalled_by(
        replace(services, probe=probe), configure(text, scores=("hscore", "parc+depth"))
    )

    assert tuple(result.scores) == ("hscore",)
    assert result.left_out == {"parc+depth": f"the number of layers of {first} is unknown"}


def test_class_names_are_compared_by_an_encoder_where_one_is_named(text: Zoo) -> None:
    """All sets of the zoo and the target have the same three classes: they are at distance 0."""
    services, _ = services_for(text.uri, text.namespace)
    settings: dict[str, Any] = {"recommender": "linear", "scores": ("logme",)}

    plain = recalled_by(services, configure(text, **settings))
    result = recalled_by(services, configure(text, **settings, label_encoder="tiny-0"))

    assert plain.evidence.label_distance is None
    apart = result.evidence.label_distance
    assert apart is not None
    assert apart.shape[0] == len(result.evidence.matrix.datasets) + 1
    np.testing.assert_allclose(apart, 0.0, atol=1e-9)


def test_class_names_are_of_no_use_to_a_recommender_that_never_looks_at_them(text: Zoo) -> None:
    services, _ = services_for(text.uri, text.namespace)

    with pytest.raises(
        ConfigError, match=r"label_encoder: expected .*factorization, linear.*blend"
    ):
        recalled_by(services, configure(text, label_encoder="tiny-0"))


def test_scores_that_say_nothing_are_left_out_with_the_reason(text: Zoo) -> None:
    """Of two models that confuse nothing, neighbors cannot tell which is the better."""
    services, reporter = services_for(text.uri, text.namespace)
    first, second = context_of(services, configure(text)).clustering.representatives
    clear = seeing({first: 40.0, second: 12.0})

    result = recalled_by(replace(services, probe=clear), configure(text, scores=("knn", "logme")))

    assert tuple(result.scores) == ("logme",)
    assert result.left_out == {"knn": "it is the same for every model"}
    assert result.notes == ()

    blind = recalled_by(replace(services, probe=seeing({})), configure(text))

    assert blind.scores == {}
    assert set(blind.left_out) == {"leep", "logme", "hscore"}
    (note,) = blind.notes
    assert note.startswith("no score is usable: ranked by the history alone; leep: ")
    assert note in reporter.warnings


@pytest.mark.parametrize("usable", [0, 1])
def test_with_fewer_than_two_scores_the_history_ranks_with_a_warning(
    text: Zoo, usable: int
) -> None:
    services, reporter = services_for(text.uri, text.namespace)
    representatives = context_of(services, configure(text)).clustering.representatives
    lost = representatives[usable:]

    def alter(member: Member) -> Member | None:
        return None if member.name in lost else member

    result = recalled_by(
        replace(services, registry=AlteredRegistry(services, alter)), configure(text)
    )

    assert result.ranked_by == "blend and portfolio"
    assert (result.scores, len(result.probes)) == ({}, usable)
    assert set(result.left_out) == set(lost)
    (note,) = result.notes
    assert note.startswith("no score is usable: ranked by the history alone; ")
    assert f"{lost[0]}: {lost[0]} version 1: no weights: they are lost" in note
    assert note in reporter.warnings


def test_who_cannot_rank_without_scores_leaves_it_to_the_history(text: Zoo) -> None:
    services, _ = services_for(text.uri, text.namespace)

    result = recalled_by(replace(services, probe=seeing({})), configure(text, recommender="paper"))

    assert result.ranked_by == "prior"


def test_too_large_a_top_k_takes_all_models_and_says_so(text: Zoo) -> None:
    services, reporter = services_for(text.uri, text.namespace)

    result = recalled_by(services, configure(text, top_k=50))

    assert set(result.selected) == set(text.models)
    assert "top_k: 50 requested, 5 models eligible" in reporter.lines


def test_k_keeps_the_best_of_a_ranking_that_was_named(text: Zoo) -> None:
    services, _ = services_for(text.uri, text.namespace)

    result = recalled_by(services, configure(text, top_k=2, recommender="blend"))

    assert result.selected == result.recommendation.ranking.models[:2]


def test_models_that_violate_a_constraint_are_left_out_with_a_warning(text: Zoo) -> None:
    services, reporter = services_for(text.uri, text.namespace)
    sizes = dict(zip(text.models, (10, 20, 30, 40), strict=False))
    services = replace(
        services,
        registry=AlteredRegistry(services, lambda m: replace(m, parameters=sizes.get(m.name))),
    )

    result = recalled_by(services, configure(text, constraints=Constraints(max_parameters=30)))

    assert set(result.recommendation.ranking.models) == set(text.models[:3]) >= set(result.selected)
    assert set(result.probes) <= set(text.models[:3])
    fourth, fifth = text.models[3:]
    assert f"{fourth} is left out: 40 parameters, 30 are allowed" in reporter.warnings
    assert any(line.startswith(f"{fifth} is left out: its size is") for line in reporter.warnings)


def test_constraints_that_no_model_satisfies_are_an_error(text: Zoo) -> None:
    services, _ = services_for(text.uri, text.namespace)
    config = configure(text, constraints=Constraints(where=("family=huge",)))

    with pytest.raises(ConfigError, match=r"constraints: .*none of 5: .*tiny-0: not family=huge"):
        context_of(services, config)


# --- probes that are kept ------------------------------------------------------------------------


class CountingEngine(InlineEngine):
    """An engine that keeps its tasks."""

    def __init__(self) -> None:
        self.tasks: list[object] = []

    def stream(
        self, function: Callable[..., Iterator[object]], tasks: Iterable[object]
    ) -> Iterator[Progress]:
        given = list(tasks)
        self.tasks += given
        return super().stream(function, given)


def test_a_second_recall_on_the_same_dataset_computes_nothing(
    text: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It needs no weights either, which may be gone by then."""
    monkeypatch.delenv("MLFLOW_RECALL_PROBES")
    engine = CountingEngine()
    services = replace(services_for(text.uri, text.namespace)[0], engine=engine)
    config = configure(text, probe_samples=77)  # which nobody else looks at

    first = recalled_by(services, config)
    given = len(engine.tasks)
    gone = AlteredRegistry(services, lambda _: None)
    second = recalled_by(replace(services, registry=gone), config)

    assert given == len(first.probes) == 2
    assert len(engine.tasks) == given
    assert second.left_out == first.left_out
    assert second.scores == first.scores
    assert second.selected == first.selected
    assert first.epochs > second.epochs == 0

    recalled_by(services, replace(config, probe_samples=78))
    elsewhere = replace(text.target, path=str(text.folder / "set-0.csv"))
    recalled_by(services, replace(config, dataset=elsewhere))

    assert len(engine.tasks) == 3 * given  # another sample, another dataset


def test_weights_that_changed_behind_their_name_are_probed_again(
    text: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name of the hub, unlike what MLflow holds, may stand for other weights tomorrow."""
    monkeypatch.delenv("MLFLOW_RECALL_PROBES")
    services = replace(services_for(text.uri, text.namespace)[0], engine=CountingEngine())
    member = services.registry.members()[0]
    folder = tmp_path / "hub"
    shutil.copytree(services.registry.weights(member), folder)
    monkeypatch.setattr(services.registry, "weights", lambda _: str(folder))
    dataset = services.prepare(text.target)
    task = ProbeTask(
        member=replace(member, is_external=True), dataset=dataset, recipe=Recipe(), samples=31
    )

    def count_runs() -> int:
        (probe,) = run_probes([task], services, ("model", "models"))
        assert isinstance(probe, Probe)
        return len(services.engine.tasks)  # type: ignore[attr-defined]

    assert [count_runs(), count_runs()] == [1, 1]
    weights = load_file(folder / "model.safetensors")
    save_file({name: tensor + 1 for name, tensor in weights.items()}, folder / "model.safetensors")
    assert count_runs() == 2


def test_the_target_s_own_history_is_not_used(text: Zoo) -> None:
    """Records of the target contain the answer."""
    services, reporter = services_for(text.uri, text.namespace)
    target = replace(text.target, path=str(text.folder / "set-0.csv"))
    config = replace(configure(text), dataset=target)

    context = context_of(services, config)

    assert context.matrix.datasets == ("set-1", "set-2")
    assert "5 records of the target itself are not used" in reporter.warnings


def test_models_without_a_cluster_by_the_metric_are_clustered_anew(text: Zoo) -> None:
    services, reporter = services_for(text.uri, text.namespace)

    context = context_of(services, configure(text, metric="f1_macro"))

    assert set(context.clustering.models) == set(text.models)
    (note,) = (line for line in reporter.warnings if "clustered anew" in line)
    assert note.startswith("5 of 5 models without a cluster by --metric f1_macro")


def test_a_recall_is_a_run_with_all_parts(text: Zoo) -> None:
    services = replace(services_for(text.uri, text.namespace)[0], probe=unlike(text))

    result, opened = run_recall(configure(text), services)

    run = text.client.get_run(opened.run_id)
    assert run.info.status == "FINISHED"
    table = load_dict(f"{run.info.artifact_uri}/recall/ranking.json")
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
    ranking = result.recommendation.ranking
    assert [row["model"] for row in rows] == list(ranking.models)
    assert [row["model"] for row in rows if row["recalled"]] == sorted(
        result.selected, key=ranking.models.index
    )
    assert set(ranking.parts) == {"prior", "logme", "hscore"}
    for part, values in ranking.parts.items():
        assert [row[part] for row in rows] == pytest.approx(values.tolist(), abs=1e-5)
    run_tags = run.data.tags
    assert (run_tags["recall.recommender"], run_tags["recall.set_selector"]) == (
        "blend",
        "portfolio",
    )
    assert run_tags["recall.score"] == "logme, hscore"
    assert run.data.metrics["recall/p_holds_best"] == pytest.approx(
        result.recommendation.p_holds_best
    )
    assert run.data.tags["recall.recalled"] == ", ".join(result.selected)
    assert run.data.metrics["recall/probes"] == 2
    assert run.data.metrics["recall/epochs"] == pytest.approx(result.epochs)
    assert run.inputs is not None
    (entry,) = run.inputs.dataset_inputs
    assert entry.dataset.digest == run.data.tags[tags.DIGEST] == result.dataset.digest


def test_a_recall_that_fails_says_why_and_is_closed(text: Zoo) -> None:
    services, _ = services_for(text.uri, text.namespace)

    def interrupted(task: ProbeTask) -> Iterator[Probe]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_recall(configure(text), replace(services, probe=interrupted))

    run = find_runs(text.uri, text.namespace, "recall")[-1]
    assert run.info.status == "KILLED"
    assert run.data.tags[tags.REASON] == "interrupted: KeyboardInterrupt"


def test_models_without_weights_are_part_of_the_history(text: Zoo) -> None:
    services, reporter = services_for(text.uri, text.namespace)

    def alter(member: Member) -> Member:
        return replace(member, is_available=member.name != text.models[0])

    altered = replace(services, registry=AlteredRegistry(services, alter))
    context = context_of(altered, configure(text))

    assert set(context.members) == set(text.models[1:])
    assert text.models[0] in {record.model for record in context.comparable.records}
    note = f"1 model with a history, but without weights on this machine: {text.models[0]}"
    assert note in reporter.warnings


@pytest.mark.parametrize(
    ("arch", "reason"),
    [
        ("absent_library/net", "unknown library 'absent_library': expected one of timm, transfor"),
        ("timm/no_such_net", f"timm {version('timm')} has no no_such_net"),
        ("transformers/no_such_type", f"transformers {version('transformers')} has no no_such_typ"),
    ],
)
def test_models_that_cannot_be_loaded_here_take_no_place_of_others(
    text: Zoo, arch: str, reason: str
) -> None:
    """Selected, each would fail and leave the set with one model less."""
    services, reporter = services_for(text.uri, text.namespace)

    def alter(member: Member) -> Member:
        return replace(member, arch=arch) if member.name in text.models[:2] else member

    altered = replace(services, registry=AlteredRegistry(services, alter))
    context = context_of(altered, configure(text))

    assert set(context.members) == set(text.models[2:])
    (line,) = [line for line in reporter.warnings if "cannot be loaded" in line]
    assert line.startswith("2 models that cannot be loaded on this machine: ")
    assert all(f"{name} ({reason}" in line for name in text.models[:2])


def test_the_warning_names_a_command_that_rebuilds_missing_weights(text: Zoo) -> None:
    """One of the commands is named as an example."""
    services, reporter = services_for(text.uri, text.namespace)
    lost = dict(zip(text.models[1:4], ("make b", "make a", ""), strict=True))

    def alter(member: Member) -> Member:
        run_tags = {tags.REBUILD: lost[member.name]} if lost.get(member.name) else {}
        return replace(
            member, is_available=member.name not in lost, tags={**member.tags, **run_tags}
        )

    altered = replace(services, registry=AlteredRegistry(services, alter))
    context_of(altered, configure(text))

    assert (
        "3 models with a history, but without weights on this machine: "
        f"{', '.join(lost)}; made again by e.g. `make a`"
    ) in reporter.warnings


def test_a_history_without_eligible_models_is_an_error(
    store: str, namespace: str, text: Zoo
) -> None:
    services, _ = services_for(text.uri, text.namespace)

    def stranger(member: Member) -> Member:
        return replace(member, name=f"{member.name}-renamed")

    services = replace(services, registry=AlteredRegistry(services, stranger))

    with pytest.raises(ConfigError, match=r"expected benchmark runs of .*-renamed or another"):
        context_of(services, configure(text, models=()))


def test_what_is_logged_of_a_recall_is_json(text: Zoo, tmp_path: Path) -> None:
    """NaN is no JSON: a model without history has null."""
    services, _ = services_for(text.uri, text.namespace)

    _, opened = run_recall(configure(text), services)

    path = text.client.download_artifacts(opened.run_id, "recall/ranking.json", str(tmp_path))
    json.loads(Path(path).read_text(), parse_constant=pytest.fail)
