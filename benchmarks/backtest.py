"""How far can a history be trusted? The back-test of folders of recorded fine-tunings as one page.

    python benchmarks/backtest.py FOLDER... [--metric NAME] [--to docs/backtest.md]

A FOLDER has tables as `FolderHistory` reads them, or an export of `history export`, or is a folder
of such folders. Every metric of every folder is back-tested in turn by `backtest_history`, which is
what `mlflow-recall backtest --history` prints.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

from mlflow_recall.adapters.figures import markdown_table
from mlflow_recall.adapters.terminal import Terminal
from mlflow_recall.cli.backtest import backtest_data
from mlflow_recall.cli.options import THE_METRIC
from mlflow_recall.cli.requests import folder_of
from mlflow_recall.config import BacktestConfig
from mlflow_recall.errors import RecallError
from mlflow_recall.workflows.backtest import backtest_history
from mlflow_recall.workflows.backtested import BacktestResult, backtest_tables

PAGE = Path(__file__).with_name("backtest_page.md")


def folders(paths: Sequence[Path]) -> Iterator[Path]:
    """Folders of tables or exports, at most one level down."""
    for path in paths:
        inside = sorted(p for p in path.iterdir() if p.is_dir())
        found = [p for p in (path, *inside) if any(p.glob("matrix.*")) or any(p.glob("runs.jsonl"))]
        yield from found[:1] if path in found else found


def section(name: str, found: BacktestResult) -> str:
    models, datasets = found.matrix.values.shape
    title = ", ".join(part for part in (name, found.modality, found.metric) if part)
    told = "\n".join(f"- {sentence}" for sentence in found.conclusion.sentences)
    parts = [
        f"{what}:\n\n{markdown_table(rows)}"
        for what, rows in backtest_tables(found).items()
        if rows
    ]
    return "\n\n".join([f"### {title}", f"{models} models x {datasets} datasets.", told, *parts])


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--metric", action="append", default=[], help="only these metrics")
    parser.add_argument("--minimize", action="append", default=[], help="metrics that are losses")
    parser.add_argument("--stages", type=int, default=0, help="of long curves; 0: as recorded")
    parser.add_argument("--min-models", type=int, default=0, help="of a step and a dataset")
    parser.add_argument("--to", type=Path, help="write Markdown here")
    parser.add_argument("--json", type=Path, help="write all numbers here")
    return parser.parse_args()


def main() -> None:
    options, reporter = arguments(), Terminal()
    warnings.simplefilter("ignore")
    sections, data = [], {}
    for folder in folders(options.folders):
        for metric in folder_of(str(folder)).metrics():
            if options.metric and metric not in options.metric:
                continue
            losses = [THE_METRIC] if metric in options.minimize else []
            history = folder_of(str(folder), losses, metric)
            percent = any(abs(record.final_score) > 1.5 for record in history.records(metric))
            scale = 100.0 if percent else 1.0
            config = BacktestConfig(
                metric=metric,
                stages=options.stages,
                min_models=options.min_models,
                tolerance=0.01 * scale,
                min_gain_per_epoch=0.001 * scale,
            )
            started = time.process_time()
            try:
                found = backtest_history(config, history, reporter)
            except RecallError as error:
                print(f"{folder.name}, {metric}: left out: {error}", flush=True)
                continue
            seconds = time.process_time() - started
            for each in found:
                sections.append(section(folder.name, each))
                data["/".join((folder.name, each.modality, metric))] = backtest_data(each)
            print(f"{sections[-1]}\n\n({seconds:.0f} s of processor time)\n", flush=True)
            if options.to:
                page = PAGE.read_text().replace("<!-- tables -->", "\n\n".join(sections))
                options.to.write_text(page)
            if options.json:
                options.json.write_text(json.dumps(data))


if __name__ == "__main__":
    main()
