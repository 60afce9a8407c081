"""Which policy selects best? Averaged over random sub-zoos, so that one model's luck counts less.

    python benchmarks/sub_zoos.py FOLDER [--metric NAME] [--models 10] [--draws 24] [--seed 0]

FOLDER is an export of `history export`. Every draw takes some of the models of a modality, and
back-tests the policies on them, one dataset held out at a time. Areas are those of the frontiers,
see docs/backtest.md; differences are averaged over the draws before their standard error over the
datasets is taken.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mlflow_recall.adapters.figures import markdown_table
from mlflow_recall.cli.requests import folder_of
from mlflow_recall.core.backtest.frontier import Frontier, paired
from mlflow_recall.core.backtest.held_out_target import held_out_targets
from mlflow_recall.core.backtest.policy_frontiers import COMPARED, frontier, policy_settings
from mlflow_recall.core.backtest.strategies import policy_strategy, replay_strategy
from mlflow_recall.core.history.comparable import select_comparable
from mlflow_recall.core.history.curves import Curves
from mlflow_recall.core.history.records import Record

#: whom the others are compared with
JUDGED = "price"
READINGS = ("plain", "nested")


def frontiers(records: Sequence[Record]) -> dict[str, Frontier]:
    """Of every policy on the datasets of these records, each held out."""
    targets = list(held_out_targets(Curves.from_records(records)))
    stages = targets[0].stages
    return {
        name: frontier(
            [replay_strategy(targets, policy_strategy(name, s)) for s in policy_settings(name)],
            stages,
        )
        for name in COMPARED
    }


def rows(records: Sequence[Record], models: int, draws: int, seed: int) -> list[dict[str, object]]:
    """One a policy and reading: its mean area, and by how much the judged one is below it."""
    names, rng = sorted({record.model for record in records}), np.random.default_rng(seed)
    found = []
    for _ in range(draws):
        drawn = set(rng.choice(names, size=models, replace=False).tolist())
        found.append(frontiers([record for record in records if record.model in drawn]))
    told: list[dict[str, object]] = []
    for name in COMPARED:
        row: dict[str, object] = {"policy": name}
        for reading in READINGS:
            areas = {
                each: np.mean([getattr(one[each], reading) for one in found], axis=0)
                for each in (name, JUDGED)
            }
            row[reading] = f"{1e4 * areas[name].mean():.1f}"
            lead, error = paired(areas[JUDGED], areas[name])
            told_lead = f"{1e4 * lead:+.1f} ± {1e4 * error:.1f}" if name != JUDGED else ""
            row[f"{JUDGED} less it, {reading}"] = told_lead
        told.append(row)
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--metric", default="accuracy")
    parser.add_argument("--models", type=int, default=10, help="of a sub-zoo")
    parser.add_argument("--draws", type=int, default=24, help="sub-zoos")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    records = folder_of(str(options.folder)).records(options.metric)
    for modality in sorted({record.modality for record in records}):
        kept = select_comparable(records, modality).records
        table = rows(kept, options.models, options.draws, options.seed)
        print(f"\n{modality}, {options.draws} sub-zoos of {options.models}, in 0.0001:\n")
        print(markdown_table(table))


if __name__ == "__main__":
    main()
