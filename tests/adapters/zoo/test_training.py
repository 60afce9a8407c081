"""Fine-tuning in stages and looking at a target, on networks that train in milliseconds."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from tiny import CLASSES, tiny_bert, tiny_images, tiny_pairs, tiny_texts, tiny_timm
from trained import (
    RECIPE,
    Case,
    check_stages,
    checkpoint_of,
    run,
    same,
    sized,
    state,
)

from mlflow_recall.adapters import zoo
from mlflow_recall.adapters.data.preparation import load_split, prepare
from mlflow_recall.adapters.manifests.dataset_spec import DatasetSpec
from mlflow_recall.adapters.zoo import training
from mlflow_recall.core.history.metrics import metrics_of
from mlflow_recall.core.history.recipes import Recipe
from mlflow_recall.core.history.tasks import Target
from mlflow_recall.errors import ZooError


@pytest.fixture(params=["text", "image"])
def case(request: pytest.FixtureRequest) -> Case:
    result: Case = request.getfixturevalue(request.param)
    return result


@pytest.mark.slow
def test_the_second_text_of_a_pair_is_read(text: Case, tmp_path: Path) -> None:
    """Its label can be learned from the second text alone."""
    path = str(tiny_pairs(tmp_path / "pairs.csv", 240))
    learned = {}
    for name, spec in (
        ("both", DatasetSpec(path=path, text="premise", text_pair="hypothesis", label="label")),
        ("first", DatasetSpec(path=path, text="premise", label="label")),
    ):
        case = replace(text, dataset=prepare(spec))
        results = run(case.task(replace(RECIPE, epochs=4, learning_rate=1e-2)))
        learned[name] = max(result.validation["accuracy"] for result in results)

    assert learned["both"] > 0.65
    assert learned["first"] < 0.5


METRICS = set(metrics_of(Target(classes=CLASSES)))


# --- stages --------------------------------------------------------------------------------------


def test_stages_from_checkpoints_are_the_same_run_as_straight_through(
    case: Case, tmp_path: Path
) -> None:
    """A selection that trains stage by stage must see what a benchmark saw."""
    check_stages(case, sized(case), tmp_path)


def test_two_runs_of_one_seed_are_equal_and_of_two_seeds_are_not(
    case: Case, tmp_path: Path
) -> None:
    recipe = sized(case, epochs=1)
    states = [
        state(run(case.task(changed, workspace=str(tmp_path / str(i))))[0])
        for i, changed in enumerate((recipe, recipe, replace(recipe, seed=1)))
    ]

    assert same(states[0], states[1])
    assert not same(states[0], states[2])


@pytest.mark.slow
def test_training_learns_what_can_be_learned(case: Case, tmp_path: Path) -> None:
    """There are enough rows: with nine, one of them would be eleven points."""
    text = case.member.modality == "text"
    many = tiny_texts(tmp_path / "t.csv", 210) if text else tiny_images(tmp_path / "i", 210)
    case = replace(case, dataset=prepare(DatasetSpec(path=str(many))))

    *_, last = run(case.task(sized(case, epochs=6, freeze_batchnorm=False)))

    assert last.validation["accuracy"] > 0.6  # one in three by chance


def test_every_stage_brings_every_metric_and_the_test_comes_last(case: Case) -> None:
    results = run(case.task(sized(case, epochs=2), test="last"))

    assert [set(r.validation) for r in results] == [METRICS] * 2
    assert [set(r.test) for r in results] == [set(), METRICS]
    assert all(r.seconds > 0 for r in results)
    assert [r.checkpoint for r in results] == [None, None]


def test_each_stage_can_be_tested_and_is_none_the_different_for_it(case: Case) -> None:
    recipe = sized(case, epochs=2)
    once, often = (run(case.task(recipe, test=when)) for when in ("last", "each"))

    assert [set(r.test) for r in often] == [METRICS] * 2
    assert [r.validation for r in often] == [r.validation for r in once]
    assert often[-1].test == once[-1].test


@pytest.mark.parametrize("when", ["last", "each"])
def test_the_time_of_a_test_is_not_part_of_a_stage(
    case: Case, monkeypatch: pytest.MonkeyPatch, when: Literal["last", "each"]
) -> None:
    """A selection tests once at its end: what a benchmark measures is the cost of training.

    On a clock that moves while a test is computed, and at no other time.
    """
    now = 0.0

    class Slow:
        def scores(self, accelerator: object) -> dict[str, float]:
            nonlocal now
            now += 1000.0
            return {"accuracy": 0.5}

    monkeypatch.setattr(training, "_test_set", lambda *_: Slow())
    monkeypatch.setattr(time, "perf_counter", lambda: now)

    results = run(case.task(sized(case, epochs=2), test=when))

    assert sum(len(result.test) for result in results) == {"last": 1, "each": 2}[when]
    assert [result.seconds for result in results] == [0.0, 0.0]


@pytest.mark.parametrize("rows", [1, 8, 45])
def test_batches_hold_every_row_once_and_only_one_is_small(rows: int) -> None:
    lengths = np.random.default_rng(0).integers(1, 100, rows)

    batches = training._batches(lengths, 8, np.random.default_rng(1))

    assert sorted(np.concatenate(batches)) == list(range(rows))
    assert len(batches) == -(-rows // 8)
    assert sum(len(batch) < 8 for batch in batches) == (rows % 8 > 0)


def test_rows_of_like_length_share_a_batch() -> None:
    lengths = np.random.default_rng(0).integers(1, 100, 512)

    batches = training._batches(lengths, 16, np.random.default_rng(1))

    padded = sum(len(batch) * lengths[batch].max() for batch in batches)
    shuffled = np.random.default_rng(1).permutation(512).reshape(-1, 16)
    assert padded < 1.15 * lengths.sum()
    assert padded < 0.75 * sum(16 * lengths[batch].max() for batch in shuffled)
    assert not np.all(np.diff([lengths[batch].max() for batch in batches]) <= 0)  # in no order


def test_the_last_stage_keeps_no_optimizer_and_reads_like_the_librarys_own_folder(
    case: Case, tmp_path: Path
) -> None:
    results = run(case.task(sized(case, epochs=2), workspace=str(tmp_path)))
    first, last = map(checkpoint_of, results)

    assert (first / "optimizer.safetensors").exists()
    assert not (last / "optimizer.safetensors").exists()
    assert not [f for f in tmp_path.rglob("*") if f.suffix in (".bin", ".pt", ".pth", ".pkl")]
    member = replace(case, weights=last)
    assert len(run(member.task(sized(case, epochs=1)))) == 1


def test_without_a_stage_left_only_the_test_is_made(case: Case, tmp_path: Path) -> None:
    recipe = sized(case)
    *_, last = run(case.task(recipe, workspace=str(tmp_path), test="last"))

    (second,) = run(case.task(recipe, first=4, last=3, checkpoint=last.checkpoint, test="last"))

    assert (second.stage, dict(second.validation)) == (3, {})
    assert second.test == last.test
    assert second.checkpoint == last.checkpoint


def test_the_sample_of_the_recipe_is_what_is_trained_on(text: Case, tmp_path: Path) -> None:
    """Two batches of eight are two steps; the first of them is the whole warm-up."""
    recipe = replace(RECIPE, train_samples=16, epochs=2)

    first, _ = run(text.task(recipe, workspace=str(tmp_path)))

    steps = [value for name, value in state(first).items() if name.endswith(".step")]
    assert steps
    assert {float(step) for step in steps} == {2.0}


def test_a_loss_that_is_no_number_any_more_names_the_learning_rate(case: Case) -> None:
    recipe = sized(case, learning_rate=1e30, head_learning_rate=1e30)

    with pytest.raises(
        ZooError, match=r"m: the loss is (nan|inf) after stage 1: try a learning ra"
    ):
        run(case.task(recipe))


# --- what stays as it was ------------------------------------------------------------------------


def weights_of(case: Case, recipe: Recipe, place: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the weights before and after a stage of the parameters that have both."""
    before = load_file(case.weights / "model.safetensors")
    (result,) = run(case.task(recipe, workspace=str(place)))
    after = load_file(checkpoint_of(result) / "model.safetensors")
    shared = before.keys() & after.keys()
    return {k: before[k] for k in shared}, {k: after[k] for k in shared}


def moved(case: Case, recipe: Recipe, place: Path) -> set[str]:
    before, after = weights_of(case, recipe, place)
    return {name for name in before if not torch.equal(before[name], after[name])}


def test_nothing_frozen_moves_every_layer(case: Case, tmp_path: Path) -> None:
    names = moved(case, sized(case, epochs=1), tmp_path)

    assert any("layer.0" in name or "layer1" in name for name in names)
    assert any("embeddings" in name or "conv1" in name or "stem" in name for name in names)


def test_frozen_embeddings_stay_and_the_layers_move(case: Case, tmp_path: Path) -> None:
    names = moved(case, sized(case, epochs=1, freeze="embeddings"), tmp_path)

    assert any("layer" in name for name in names)
    assert not [n for n in names if n.startswith(("embeddings", "conv1", "bn1"))]


def test_a_frozen_backbone_stays_whole_and_the_head_learns(case: Case, tmp_path: Path) -> None:
    recipe = sized(case, epochs=4, freeze="backbone")
    before = load_file(case.weights / "model.safetensors")
    results = run(case.task(recipe, workspace=str(tmp_path)))

    after = state(results[-1])
    backbone = {k.partition("/")[2]: v for k, v in after.items() if k.startswith("model.")}
    assert {k for k in before if k in backbone and not torch.equal(before[k], backbone[k])} == set()
    heads = [
        {k: v for k, v in state(r).items() if "head.safetensors/" in k or "fc." in k}
        for r in (results[0], results[-1])
    ]
    assert heads[0]
    assert not same(heads[0], heads[1])


@pytest.mark.parametrize("frozen", [True, False])
def test_batch_norm_keeps_its_statistics_only_if_the_recipe_says_so(
    image: Case, tmp_path: Path, frozen: bool
) -> None:
    """Few images ruin the statistics of many: 0.60 became 0.92 on one set by keeping them."""
    recipe = sized(image, epochs=1, freeze_batchnorm=frozen)

    names = moved(image, recipe, tmp_path)

    statistics = [name for name in names if "running_" in name]
    assert bool(statistics) != frozen
    assert any(name.startswith("layer1") and "conv" in name for name in names)


def test_a_network_is_left_as_it_was_by_its_evaluation(image: Case, tmp_path: Path) -> None:
    """Stages of a network with live statistics are equal too, so evaluation touches none."""
    recipe = sized(image, epochs=2, freeze_batchnorm=False)
    few = replace(recipe, eval_samples=3)
    one, other = (
        run(image.task(r, workspace=str(tmp_path / name)))[-1]
        for r, name in ((recipe, "all"), (few, "few"))
    )

    assert same(state(one), state(other))


# --- probes --------------------------------------------------------------------------------------


def test_a_probe_is_one_row_a_sample_and_the_same_each_time(case: Case) -> None:
    recipe = sized(case)
    probe, second = (case.probe(recipe=recipe, samples=21) for _ in range(2))

    assert probe.labels.shape == (21,)
    assert np.bincount(probe.labels).tolist() == [7, 7, 7]
    assert probe.embeddings.shape[0] == 21
    assert probe.embeddings.dtype == np.float64
    assert np.isfinite(probe.embeddings).all()
    assert probe.probabilities is None
    assert probe.seconds > 0
    assert np.array_equal(probe.embeddings, second.embeddings)


def test_embeddings_of_texts_are_what_a_probe_sees_of_them(text: Case) -> None:
    """Whatever their order and their neighbors: rows of like length share a batch."""
    probe = text.probe()
    texts = list(load_split(text.dataset, "train")["text"])

    embeddings = zoo.embed(text.member, str(text.weights), texts[::-1])

    np.testing.assert_allclose(embeddings[::-1], probe.embeddings, atol=1e-5)
    assert embeddings.dtype == np.float64


def test_a_probe_counts_the_weight_layers_of_the_backbone(text: Case, image: Case) -> None:
    """Six matrix products in each of two BERT layers and the pooler; the new head is none."""
    assert text.probe(samples=9).layers == 2 * 6 + 1
    network = timm.create_model("test_resnet", num_classes=0)
    convolutions = sum(isinstance(part, torch.nn.Conv2d) for part in network.modules())
    assert image.probe(samples=9, recipe=sized(image)).layers == convolutions


def test_a_probe_looks_at_the_training_split_alone(text: Case) -> None:
    """What it sees of validation or test would leak into the ranking."""
    assert len(text.probe().labels) == text.dataset.sizes["train"]
    labels = load_split(text.dataset, "train", 9, RECIPE.seed)["label"]
    assert text.probe(samples=9).labels.tolist() == list(labels)


def test_texts_are_embedded_alone_as_in_a_batch(text: Case) -> None:
    """Padding must not count: a text's embedding is its own."""
    from mlflow_recall.adapters.zoo import transformers_models

    network: Any = transformers_models.load(
        text.member, str(text.weights), text.dataset, RECIPE, False
    )
    network.module.eval()
    encoded = network.preprocess(load_split(text.dataset, "train"))
    assert len({len(row["input_ids"]) for row in encoded}) > 1
    with torch.inference_mode():
        together = network.embeddings(network.collate(encoded))
        alone = torch.cat([network.embeddings(network.collate([row])) for row in encoded])
        logits = network.logits(network.collate(encoded))
        single = torch.cat([network.logits(network.collate([row])) for row in encoded])

    assert torch.allclose(together, alone, atol=1e-5)
    assert torch.allclose(logits, single, atol=1e-5)


@pytest.mark.parametrize("source", [("a", "b"), ("a", "b", "c", "d", "e")])
def test_a_real_source_head_gives_distributions_over_its_own_classes(
    text: Case, image: Case, tmp_path: Path, source: tuple[str, ...]
) -> None:
    heads = {
        "text": tiny_bert(tmp_path / "bert", classes=source),
        "image": tiny_timm(tmp_path / "resnet", classes=source),
    }
    for case in (text, image):
        member = replace(case.member, has_source_head=True)
        with_head = Case(member, heads[member.modality], case.dataset)

        probe = with_head.probe(recipe=sized(case), samples=9)

        assert probe.probabilities is not None
        assert probe.probabilities.shape == (9, len(source))
        assert np.allclose(probe.probabilities.sum(axis=1), 1)
        bare = replace(with_head, member=case.member).probe(recipe=sized(case), samples=9)
        assert bare.probabilities is None
        assert np.allclose(bare.embeddings, probe.embeddings, atol=1e-6)


def test_a_fine_tuned_network_is_a_source_head_for_the_next_target(
    case: Case, tmp_path: Path
) -> None:
    """A winner is itself a zoo member, and LEEP may look through its head."""
    *_, last = run(case.task(sized(case), workspace=str(tmp_path / "work")))
    member = replace(case.member, has_source_head=True)
    names = ("one", "two")
    if case.member.modality == "text":
        path = str(tiny_texts(tmp_path / "next.csv", 30, names))
    else:
        path = str(tiny_images(tmp_path / "next", 30, names))
    following = Case(member, checkpoint_of(last), prepare(DatasetSpec(path=path)))

    probe = following.probe(recipe=sized(case), samples=8)
    (result,) = run(following.task(sized(case, epochs=1), workspace=str(tmp_path / "more")))

    assert probe.probabilities is not None
    assert probe.probabilities.shape == (8, len(CLASSES))
    after = state(result)
    new = [
        after[k] for k in after if k in ("head.safetensors/weight", "model.safetensors/fc.weight")
    ]
    assert [weight.shape[0] for weight in new] == [2]


# --- loading -------------------------------------------------------------------------------------


def test_fewer_layers_are_loaded_where_the_member_asks_for_them(text: Case, tmp_path: Path) -> None:
    shallow = replace(text, member=replace(text.member, config={"num_hidden_layers": 1}))
    (result,) = run(shallow.task(workspace=str(tmp_path), last=1))

    config = json.loads((checkpoint_of(result) / "config.json").read_text())
    assert config["num_hidden_layers"] == 1
    assert len(run(shallow.task(checkpoint=result.checkpoint, first=2, last=2))) == 1


def test_the_folder_of_mlflows_transformers_flavor_loads(text: Case, tmp_path: Path) -> None:
    """`model/` and `components/tokenizer/`, beside an MLmodel file."""
    (tmp_path / "components" / "tokenizer").mkdir(parents=True)
    (tmp_path / "model").mkdir()
    (tmp_path / "MLmodel").touch()
    for file in text.weights.iterdir():
        own = (
            "model"
            if file.name in ("config.json", "model.safetensors")
            else ("components/tokenizer")
        )
        shutil.copy(file, tmp_path / own)

    flavor = replace(text, weights=tmp_path)

    assert [r.validation for r in run(flavor.task())] == [r.validation for r in run(text.task())]
    assert np.array_equal(flavor.probe().embeddings, text.probe().embeddings)


@pytest.mark.parametrize("layout", ["plain", "flavor"])
def test_pickled_transformers_weights_are_refused(text: Case, tmp_path: Path, layout: str) -> None:
    folder = tmp_path if layout == "plain" else tmp_path / "model"
    shutil.copytree(text.weights, folder, dirs_exist_ok=True)
    if layout == "flavor":
        (tmp_path / "MLmodel").touch()
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()

    with pytest.raises(ZooError, match=r"m: cannot be loaded from .*safetensors"):
        run(replace(text, weights=tmp_path).task())


def test_pickled_timm_weights_are_refused(image: Case, tmp_path: Path) -> None:
    shutil.copytree(image.weights, tmp_path, dirs_exist_ok=True)
    weights = tmp_path / "model.safetensors"
    torch.save(load_file(weights), tmp_path / "pytorch_model.bin")
    weights.unlink()

    with pytest.raises(
        ZooError, match=r"m: cannot .*: expected model\.safetensors in it, there is none"
    ):
        run(replace(image, weights=tmp_path).task())


def test_a_file_that_is_no_safetensors_is_one_error(case: Case, tmp_path: Path) -> None:
    shutil.copytree(case.weights, tmp_path, dirs_exist_ok=True)
    (tmp_path / "model.safetensors").write_bytes(b"not safetensors at all")

    with pytest.raises(ZooError, match="m: cannot be loaded from"):
        run(replace(case, weights=tmp_path).task())


def test_weights_of_another_architecture_are_one_error(image: Case, tmp_path: Path) -> None:
    (tmp_path / "config.json").unlink(missing_ok=True)
    shutil.copy(image.weights / "model.safetensors", tmp_path)
    other = replace(image, member=replace(image.member, arch="timm/test_vit"), weights=tmp_path)
    unknown = replace(other, member=replace(image.member, arch="timm/no_such_net"))

    with pytest.raises(ZooError, match=r"m: cannot be loaded from .*: it has 0 of .* of test_vit"):
        run(other.task())
    with pytest.raises(ZooError, match=r"m: cannot be loaded from .*no_such_net"):
        run(unknown.task())


def test_a_config_that_tells_of_other_weights_is_one_error(text: Case, tmp_path: Path) -> None:
    """Transformers fills missing weights with random values, which must not be benchmarked."""
    shutil.copytree(text.weights, tmp_path, dirs_exist_ok=True)
    weights = load_file(tmp_path / "model.safetensors")
    save_file({f"other.{k}": v for k, v in weights.items()}, tmp_path / "model.safetensors")

    with pytest.raises(ZooError, match=r"m: cannot be loaded from .*: it has 0 of "):
        run(replace(text, weights=tmp_path).task())


def test_an_unknown_library_lists_the_known_ones(text: Case) -> None:
    stranger = replace(text, member=replace(text.member, arch="keras/dense"))

    with pytest.raises(ZooError, match="m: unknown library 'keras': expected one of timm, transf"):
        run(stranger.task())


def test_answers_that_are_no_numbers_have_no_score(
    text: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An argmax of NaN is the first class, which is right by chance."""
    broken = np.full((60, len(text.dataset.classes)), np.nan)
    monkeypatch.setattr(training, "forward", lambda *_: broken)

    (result,) = zoo.train(text.task(Recipe(epochs=1, batch_size=8)))

    assert set(map(str, result.validation.values())) == {"nan"}
    assert result.divergence().startswith("diverged: validation ")
