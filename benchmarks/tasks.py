"""Do ranks carry over from one task to another, and does LoRA order models as full training does?

    python benchmarks/tasks.py [--history mlruns_example/history] [--to docs/results/tasks.md]

Every text dataset of the history is held out in turn: the mean z-scores of the models on the other
datasets of one kind (classes of a text, sentence pairs, numbers, several labels) rank them for it.
The second table has the cells that were trained in the mode `lora` beside the same in full.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from example_tables import fill_page
from scipy.stats import spearmanr

from mlflow_recall.adapters.export.export_history import ExportHistory
from mlflow_recall.adapters.figures import markdown_table
from mlflow_recall.core.history.comparable import mode_of, select_comparable
from mlflow_recall.core.history.matrix import PerformanceMatrix
from mlflow_recall.core.history.recipes import FULL, LORA
from mlflow_recall.core.history.records import Record
from mlflow_recall.core.history.tasks import MULTILABEL, PRIMARY, REGRESSION
from mlflow_recall_example import HISTORY
from mlflow_recall_example.build import DATASETS

CLASSES, PAIRS, NUMBERS, LABELS = KINDS = ("classes", "pairs", "numbers", "labels")
ALL = "all others"
#: models that a set of recalled ones has
TOP = 5


def kind_of(record: Record) -> str:
    """Return what a dataset asks for; a dataset that ships alone asks for classes."""
    if record.task in (REGRESSION, MULTILABEL):
        return NUMBERS if record.task == REGRESSION else LABELS
    dataset = DATASETS.get(record.dataset)
    return PAIRS if dataset is not None and len(dataset.texts) > 1 else CLASSES


def transfer_rows(
    matrix: PerformanceMatrix, kinds: Mapping[str, str]
) -> Iterator[dict[str, str | float]]:
    """Yield how well the datasets of each kind rank the models for each dataset, and the means.

    Args:
        matrix: (m, d) final scores without a gap.
        kinds: Dataset -> its kind.
    """
    sources = [kind for kind in KINDS if sum(k == kind for k in kinds.values()) > 1]
    rows = defaultdict(list)
    for dataset in sorted(matrix.datasets, key=lambda name: (KINDS.index(kinds[name]), name)):
        truth = matrix.values[:, matrix.datasets.index(dataset)]
        row: dict[str, str | float] = {"asks for": kinds[dataset], "dataset": dataset}
        for source in (*sources, ALL):
            unused = [
                name
                for name in matrix.datasets
                if name == dataset or source not in (kinds[name], ALL)
            ]
            prior = matrix.without_datasets(unused).mean_z_score
            first = np.argsort(-prior, kind="stable")
            row[f"by {source}"] = float(spearmanr(prior, truth)[0])
            row[f"regret, by {source}"] = float(truth.max() - truth[first[:TOP]].max())
        rows[kinds[dataset]].append(row)
    for kind, own in rows.items():
        yield from own
        numeric = [name for name in own[0] if name not in ("asks for", "dataset")]
        means = {name: float(np.mean([row[name] for row in own])) for name in numeric}
        yield {"asks for": kind, "dataset": f"mean of {len(own)}", **means}


def lora_rows(records: Sequence[Record]) -> Iterator[dict[str, str | float]]:
    """Yield the final scores of each cell that was trained in both modes, with seed 0."""
    first = sorted(records, key=lambda record: record.recipe.find('"seed": 0'), reverse=True)
    cells = {(mode_of(r), r.model, r.dataset): r for r in reversed(first)}
    for (mode, model, dataset), lora in sorted(cells.items()):
        full = cells.get((FULL, model, dataset))
        if mode == LORA and full is not None:
            yield {
                "dataset": dataset,
                "model": model,
                "metric": lora.metric,
                "full": full.final_score,
                "lora": lora.final_score,
                "lora - full": lora.final_score - full.final_score,
            }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--history", type=Path, default=HISTORY, help="folder of an export")
    parser.add_argument("--to", type=Path, help="write the tables into this page")
    options = parser.parse_args()
    records = ExportHistory(options.history).records(PRIMARY)
    known = select_comparable(records, "text").records
    matrix = PerformanceMatrix.from_records(known)
    kinds = {record.dataset: kind_of(record) for record in known}
    tables = {
        "transfer": markdown_table(list(transfer_rows(matrix, kinds))),
        "lora": markdown_table(list(lora_rows([r for r in records if r.modality == "text"]))),
    }
    for name, text in tables.items():
        print(f"\n{name}\n{text}")
    if options.to:
        page = fill_page(options.to.read_text(encoding="utf-8"), tables)
        options.to.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
