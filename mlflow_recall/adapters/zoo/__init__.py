"""Pre-trained models as networks that can be probed and fine-tuned; each library has one file.

Workers run ``train`` and ``probe``, which are generator functions of one task.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points, version
from importlib.util import find_spec
from types import MappingProxyType
from typing import TYPE_CHECKING, cast

from mlflow_recall.core.history.recipes import LORA
from mlflow_recall.errors import ZooError, unknown_name
from mlflow_recall.ports import Probe, ProbeTask, StageResult, TrainTask

if TYPE_CHECKING:
    from mlflow_recall.adapters.zoo.network import Network
    from mlflow_recall.core.arrays import FloatArray
    from mlflow_recall.core.history.recipes import Recipe
    from mlflow_recall.core.history.records import Dataset, Member

    Load = Callable[[Member, str, Dataset, Recipe, bool], Network]

#: library -> module with ``load``, ``load_blank`` and ``is_known_architecture``; the entry-point
#: group ``mlflow_recall.zoo`` adds functions like ``load``
LIBRARIES: Mapping[str, str] = MappingProxyType(
    {
        "timm": "mlflow_recall.adapters.zoo.timm_models",
        "transformers": "mlflow_recall.adapters.zoo.transformers_models",
    }
)


def train(task: TrainTask) -> Iterator[StageResult]:
    """Yield the result of each stage of a task.

    Raises:
        ZooError: The weights cannot be loaded, or the loss is not finite.
    """
    from mlflow_recall.adapters.zoo.training import fine_tune

    return fine_tune(task, _loader(task.member))


def probe(task: ProbeTask) -> Iterator[Probe]:
    """Yield the only result of a probe: one forward pass over a sample of the target.

    Raises:
        ZooError: The weights cannot be loaded.
    """
    from mlflow_recall.adapters.zoo.embedding import run_probe

    return run_probe(task, _loader(task.member))


def embed(member: Member, weights: str, texts: Sequence[str]) -> FloatArray:
    """Return (n, d) embeddings of texts by a text model.

    A text is truncated only at the model's own maximum length.

    Raises:
        ZooError: The weights cannot be loaded.
    """
    from mlflow_recall.adapters.zoo.embedding import embed_texts

    return embed_texts(member, weights, texts, _loader(member))


def check_mode(mode: str) -> None:
    """Raise an error for a mode of recipes that needs a package which is not installed.

    Raises:
        ZooError: It is not installed.
    """
    if mode == LORA and find_spec("peft") is None:
        raise ZooError(f"mode {LORA} needs peft: pip install mlflow-recall[{LORA}]")


def why_not_loadable(member: Member) -> str:
    """Return why a member cannot be loaded on this machine; empty where it can be.

    Only its library and its architecture are looked at, not its weights.
    """
    library, _, arch = member.arch.partition("/")
    if library not in LIBRARIES:
        return "" if library in _installed() else _unknown_library(library)
    if find_spec(library) is None:
        return f"{library} is not installed"
    is_known: bool = import_module(LIBRARIES[library]).is_known_architecture(arch)
    return "" if is_known else f"{library} {version(library)} has no {arch}"


def _loader(member: Member) -> Load:
    """Return the ``load`` function of a member's library.

    Raises:
        ZooError: The library is unknown.
    """
    library = member.library
    if library in LIBRARIES:
        load: Load = import_module(LIBRARIES[library]).load
        return load
    installed = _installed()
    if library not in installed:
        raise ZooError(f"{member.name}: {_unknown_library(library)}")
    return cast("Load", installed[library].load())


def _installed() -> dict[str, EntryPoint]:
    """Return the libraries that other packages add."""
    return {entry.name: entry for entry in entry_points(group="mlflow_recall.zoo")}


def _unknown_library(name: str) -> str:
    return unknown_name("library", name, {*LIBRARIES, *_installed()})
