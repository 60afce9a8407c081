"""Seams: protocols where two sides exist, and the plain data that crosses them."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeVar, runtime_checkable

from mlflow_recall.core.arrays import AnyArray, FloatArray
from mlflow_recall.core.clusters.clustering import Clustering
from mlflow_recall.core.history.metrics import METRICS
from mlflow_recall.core.history.recipes import Recipe
from mlflow_recall.core.history.records import Dataset, Member, Record
from mlflow_recall.core.history.resample import RecordedSteps
from mlflow_recall.core.recommend.cold_start import ColdStartEstimate
from mlflow_recall.errors import TaskError

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class TrainTask:
    """Stages ``first`` to ``last`` of one fine-tuning, for a worker that shares no memory."""

    member: Member
    #: folder with the weights of the member
    weights: str
    dataset: Dataset
    recipe: Recipe
    first: int = 1
    last: int = 1
    #: checkpoint of the stage before ``first``; None for the first stage
    checkpoint: str | None = None
    #: folder for checkpoints; None: none are kept
    workspace: str | None = None
    #: when the test split is evaluated: ``never``, after the ``last`` of these stages, or ``each``
    test: Literal["never", "last", "each"] = "never"


@dataclass(frozen=True, kw_only=True)
class StageResult:
    """Scores and duration of one stage."""

    stage: int
    #: metric -> value on the validation split, in the metric's own direction
    validation: Mapping[str, float]
    #: wall-clock time of training and validation, without that of the test
    seconds: float
    #: folder that the next stage starts from and that loads as a model; None: none was kept
    checkpoint: str | None = None
    #: metric -> value on the test split, where the task asks for it
    test: Mapping[str, float] = field(default_factory=dict)

    def divergence(self, metrics: Container[str] = METRICS) -> str:
        """Name the score of these metrics that is not finite; empty where all are."""
        for split, scores in (("validation", self.validation), ("test", self.test)):
            for name, value in scores.items():
                if name in metrics and not math.isfinite(value):
                    return f"diverged: {split} {name} is {value} after stage {self.stage}"
        return ""


@dataclass(frozen=True, kw_only=True)
class ProbeTask:
    """One forward pass of a pre-trained model over a sample of the target."""

    member: Member
    #: folder with the weights; None: not resolved yet
    weights: str | None = None
    dataset: Dataset
    recipe: Recipe
    samples: int = 500


@dataclass(frozen=True, eq=False, kw_only=True)
class Probe:
    """Output of a pre-trained model on n target samples."""

    #: (n,) class indices; (n, c) zeros and ones of a multi-label dataset; (n,) float64 numbers of a
    #: regression
    labels: AnyArray
    embeddings: FloatArray  # (n, d)
    #: (n, z) of a real source head; None without one
    probabilities: FloatArray | None
    #: wall-clock time of the forward passes
    seconds: float
    #: number of convolutions and matrix products in the backbone; None: unknown
    layers: int | None = None


@dataclass(frozen=True)
class Progress:
    """One message of a running task; ``index`` is its place among the tasks.

    Exactly one of the last three is set: an event, the end, or the error that ended the task.
    """

    index: int
    event: object = None
    done: bool = False
    error: TaskError | None = None


class Engine(Protocol):
    """Runs generator functions in workers and passes on what they yield, as it comes."""

    def stream(
        self, function: Callable[[T], Iterator[object]], tasks: Iterable[T]
    ) -> Iterator[Progress]:
        """Run ``function`` on every task.

        ``tasks`` is consumed lazily, one whenever a worker is free. A task that raises, or whose
        worker dies, is one ``Progress`` with an error; the others continue.
        """
        ...

    def close(self) -> None:
        """Stop the workers."""
        ...


class History(Protocol):
    """Recorded benchmark fine-tunings, wherever they are kept."""

    def metrics(self) -> tuple[str, ...]:
        """Return the metrics that final test scores are recorded of, in alphabetical order."""
        ...

    def is_loss(self, metric: str) -> bool:
        """Return whether lower values of the metric are better."""
        ...

    def records(self, metric: str) -> Sequence[Record]:
        """Return all records of one metric; their scores are higher-is-better.

        Args:
            metric: Name of the metric, or ``PRIMARY`` for each dataset's own primary metric.

        Raises:
            HistoryError: Nothing is recorded, or nothing of this metric.
        """
        ...

    def left_out(self, metric: str) -> Sequence[str]:
        """Return which datasets have no such records although they are recorded, one line each.

        Args:
            metric: As for ``records``; a dataset whose primary metric is unknown has none by
                ``PRIMARY``.
        """
        ...


@runtime_checkable
class Tables(History, Protocol):
    """A history in files, which may hold scores and features as well."""

    def scores(self) -> Mapping[str, Mapping[tuple[str, str], float]]:
        """Return score -> (model, dataset) -> value; higher transfers better."""
        ...

    def curves(self, metric: str | None = None) -> Sequence[RecordedSteps]:
        """Return curves in the recorded steps; none where the records hold them.

        Args:
            metric: Metric of the curves, or ``PRIMARY``; None: any.
        """
        ...

    def model_features(self) -> Mapping[str, Mapping[str, float | str]]:
        """Return feature -> model -> value."""
        ...

    def dataset_features(self) -> Mapping[str, Mapping[str, float | str]]:
        """Return feature -> dataset -> value."""
        ...


class Registry(Protocol):
    """Registered models as a zoo."""

    def members(self, on_left_out: Callable[[str], None] | None = None) -> list[Member]:
        """Return the models that can be fine-tuned.

        Args:
            on_left_out: Called with one line for each model that cannot, and why.
        """
        ...

    def weights(self, member: Member) -> str:
        """Return a local folder with the weights of a member.

        Raises:
            ZooError: They cannot be resolved.
        """
        ...

    def tag_clusters(
        self,
        clustering: Clustering,
        run_id: str,
        metric: str,
        estimates: Sequence[ColdStartEstimate] = (),
    ) -> int:
        """Write cluster, representative, run and metric as tags.

        Args:
            clustering: Clusters, with the models without a history as members.
            run_id: Run of the clustering job.
            metric: Metric that the models were compared by, or ``PRIMARY``.
            estimates: Models without a history. Their nearest model, the mean z-score that is
                expected of them and the basis of both are written too.

        Returns:
            Number of models that are tagged.
        """
        ...


class Bar(Protocol):
    """A progress bar."""

    def advance(self, steps: int = 1, status: str = "") -> None:
        """Count ``steps`` as completed; ``status`` names what is in progress."""
        ...

    def set_total(self, total: int) -> None:
        """Change the number of steps."""
        ...


class Reporter(Protocol):
    """How a workflow reports to whoever started it."""

    def info(self, line: str) -> None:
        """Report one line."""
        ...

    def warning(self, line: str) -> None:
        """Report one line that the user should not miss."""
        ...

    def progress(self, title: str, total: int) -> AbstractContextManager[Bar]:
        """Show a bar for work of ``total`` steps."""
        ...
