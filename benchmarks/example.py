"""What a selection costs and finds on the example's targets, where brute force is on record.

    python benchmarks/example.py --datasets DIR [--to docs/example.md]

DIR holds the datasets as `python -m mlflow_recall_example.build datasets --to DIR` prepares them;
what ships needs none. The representatives of every target are really probed. Training is read from
the record: with the history's recipe and seed, `select` trains the very curves that are on record,
bit by bit. The members' weights must be there, or be made on the way.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

import mlflow_recall_example
from mlflow_recall.adapters.datasets import DatasetSpec
from mlflow_recall.adapters.manifests import read_benchmarks
from mlflow_recall.cli.work import EXAMPLE_NAMESPACE, Work, bench_for
from mlflow_recall.config import RecallConfig
from mlflow_recall.core.arrays import is_within
from mlflow_recall.core.backtest.replay import Outcome, replay
from mlflow_recall.core.curves import Curves
from mlflow_recall.core.overview import noise_floor
from mlflow_recall.core.policies import POLICIES, STARTERS, Past, Settings
from mlflow_recall.core.records import Record
from mlflow_recall.errors import RecallError
from mlflow_recall.workflows.recall import Recalled, recall, survey


@dataclass(frozen=True)
class Row:
    """One way to select on one target."""

    target: str
    way: str
    candidates: int
    epochs: float
    #: of training and looking, as recorded, on one worker
    seconds: float
    winner: str
    test: float
    regret: float


def targets(folder: Path | None) -> list[DatasetSpec]:
    """What ships, and what was prepared."""
    files = [mlflow_recall_example.FOLDER / "targets" / "targets.yaml"]
    files += sorted(folder.glob("targets-*.yaml")) if folder else []
    found = [target for file in files for target in read_benchmarks(str(file))]
    first = {target.name: target for target in reversed(found)}  # what ships, before the prepared
    return sorted(first.values(), key=lambda target: (bool(target.image), target.name))


def ways(spec: DatasetSpec, work: Work) -> list[Row]:
    """Every way to select on one target."""
    bench, config = work.bench, RecallConfig(spec)
    prospect = survey(config, bench)
    own = {
        record.model: record
        for record in bench.history.records("accuracy")
        if record.digest == prospect.dataset.digest and record.complete and seed_of(record) == 0
    }
    curves = Curves.of(prospect.usable.records)
    past = Past(curves, noise_floor(prospect.usable.records).known)
    settings = Settings(curves.stages)
    ours = recall(config, prospect, bench)
    papers = recall(replace(config, recommender="paper", top_k=10), prospect, bench)
    ranking = (*ours.chosen, *(m for m in ours.advice.ranking.models if m not in ours.chosen))
    first = STARTERS["price"](ranking, past, settings)
    everyone = tuple(own)
    plans: Sequence[tuple[str, str, Sequence[str], Recalled | None]] = (
        ("brute force", "brute_force", everyone, None),
        ("successive halving", "halving", everyone, None),
        ("the paper's: eq. 2-4, ten, fine-selection", "fine_selection", papers.chosen, papers),
        ("recall, five, fine-selection", "fine_selection", ours.chosen, ours),
        ("recall, five, halving", "halving", ours.chosen, ours),
        ("recall, price of an epoch", "price", first, ours),
    )
    rows = []
    for way, policy, chosen, told in plans:
        chosen = [model for model in chosen if model in own]
        scores = {model: own[model].validation for model in chosen}
        ended = replay(POLICIES[policy], scores, past, settings)
        rows.append(judged(spec.name, way, ended, own, told))
    return rows


def judged(
    target: str, way: str, ended: Outcome, own: Mapping[str, Record], told: Recalled | None
) -> Row:
    best = max(record.test for record in own.values())
    test = own[ended.winner].test
    return Row(
        target,
        way,
        len(ended.stopped),
        ended.epochs + (told.epochs if told else 0.0),
        sum(sum(own[m].seconds[:stage]) for m, stage in ended.stopped.items())
        + (told.seconds if told else 0.0),
        ended.winner.rpartition("--")[2],
        test,
        best - test,
    )


def seed_of(record: Record) -> int:
    return int(json.loads(record.recipe)["seed"]) if record.recipe else 0


def table(rows: Sequence[Row]) -> str:
    lines = ["| target | way | candidates | epochs | seconds | winner | test | regret |"]
    lines.append("|---" * 8 + "|")
    lines += [
        f"| {r.target} | {r.way} | {r.candidates} | {r.epochs:.1f} | {r.seconds:.0f} | {r.winner} "
        f"| {r.test:.3f} | {r.regret:.3f} |"
        for r in rows
    ]
    return "\n".join(lines)


def summary(rows: Sequence[Row]) -> str:
    """Means over the targets, beside brute force and halving."""
    lines = ["| way | candidates | epochs | x brute force | x halving | regret | within 0.01 |"]
    lines.append("|---" * 7 + "|")
    by_way: dict[str, list[Row]] = {}
    for row in rows:
        by_way.setdefault(row.way, []).append(row)
    epochs = {way: np.array([r.epochs for r in some]) for way, some in by_way.items()}
    for way, some in by_way.items():
        regrets = np.array([r.regret for r in some])
        error = regrets.std(ddof=1) / np.sqrt(len(regrets)) if len(regrets) > 1 else np.nan
        lines.append(
            f"| {way} | {np.mean([r.candidates for r in some]):.1f} | {epochs[way].mean():.1f} "
            f"| {(epochs['brute force'] / epochs[way]).mean():.1f} "
            f"| {(epochs['successive halving'] / epochs[way]).mean():.1f} "
            f"| {regrets.mean():.4f} ± {error:.4f} | {is_within(regrets, 0.01).mean():.0%} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--datasets", type=Path, help="folder of prepared datasets")
    parser.add_argument("--only", action="append", default=[], help="only these targets")
    parser.add_argument("--to", type=Path, help="write the tables into this page")
    options = parser.parse_args()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as scratch:
        store = f"sqlite:///{scratch}/mlflow.db"
        with bench_for("", store, EXAMPLE_NAMESPACE, "local", 0, 0) as work:
            for spec in targets(options.datasets):
                if options.only and spec.name not in options.only:
                    continue
                try:
                    found = ways(spec, work)
                except RecallError as error:
                    print(f"{spec.name}: left out: {error}", flush=True)
                    continue
                print(table(found), flush=True)
                rows += found
    print(summary(rows))
    if options.to:
        page = options.to.read_text()
        for name, text in (("summary", summary(rows)), ("targets", table(rows))):
            before, mark, rest = page.partition(f"<!-- {name} -->\n")
            _, end, after = rest.partition("<!-- end -->")
            page = f"{before}{mark}{text}\n{end}{after}"
        options.to.write_text(page)


if __name__ == "__main__":
    main()
