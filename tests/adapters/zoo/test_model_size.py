"""The size of a model, counted from shapes and compared with closed forms."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.torch import load_file
from tiny import tiny_bert
from transformers import BertConfig, DebertaV2Config

from mlflow_recall.adapters.zoo.model_size import TOKENS, measure_size

BERT = "transformers/bert"


def test_parameters_are_those_of_the_weights(tmp_path: Path) -> None:
    """Nothing is loaded for it, so the count must not depend on what a file holds."""
    folder = tiny_bert(tmp_path / "bert")
    weights = load_file(folder / "model.safetensors")

    size = measure_size(BERT, "text", folder)

    assert size is not None
    assert size.parameters == sum(values.numel() for values in weights.values())


@pytest.mark.parametrize("layers", [1, 2])
def test_work_of_an_encoder_is_that_of_its_matrix_products(tmp_path: Path, layers: int) -> None:
    """N tokens of width h: four projections, two feed-forward products, n² scores and values."""
    h, inner, n = 32, 48, TOKENS
    BertConfig(
        hidden_size=h, intermediate_size=inner, num_hidden_layers=3, num_attention_heads=2,
        vocab_size=50, max_position_embeddings=512,
    ).save_pretrained(tmp_path)  # fmt: skip
    layer = 4 * n * h * h + 2 * n * h * inner + 2 * n * n * h
    pooler = h * h

    size = measure_size(BERT, "text", tmp_path, {"num_hidden_layers": layers})

    assert size is not None
    assert size.input_size == n
    assert size.gmacs == pytest.approx((layers * layer + pooler) / 1e9, rel=1e-6)


def test_short_encoders_read_shorter_texts(tmp_path: Path) -> None:
    BertConfig(
        hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        vocab_size=50, max_position_embeddings=40,
    ).save_pretrained(tmp_path)  # fmt: skip

    size = measure_size(BERT, "text", tmp_path)

    assert size is not None
    assert size.input_size == 40


def test_a_timm_architecture_needs_no_folder() -> None:
    """He et al. 2016 count 1.8 billion multiply-adds for 18 layers and a picture of 224 pixels."""
    size = measure_size("timm/resnet18", "image")

    assert size is not None
    assert size.gmacs == pytest.approx(1.8, rel=0.02)
    assert (size.parameters, size.input_size) == (11_176_512, 224)


def test_a_larger_picture_is_more_work_and_no_more_parameters() -> None:
    """A transformer of fixed patches needs the side of its image."""
    small, large = (
        measure_size("timm/test_vit", "image", None, {"img_size": s}) for s in (64, 128)
    )

    assert small is not None
    assert large is not None
    assert (small.input_size, large.input_size) == (64, 128)
    assert small.gmacs is not None
    assert large.gmacs is not None
    assert large.gmacs > 3.5 * small.gmacs  # four times the patches, and more for attention


def test_a_pass_that_looks_at_numbers_leaves_the_parameters_known(tmp_path: Path) -> None:
    DebertaV2Config(
        hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        vocab_size=50, relative_attention=True, pos_att_type=["p2c", "c2p"],
    ).save_pretrained(tmp_path)  # fmt: skip

    size = measure_size("transformers/deberta-v2", "text", tmp_path)

    assert size is not None
    assert size.parameters > 0


def test_what_nothing_tells_is_unknown(tmp_path: Path) -> None:
    """A hub model that was never used here, an architecture that timm does not know."""
    assert measure_size("timm/no_such_network", "image") is None
    assert measure_size("transformers/auto", "text") is None
    assert measure_size("transformers/auto", "text", tmp_path) is None
