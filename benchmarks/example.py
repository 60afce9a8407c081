"""What a selection costs and finds on the example's targets, where brute force is on record.

    python benchmarks/example.py --datasets DIR [--to docs/results/example.md]

DIR holds the datasets as `python -m mlflow_recall_example.build datasets --to DIR` prepares them;
the targets that ship need none. The representatives are really probed on every target. Training is
read from the record, once with each recorded seed: with the history's recipe and that seed,
`select` trains what is on record. Weights that are not there yet are converted on the way.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import example_tables
import numpy as np
from example_selections import (
    BRUTE_FORCE,
    COST_AWARE,
    FIVE,
    FIVE_BRUTE_FORCE,
    FIVE_HALVING,
    HALVING,
    OPEN_BRUTE_FORCE,
    OPEN_HALVING,
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
from mlflow_recall.cli.example import EXAMPLE_NAMESPACE
from mlflow_recall.cli.groups import EngineOptions, StoreOptions
from mlflow_recall.cli.session import open_session
from mlflow_recall.config import RecallConfig, RecommendConfig
from mlflow_recall.core.backtest.replay import replay
from mlflow_recall.core.backtest.whole_selections import PAPER_TOP_K
from mlflow_recall.core.history.curves import Curves
from mlflow_recall.core.history.ground_truth import GroundTruth
from mlflow_recall.core.history.overview import noise_floor
from mlflow_recall.core.history.records import Record
from mlflow_recall.core.history.tasks import PRIMARY
from mlflow_recall.core.policies import POLICIES, PolicyHistory
from mlflow_recall.errors import HistoryError, RecallError
from mlflow_recall.workflows.recall import RecallResult, load_target, recall_models
from mlflow_recall.workflows.services import Services


@dataclass(frozen=True, kw_only=True)
class RecordedTarget:
    """One target: what is known before, which models are recalled, and what training them gave."""

    name: str
    history: PolicyHistory
    stages: int
    #: standard deviation of a repeated fine-tuning
    noise: float
    recalled: RecallResult
    #: recalled by the paper's Eq. 2-4
    paper: RecallResult
    #: final score of every model, its seeds averaged
    ground_truth: GroundTruth
    #: seed -> model -> its fine-tuning on the target
    runs: Mapping[int, Mapping[str, Record]]

    @property
    def target(self) -> Target:
        """What the tables show of it."""
        final_scores = list(self.ground_truth.final_scores.values())
        return Target(self.name, max(final_scores), float(np.mean(final_scores)), self.noise)

    def make_options(self, policy: str) -> Any:
        """Return the default options of a policy."""
        return POLICIES[policy].make_options(self.stages)


@dataclass(frozen=True)
class Strategy:
    """One strategy of selection."""

    name: str
    policy: str
    candidates: tuple[str, ...]
    #: whether representatives are probed on the target to choose the candidates
    is_recall: bool = True


def list_targets(folder: Path | None) -> list[DatasetSpec]:
    """Return the targets that ship, and those that are prepared in a folder."""
    files = [mlflow_recall_example.FOLDER / "targets" / "targets.yaml"]
    files += sorted(folder.glob("targets-*.yaml")) if folder else []
    listed = [target for file in files for target in read_benchmarks(str(file))]
    by_name = {target.name: target for target in reversed(listed)}  # a shipped one has precedence
    return sorted(by_name.values(), key=lambda target: (bool(target.image), target.name))


def load_recorded_target(spec: DatasetSpec, services: Services) -> RecordedTarget:
    """Recall twice for one target, and read what is on record of it."""
    config = RecallConfig(dataset=spec)
    dataset, context = load_target(config, services)
    if context.ground_truth is None:
        raise HistoryError(f"{dataset.name}: expected its brute force on record, got nothing")
    runs: dict[int, dict[str, Record]] = {}
    for record in services.history.records(PRIMARY):
        if record.dataset_digest == dataset.digest and record.is_complete:
            runs.setdefault(seed_of(record), {})[record.model] = record
    records = context.comparable.records
    curves = Curves.from_records(records)
    paper = replace(config, recommend=RecommendConfig(recommender="paper", top_k=PAPER_TOP_K))
    return RecordedTarget(
        name=dataset.name,
        history=PolicyHistory(curves),
        stages=curves.stages,
        noise=noise_floor(records).std_or_zero,
        recalled=recall_models(config, context, services),
        paper=recall_models(paper, context, services),
        ground_truth=context.ground_truth,
        runs=dict(sorted(runs.items())),
    )


def seed_of(record: Record) -> int:
    """Return the seed of a fine-tuning; 0 where its recipe is unknown."""
    return int(json.loads(record.recipe)["seed"]) if record.recipe else 0


def list_strategies(target: RecordedTarget) -> Iterator[Strategy]:
    """Yield every strategy of selection on one target."""
    selected, paper = target.recalled.selected, target.paper.selected
    whole_zoo = target.ground_truth.models
    trainable = tuple(m for m in whole_zoo if m in target.recalled.context.members)
    ranking = (
        *selected,
        *(m for m in target.recalled.recommendation.ranking.models if m not in selected),
    )
    yield Strategy(BRUTE_FORCE, "brute_force", whole_zoo, is_recall=False)
    yield Strategy(HALVING, "halving", whole_zoo, is_recall=False)
    yield Strategy(OPEN_BRUTE_FORCE, "brute_force", trainable, is_recall=False)
    yield Strategy(OPEN_HALVING, "halving", trainable, is_recall=False)
    yield Strategy(TEN_BRUTE_FORCE, "brute_force", paper)
    yield Strategy(TEN_HALVING, "halving", paper)
    yield Strategy(TEN, "fine_selection", paper)
    yield Strategy(FIVE_BRUTE_FORCE, "brute_force", selected)
    yield Strategy(FIVE_HALVING, "halving", selected)
    yield Strategy(FIVE, "fine_selection", selected)
    initial_candidates = POLICIES["cost_aware"].initial_candidates
    if initial_candidates is not None:
        options = target.make_options("cost_aware")
        yield Strategy(
            COST_AWARE, "cost_aware", initial_candidates(ranking, target.history, options)
        )


def replay_all(target: RecordedTarget) -> Iterator[Row]:
    """Yield every strategy, once with each seed that all of its candidates were trained with."""
    for strategy in list_strategies(target):
        for seed, runs in target.runs.items():
            if all(model in runs for model in strategy.candidates):
                own = {model: runs[model] for model in strategy.candidates}
                yield replay_one(target, strategy, seed, own)


def replay_one(
    target: RecordedTarget, strategy: Strategy, seed: int, runs: Mapping[str, Record]
) -> Row:
    """Replay one strategy on the validation curves of one seed."""
    scores = {model: record.validation_scores for model, record in runs.items()}
    decide, options = POLICIES[strategy.policy].decide, target.make_options(strategy.policy)
    outcome = replay(decide, scores, target.history, options)
    train_seconds = sum(
        sum(runs[model].seconds[:stage]) for model, stage in outcome.last_stage.items()
    )
    # the second recall read the probes of the first from the cache, so the first one's cost counts
    recalled = target.recalled if strategy.is_recall else None
    return Row(
        target=target.name,
        strategy=strategy.name,
        seed=seed,
        candidates=len(runs),
        training_epochs=outcome.epochs,
        probe_epochs=recalled.epochs if recalled else 0.0,
        probes=len(recalled.probes) if recalled else 0,
        seconds=train_seconds + (recalled.seconds if recalled else 0.0),
        winner=outcome.winner.rpartition("--")[2],
        final_score=target.ground_truth.score(outcome.winner),
        regret=target.ground_truth.regret(outcome.winner),
    )


def cache_without_probes(folder: Path) -> str:
    """Make a cache with the usual weights and datasets, and without any probe."""
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
    targets: list[Target] = []
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["MLFLOW_RECALL_CACHE"] = cache_without_probes(Path(scratch))
        store = StoreOptions(
            tracking_uri=f"sqlite:///{scratch}/mlflow.db", namespace=EXAMPLE_NAMESPACE
        )
        engine = EngineOptions(engine="local", workers=None, threads=None)
        # no single target, so the history of both modalities is imported
        with open_session(store, engine, dataset="") as session:
            for spec in list_targets(options.datasets):
                if options.only and spec.name not in options.only:
                    continue
                try:
                    target = load_recorded_target(spec, session.services)
                except RecallError as error:
                    print(f"{spec.name}: left out: {error}", flush=True)
                    continue
                targets.append(target.target)
                rows += replay_all(target)
                print(f"{spec.name}: {', '.join(target.recalled.selected)}", flush=True)
    tables = example_tables.make_tables(targets, rows)
    for name, text in tables.items():
        print(f"\n{name}\n{text}")
    if options.to:
        page = example_tables.fill_page(options.to.read_text(encoding="utf-8"), tables)
        options.to.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
