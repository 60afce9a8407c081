"""Which metric each run of a history is read for, by its tags."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from mlflow_recall.adapters.tracking import tags
from mlflow_recall.core.formatting import join_names
from mlflow_recall.core.history.tasks import (
    CLASSIFICATION,
    PRIMARY,
    PRIMARY_METRICS,
    primary_metric,
)


@dataclass(frozen=True)
class RunMetrics:
    """The metric that each run is read for; see ``read_run_metrics``."""

    #: metric that was requested: a name, or ``PRIMARY``
    requested: str
    #: name and digest of a benchmarked dataset -> its primary metric
    benchmarked: Mapping[tuple[str, str], str]
    #: adopted dataset -> its primary metric
    adopted: Mapping[str, str]
    #: adopted datasets whose primary metric is unknown -> their metrics
    ambiguous: Mapping[str, Collection[str]]

    def of_benchmark(self, run_tags: Mapping[str, str]) -> str:
        """Return the metric of a benchmark run; empty where it is unknown."""
        if self.requested != PRIMARY:
            return self.requested
        return self.benchmarked.get(_content(run_tags), "")

    def of_adopted(self, run_tags: Mapping[str, str]) -> str:
        """Return the metric of an adopted run; empty where it is unknown."""
        if self.requested != PRIMARY:
            return self.requested
        return self.adopted.get(run_tags.get(tags.DATASET, ""), "")

    @property
    def left_out(self) -> tuple[str, ...]:
        """The adopted datasets that have no record for that reason, one line each."""
        if self.requested != PRIMARY:
            return ()
        return tuple(
            f"{dataset} is left out: its primary metric is unknown, since its adopted runs have "
            f"{join_names(sorted(metrics))}: name one with --metric"
            for dataset, metrics in sorted(self.ambiguous.items())
        )


def read_run_metrics(
    requested: str,
    benchmark_runs: Iterable[tuple[Mapping[str, str], int]],
    adopted_runs: Iterable[tuple[Mapping[str, str], Collection[str]]],
) -> RunMetrics:
    """Return by which metric each run is read.

    The primary metric of a benchmarked dataset is the one that its newest run says: that of its
    tag, or else that of its task. All runs on one dataset are read by one metric, so that a dataset
    may get another one later. Adopted runs do not know tasks: their dataset has the metric that the
    tables said from which they were imported, or accuracy if it is recorded, or else the only one.

    Args:
        requested: Name of a metric, or ``PRIMARY``.
        benchmark_runs: Tags and start of each benchmark run.
        adopted_runs: Tags and metrics of each adopted run.
    """
    benchmarked: dict[tuple[str, str], str] = {}
    for run_tags, _ in sorted(benchmark_runs, key=lambda run: run[1]):
        task = run_tags.get(tags.TASK, CLASSIFICATION)
        metric = run_tags.get(tags.METRIC) or PRIMARY_METRICS.get(task, "")
        benchmarked[_content(run_tags)] = metric
    recorded: dict[str, set[str]] = {}
    said: dict[str, set[str]] = {}
    task_of: dict[str, str] = {}
    for run_tags, metrics in adopted_runs:
        dataset = run_tags.get(tags.DATASET, "")
        recorded.setdefault(dataset, set()).update(metrics)
        said.setdefault(dataset, set()).update({run_tags.get(tags.METRIC, "")} & set(metrics))
        task_of[dataset] = run_tags.get(tags.TASK, CLASSIFICATION)
    adopted: dict[str, str] = {}
    ambiguous: dict[str, Collection[str]] = {}
    for dataset, known in recorded.items():
        if primary := primary_metric(said[dataset] or known, task_of[dataset]):
            adopted[dataset] = primary
        else:
            ambiguous[dataset] = known
    return RunMetrics(requested, benchmarked, adopted, ambiguous)


def _content(run_tags: Mapping[str, str]) -> tuple[str, str]:
    """Return the name and the digest of the dataset of a benchmark run."""
    return run_tags.get(tags.DATASET, ""), run_tags.get(tags.DIGEST, "")
