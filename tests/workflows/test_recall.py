"""Dataset + history -> a ranking of the zoo, and the K models to train."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow.artifacts import load_dict
from prepared import Zoo, bench_of, group, image_zoo, runs_of, text_zoo

from mlflow_recall.adapters import tags
from mlflow_recall.adapters.registry import MlflowRegistry
from mlflow_recall.config import RecallConfig
from mlflow_recall.core.records import Member
from mlflow_recall.errors import SettingError, ZooError
from mlflow_recall.ports import Probe, ProbeTask
from mlflow_recall.workflows.bench import Bench
from mlflow_recall.workflows.recall import Recalled, recall, recall_run, survey


class AlteredRegistry(MlflowRegistry):
    """The registry, with other facts about some members; ``None``: its weights are lost."""

    def __init__(self, bench: Bench, alter: Callable[[Member], Member | None]) -> None:
        super().__init__(bench.client, bench.namespace)
        self._alter = alter

    def members(self, on_left_out: Callable[[str], None] | None = None) -> list[Member]:
        return [self._alter(m) or m for m in super().members(on_left_out)]

    def weights(self, member: Member) -> str:
        if self._alter(member) is None:
            raise ZooError(f"{member.name} version {member.version}: no weights: they are lost")
        return super().weights(member)


@pytest.fixture
def text(store: str) -> Zoo:
    """Two pairs and a singleton, none with a source head."""
    zoo = text_zoo(store)
    names = zoo.models
    group(zoo, {"text-1": names[:2], "text-2": names[2:4], "text-3": names[4:]})
    return zoo


@pytest.fixture
def image(store: str) -> Zoo:
    """Two pairs, each with a source head."""
    return image_zoo(store)


def wish(zoo: Zoo, **settings: object) -> RecallConfig:
    return RecallConfig(zoo.target, models=(zoo.everyone,), **settings)  # type: ignore[arg-type]


def recalled_by(bench: Bench, config: RecallConfig) -> Recalled:
    return recall(config, survey(config, bench), bench)


def test_leep_scores_representatives_with_real_source_heads(image: Zoo) -> None:
    bench, _ = bench_of(image.uri, image.namespace)

    found = recalled_by(bench, wish(image))

    assert (found.score, found.recommender) == ("leep", "interleaved")
    representatives = set(found.prospect.clustering.probes)
    assert set(found.proxies) == representatives
    assert len(representatives) == 2
    assert all(score <= 0 for score in found.proxies.values())


def test_logme_scores_all_where_one_has_no_source_head(image: Zoo) -> None:
    """Two scales are never mixed: LEEP for some and LogME for others cannot be compared."""
    bench, _ = bench_of(image.uri, image.namespace)
    (first, *_) = recalled_by(bench, wish(image)).prospect.clustering.probes

    def headless(member: Member) -> Member:
        return replace(member, source_head=member.source_head and member.name != first)

    found = recalled_by(replace(bench, registry=AlteredRegistry(bench, headless)), wish(image))

    assert found.score == "logme"
    assert len(found.proxies) == 2


def test_logme_scores_encoders_and_only_the_representatives_are_probed(text: Zoo) -> None:
    bench, _ = bench_of(text.uri, text.namespace)
    probed = []

    def probe(task: ProbeTask) -> Iterator[Probe]:
        probed.append(task.member.name)
        return bench.probe(task)

    found = recalled_by(replace(bench, probe=probe), wish(text))

    assert (found.score, found.recommender) == ("logme", "interleaved")
    assert sorted(probed) == sorted(found.proxies) == sorted(found.prospect.clustering.probes)
    assert len(probed) == 2
    assert found.notes == ()


def test_the_first_pick_of_the_default_is_the_history_s(text: Zoo) -> None:
    bench, _ = bench_of(text.uri, text.namespace)

    default = recalled_by(bench, wish(text))
    prior = recalled_by(bench, wish(text, recommender="prior"))

    assert default.ranking.models[0] == prior.ranking.models[0]
    assert prior.proxies == {}


def test_the_paper_multiplies_mean_and_proxy(text: Zoo) -> None:
    """Eq. 2-4: every rank is explained by its two parts."""
    bench, _ = bench_of(text.uri, text.namespace)

    found = recalled_by(bench, wish(text, recommender="paper"))

    parts = found.ranking.parts
    assert found.ranking.scores == pytest.approx(parts["mean"] * parts["proxy"])
    assert sorted(parts["proxy"])[-1] == 1


def test_leep_is_refused_without_source_heads(text: Zoo) -> None:
    bench, _ = bench_of(text.uri, text.namespace)

    found = recalled_by(bench, wish(text, score="leep"))

    assert found.recommender == "prior"
    assert found.left_out == {"leep": "not every representative has a real source head"}


@pytest.mark.parametrize("usable", [0, 1])
def test_fewer_than_two_scores_leave_the_history_alone_and_it_is_said(
    text: Zoo, usable: int
) -> None:
    bench, voice = bench_of(text.uri, text.namespace)
    representatives = survey(wish(text), bench).clustering.probes
    lost = representatives[usable:]

    def alter(member: Member) -> Member | None:
        return None if member.name in lost else member

    found = recalled_by(replace(bench, registry=AlteredRegistry(bench, alter)), wish(text))

    assert (found.recommender, found.score, found.proxies) == ("prior", "", {})
    assert set(found.left_out) == set(lost)
    (note,) = found.notes
    assert note.startswith(f"{usable} usable cluster scores: ranked by the history alone")
    assert f"{lost[0]}: {lost[0]} version 1: no weights: they are lost" in note
    assert f"note: {note}" in voice.lines


def test_a_wish_for_too_many_is_clipped_and_said(text: Zoo) -> None:
    bench, voice = bench_of(text.uri, text.namespace)

    found = recalled_by(bench, wish(text, top_k=50))

    assert set(found.chosen) == set(text.models)
    assert "note: top_k: 50 wished, 5 models are eligible" in voice.lines


def test_k_keeps_the_best_of_the_ranking(text: Zoo) -> None:
    bench, _ = bench_of(text.uri, text.namespace)

    found = recalled_by(bench, wish(text, top_k=2))

    assert found.chosen == found.ranking.models[:2]


def test_the_target_s_own_history_is_not_used(text: Zoo) -> None:
    """It would tell the answer that the selection is asked for."""
    bench, voice = bench_of(text.uri, text.namespace)
    config = replace(wish(text), dataset=replace(text.target, path=str(text.folder / "set-0.csv")))

    prospect = survey(config, bench)

    assert prospect.matrix.datasets == ("set-1", "set-2")
    assert "note: 5 records of the target itself are not used" in voice.lines


def test_models_without_a_cluster_by_the_metric_are_clustered_anew(text: Zoo) -> None:
    bench, voice = bench_of(text.uri, text.namespace)

    prospect = survey(wish(text, metric="f1_macro"), bench)

    assert set(prospect.clustering.models) == set(text.models)
    (note,) = (line for line in voice.lines if "clustered anew" in line)
    assert note.startswith("note: 5 of 5 models have no cluster by f1_macro")


def test_a_recall_is_a_run_with_all_parts(text: Zoo) -> None:
    bench, _ = bench_of(text.uri, text.namespace)

    found, opened = recall_run(wish(text), bench)

    run = text.client.get_run(opened.run_id)
    assert run.info.status == "FINISHED"
    table = load_dict(f"{run.info.artifact_uri}/recall/ranking.json")
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
    assert [row["model"] for row in rows] == list(found.ranking.models)
    for row, prior, proxy in zip(
        rows, found.ranking.parts["prior"], found.ranking.parts["proxy"], strict=True
    ):
        assert row["prior"] == pytest.approx(prior, abs=1e-5)
        assert row["proxy"] == pytest.approx(proxy, abs=1e-5)
    assert run.data.tags["recall.score"] == "logme"
    assert run.data.tags["recall.recalled"] == ", ".join(found.chosen)
    assert run.data.metrics["recall/probes"] == 2
    assert run.data.metrics["recall/epochs"] == pytest.approx(found.epochs)
    assert run.inputs is not None
    (entry,) = run.inputs.dataset_inputs
    assert entry.dataset.digest == run.data.tags[tags.DIGEST] == found.prospect.dataset.digest


def test_a_recall_that_fails_says_why_and_is_closed(text: Zoo) -> None:
    bench, _ = bench_of(text.uri, text.namespace)

    def interrupted(task: ProbeTask) -> Iterator[Probe]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        recall_run(wish(text), replace(bench, probe=interrupted))

    run = runs_of(text.uri, text.namespace, "recall")[-1]
    assert run.info.status == "KILLED"
    assert run.data.tags[tags.REASON] == "interrupted: KeyboardInterrupt"


def test_models_that_have_no_weights_here_still_teach(text: Zoo) -> None:
    bench, voice = bench_of(text.uri, text.namespace)

    def alter(member: Member) -> Member:
        return replace(member, available=member.name != text.models[0])

    prospect = survey(wish(text), replace(bench, registry=AlteredRegistry(bench, alter)))

    assert set(prospect.members) == set(text.models[1:])
    assert text.models[0] in {record.model for record in prospect.usable.records}
    assert "note: 1 models have a history but no weights here" in voice.lines


def test_a_history_of_nobody_who_is_eligible_is_an_error(
    store: str, namespace: str, text: Zoo
) -> None:
    bench, _ = bench_of(text.uri, text.namespace)

    def stranger(member: Member) -> Member:
        return replace(member, name=f"{member.name}-renamed")

    bench = replace(bench, registry=AlteredRegistry(bench, stranger))

    with pytest.raises(SettingError, match=r"expected benchmark runs of .*-renamed or another"):
        survey(replace(wish(text), models=()), bench)


def test_what_is_logged_of_a_recall_is_json(text: Zoo, tmp_path: Path) -> None:
    """NaN is no JSON: a model without history has null."""
    bench, _ = bench_of(text.uri, text.namespace)

    _, opened = recall_run(wish(text), bench)

    path = text.client.download_artifacts(opened.run_id, "recall/ranking.json", str(tmp_path))
    json.loads(Path(path).read_text(), parse_constant=pytest.fail)
