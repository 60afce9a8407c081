"""Seams: protocols where two sides exist, and the plain data that crosses them."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeVar, runtime_checkable

from mlflow_recall.core.arrays import FloatArray, IntArray
from mlflow_recall.core.clusters.clustering import Clustering
from mlflow_recall.core.history.metrics import METRICS
from mlflow_recall.core.history.recipes import Recipe
from mlflow_recall.core.history.records import Dataset, Member, Record
from mlflow_recall.core.history.resample import RecordedSteps
from mlflow_recall.core.recommend.cold_start import ColdStartEstimate
from mlflow_recall.errors import TaskError

T = TypeVar("T")


@dataclass(frozen=True)
class TrainTask:
    """Stages ``first`` to ``last`` of one fine-tuning, for a worker that shares nothing."""

    member: Member
    #: folder with the weights of the member
    weights: str
    dataset: Dataset
    recipe: Recipe
    first: int = 1
    last: int = 1
    #: what the stage before ``first`` left; empty for the first stage
    checkpoint: str = ""
    #: folder to leave checkpoints in; empty: none are kept
    workspace: str = ""
    #: when the test split is evaluated: ``never``, after the ``last`` of these stages, or ``each``
    test: Literal["never", "last", "each"] = "never"


@dataclass(frozen=True)
class StageResult:
    """What one stage brought."""

    stage: int
    #: metric -> value on the validation split, in the metric's own direction
    validation: Mapping[str, float]
    #: wall-clock time of training and validation; testing is not part of the price of a stage
    seconds: float
    #: a folder that the next stage starts from and that loads as a model; empty if none was kept
    checkpoint: str = ""
    #: metric -> value on the test split, where it was asked for
    test: Mapping[str, float] = field(default_factory=dict)

    def divergence(self, metrics: Container[str] = METRICS) -> str:
        """Which score of these metrics is no finite number, and when; empty: all are."""
        for split, scores in (("validation", self.validation), ("test", self.test)):
            for name, value in scores.items():
                if name in metrics and not math.isfinite(value):
                    return f"diverged: {split} {name} is {value} after stage {self.stage}"
        return ""


@dataclass(frozen=True)
class ProbeTask:
    """One forward pass of a pre-trained model over a sample of the target."""

    member: Member
    weights: str
    dataset: Dataset
    recipe: Recipe
    samples: int = 500


@dataclass(frozen=True, eq=False)
class Probe:
    """What a pre-trained model sees in n target samples."""

    labels: IntArray  # (n,)
    embeddings: FloatArray  # (n, d)
    #: (n, z) of a real source head; None without one
    probabilities: FloatArray | None
    #: of the forward passes alone
    seconds: float
    #: convolutions and matrix products of the backbone, one behind or beside another; 0: unknown
    layers: int = 0


@dataclass(frozen=True)
class Progress:
    """One answer of a task on its way: ``index`` counts the tasks as they were handed in.

    Exactly one of the last three is set: an event, the end, or the error that ended it.
    """

    index: int
    event: object = None
    done: bool = False
    error: TaskError | None = None


class Engine(Protocol):
    """Runs generator functions elsewhere and passes on what they yield, as it comes."""

    def stream(
        self, function: Callable[[T], Iterator[object]], tasks: Iterable[T]
    ) -> Iterator[Progress]:
        """Run ``function`` on every task.

        ``tasks`` is consumed lazily, one when a worker is free. A task that raises, or whose worker
        dies, is one ``Progress`` with an error; the others go on.
        """
        ...

    def close(self) -> None:
        """Let the workers go."""
        ...


class History(Protocol):
    """Recorded benchmark fine-tunings, wherever they are kept."""

    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics that final test scores were recorded of, in alphabetical order."""
        ...

    def is_loss(self, metric: str) -> bool:
        """Whether lower is better in the metric's own direction."""
        ...

    def records(self, metric: str) -> Sequence[Record]:
        """All records of one metric, higher is better.

        Raises:
            HistoryError: nothing was recorded, or nothing of this metric.
        """
        ...


@runtime_checkable
class Tables(History, Protocol):
    """A history in files, with what they tell beside it."""

    def scores(self) -> Mapping[str, Mapping[tuple[str, str], float]]:
        """Score -> (model, dataset) -> value; higher transfers better."""
        ...

    def curves(self, metric: str = "") -> Sequence[RecordedSteps]:
        """Curves in whatever steps were recorded; none where the records carry them themselves."""
        ...

    def model_features(self) -> Mapping[str, Mapping[str, float | str]]:
        """Feature -> model -> value."""
        ...

    def dataset_features(self) -> Mapping[str, Mapping[str, float | str]]:
        """Feature -> dataset -> value."""
        ...


class Registry(Protocol):
    """Registered models as a zoo."""

    def members(self, on_left_out: Callable[[str], None] | None = None) -> list[Member]:
        """Everyone that can be fine-tuned; who cannot is named to ``on_left_out``, with why."""
        ...

    def weights(self, member: Member) -> str:
        """A local folder with the weights of a member.

        Raises:
            ZooError: they cannot be resolved.
        """
        ...

    def tag_clusters(
        self,
        clustering: Clustering,
        run_id: str,
        metric: str,
        provisional: Sequence[ColdStartEstimate] = (),
    ) -> int:
        """Write cluster, representative, deciding run and metric as tags; returns how many.

        ``provisional`` are members that no history put there: whom they are taken to be like, how
        strong they are expected to be, and what says so is written too.
        """
        ...


class Bar(Protocol):
    """A progress bar."""

    def advance(self, steps: int = 1, now: str = "") -> None:
        """So many more steps are done; ``now`` says what is going on."""
        ...

    def set_total(self, total: int) -> None:
        """There are other than the announced number of steps."""
        ...


class Reporter(Protocol):
    """How a workflow speaks to whoever started it."""

    def info(self, line: str) -> None:
        """One line of news."""
        ...

    def progress(self, title: str, total: int) -> AbstractContextManager[Bar]:
        """A bar for work of ``total`` steps."""
        ...
