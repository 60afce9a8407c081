"""What a selection costs and finds on the example's targets, where brute force is on record.

    python benchmarks/example.py --datasets DIR [--to docs/example.md]

DIR holds the datasets as `python -m mlflow_recall_example.build datasets --to DIR` prepares them;
what ships needs none. The representatives of every target are really probed. Training is read from
the record, once with each seed that is there: with the history's recipe and that seed, `select`
trains what is on record. The members' weights must be there, or be made on the way.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import example_tables
import numpy as np
from example_selections import (
    BRUTE_FORCE,
    FIVE,
    FIVE_BRUTE_FORCE,
    FIVE_HALVING,
    HALVING,
    OPEN_BRUTE_FORCE,
    OPEN_HALVING,
    PRICE,
    TEN,
    TEN_BRUTE_FORCE,
    TEN_HALVING,
    Row,
    Target,
)

import mlflow_recall_example
from mlflow_recall.adapters.manifests.dataset_spec import DatasetSpec
from mlflow_recall.adapters.manifests.yaml_files import read_benchmarks
from mlflow_recall.cache import cache_folder
from mlflow_recall.cli.session import EXAMPLE_NAMESPACE, Work, bench_for
from mlflow_recall.config import RecallConfig
from mlflow_recall.core.backtest.replay import replay
from mlflow_recall.core.backtest.whole_selections import PAPER_TOP
from mlflow_recall.core.history.curves import Curves
from mlflow_recall.core.history.ground_truth import GroundTruth
from mlflow_recall.core.history.overview import noise_floor
from mlflow_recall.core.history.records import Record
from mlflow_recall.core.policies import POLICIES, STARTERS, PolicyHistory, PolicyOptions
from mlflow_recall.errors import HistoryError, RecallError
from mlflow_recall.workflows.context import load_context
from mlflow_recall.workflows.recall import RecallResult, recall_models


@dataclass(frozen=True)
class Case:
    """One target: what is known before, who is recalled, and what training on it gave."""

    name: str
    past: PolicyHistory
    #: standard deviation of a repeated fine-tuning
    noise: float
    settings: PolicyOptions
    ours: RecallResult
    papers: RecallResult
    #: what every model reached, its seeds averaged
    truth: GroundTruth
    #: seed -> model -> its fine-tuning on the target
    runs: Mapping[int, Mapping[str, Record]]

    @property
    def target(self) -> Target:
        best, mean = (
            max(self.truth.final_scores.values()),
            float(np.mean(list(self.truth.final_scores.values()))),
        )
        return Target(self.name, best, mean, self.noise)


@dataclass(frozen=True)
class Way:
    """One way to select."""

    name: str
    policy: str
    candidates: tuple[str, ...]
    #: whether representatives are probed on the target first, to choose the candidates
    recall_result: bool = True


def targets(folder: Path | None) -> list[DatasetSpec]:
    """What ships, and what was prepared."""
    files = [mlflow_recall_example.FOLDER / "targets" / "targets.yaml"]
    files += sorted(folder.glob("targets-*.yaml")) if folder else []
    found = [target for file in files for target in read_benchmarks(str(file))]
    first = {target.name: target for target in reversed(found)}  # what ships, before the prepared
    return sorted(first.values(), key=lambda target: (bool(target.image), target.name))


def case(spec: DatasetSpec, work: Work) -> Case:
    """Recall for one target, twice, and read what is on record of it."""
    services, config = work.bench, RecallConfig(dataset=spec)
    context = load_context(config, services)
    if context.ground_truth is None:
        raise HistoryError("expected its brute force on record, got nothing")
    runs: dict[int, dict[str, Record]] = {}
    for record in services.history.records("accuracy"):
        if record.dataset_digest == context.dataset.digest and record.is_complete:
            runs.setdefault(seed_of(record), {})[record.model] = record
    records = context.comparable.records
    curves = Curves.from_records(records)
    return Case(
        context.dataset.name,
        PolicyHistory(curves),
        noise_floor(records).std_or_zero,
        PolicyOptions(curves.stages),
        recall_models(config, context, services),
        recall_models(replace(config, recommender="paper", top_k=PAPER_TOP), context, services),
        context.ground_truth,
        dict(sorted(runs.items())),
    )


def seed_of(record: Record) -> int:
    return int(json.loads(record.recipe)["seed"]) if record.recipe else 0


def ways(case: Case) -> Iterator[Way]:
    """Every way to select on one target."""
    ours = case.ours
    everyone = case.truth.models
    trainable = tuple(model for model in everyone if model in ours.context.members)
    ranking = (
        *ours.selected,
        *(m for m in ours.recommendation.ranking.models if m not in ours.selected),
    )
    yield Way(BRUTE_FORCE, "brute_force", everyone, recall_result=False)
    yield Way(HALVING, "halving", everyone, recall_result=False)
    yield Way(OPEN_BRUTE_FORCE, "brute_force", trainable, recall_result=False)
    yield Way(OPEN_HALVING, "halving", trainable, recall_result=False)
    yield Way(TEN_BRUTE_FORCE, "brute_force", case.papers.selected)
    yield Way(TEN_HALVING, "halving", case.papers.selected)
    yield Way(TEN, "fine_selection", case.papers.selected)
    yield Way(FIVE_BRUTE_FORCE, "brute_force", ours.selected)
    yield Way(FIVE_HALVING, "halving", ours.selected)
    yield Way(FIVE, "fine_selection", ours.selected)
    yield Way(PRICE, "price", STARTERS["price"](ranking, case.past, case.settings))


def rows(case: Case) -> Iterator[Row]:
    """Every way, once with each seed that all of its candidates were trained with."""
    for way in ways(case):
        for seed, own in case.runs.items():
            if all(model in own for model in way.candidates):
                yield row(case, way, seed, {model: own[model] for model in way.candidates})


def row(case: Case, way: Way, seed: int, own: Mapping[str, Record]) -> Row:
    scores = {model: record.validation_scores for model, record in own.items()}
    ended = replay(POLICIES[way.policy], scores, case.past, case.settings)
    trained = sum(sum(own[model].seconds[:stage]) for model, stage in ended.last_stage.items())
    probing = case.ours if way.recalled else None  # the second recall had the first one's probes
    return Row(
        target=case.name,
        way=way.name,
        seed=seed,
        candidates=len(own),
        trained=ended.epochs,
        probing=probing.epochs if probing else 0.0,
        probes=len(probing.probes) if probing else 0,
        seconds=trained + (probing.seconds if probing else 0.0),
        winner=ended.winner.rpartition("--")[2],
        worth=case.truth.score(ended.winner),
        regret=case.truth.regret(ended.winner),
    )


def without_probes(folder: Path) -> str:
    """A cache with the weights and datasets of the usual one, where no probe is kept."""
    for part in ("datasets", "example", "packages"):
        cache_folder(part).mkdir(parents=True, exist_ok=True)
        (folder / part).symlink_to(cache_folder(part))
    return str(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--datasets", type=Path, help="folder of prepared datasets")
    parser.add_argument("--only", action="append", default=[], help="only these targets")
    parser.add_argument("--to", type=Path, help="write the tables into this page")
    options = parser.parse_args()
    known: list[Target] = []
    found: list[Row] = []
    with tempfile.TemporaryDirectory() as scratch:
        store = f"sqlite:///{scratch}/mlflow.db"
        os.environ["MLFLOW_RECALL_CACHE"] = without_probes(Path(scratch))
        with bench_for("", store, EXAMPLE_NAMESPACE, "local", 0, 0) as work:
            for spec in targets(options.datasets):
                if options.only and spec.name not in options.only:
                    continue
                try:
                    one = case(spec, work)
                except RecallError as error:
                    print(f"{spec.name}: left out: {error}", flush=True)
                    continue
                known.append(one.target)
                found += rows(one)
                print(f"{spec.name}: {', '.join(one.ours.selected)}", flush=True)
    tables = example_tables.tables(known, found)
    for name, text in tables.items():
        print(f"\n{name}\n{text}")
    if options.to:
        page = example_tables.filled(options.to.read_text(encoding="utf-8"), tables)
        options.to.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
