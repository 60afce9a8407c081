"""Which recommender picks best? Judged on recorded datasets, one held out at a time.

    python benchmarks/recall.py FOLDER... [--metric NAME] [--to docs/results/recall.md]

A FOLDER holds tables as `FolderHistory` reads them and a `meta.json`, or several such folders.
Every metric of every folder is measured in turn. `--paper-zoo A --targets B` also takes the matrix
of folder A as the only history and judges on datasets of folder B that A does not have.
"""

from __future__ import annotations

import argparse
import json
import re
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mlflow_recall.adapters.tables.folder_history import FolderHistory
from mlflow_recall.core.arrays import FloatArray
from mlflow_recall.core.backtest.calibration import check_calibration
from mlflow_recall.core.backtest.holdout import (
    MIN_MODELS,
    HeldOutTarget,
    cluster_for_backtest,
    evenly_spaced,
    hold_out_each,
    hold_out_models,
    informative_scores,
    keep_one_dataset,
    keep_scores,
)
from mlflow_recall.core.backtest.recommender_comparison import (
    SIZES,
    Estimate,
    RecommenderComparison,
    compare_recommenders,
)
from mlflow_recall.core.history.ground_truth import GroundTruth
from mlflow_recall.core.history.matrix import PerformanceMatrix
from mlflow_recall.core.recommend import RECOMMENDERS, Evidence
from mlflow_recall.core.recommend.evidence import Features
from mlflow_recall.core.recommend.spec import main_score

SHOWN = (
    "prior",
    "prior_rank",
    "paper",
    "paper_code",
    "interleaved",
    "linear",
    "factorization",
    "blend",
    "portfolio",
)
#: text of docs/results/recall.md around the tables
PAGE = Path(__file__).with_name("recall_page.md")
#: row of a table -> its measures
Rows = Mapping[str, Mapping[str, Estimate]]
#: row of the table of calibration -> the measure
CALIBRATION_ROWS = {
    "gaps within the 80 % interval": "covered",
    "predicted P(near), mean": "predicted",
    "observed share near": "observed",
    "Brier score of P(near)": "brier",
    "predicted P(first 5 hold a near-best)": "predicted_first",
    "first 5 hit rate": "observed_first",
    "models in the smallest set": "set_size",
    "predicted P(smallest set holds a near-best)": "predicted_smallest",
    "set hit rate": "observed_smallest",
    "Pearson of predicted and observed gaps": "pearson",
}


@dataclass(frozen=True, kw_only=True)
class Records:
    """One metric of one folder, higher is better."""

    name: str
    metric: str
    matrix: PerformanceMatrix
    #: score -> (m, d)
    scores: Mapping[str, FloatArray]
    model_features: Features = field(default_factory=dict)
    dataset_features: Features = field(default_factory=dict)
    meta: Mapping[str, object] = field(default_factory=dict)

    @property
    def informative(self) -> dict[str, FloatArray]:
        """Scores that are computed on at least two datasets."""
        return informative_scores(self.matrix, self.scores)

    @property
    def tolerance(self) -> float:
        """One point, of percentages too."""
        return 0.01 if np.nanmax(np.abs(self.matrix.values)) <= 1 else 1.0

    def hold_out(self, limit: int | None = None) -> list[HeldOutTarget]:
        """Hold out every dataset, or at most ``limit`` of them."""
        return hold_out_each(
            self.matrix, self.scores, self.model_features, self.dataset_features, limit=limit
        )


# --- reading ---------------------------------------------------------------------------------


def table_folders(paths: Sequence[Path]) -> Iterator[Path]:
    """Yield the folders with a table ``matrix``, at most one level down."""
    for path in paths:
        if any(path.glob("matrix.*")):
            yield path
        else:
            yield from sorted(p for p in path.iterdir() if any(p.glob("matrix.*")))


def read_records(folder: Path, metric: str, minimize: Sequence[str] = ()) -> Records:
    history = FolderHistory(folder, minimize=metric in minimize)
    matrix = PerformanceMatrix.from_records(history.records(metric))
    meta = folder / "meta.json"
    return Records(
        name=folder.name,
        metric=metric,
        matrix=matrix,
        scores={
            name: np.array(
                [[cells.get((m, d), np.nan) for d in matrix.datasets] for m in matrix.models]
            )
            for name, cells in history.scores().items()
        },
        model_features=history.model_features(),
        dataset_features=history.dataset_features(),
        meta=json.loads(meta.read_text()) if meta.exists() else {},
    )


# --- experiments -----------------------------------------------------------------------------


def compare_probes(records: Records) -> dict[str, RecommenderComparison]:
    """Compare blend and portfolio by which models are scored, with one score and with all."""
    single = main_score(records.informative)
    targets = records.hold_out()
    comparisons = {}
    for title, name, representatives_only in (
        (f"{single} of representatives", single, True),
        (f"{single} of every model", single, False),
        ("all scores of representatives", None, True),
        ("all scores of every model", None, False),
    ):
        kept = [
            keep_scores(target, name, representatives_only=representatives_only)
            for target in targets
        ]
        counts = [
            max((np.isfinite(values).sum() for values in t.evidence.scores.values()), default=0)
            for t in kept
        ]
        title = f"{title} ({np.mean(counts):.0f})"
        comparisons[title] = compare_recommenders(kept, ["blend", "portfolio"])
    return comparisons


def plain_name(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower())


def hold_out_elsewhere(history: Records, other: Records) -> list[HeldOutTarget]:
    """Take the datasets of ``other`` as targets, with the matrix of ``history`` as the only one."""
    rows_by_name = {plain_name(model): i for i, model in enumerate(other.matrix.models)}
    models = [model for model in history.matrix.models if plain_name(model) in rows_by_name]
    rows = [rows_by_name[plain_name(model)] for model in models]
    used = {plain_name(name.split("/")[-1]) for name in history.matrix.datasets}
    score = main_score(other.informative)
    targets = []
    for j, dataset in enumerate(other.matrix.datasets):
        final_scores = other.matrix.values[rows, j]
        keep = ~np.isnan(final_scores)
        if plain_name(dataset.split("/")[-1]) in used or keep.sum() < MIN_MODELS:
            continue
        kept = [model for model, is_kept in zip(models, keep, strict=True) if is_kept]
        matrix = history.matrix.select_models(kept)
        scores = {}
        if score is not None:
            values = other.scores[score][rows, j][keep]
            if (~np.isnan(values)).sum() >= MIN_MODELS:
                scores[score] = values
        targets.append(
            HeldOutTarget(
                dataset=dataset,
                evidence=Evidence(
                    matrix=matrix, clustering=cluster_for_backtest(matrix), scores=scores
                ),
                ground_truth=GroundTruth(dict(zip(kept, final_scores[keep].tolist(), strict=True))),
            )
        )
    return targets


def compare_settings(records: Records, limit: int = 12) -> dict[str, RecommenderComparison]:
    """Compare in settings 1 and 2 of Li et al. 2023: unseen models, one dataset as the history.

    Their third setting, unseen datasets, is the main table.
    """
    names = ["prior", "linear", "factorization", "blend"]
    targets = records.hold_out(limit)
    can_know_models = bool(records.model_features or records.informative)
    folds = [hold_out_models(t, fold) for t in targets for fold in range(5 * can_know_models)]
    order = {name: i for i, name in enumerate(records.matrix.datasets)}
    settings = {
        "1 unseen models": [target for target in folds if target is not None],
        "2 one dataset known": [
            keep_one_dataset(t, (order[t.dataset] + 1) % len(t.evidence.matrix.datasets))
            for t in targets
        ],
    }
    return {title: compare_recommenders(some, names) for title, some in settings.items() if some}


# --- writing ---------------------------------------------------------------------------------


def numbers(comparison: RecommenderComparison) -> dict[str, list[dict[str, float]]]:
    return {name: result.rows for name, result in comparison.results.items()}


def table_rows(
    comparison: RecommenderComparison, title: str = "{}"
) -> dict[str, dict[str, Estimate]]:
    """Return one row a recommender; one that ranks for some of the targets says for how many."""
    total = len(comparison.results["random"].datasets)
    rows = {}
    for name, result in comparison.results.items():
        count = len(result.datasets)
        label = name if count == total else f"{name} ({count} targets)"
        rows[title.format(label)] = result.summary
    return rows


def format_table(rows: Rows, first: str = "recommender") -> str:
    head = f"| {first} | first pick | best of 3 | best of 5 | best of 10 | Spearman | Pearson |"
    lines = [head, "|---" * 7 + "|"]
    digits = {k: decimals(rows, f"regret@{k}") for k in SIZES}
    for name, summary in rows.items():
        cells = [format_estimate(summary[f"regret@{k}"], digits[k]) for k in SIZES]
        cells += [format_estimate(summary[measure], 2) for measure in ("spearman", "pearson")]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def decimals(rows: Rows, measure: str) -> int:
    return 2 if max(summary[measure].mean for summary in rows.values()) >= 1 else 4


def format_estimate(value: Estimate, digits: int) -> str:
    if np.isnan(value.mean):
        return "-"
    error = "" if np.isnan(value.standard_error) else f" ± {value.standard_error:.{digits}f}"
    return f"{value.mean:.{digits}f}{error}"


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--metric", action="append", default=[], help="only these metrics")
    parser.add_argument("--minimize", action="append", default=[], help="metrics that are losses")
    parser.add_argument("--most-targets", type=int, default=40, help="of each folder and metric")
    parser.add_argument("--paper-zoo", help="name of a folder whose matrix is the only history")
    parser.add_argument("--targets", help="name of the folder with the unseen targets")
    parser.add_argument("--to", type=Path, help="write Markdown here")
    parser.add_argument("--json", type=Path, help="write all numbers here")
    parser.add_argument(
        "--skip", action="append", default=[], choices=["probes", "calibration", "poster"]
    )
    parser.add_argument("--only", action="append", default=[], help="only these recommenders")
    return parser.parse_args()


def main() -> None:
    options = parse_arguments()
    names = options.only or [name for name in SHOWN if name in RECOMMENDERS]
    warnings.simplefilter("ignore")
    data: dict[str, object] = {}
    lines: list[str] = []

    def write(text: str) -> None:
        print(text, flush=True)
        lines.append(text)

    sources = [
        read_records(folder, metric, options.minimize)
        for folder in table_folders(options.folders)
        for metric in FolderHistory(folder).metrics()
        if not options.metric or metric in options.metric
    ]
    for a in sources:
        for b in sources:
            if (a.name, b.name) != (options.paper_zoo, options.targets):
                continue
            if targets := hold_out_elsewhere(a, b):
                comparison = compare_recommenders(targets, names)
                write(
                    f"\n### {a.name} ({a.metric}) as the only history, {b.name} ({b.metric}): "
                    f"{len(targets)} targets\n\n{format_table(table_rows(comparison))}"
                )
                data[f"{a.name}/{a.metric}->{b.name}/{b.metric}"] = numbers(comparison)
    for records in sources:
        measure(records, names, options, write, data)
        if options.to:
            options.to.write_text(fill_page("\n".join(lines), sources))
        if options.json:
            options.json.write_text(json.dumps(data))


def measure(
    records: Records,
    names: Sequence[str],
    options: argparse.Namespace,
    write: Callable[[str], None],
    data: dict[str, object],
) -> None:
    """Measure everything that one metric of one folder allows."""
    started = time.perf_counter()
    targets = records.hold_out(options.most_targets)
    if not targets:
        return
    key = f"{records.name}/{records.metric}"
    comparison = compare_recommenders(targets, names)
    m, d = records.matrix.values.shape
    write(
        f"\n### {records.name}, {records.metric}\n\n"
        f"{m} models x {d} datasets, {len(targets)} targets; scores: "
        f"{', '.join(records.informative) or 'none'}.\n\n{format_table(table_rows(comparison))}"
    )
    data[key] = numbers(comparison)
    is_large = records.matrix.values.size > 10_000  # fewer targets are checked
    if records.informative and "probes" not in options.skip:
        by_probes = compare_probes(records)
        data[f"{key}/probes"] = {title: numbers(c) for title, c in by_probes.items()}
        rows: dict[str, Mapping[str, Estimate]] = {}
        for title, c in by_probes.items():
            titled = table_rows(c, f"{{}}: {title}")
            rows |= {name: row for name, row in titled.items() if "random" not in name}
        write(
            "\nBy which models are scored, with the number of probes in brackets:\n\n"
            f"{format_table(rows, 'scored')}"
        )
    if "calibration" not in options.skip:
        checked = {
            name: check_calibration(
                evenly_spaced(targets, 4 if is_large else 12), name, tolerance=records.tolerance
            ).summary
            for name in ("blend", "portfolio")
        }
        data[f"{key}/calibration"] = {
            name: {measure: value.mean for measure, value in summary.items()}
            for name, summary in checked.items()
        }
        lines = ["", "| predicted and observed gaps | " + " | ".join(checked) + " |"]
        lines.append("|---" * (len(checked) + 1) + "|")
        for label, name in CALIBRATION_ROWS.items():
            cells = " | ".join(f"{summary[name].mean:.2f}" for summary in checked.values())
            lines.append(f"| {label} | {cells} |")
        write("\n".join(lines))
    if "poster" not in options.skip:
        by_setting = compare_settings(records, 3 if is_large else 12)
        data[f"{key}/poster"] = {title: numbers(c) for title, c in by_setting.items()}
        rows = {}
        for title, c in by_setting.items():
            rows |= table_rows(c, f"{{}}, {title}")
        write(
            "\nSettings 1 and 2 of Li et al.; their third is the first table:\n\n"
            f"{format_table(rows)}"
        )
    print(f"({time.perf_counter() - started:.0f} s)", flush=True)


def fill_page(tables: str, sources: Sequence[Records]) -> str:
    """Return the page with the tables and the sources of the records."""
    meta = {records.name: records.meta for records in sources}
    lines = "\n".join(f"- **{name}**: {describe_source(known)}" for name, known in meta.items())
    return PAGE.read_text().replace("{records}", lines).replace("{tables}", tables)


def describe_source(meta: Mapping[str, object]) -> str:
    source = meta.get("source", [])
    places = sorted({str(s).split(":")[0] for s in source} if isinstance(source, list) else {})
    return f"{', '.join(places) or 'unknown source'}; license: {meta.get('license', 'unknown')}"


if __name__ == "__main__":
    main()
