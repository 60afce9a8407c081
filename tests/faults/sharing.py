"""One worker of a shared benchmark, whose trainings take a moment and are written down.

``python sharing.py URI NAMESPACE BENCHMARKS LOG`` trains what is missing, and appends a line to
LOG for each training that it begins and each result that it keeps.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from prepared import services_for

from mlflow_recall.adapters.manifests.yaml_files import read_benchmarks
from mlflow_recall.config import BenchmarkConfig
from mlflow_recall.ports import StageResult, TrainTask
from mlflow_recall.workflows.benchmark import run_benchmark

#: seconds of a stage
STAGE = 0.1


def write(log: str, line: str) -> None:
    """Append a line, whole, whoever else writes."""
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{line}\n".encode())
    os.close(file)


def main(uri: str, namespace: str, benchmarks: str, log: str) -> None:
    def train(task: TrainTask) -> Iterator[StageResult]:
        write(log, f"began {task.member.name} on {task.dataset.name}")
        for stage in range(1, task.last + 1):
            time.sleep(STAGE)
            scores = {"accuracy": 0.5 + stage / 100}
            yield StageResult(stage=stage, validation=scores, seconds=STAGE, test=scores)

    services, reporter = services_for(uri, namespace)
    config = BenchmarkConfig(datasets=tuple(read_benchmarks(Path(benchmarks))))
    result = run_benchmark(config, replace(services, train=train))
    for title in result.completed:
        write(log, f"kept {title}")
    for line in reporter.warnings:
        write(log, f"warned {line}")
    write(log, f"ended {len(result.completed)} {result.elsewhere} {len(result.failed)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
