"""The mode ``lora``: few parameters are trained, and the merged network needs nothing new."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from architectures import save_image_model, save_text_model, save_timm_model, travel
from safetensors.torch import load_file
from tiny import WORDS, tiny_timm, tokenizer_of_words
from trained import (
    Case,
    check_stages,
    checkpoint_of,
    run,
    sized,
    state,
)

from mlflow_recall.adapters.data.preparation import load_split
from mlflow_recall.adapters.zoo.lora import LoraNetwork
from mlflow_recall.adapters.zoo.network import Trainable
from mlflow_recall.adapters.zoo.transformers_models import TransformersNetwork
from mlflow_recall.core.history.recipes import LORA, Recipe
from mlflow_recall.core.history.records import Dataset
from mlflow_recall.errors import ZooError

pytest.importorskip("peft", reason="the mode lora needs peft")

_GROUPED = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 128,
    "max_position_embeddings": 64,
}
#: model type of a decoder -> what makes it small; its vocabulary is as large as its layers
DECODERS = {
    "gpt2": {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 64},
    "llama": _GROUPED,
    "qwen2": _GROUPED,
}


#: encoders, decoders, one of both, one tower, and one that shares its layers
TEXT_TYPES = ("albert", "bert", "clip", "gpt2", "llama", "mamba", "qwen2", "t5", "xlnet")


def save_decoder(model_type: str, folder: Path) -> Path:
    """Write a random decoder, whose tokenizer has an end but no padding token."""
    from transformers import AutoConfig, AutoModel

    tokenizer = tokenizer_of_words()
    tokenizer.eos_token, tokenizer.pad_token = "[SEP]", None
    auto: Any = AutoConfig
    models: Any = AutoModel
    config = auto.for_model(
        model_type, vocab_size=1000, bos_token_id=2, eos_token_id=3, **DECODERS[model_type]
    )
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        model = models.from_config(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def decoders(text: Case, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Case]:
    def decoder(model_type: str) -> Case:
        folder = tmp_path_factory.mktemp(model_type)
        member = replace(text.member, arch=f"transformers/{model_type}")
        return replace(text, member=member, weights=save_decoder(model_type, folder))

    return decoder


@pytest.fixture(scope="module")
def image(image: Case, tmp_path_factory: pytest.TempPathFactory) -> Case:
    """A vision transformer, which has linear layers."""
    weights = tiny_timm(tmp_path_factory.mktemp("vit"), "test_vit")
    return replace(image, member=replace(image.member, arch="timm/test_vit"), weights=weights)


@pytest.fixture(params=["bert", "vit", *DECODERS])
def case(request: pytest.FixtureRequest) -> Case:
    fixed = {"bert": "text", "vit": "image"}
    if request.param in fixed:
        result: Case = request.getfixturevalue(fixed[request.param])
        return result
    made: Case = request.getfixturevalue("decoders")(request.param)
    return made


def lora(case: Case, **changes: Any) -> Recipe:
    size = 160 if case.member.arch == "timm/test_vit" else 0
    return replace(sized(case), mode=LORA, lora_rank=2, input_size=size, **changes)


def logits_of(network: Trainable, dataset: Dataset) -> torch.Tensor:
    network.module.eval()
    rows = network.preprocess(load_split(dataset, "test"))
    with torch.no_grad():
        return network.logits(network.collate(rows))


def test_stages_from_checkpoints_are_the_same_run_as_straight_through(
    case: Case, tmp_path: Path
) -> None:
    check_stages(case, lora(case), tmp_path)


def test_a_checkpoint_holds_the_adapter_and_the_head_alone(case: Case, tmp_path: Path) -> None:
    first, _, last = run(case.task(lora(case), workspace=str(tmp_path)))

    files = {file.name for file in checkpoint_of(first).iterdir()}
    assert files == {"adapter.safetensors", "optimizer.safetensors"}
    names = [
        name
        for name in load_file(checkpoint_of(first) / "adapter.safetensors")
        if ".lora_" not in name
    ]
    assert all(name.startswith(("head.", "fc.")) or "position" in name for name in names), names
    assert not (checkpoint_of(last) / "adapter.safetensors").exists()
    assert not [name for name in state(last) if "lora" in name]


def test_the_merged_network_gives_the_same_answers(case: Case, tmp_path: Path) -> None:
    recipe = lora(case)
    _, second, _ = run(case.task(recipe, workspace=str(tmp_path)))
    network = LoraNetwork(case.load(recipe), recipe, "m")
    network.restore(checkpoint_of(second))
    before = logits_of(network, case.dataset)

    network.merge()
    (tmp_path / "merged").mkdir()
    network.save(tmp_path / "merged")

    loaded = case.load(recipe, tmp_path / "merged")
    assert not torch.equal(before, logits_of(case.load(recipe), case.dataset))
    torch.testing.assert_close(logits_of(loaded, case.dataset), before, atol=1e-5, rtol=0)


def test_a_winner_of_an_earlier_stage_is_merged_by_its_test(case: Case, tmp_path: Path) -> None:
    """A budget may end a selection before the last stage."""
    recipe = lora(case)
    first, *_ = run(case.task(recipe, workspace=str(tmp_path)))

    (tested,) = run(
        case.task(
            recipe,
            first=4,
            last=3,
            checkpoint=first.checkpoint,
            workspace=str(tmp_path),
            test="last",
        )
    )

    network = LoraNetwork(case.load(recipe), recipe, "m")
    network.restore(checkpoint_of(first))
    whole = case.load(recipe, checkpoint_of(tested))
    torch.testing.assert_close(
        logits_of(whole, case.dataset), logits_of(network, case.dataset), atol=1e-5, rtol=0
    )


@pytest.mark.slow
def test_the_winner_is_loaded_without_peft(text: Case, tmp_path: Path) -> None:
    *_, last = run(text.task(lora(text), workspace=str(tmp_path)))
    code = (
        "import sys; sys.modules['peft'] = None; from transformers import AutoModel; "
        f"AutoModel.from_pretrained({last.checkpoint!r}); print('loaded')"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.stdout.strip() == "loaded", done.stderr


@pytest.mark.parametrize("model_type", DECODERS)
def test_few_parameters_of_a_decoder_are_trained(
    model_type: str, decoders: Callable[[str], Case]
) -> None:
    case = decoders(model_type)
    network = LoraNetwork(case.load(lora(case)), lora(case), "m")

    frozen = set(network.frozen_parameters("nothing"))
    sizes = {name: p.numel() for name, p in network.module.named_parameters()}
    trained = {name: size for name, size in sizes.items() if name not in frozen}
    share = sum(trained.values()) / sum(sizes.values())
    print(f"{model_type}: {share:.1%} of {sum(sizes.values())} parameters")  # noqa: T201

    assert {"head.weight", "head.bias"} < trained.keys()
    assert share < 0.05


@pytest.mark.parametrize("model_type", DECODERS)
def test_the_last_token_of_a_decoder_is_read_whatever_follows_it(
    model_type: str, decoders: Callable[[str], Case]
) -> None:
    """Padding after a text changes nothing of it, though it is the token that ends a text."""
    network = decoders(model_type).load(Recipe(mode=LORA))
    rows = network._encode([" ".join(WORDS[:count]) for count in (1, 3, 9)])
    with torch.no_grad():
        together = network.features(network.collate(rows)).head_inputs
        hidden = [
            network._reader(**network._arguments(network.collate([row]))).last_hidden_state
            for row in rows
        ]

    assert network.module.pooling == "last"
    expected = torch.cat([tokens[:, -1] for tokens in hidden])
    torch.testing.assert_close(together, expected, atol=1e-5, rtol=1e-5)


def test_only_the_mode_lora_and_only_decoders_read_the_last_token(
    text: Case, decoders: Callable[[str], Case]
) -> None:
    """Cells of the mode ``full`` that are recorded have read the mean."""
    decoder = decoders("gpt2")

    def pooling(case: Case, mode: str) -> str:
        network: TransformersNetwork = case.load(Recipe(mode=mode))
        return str(network.module.pooling)

    assert pooling(decoder, "lora") == "last"
    assert pooling(decoder, "full") == pooling(decoder, "frozen") == "mean"
    assert pooling(text, "lora") == "mean"


@pytest.mark.parametrize("model_type", ["bart", "clip", "fnet", "mobilebert", "xlnet"])
def test_a_model_that_is_no_decoder_alone_reads_the_mean(
    model_type: str, text: Case, tmp_path: Path
) -> None:
    weights = save_text_model(model_type, tmp_path / "network")
    member = replace(text.member, arch=f"transformers/{model_type}")
    network = replace(text, member=member, weights=weights).load(Recipe(mode=LORA))

    assert network.module.pooling == "mean"


def test_layers_that_no_head_reads_are_left_alone(text: Case) -> None:
    """A pooler of BERT would count as trained, and never change."""
    network = LoraNetwork(text.load(lora(text)), lora(text), "m")
    network.module.train()
    rows = network.preprocess(load_split(text.dataset, "test"))
    loss: Any = network.logits(network.collate(rows)).sum()
    loss.backward()

    changed = {name: p.grad for name, p in network.module.named_parameters() if ".lora_" in name}
    assert changed
    assert all(gradient is not None for gradient in changed.values())


def test_a_network_without_linear_layers_is_one_error(image: Case, tmp_path: Path) -> None:
    member = replace(image.member, arch="timm/test_resnet")
    convolutions = replace(image, member=member, weights=tiny_timm(tmp_path / "resnet"))

    with pytest.raises(ZooError, match=r"^m: mode lora: expected a network with linear layers, go"):
        run(convolutions.task(lora(convolutions)))


def test_an_adapter_of_another_rank_is_one_error(text: Case, tmp_path: Path) -> None:
    first, *_ = run(text.task(lora(text), workspace=str(tmp_path)))
    other = replace(lora(text), lora_rank=3)

    with pytest.raises(ZooError, match=r"m: .*adapter\.safetensors: "):
        run(text.task(other, first=2, checkpoint=first.checkpoint))


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["albert", "bert", "clip", "gpt2", "llama", "qwen2", "t5", "xlnet"]
)
def test_a_text_model_goes_the_whole_way(
    name: str, store: str, namespace: str, tmp_path: Path
) -> None:
    """It is registered, trained, probed, loaded again and served like one trained as a whole."""
    folder = save_text_model(name, tmp_path / "network")
    travel(store, namespace, folder, "text", name="network", recipe={"mode": LORA})


@pytest.mark.slow
@pytest.mark.parametrize("name", ["swin", "vit"])
def test_an_image_model_goes_the_whole_way(
    name: str, store: str, namespace: str, tmp_path: Path
) -> None:
    folder = save_image_model(name, tmp_path / "network")
    recipe = {"mode": LORA, "input_size": 64}
    travel(store, namespace, folder, "image", name="network", recipe=recipe)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["deit", "levit", "swin_transformer", "vision_transformer"])
def test_a_timm_model_goes_the_whole_way(
    name: str, store: str, namespace: str, tmp_path: Path
) -> None:
    folder = save_timm_model(name, tmp_path / "network")
    recipe = {"mode": LORA, "input_size": 64}
    travel(store, namespace, folder, "image", name="network", recipe=recipe)
