"""Architectures of transformers and timm as tiny random networks, and all that is done with one.

Each goes the whole way of a member: it is registered, trained for an epoch, probed, loaded again
from its checkpoint, and answers as a served model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import torch
from prepared import RecordingReporter, registry_for, services_for, write_zoo
from tiny import WORDS, tiny_images, tiny_texts, tokenizer_of_words

from mlflow_recall.adapters import zoo
from mlflow_recall.adapters.data.preparation import load_split, prepare
from mlflow_recall.adapters.manifests.dataset_spec import DatasetSpec
from mlflow_recall.adapters.manifests.yaml_files import read_zoo
from mlflow_recall.adapters.zoo import timm_models, transformers_models
from mlflow_recall.adapters.zoo.serving import save_servable
from mlflow_recall.cache import cache_folder
from mlflow_recall.core.history.records import Dataset, Member
from mlflow_recall.ports import ProbeTask, TrainTask
from mlflow_recall.workflows.benchmark import resolve_recipe
from mlflow_recall.workflows.register import register_models

#: what most configurations call the sizes of a model
_TINY = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 40,
}
_SMALL_BART = {
    "d_model": 16,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
    "max_position_embeddings": 40,
}
_SMALL_T5 = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2}
_SMALL_XLM = {"emb_dim": 16, "n_layers": 1, "n_heads": 2, "max_position_embeddings": 40}
_TOWER = {**_TINY, "image_size": 16, "patch_size": 8}
_GROUPED = {**_TINY, "num_key_value_heads": 1, "head_dim": 8}

#: model type that reads texts -> what makes it tiny
TEXTS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        # encoders
        "albert": {**_TINY, "embedding_size": 8},
        "bert": _TINY,
        "big_bird": {**_TINY, "attention_type": "original_full"},
        "camembert": _TINY,
        "convbert": {**_TINY, "embedding_size": 16, "head_ratio": 1, "conv_kernel_size": 3},
        "data2vec-text": _TINY,
        "deberta": {**_TINY, "relative_attention": True, "pos_att_type": ["p2c", "c2p"]},
        "deberta-v2": {**_TINY, "relative_attention": True, "pos_att_type": ["p2c", "c2p"]},
        "distilbert": {"dim": 16, "n_layers": 1, "n_heads": 2, "hidden_dim": 32,
                       "max_position_embeddings": 40},
        "electra": {**_TINY, "embedding_size": 8},
        "ernie": _TINY,
        "esm": {**_TINY, "position_embedding_type": "absolute", "pad_token_id": 1},
        "eurobert": {**_GROUPED},
        "flaubert": _SMALL_XLM,
        "fnet": _TINY,
        "funnel": {"d_model": 16, "n_head": 2, "d_head": 8, "d_inner": 32, "block_sizes": [1, 1],
                   "num_decoder_layers": 1},
        "ibert": _TINY,
        "layoutlm": _TINY,
        "longformer": {**_TINY, "attention_window": [8]},
        "megatron-bert": _TINY,
        "mobilebert": {**_TINY, "embedding_size": 16, "intra_bottleneck_size": 16},
        "modernbert": {**_TINY, "pad_token_id": 0, "cls_token_id": 2, "sep_token_id": 3},
        "mpnet": _TINY,
        "nomic_bert": _TINY,
        "nystromformer": {**_TINY, "segment_means_seq_len": 8, "num_landmarks": 8},
        "rembert": {**_TINY, "input_embedding_size": 8, "output_embedding_size": 16},
        "roberta": {**_TINY, "pad_token_id": 1},
        "roberta-prelayernorm": _TINY,
        "roc_bert": _TINY,
        "roformer": {**_TINY, "embedding_size": 16},
        "splinter": _TINY,
        "squeezebert": {**_TINY, "embedding_size": 16},
        "xlm": _SMALL_XLM,
        "xlm-roberta": _TINY,
        "xlnet": {"d_model": 16, "n_layer": 1, "n_head": 2, "d_inner": 32},
        "xmod": {**_TINY, "default_language": "en_XX"},
        # encoder-decoders
        "bart": _SMALL_BART,
        "blenderbot-small": _SMALL_BART,
        "led": {**_SMALL_BART, "max_encoder_position_embeddings": 64, "attention_window": 8},
        "longt5": _SMALL_T5,
        "m2m_100": _SMALL_BART,
        "marian": _SMALL_BART,
        "mbart": _SMALL_BART,
        "mt5": _SMALL_T5,
        "pegasus": _SMALL_BART,
        "switch_transformers": {**_SMALL_T5, "num_experts": 2},
        "t5": _SMALL_T5,
        "umt5": _SMALL_T5,
        # decoders
        "bloom": {"hidden_size": 16, "n_layer": 1, "n_head": 2},
        "codegen": {"n_embd": 16, "n_layer": 1, "n_head": 4, "n_positions": 40, "rotary_dim": 4},
        "ctrl": {"n_embd": 16, "n_layer": 1, "n_head": 2, "dff": 32, "n_positions": 40},
        "falcon": {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2},
        "gemma": _GROUPED,
        "gemma2": _GROUPED,
        "gpt2": {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 40},
        "gpt_bigcode": {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 40},
        "gpt_neo": {"hidden_size": 16, "num_layers": 1, "num_heads": 2,
                    "attention_types": [[["global"], 1]],
                    "max_position_embeddings": 40},
        "gpt_neox": _TINY,
        "gptj": {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 40, "rotary_dim": 4},
        "llama": _GROUPED,
        "mamba": {"hidden_size": 16, "num_hidden_layers": 1, "state_size": 4},
        "mistral": _GROUPED,
        "mpt": {"d_model": 16, "n_heads": 2, "n_layers": 1, "max_seq_len": 40},
        "olmo": _TINY,
        "openai-gpt": {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 40},
        "opt": {**_TINY, "ffn_dim": 32, "word_embed_proj_dim": 8},
        "persimmon": _TINY,
        "phi": _TINY,
        "qwen2": _GROUPED,
        "qwen3": _GROUPED,
        "stablelm": _GROUPED,
        "starcoder2": _GROUPED,
        "xglm": {"d_model": 16, "num_layers": 1, "attention_heads": 2, "ffn_dim": 32,
                 "max_position_embeddings": 40},
        # the tower of texts
        "clip": {"text_config": _TINY, "vision_config": _TOWER,
                 "projection_dim": 8},
        "clip_text_model": _TINY,
        "siglip": {"text_config": _TINY, "vision_config": _TOWER},
    }
)  # fmt: skip

_VIT = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "image_size": 32,
    "patch_size": 8,
}
_PYRAMID = {"hidden_sizes": [8, 16], "depths": [1, 1]}
_SWIN = {"embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2], "window_size": 2, "image_size": 32,
         "patch_size": 4}  # fmt: skip

#: those of ``TEXTS`` that read from left to right
_DECODERS = frozenset(
    {"bloom", "codegen", "ctrl", "falcon", "gemma", "gemma2", "gpt2", "gpt_bigcode", "gpt_neo"}
    | {"gpt_neox", "gptj", "llama", "mamba", "mistral", "mpt", "olmo", "openai-gpt", "opt"}
    | {"persimmon", "phi", "qwen2", "qwen3", "stablelm", "starcoder2", "xglm"}
)

#: model type that reads images -> what makes it tiny
IMAGES: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "aimv2_vision_model": _VIT,
        "beit": _VIT,
        "bit": {"hidden_sizes": [8, 16], "depths": [1, 1], "embedding_size": 8, "num_groups": 2},
        "chinese_clip_vision_model": _VIT,
        "clip": {"text_config": _TINY, "vision_config": _VIT, "projection_dim": 8},
        "clip_vision_model": _VIT,
        "convnext": {**_PYRAMID, "num_stages": 2},
        "convnextv2": {**_PYRAMID, "num_stages": 2},
        "cvt": {"embed_dim": [8, 8, 16], "depth": [1, 2, 3], "num_heads": [1, 1, 2]},
        "data2vec-vision": _VIT,
        "deit": _VIT,
        "dinov2": _VIT,
        "dinov2_with_registers": _VIT,
        "dinov3_convnext": {"hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1]},
        "dinov3_vit": _VIT,
        "donut-swin": _SWIN,
        "dpt": {**_VIT, "backbone_out_indices": [0, 0, 0, 0], "neck_hidden_sizes": [8, 8, 8, 8]},
        "efficientnet": {"width_coefficient": 0.1, "depth_coefficient": 0.1, "hidden_dim": 128},
        "focalnet": {"embed_dim": 8, "depths": [1, 1], "focal_levels": [1, 1],
                     "focal_windows": [3, 3], "image_size": 32, "patch_size": 4},
        "glpn": {"hidden_sizes": [8, 16], "depths": [1, 1], "num_attention_heads": [1, 2],
                 "num_encoder_blocks": 2, "sr_ratios": [2, 1], "patch_sizes": [7, 3],
                 "strides": [4, 2], "mlp_ratios": [2, 2]},
        "hgnet_v2": {"stem_channels": [3, 8, 8], "stage_in_channels": [8, 8],
                     "stage_mid_channels": [8, 8], "stage_out_channels": [8, 16],
                     "stage_num_blocks": [1, 1], "stage_downsample": [False, True],
                     "stage_light_block": [False, False], "stage_kernel_size": [3, 3],
                     "stage_numb_of_layers": [2, 2], "depths": [1, 1], "hidden_sizes": [8, 16],
                     "embedding_size": 8},
        "hiera": {"embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2], "image_size": [32, 32],
                  "patch_size": [7, 7], "patch_stride": [4, 4], "patch_padding": [3, 3],
                  "masked_unit_size": [4, 4], "query_stride": [2, 2], "num_query_pool": 1,
                  "masked_unit_attention": [True, False]},
        "ijepa": _VIT,
        "levit": {"image_size": 32, "hidden_sizes": [16, 16, 16], "num_attention_heads": [2, 2, 2],
                  "depths": [1, 1, 1], "key_dim": [8, 8, 8], "patch_size": 16, "kernel_size": 3},
        "mlcd_vision_model": _VIT,
        "mobilenet_v1": {"depth_multiplier": 0.25, "min_depth": 4},
        "mobilenet_v2": {"depth_multiplier": 0.1, "min_depth": 4, "depth_divisible_by": 4},
        "mobilevit": {"hidden_sizes": [8, 8, 8], "neck_hidden_sizes": [4, 4, 8, 8, 8, 8, 16],
                      "num_attention_heads": 2, "image_size": 64, "patch_size": 2},
        "mobilevitv2": {"width_multiplier": 0.125, "image_size": 64},
        "pixio": _VIT,
        "poolformer": {"hidden_sizes": [8, 16], "depths": [1, 1], "num_encoder_blocks": 2,
                       "patch_sizes": [7, 3], "strides": [4, 2], "padding": [2, 1]},
        "pvt": {"image_size": 32, "hidden_sizes": [8, 16], "depths": [1, 1],
                "num_attention_heads": [1, 2], "num_encoder_blocks": 2,
                "sequence_reduction_ratios": [2, 1], "patch_sizes": [4, 2], "strides": [4, 2],
                "mlp_ratios": [2, 2]},
        "pvt_v2": {"image_size": 32, "hidden_sizes": [8, 16], "depths": [1, 1],
                   "num_attention_heads": [1, 2], "num_encoder_blocks": 2, "sr_ratios": [2, 1],
                   "patch_sizes": [7, 3], "strides": [4, 2], "mlp_ratios": [2, 2]},
        "regnet": {**_PYRAMID, "embedding_size": 8, "groups_width": 4},
        "resnet": {**_PYRAMID, "embedding_size": 8},
        "segformer": {"hidden_sizes": [8, 16], "depths": [1, 1], "num_attention_heads": [1, 2],
                      "num_encoder_blocks": 2, "sr_ratios": [2, 1], "patch_sizes": [7, 3],
                      "strides": [4, 2], "mlp_ratios": [2, 2]},
        "siglip": {"text_config": _TINY, "vision_config": _VIT},
        "siglip_vision_model": _VIT,
        "swiftformer": {"embed_dims": [8, 8, 16, 16], "depths": [1, 1, 1, 1]},
        "swin": _SWIN,
        "swinv2": _SWIN,
        "vit": _VIT,
        "vit_msn": _VIT,
        "vitdet": _VIT,
        "yolos": {**_VIT, "image_size": [32, 32], "num_detection_tokens": 4},
    }
)  # fmt: skip

_SMALL_VIT = {"depth": 1, "embed_dim": 32, "num_heads": 2}
_SMALL_STAGES = {"depths": [1, 1, 1, 1]}

#: family of timm -> architecture, and settings that make it smaller
FAMILIES: Mapping[str, tuple[str, Mapping[str, Any]]] = MappingProxyType(
    {
        "beit": ("beit_base_patch16_224", _SMALL_VIT),
        "cait": ("cait_xxs24_224", _SMALL_VIT),
        "coat": ("coat_lite_tiny", {}),
        "convit": ("convit_tiny", _SMALL_VIT),
        "convnext": ("convnext_atto", {"depths": [1, 1, 1, 1], "dims": [8, 8, 16, 16]}),
        "deit": ("deit_tiny_distilled_patch16_224", {**_SMALL_VIT, "num_heads": 4}),
        "dla": ("dla46_c", {}),
        "dpn": ("dpn48b", {}),
        "edgenext": ("edgenext_xx_small", {}),
        "efficientformer": ("efficientformer_l1", {}),
        "efficientnet": ("efficientnet_lite0", {}),
        "efficientvit_mit": ("efficientvit_b0", {}),
        "efficientvit_msra": ("efficientvit_m0", {}),
        "eva": ("eva02_tiny_patch14_224", _SMALL_VIT),
        "fasternet": ("fasternet_t0", {}),
        "fastvit": ("fastvit_t8", {}),
        "ghostnet": ("ghostnet_050", {}),
        "hiera": ("hiera_tiny_224", {"embed_dim": 16}),
        "inception_next": ("inception_next_atto", {}),
        "focalnet": ("focalnet_tiny_srf", {}),
        "levit": ("levit_128s", {}),
        "mambaout": ("test_mambaout", {}),
        "maxxvit": ("test_coatnet", {}),
        "mobilenetv3": ("mobilenetv3_small_050", {}),
        "mobilevit": ("mobilevit_xxs", {}),
        "nfnet": ("test_nfnet", {}),
        "pit": ("pit_ti_224", {}),
        "pit distilled": ("pit_ti_distilled_224", {}),
        "pvt_v2": ("pvt_v2_b0", {}),
        "regnet": ("regnetx_002", {}),
        "repghost": ("repghostnet_050", {}),
        "repvit": ("repvit_m0_9", {}),
        "repvit distilled": ("repvit_m1", {}),
        "resnet": ("resnet10t", {}),
        "resnetv2": ("resnetv2_50", {"layers": [1, 1, 1, 1]}),
        "rexnet": ("rexnet_100", {}),
        "shvit": ("shvit_s1", {}),
        "sknet": ("skresnet18", {}),
        "starnet": ("starnet_s1", {}),
        "swiftformer": ("swiftformer_xs", {}),
        "swin_transformer": ("swin_tiny_patch4_window7_224", {**_SMALL_STAGES, "embed_dim": 12}),
        "swin_transformer_v2": ("swinv2_tiny_window8_256", {**_SMALL_STAGES, "embed_dim": 12}),
        "tnt": ("tnt_s_patch16_224", {"depth": 1}),
        "visformer": ("visformer_tiny", {}),
        "vision_transformer": ("vit_tiny_patch16_224", {"depth": 1}),
        "vision_transformer_relpos": ("vit_relpos_small_patch16_224", {"depth": 1}),
        "vovnet": ("ese_vovnet19b_dw", {}),
        "xcit": ("xcit_nano_12_p16_224", {"depth": 1}),
    }
)


@dataclass(frozen=True)
class Journey:
    """A member that went the whole way, and the served model that it became."""

    member: Member
    model: Path
    #: inputs of the test split, and the network's own answers
    inputs: Sequence[Any]
    probabilities: Any  # (n, c)


def save_text_model(model_type: str, folder: Path) -> Path:
    """Write a random network of ``TEXTS`` with a tokenizer that was trained here.

    Decoders get one without a padding token, which pads on the left, as theirs do.
    """
    from transformers import AutoConfig

    is_decoder = model_type in _DECODERS
    tokenizer = trained_tokenizer() if is_decoder else tokenizer_of_words()
    tokenizer.model_max_length = 10**30  # as transformers writes it where it knows none
    # some tokenizers add tokens of their own when they are loaded
    sizes = {"vocab_size": len(tokenizer) + 8, "pad_token_id": None if is_decoder else 0}
    settings = dict(TEXTS[model_type])
    if "text_config" in settings:
        settings["text_config"] = {**sizes, **settings["text_config"]}
        sizes = {}
    auto: Any = AutoConfig
    _save_random(auto.for_model(model_type, **{**sizes, **settings}), folder)
    tokenizer.save_pretrained(folder)
    return folder


def save_image_model(model_type: str, folder: Path) -> Path:
    """Write a random network of ``IMAGES`` with the processor that transformers has for it."""
    from transformers import AutoConfig, ViTImageProcessor
    from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING

    auto: Any = AutoConfig
    config = auto.for_model(model_type, **IMAGES[model_type])
    mapping: Any = IMAGE_PROCESSOR_MAPPING
    known = mapping.get(type(config), ViTImageProcessor)
    if isinstance(known, Mapping | list | tuple):
        classes = known.values() if isinstance(known, Mapping) else known
        known = next(filter(None, classes))
    _save_random(config, folder)
    known().save_pretrained(folder)
    return folder


def save_timm_model(family: str, folder: Path) -> Path:
    """Write a random network of ``FAMILIES`` in timm's own layout."""
    import timm
    from safetensors.torch import save_file
    from timm.models._hub import save_config_for_hf

    arch, settings = FAMILIES[family]
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        module = timm.create_model(arch, num_classes=0, **settings)
    folder.mkdir(parents=True)
    save_config_for_hf(module, str(folder / "config.json"), model_args=dict(settings))
    state = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    save_file(state, folder / "model.safetensors")
    return folder


def travel(store: str, namespace: str, folder: Path, modality: str, **entry: Any) -> Journey:
    """Take the model in a folder the whole way, and check every step.

    Args:
        store: Tracking URI.
        namespace: Namespace of the model.
        folder: Folder with the model, beside which everything else is written.
        modality: ``text`` or ``image``.
        entry: More keys of the zoo file.
    """
    services, _ = services_for(store, namespace)
    registry = registry_for(services)
    recipe = {"epochs": 1, "batch_size": 4, "train_samples": 8, **entry.pop("recipe", {})}
    entries = [{"source": folder.name, "modality": modality, "recipe": recipe, **entry}]
    result = register_models(
        read_zoo(write_zoo(folder.parent / "zoo.yaml", entries)), registry, RecordingReporter()
    )
    assert not result.failed, result.failed
    (member,) = registry.members()
    dataset = dataset_of(modality)
    task = TrainTask(
        member=member,
        weights=registry.weights(member),
        dataset=dataset,
        recipe=resolve_recipe(member, {}),
        workspace=str(folder.parent / "work"),
        test="last",
    )

    (stage,) = zoo.train(task)
    assert not stage.divergence()
    checkpoint = stage.checkpoint
    assert checkpoint is not None
    (reloaded,) = zoo.train(replace(task, first=2, last=1, checkpoint=checkpoint))
    assert reloaded.test == stage.test

    probing = ProbeTask(
        member=member, weights=task.weights, dataset=dataset, recipe=task.recipe, samples=6
    )
    (probe,) = zoo.probe(probing)
    assert probe.embeddings.shape[0] == 6
    assert np.isfinite(probe.embeddings).all()
    assert probe.layers is not None

    model = folder.parent / "model"
    save_servable(model, Path(checkpoint), member, dataset)
    journey = _answers(task, checkpoint, model)
    check_answer(
        mlflow.pyfunc.load_model(str(model)).predict(pd.DataFrame({modality: journey.inputs})),
        journey,
    )
    return journey


def check_answer(answer: pd.DataFrame, journey: Journey) -> None:
    """A served model answers as the network that was trained."""
    classes = dataset_of(journey.member.modality).classes
    best = journey.probabilities.argmax(axis=1)
    np.testing.assert_allclose(answer["score"], journey.probabilities.max(axis=1), atol=1e-4)
    assert answer["label"].tolist() == [classes[index] for index in best]


@cache
def dataset_of(modality: str) -> Dataset:
    """The dataset that all models of a modality are trained on; texts are of many lengths."""
    folder = cache_folder("architectures", modality)
    folder.mkdir(parents=True)
    if modality == "image":
        return prepare(DatasetSpec(path=str(tiny_images(folder / "images", 18, side=24))))
    file = tiny_texts(folder / "texts.csv", 18)
    long = "\n".join(f"{' '.join(WORDS * 3)} {label},{label}" for label in ("cold", "warm"))
    file.write_text(f"{file.read_text()}{long}\n")
    return prepare(DatasetSpec(path=str(file)))


@cache
def _trained() -> str:
    """A byte-level tokenizer, trained on the words of ``tiny_texts``, as JSON."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel()
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<end>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(WORDS, trainer)
    return str(tokenizer.to_str())


def trained_tokenizer() -> Any:
    """A tokenizer of a decoder: no padding token, and padding on the left."""
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    fast: Any = PreTrainedTokenizerFast
    return fast(
        tokenizer_object=Tokenizer.from_str(_trained()),
        eos_token="<end>",  # noqa: S106 - no password
        padding_side="left",
    )


def _save_random(config: Any, folder: Path) -> None:
    """Write a network of a configuration with random weights."""
    from transformers import MODEL_MAPPING

    known: Any = MODEL_MAPPING[type(config)]
    model_class = known[0] if isinstance(known, tuple | list) else known
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        model_class(config).save_pretrained(folder)


def _answers(task: TrainTask, checkpoint: str, model: Path) -> Journey:
    """Return what the network of a checkpoint says of the test split."""
    library: Any = timm_models if task.member.library == "timm" else transformers_models
    network = library.load(task.member, checkpoint, task.dataset, task.recipe, False)
    network.module.eval()
    rows = load_split(task.dataset, "test")
    with torch.inference_mode():
        logits = network.logits(network.collate(network.preprocess(rows)))
    values = rows[task.member.modality]
    inputs = [row["bytes"] if isinstance(row, dict) else row for row in values]
    return Journey(task.member, model, inputs, logits.double().softmax(dim=1).numpy())
