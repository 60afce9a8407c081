"""Should a score see embeddings as they are, or at length one? By what was recorded.

    python benchmarks/normalise.py [--namespace recall/example] [--modality text] [--to FILE]

Every recorded dataset that can be had again (`cluster --probe-new` says which) is looked at by
every model with weights; each feature score is computed on the embeddings as they are and on those
of length one, and compared with the recorded test scores of the same models. Prints a Markdown
table of the mean over datasets of the rank correlation, and of the paired difference.
`--to` keeps every score as a row of `proxy.csv`, so that other scripts need not look again.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from mlflow_recall.adapters.recorded import again
from mlflow_recall.cli.work import bench
from mlflow_recall.core.history import usable
from mlflow_recall.core.matrix import PerformanceMatrix
from mlflow_recall.core.scores import SCORES, ForwardPass, compute_all
from mlflow_recall.errors import DatasetError
from mlflow_recall.ports import Probe
from mlflow_recall.workflows.bench import Bench
from mlflow_recall.workflows.probing import probe, task_of

FEATURES = tuple(name for name, score in SCORES.items() if score.needs == "embeddings")
#: models that a dataset needs
LEAST = 5
#: (score, at length one) -> model -> value
Seen = Mapping[tuple[str, bool], Mapping[str, float]]


def looks(work: Bench, metric: str, modality: str) -> Iterator[tuple[str, Seen, dict[str, float]]]:
    """Dataset, scores of every model on it, and what the models reached there."""
    members = work.registry.members()
    recorded = usable(work.history.records(metric), modality, members=members)
    matrix = PerformanceMatrix.of(recorded.records)
    records = {record.dataset: record for record in recorded.records}
    looking = [m for m in members if m.available and m.name in matrix.models]
    for dataset, column in zip(matrix.datasets, matrix.values.T, strict=True):
        with suppress(DatasetError):
            there = again(records[dataset], work.prepare)
            tasks = [task_of(member, there, recorded) for member in looking]
            found = probe(tasks, work, f"models on {dataset}")
            passes = {m.name: p for m, p in zip(looking, found, strict=True)}
            seen: dict[tuple[str, bool], dict[str, float]] = {}
            for model, look in passes.items():
                for unit in (False, True):
                    if isinstance(look, Probe):
                        given = ForwardPass(look.labels, look.embeddings, normalise=unit)
                        for name, value in compute_all(FEATURES, given).values.items():
                            seen.setdefault((name, unit), {})[model] = value
            reached = dict(zip(matrix.models, column.tolist(), strict=True))
            yield dataset, seen, reached


def agreement(values: Mapping[str, float], reached: Mapping[str, float]) -> float:
    """Rank correlation of a score with what the same models reached; NaN for too few."""
    both = [name for name in values if reached[name] == reached[name]]
    if len(both) < LEAST:
        return np.nan
    return float(spearmanr([values[n] for n in both], [reached[n] for n in both])[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--namespace", default="recall/example")
    parser.add_argument("--metric", default="accuracy")
    parser.add_argument("--modality", default="text")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--to", type=Path)
    asked = parser.parse_args()
    told: dict[tuple[str, bool], list[float]] = {}
    rows: list[tuple[str, str, str, float]] = []
    with bench("", asked.namespace, "local", asked.workers, 1) as work:
        for dataset, seen, reached in looks(work.bench, asked.metric, asked.modality):
            for (name, unit), values in seen.items():
                told.setdefault((name, unit), []).append(agreement(values, reached))
                called = f"{name}{'@1' * unit}"
                rows += [(model, dataset, called, value) for model, value in values.items()]
            if asked.to:
                with asked.to.open("w", newline="") as file:
                    csv.writer(file).writerows([("model", "dataset", "score_name", "value"), *rows])
    print("| score | datasets | as they are | at length one | difference |\n|---|---|---|---|---|")
    for name in FEATURES:
        plain, unit = np.array(told[name, False]), np.array(told[name, True])
        apart = (unit - plain)[~np.isnan(unit - plain)]
        error = apart.std(ddof=1) / len(apart) ** 0.5 if len(apart) > 1 else np.nan
        print(
            f"| `{name}` | {len(apart)} | {np.nanmean(plain):.3f} | {np.nanmean(unit):.3f} | "
            f"{apart.mean():+.3f} ± {error:.3f} |"
        )


if __name__ == "__main__":
    main()
