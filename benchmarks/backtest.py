"""How far can a history be trusted? The back-test of folders of recorded fine-tunings as one page.

    python benchmarks/backtest.py FOLDER... [--metric NAME] [--to docs/results/backtest.md]

A FOLDER holds tables as `FolderHistory` reads them, or an export of `history export`, or several
such folders. Every metric of every folder is back-tested in turn by `backtest_history`, which is
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
from mlflow_recall.cli.backtest import backtest_json
from mlflow_recall.cli.groups import METRIC_IN_USE, HistoryOptions
from mlflow_recall.cli.tables import open_tables
from mlflow_recall.config import BacktestConfig
from mlflow_recall.errors import RecallError
from mlflow_recall.workflows.backtest import BacktestResult, backtest_history, backtest_tables

PAGE = Path(__file__).with_name("backtest_page.md")


def history_folders(paths: Sequence[Path]) -> Iterator[Path]:
    """Yield the folders of tables or exports, at most one level down."""
    for path in paths:
        folders = (path, *sorted(p for p in path.iterdir() if p.is_dir()))
        histories = [p for p in folders if any(p.glob("matrix.*")) or any(p.glob("runs.jsonl"))]
        yield from histories[:1] if path in histories else histories


def page_section(name: str, result: BacktestResult) -> str:
    """Return the section of one modality and metric in Markdown."""
    models, datasets = result.matrix.values.shape
    title = ", ".join(part for part in (name, result.modality, result.metric) if part)
    sentences = "\n".join(f"- {sentence}" for sentence in result.conclusion.sentences)
    tables = [
        f"{heading}:\n\n{markdown_table(rows)}"
        for heading, rows in backtest_tables(result).items()
        if rows
    ]
    size = f"{models} models x {datasets} datasets."
    return "\n\n".join([f"### {title}", size, sentences, *tables])


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--metric", action="append", default=[], help="only these metrics")
    parser.add_argument("--minimize", action="append", default=[], help="metrics that are losses")
    parser.add_argument("--stages", type=int, help="stages of a long curve; default: as recorded")
    parser.add_argument(
        "--min-models",
        type=int,
        help="models that a step and a dataset of curves need; default: half of them",
    )
    parser.add_argument("--to", type=Path, help="write Markdown here")
    parser.add_argument("--json", type=Path, help="write all numbers here")
    return parser.parse_args()


def main() -> None:
    options, terminal = parse_arguments(), Terminal()
    warnings.simplefilter("ignore")
    sections, data = [], {}
    for folder in history_folders(options.folders):
        as_recorded = HistoryOptions(history=str(folder), minimize=())
        for metric in open_tables(as_recorded, terminal).metrics():
            if options.metric and metric not in options.metric:
                continue
            minimize = (METRIC_IN_USE,) if metric in options.minimize else ()
            source = HistoryOptions(history=str(folder), minimize=minimize)
            history = open_tables(source, terminal, metric)
            is_percent = any(abs(record.final_score) > 1.5 for record in history.records(metric))
            scale = 100.0 if is_percent else 1.0
            config = BacktestConfig(
                metric=metric,
                stages=options.stages,
                min_models=options.min_models,
                tolerance=0.01 * scale,
                min_gain_per_epoch=0.001 * scale,
            )
            started = time.process_time()
            try:
                results = backtest_history(config, history, terminal)
            except RecallError as error:
                print(f"{folder.name}, {metric}: left out: {error}", flush=True)
                continue
            seconds = time.process_time() - started
            for result in results:
                sections.append(page_section(folder.name, result))
                print(f"{sections[-1]}\n", flush=True)
                data["/".join((folder.name, result.modality, metric))] = backtest_json(result)
            print(f"({seconds:.0f} s of processor time)\n", flush=True)
            if options.to:
                page = PAGE.read_text().replace("<!-- tables -->", "\n\n".join(sections))
                options.to.write_text(page)
            if options.json:
                options.json.write_text(json.dumps(data))


if __name__ == "__main__":
    main()
