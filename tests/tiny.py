"""Models and datasets that train in milliseconds, for the tests of everything above them."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

WORDS = tuple(f"w{i:02d}" for i in range(24))
CLASSES = ("cold", "mild", "warm")
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")


def tiny_bert(
    folder: Path, layers: int = 1, seed: int = 0, classes: Sequence[str] | None = None
) -> Path:
    """A random BERT, 16 wide, that knows the words of ``tiny_texts``, as a transformers folder.

    Args:
        folder: Folder, which is created if it does not exist.
        layers: Number of layers.
        seed: Seed of the weights; the generator of torch is not changed.
        classes: Classes of a random head; None: no head.

    Returns:
        ``folder``.
    """
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertModel

    config = BertConfig(
        vocab_size=len(_SPECIAL) + len(WORDS),
        hidden_size=16,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
        pad_token_id=0,
        initializer_range=0.3,  # wide: at the usual 0.02 so small a network starts blind
    )
    if classes:
        config.id2label = dict(enumerate(classes))
        config.label2id = {name: i for i, name in enumerate(classes)}
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        model = BertForSequenceClassification(config) if classes else BertModel(config)
    model.save_pretrained(folder)
    tokenizer_of_words().save_pretrained(folder)
    return folder


def tokenizer_of_words() -> Any:
    """One token a word, between [CLS] and [SEP]."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: i for i, word in enumerate((*_SPECIAL, *WORDS))}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))  # noqa: S106 - no password
    tokenizer.pre_tokenizer = WhitespaceSplit()
    ends = [("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])]
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ends
    )
    fast: Any = PreTrainedTokenizerFast
    return fast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",  # noqa: S106
        unk_token="[UNK]",  # noqa: S106
        cls_token="[CLS]",  # noqa: S106
        sep_token="[SEP]",  # noqa: S106
        model_max_length=32,
    )


def tiny_timm(
    folder: Path, arch: str = "test_resnet", classes: Sequence[str] | None = None, seed: int = 0
) -> Path:
    """A random network of timm's test architectures, in timm's own folder layout.

    Args:
        folder: Folder, which is created if it does not exist.
        arch: Architecture: ``test_resnet``, ``test_efficientnet``, ``test_vit``, ...
        classes: Classes of a random head; None: no head.
        seed: Seed of the weights; the generator of torch is not changed.

    Returns:
        ``folder``, with ``model.safetensors`` and ``config.json``.
    """
    import timm
    import torch
    from timm.models import save_for_hf

    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        model = timm.create_model(arch, num_classes=len(classes or ()))
    described: dict[str, Any] = {"num_classes": len(classes or ())}
    if classes:
        described["label_names"] = list(classes)
    save_for_hf(model, str(folder), model_config=described, safe_serialization=True)
    return folder


def tiny_texts(path: Path, rows: int, classes: Sequence[str] = CLASSES, seed: int = 0) -> Path:
    """A CSV file with the columns ``text`` and ``label``, in turn of every class.

    Three words are of the class's own share of ``WORDS``, up to three more of any: learnable, not
    trivial, and of many lengths.

    Returns:
        ``path``.
    """
    rng = np.random.default_rng(seed)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("text", "label"))
        for row in range(rows):
            label = row % len(classes)
            own = rng.choice(WORDS[label :: len(classes)], 3)
            words = rng.permutation([*own, *rng.choice(WORDS, rng.integers(4))])
            writer.writerow((" ".join(words), classes[label]))
    return path


def tiny_pairs(path: Path, rows: int, seed: int = 0) -> Path:
    """A CSV file with the columns ``premise``, ``hypothesis`` and ``label``.

    The label is that of the second text, as in ``tiny_texts``; the first one says nothing.

    Returns:
        ``path``.
    """
    tiny_texts(path, rows, seed=seed)
    rng = np.random.default_rng(seed)
    with path.open(newline="") as file:
        texts = list(csv.DictReader(file))
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("premise", "hypothesis", "label"))
        for row in texts:
            writer.writerow((" ".join(rng.choice(WORDS, 4)), row["text"], row["label"]))
    return path


def tiny_images(
    folder: Path, rows: int, classes: Sequence[str] = CLASSES, seed: int = 0, side: int = 16
) -> Path:
    """An image folder, one folder a class: noise over a color of the class's own.

    Returns:
        ``folder``.
    """
    from PIL import Image

    rng = np.random.default_rng(seed)
    for row in range(rows):
        label = row % len(classes)
        noise = rng.normal(0.0, 40.0, (side, side, 3))
        color = 128 + 80 * np.cos(2 * np.pi * (label / len(classes) + np.arange(3) / 3))
        pixels = np.clip(color + noise, 0, 255).astype(np.uint8)
        (folder / classes[label]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / classes[label] / f"{row:04d}.png")
    return folder
