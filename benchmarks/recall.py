"""Which recommender picks best? Leave one dataset out of recorded fine-tunings and look.

    python benchmarks/recall.py FOLDER... [--metric NAME] [--minimize NAME] [--to docs/recall.md]

A FOLDER has tables as `FolderHistory` reads them and a `meta.json`, or is a folder of such
folders. Every metric of every folder is measured in turn. `--paper-zoo A --targets B` also takes
the matrix of folder A as the only history and judges on datasets of folder B that A never used.
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
    Case,
    Features,
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
    main_score,
)
from mlflow_recall.core.history.matrix import PerformanceMatrix
from mlflow_recall.core.recommend import RECOMMENDERS, Evidence

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
#: docs/recall.md around what is measured
PAGE = Path(__file__).with_name("recall_page.md")
#: rows of a table, and what they are called
Rows = Mapping[str, Mapping[str, Estimate]]
#: what is said of gaps and what was, in the words of its table
CHECKED = {
    "gaps within the 80 % interval": "covered",
    "said P(within tolerance), mean": "said",
    "was within tolerance": "was",
    "Brier score of P(within)": "brier",
    "said P(first 5 hold a near-best)": "said_first",
    "first 5 held one": "held_first",
    "models in the smallest set": "size",
    "said P(smallest set holds one)": "said_smallest",
    "smallest set held one": "held_smallest",
    "Pearson of the predicted gap": "pearson",
}


@dataclass(frozen=True)
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
    def usable(self) -> dict[str, FloatArray]:
        """Scores that vary by dataset."""
        return informative_scores(self.matrix, self.scores)

    @property
    def tolerance(self) -> float:
        """One point: of percentages, too."""
        return 0.01 if np.nanmax(np.abs(self.matrix.values)) <= 1 else 1.0

    def cases(self, most: int | None = None) -> list[Case]:
        """Every dataset left out."""
        return hold_out_each(
            self.matrix, self.scores, self.model_features, self.dataset_features, most=most
        )


# --- reading ---------------------------------------------------------------------------------


def folders(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        if any(path.glob("matrix.*")):
            yield path
        else:
            yield from sorted(p for p in path.iterdir() if any(p.glob("matrix.*")))


def read(folder: Path, metric: str, minimize: Sequence[str] = ()) -> Records:
    history = FolderHistory(folder, minimize=metric in minimize)
    matrix = PerformanceMatrix.from_records(history.records(metric))
    meta = folder / "meta.json"
    return Records(
        folder.name,
        metric,
        matrix,
        {
            name: np.array(
                [[cells.get((m, d), np.nan) for d in matrix.datasets] for m in matrix.models]
            )
            for name, cells in history.scores().items()
        },
        history.model_features(),
        history.dataset_features(),
        json.loads(meta.read_text()) if meta.exists() else {},
    )


# --- experiments -----------------------------------------------------------------------------


def probes(records: Records) -> dict[str, RecommenderComparison]:
    """Blend and portfolio by what was scored; one score where there is one only."""
    one = main_score(records.usable)
    everything = records.cases()
    found = {}
    for title, only, representatives in (
        (f"{one} of representatives", one, True),
        (f"{one} of every model", one, False),
        ("all scores of representatives", "", True),
        ("all scores of every model", "", False),
    ):
        given = [keep_scores(case, only, representatives=representatives) for case in everything]
        count = np.mean(
            [
                max((np.isfinite(v).sum() for v in c.evidence.scores.values()), default=0)
                for c in given
            ]
        )
        found[f"{title} ({count:.0f})"] = compare_recommenders(given, ["blend", "portfolio"])
    return found


def plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower())


def paper_zoo(history: Records, other: Records) -> list[Case]:
    """The matrix of ``history`` as the only one, datasets of ``other`` as targets."""
    there = {plain(model): i for i, model in enumerate(other.matrix.models)}
    models = [model for model in history.matrix.models if plain(model) in there]
    rows = [there[plain(model)] for model in models]
    used = {plain(name.split("/")[-1]) for name in history.matrix.datasets}
    score = main_score(other.usable)
    found = []
    for j, dataset in enumerate(other.matrix.datasets):
        truth = other.matrix.values[rows, j]
        keep = ~np.isnan(truth)
        values = other.scores[score][rows, j] if score else np.full(len(rows), np.nan)
        if plain(dataset.split("/")[-1]) in used or keep.sum() < MIN_MODELS:
            continue
        matrix = history.matrix.select_models(
            m for m, kept in zip(models, keep, strict=True) if kept
        )
        scores = {score: values[keep]} if (~np.isnan(values[keep])).sum() >= MIN_MODELS else {}
        evidence = Evidence(matrix, cluster_for_backtest(matrix), scores=scores)
        found.append(Case(dataset, evidence, truth[keep]))
    return found


def poster(records: Records, most: int = 12) -> dict[str, RecommenderComparison]:
    """Settings 1 and 2 of Li et al. 2023: unseen models, and one dataset's history; 3 is above."""
    names = ["prior", "linear", "factorization", "blend"]
    given = records.cases(most)
    told = records.model_features or records.usable
    unseen = [hold_out_models(case, fold) for case in given for fold in range(5 if told else 0)]
    order = {name: i for i, name in enumerate(records.matrix.datasets)}
    single = [
        keep_one_dataset(case, (order[case.dataset] + 1) % len(case.evidence.matrix.datasets))
        for case in given
    ]
    found = {
        "1 unseen models": [case for case in unseen if case is not None],
        "2 one dataset known": single,
    }
    return {what: compare_recommenders(chosen, names) for what, chosen in found.items() if chosen}


# --- writing ---------------------------------------------------------------------------------


def numbers(found: RecommenderComparison) -> dict[str, list[dict[str, float]]]:
    return {name: judged.rows for name, judged in found.results.items()}


def rows(found: RecommenderComparison, title: str = "{}") -> dict[str, dict[str, Estimate]]:
    """A row a recommender; those that rank for some targets only say so."""
    every = len(found.results["random"].datasets)
    names = {
        name: name if len(judged.datasets) == every else f"{name} ({len(judged.datasets)} targets)"
        for name, judged in found.results.items()
    }
    return {title.format(names[name]): judged.summary for name, judged in found.results.items()}


def table(found: Rows, first: str = "recommender") -> str:
    head = f"| {first} | first pick | best of 3 | best of 5 | best of 10 | Spearman | Pearson |"
    lines = [head, "|---" * 7 + "|"]
    places = {k: decimals(found, f"regret@{k}") for k in SIZES}
    for name, summary in found.items():
        cells = [shown(summary[f"regret@{k}"], places[k]) for k in SIZES]
        cells += [shown(summary[measure], 2) for measure in ("spearman", "pearson")]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def decimals(found: Rows, measure: str) -> int:
    return 2 if max(summary[measure].mean for summary in found.values()) >= 1 else 4


def shown(value: Estimate, places: int) -> str:
    if np.isnan(value.mean):
        return "-"
    error = "" if np.isnan(value.standard_error) else f" ± {value.standard_error:.{places}f}"
    return f"{value.mean:.{places}f}{error}"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--metric", action="append", default=[], help="only these metrics")
    parser.add_argument("--minimize", action="append", default=[], help="metrics that are losses")
    parser.add_argument("--most-targets", type=int, default=40, help="per folder and metric")
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
    options = arguments()
    names = options.only or [name for name in SHOWN if name in RECOMMENDERS]
    warnings.simplefilter("ignore")
    data: dict[str, object] = {}
    lines: list[str] = []

    def say(text: str) -> None:
        print(text, flush=True)
        lines.append(text)

    everything = [
        read(folder, metric, options.minimize)
        for folder in folders(options.folders)
        for metric in FolderHistory(folder).metrics()
        if not options.metric or metric in options.metric
    ]
    for a in everything:
        for b in everything:
            if a.name == options.paper_zoo and b.name == options.targets:
                given = paper_zoo(a, b)
                if given:
                    found = compare_recommenders(given, names)
                    say(
                        f"\n### {a.name} ({a.metric}) as the only history, "
                        f"{b.name} ({b.metric}): {len(given)} targets\n\n{table(rows(found))}"
                    )
                    data[f"{a.name}/{a.metric}->{b.name}/{b.metric}"] = numbers(found)
    for records in everything:
        measure(records, names, options, say, data)
        if options.to:
            options.to.write_text(document("\n".join(lines), everything))
        if options.json:
            options.json.write_text(json.dumps(data))


def measure(
    records: Records,
    names: Sequence[str],
    options: argparse.Namespace,
    say: Callable[[str], None],
    data: dict[str, object],
) -> None:
    """Everything that one metric of one folder tells."""
    started = time.perf_counter()
    given = records.cases(options.most_targets)
    if not given:
        return
    key = f"{records.name}/{records.metric}"
    found = compare_recommenders(given, names)
    m, d = records.matrix.values.shape
    say(
        f"\n### {records.name}, {records.metric}\n\n"
        f"{m} models x {d} datasets, {len(given)} targets; scores: "
        f"{', '.join(records.usable) or 'none'}.\n\n{table(rows(found))}"
    )
    data[key] = numbers(found)
    large = records.matrix.values.size > 10_000  # a sample of targets has to do
    if records.usable and "probes" not in options.skip:
        by = probes(records)
        data[f"{key}/probes"] = {title: numbers(c) for title, c in by.items()}
        told: dict[str, Mapping[str, Estimate]] = {}
        for title, c in by.items():
            told |= {n: r for n, r in rows(c, f"{{}}: {title}").items() if "random" not in n}
        say(f"\nWhat is scored, and how many models that probes:\n\n{table(told, 'scored')}")
    if "calibration" not in options.skip:
        checked = {
            name: check_calibration(
                evenly_spaced(given, 4 if large else 12), name, tolerance=records.tolerance
            ).summary
            for name in ("blend", "portfolio")
        }
        data[f"{key}/calibration"] = {
            name: {field: value.mean for field, value in summary.items()}
            for name, summary in checked.items()
        }
        lines = ["", "| what is said of gaps, and what was | " + " | ".join(checked) + " |"]
        lines.append("|---" * (len(checked) + 1) + "|")
        for words, name in CHECKED.items():
            cells = " | ".join(f"{summary[name].mean:.2f}" for summary in checked.values())
            lines.append(f"| {words} | {cells} |")
        say("\n".join(lines))
    if "poster" not in options.skip:
        settings = poster(records, 3 if large else 12)
        data[f"{key}/poster"] = {what: numbers(c) for what, c in settings.items()}
        told = {}
        for what, c in settings.items():
            told |= rows(c, f"{{}}, {what}")
        say(f"\nSettings 1 and 2 of Li et al.; their third is the first table:\n\n{table(told)}")
    print(f"({time.perf_counter() - started:.0f} s)", flush=True)


def document(measured: str, everything: Sequence[Records]) -> str:
    sources = {r.name: r.meta for r in everything}
    told = "\n".join(f"- **{name}**: {source(meta)}" for name, meta in sources.items())
    return PAGE.read_text().replace("{records}", told).replace("{tables}", measured)


def source(meta: Mapping[str, object]) -> str:
    where = meta.get("source", [])
    places = sorted({str(s).split(":")[0] for s in where} if isinstance(where, list) else {})
    return f"{', '.join(places) or 'unknown source'}; license: {meta.get('license', 'unknown')}"


if __name__ == "__main__":
    main()
