"""Pre-trained models as networks that can be probed and fine-tuned; each library has one file.

Workers run ``train`` and ``probe``, which are generator functions of one task.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import TYPE_CHECKING, cast

from mlflow_recall.errors import ZooError, unknown_name
from mlflow_recall.ports import Probe, ProbeTask, StageResult, TrainTask

if TYPE_CHECKING:
    from mlflow_recall.adapters.zoo.network import Network
    from mlflow_recall.core.arrays import FloatArray
    from mlflow_recall.core.history.recipes import Recipe
    from mlflow_recall.core.history.records import Dataset, Member

    Load = Callable[[Member, str, Dataset, Recipe, bool], Network]

#: library -> module with ``load``; the entry-point group ``mlflow_recall.zoo`` adds to it
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


def _loader(member: Member) -> Load:
    """Return the ``load`` function of a member's library.

    Raises:
        ZooError: The library is unknown.
    """
    library = member.library
    if library in LIBRARIES:
        load: Load = import_module(LIBRARIES[library]).load
        return load
    installed = {entry.name: entry for entry in entry_points(group="mlflow_recall.zoo")}
    if library not in installed:
        raise ZooError(
            f"{member.name}: {unknown_name('library', library, {*LIBRARIES, *installed})}"
        )
    return cast("Load", installed[library].load())
