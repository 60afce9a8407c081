"""Which policy selects best? Averaged over random sub-zoos, so that no single model decides.

    python benchmarks/sub_zoos.py FOLDER [--metric NAME] [--models 10] [--draws 24] [--seed 0]

FOLDER is an export of `history export`. Every draw takes some of the models of a modality, and
back-tests the policies on them, one dataset held out at a time. Areas are those of the regret
frontiers, see docs/results/backtest.md. Differences are averaged over the draws before their
standard error over the datasets is taken.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mlflow_recall.adapters.figures import markdown_table
from mlflow_recall.adapters.terminal import Terminal
from mlflow_recall.cli.groups import HistoryOptions
from mlflow_recall.cli.tables import open_tables
from mlflow_recall.core.backtest.frontier import Frontier, paired
from mlflow_recall.core.backtest.holdout import hold_out_curves
from mlflow_recall.core.backtest.policy_frontiers import make_frontier
from mlflow_recall.core.backtest.strategies import policy_strategy, replay_strategy
from mlflow_recall.core.history.comparable import select_comparable
from mlflow_recall.core.history.curves import Curves
from mlflow_recall.core.history.records import Record
from mlflow_recall.core.policies import stopping_policies

#: policy that the others are compared with
COMPARED_POLICY = "cost_aware"
READINGS = ("plain", "nested")


def make_frontiers(records: Sequence[Record]) -> dict[str, Frontier]:
    """Return policy -> its frontier on the datasets of these records, each held out."""
    targets = list(hold_out_curves(Curves.from_records(records)))
    stages = targets[0].stages
    return {
        name: make_frontier(
            [replay_strategy(targets, policy_strategy(name, s)) for s in policy.settings], stages
        )
        for name, policy in stopping_policies().items()
    }


def table_rows(
    records: Sequence[Record], models: int, draws: int, seed: int
) -> list[dict[str, object]]:
    """Return one row a policy: its mean area, and the difference of the compared one to it.

    Args:
        records: Comparable records of one modality.
        models: Models of a sub-zoo.
        draws: Number of sub-zoos.
        seed: Seed of the draws.
    """
    names, rng = sorted({record.model for record in records}), np.random.default_rng(seed)
    sub_zoos = []
    for _ in range(draws):
        drawn = set(rng.choice(names, size=models, replace=False).tolist())
        sub_zoos.append(make_frontiers([r for r in records if r.model in drawn]))
    rows: list[dict[str, object]] = []
    for name in stopping_policies():
        row: dict[str, object] = {"policy": name}
        for reading in READINGS:
            areas, compared = (
                np.mean([getattr(frontiers[n], reading) for frontiers in sub_zoos], axis=0)
                for n in (name, COMPARED_POLICY)
            )
            row[reading] = f"{1e4 * areas.mean():.1f}"
            difference, error = paired(compared, areas)
            shown = f"{1e4 * difference:+.1f} ± {1e4 * error:.1f}"
            row[f"{COMPARED_POLICY} - it, {reading}"] = "" if name == COMPARED_POLICY else shown
        rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--metric", default="accuracy")
    parser.add_argument("--models", type=int, default=10, help="models of a sub-zoo")
    parser.add_argument("--draws", type=int, default=24, help="number of sub-zoos")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    source = HistoryOptions(history=str(options.folder), minimize=())
    records = open_tables(source, Terminal(), options.metric).records(options.metric)
    for modality in sorted({record.modality for record in records}):
        kept = select_comparable(records, modality).records
        rows = table_rows(kept, options.models, options.draws, options.seed)
        print(f"\n{modality or 'all'}, {options.draws} sub-zoos of {options.models}, in 0.0001:\n")
        print(markdown_table(rows))


if __name__ == "__main__":
    main()
