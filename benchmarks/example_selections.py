"""Selections on the example's targets that `example.py` replayed, and their means."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from mlflow_recall.core.arrays import FloatArray
from mlflow_recall.core.recommend.probe_cost import PAPER_EPOCHS_PER_PROBE

BRUTE_FORCE = "brute force, whole zoo"
HALVING = "halving, whole zoo"
OPEN_BRUTE_FORCE = "brute force, all with weights"
OPEN_HALVING = "halving, all with weights"
TEN = "eq. 2-4, ten, fine-selection"
TEN_HALVING = "eq. 2-4, ten, halving"
TEN_BRUTE_FORCE = "eq. 2-4, ten, brute force"
FIVE = "recall, five, fine-selection"
FIVE_HALVING = "recall, five, halving"
FIVE_BRUTE_FORCE = "recall, five, brute force"
COST_AWARE = "recall, cost-aware"
#: strategies of the tables by target; the others are parts of the paper's tables
SHOWN = (
    BRUTE_FORCE,
    HALVING,
    OPEN_BRUTE_FORCE,
    OPEN_HALVING,
    TEN,
    FIVE,
    FIVE_HALVING,
    FIVE_BRUTE_FORCE,
    COST_AWARE,
)


@dataclass(frozen=True)
class Target:
    """What is known of a target, whichever model is selected."""

    name: str
    #: highest and mean final score of its models: their mean test score over the recorded seeds
    best: float
    mean: float
    #: one standard deviation of a repeated fine-tuning of its modality; 0: unknown
    noise: float


@dataclass(frozen=True, kw_only=True)
class Row:
    """One selection: one strategy, one target, one seed."""

    target: str
    strategy: str
    seed: int
    candidates: int
    #: epochs of training
    training_epochs: float
    #: epochs that the probes were worth, as measured
    probe_epochs: float
    probes: int
    #: of training and probing, as recorded, on one worker
    seconds: float
    winner: str
    #: mean test score of the winner over its recorded seeds
    final_score: float
    #: that of the best model minus that of the winner
    regret: float

    @property
    def epochs(self) -> float:
        """Epochs of training and probes."""
        return self.training_epochs + self.probe_epochs

    @property
    def paper_epochs(self) -> float:
        """Epochs with the paper's charge for a probe."""
        return self.training_epochs + PAPER_EPOCHS_PER_PROBE * self.probes


@dataclass(frozen=True)
class Selections:
    """All rows, and their means: over the seeds of a target first, then over the targets."""

    targets: Sequence[Target]
    rows: Sequence[Row]

    def rows_of(self, target: str, strategy: str) -> list[Row]:
        """Return the rows of one strategy on one target."""
        return [row for row in self.rows if (row.target, row.strategy) == (target, strategy)]

    def common_seeds(self, target: str, *strategies: str) -> set[int]:
        """Return the seeds that all of the strategies were replayed with."""
        return set.intersection(
            *({row.seed for row in self.rows_of(target, strategy)} for strategy in strategies)
        )

    def means(
        self, strategy: str, value: Callable[[Row], float], other: str | None = None
    ) -> FloatArray:
        """Return (targets,) means over the seeds, or over those that ``other`` has, too."""
        means = []
        for target in self.targets:
            seeds = self.common_seeds(target.name, strategy, other or strategy)
            rows = [row for row in self.rows_of(target.name, strategy) if row.seed in seeds]
            means.append(np.mean([value(row) for row in rows]))
        return np.array(means)
