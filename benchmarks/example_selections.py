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
PRICE = "recall, price of an epoch"
#: what the tables by target show; the others are parts of the paper's tables
SHOWN = (
    BRUTE_FORCE,
    HALVING,
    OPEN_BRUTE_FORCE,
    OPEN_HALVING,
    TEN,
    FIVE,
    FIVE_HALVING,
    FIVE_BRUTE_FORCE,
    PRICE,
)


@dataclass(frozen=True)
class Target:
    """What is known of a target, whoever is selected."""

    name: str
    #: highest and mean worth of its models: their mean test score over the recorded seeds
    best: float
    mean: float
    #: one standard deviation of a fine-tuning of its modality, 0 where nobody knows
    noise: float


@dataclass(frozen=True)
class Row:
    """One selection: one way, one target, one seed."""

    target: str
    way: str
    seed: int
    candidates: int
    #: epochs of training, and of the probes as measured
    trained: float
    probing: float
    probes: int
    #: of training and probing, as recorded, on one worker
    seconds: float
    winner: str
    #: mean test score of the winner over its recorded seeds, and what it lacks to the best model
    worth: float
    regret: float

    @property
    def epochs(self) -> float:
        return self.trained + self.probing

    @property
    def charged(self) -> float:
        """Epochs with the paper's charge for a probe."""
        return self.trained + PAPER_EPOCHS_PER_PROBE * self.probes


@dataclass(frozen=True)
class Selections:
    """All rows, and their means: over the seeds of a target first, then over the targets."""

    targets: Sequence[Target]
    rows: Sequence[Row]

    def of(self, target: str, way: str) -> list[Row]:
        return [row for row in self.rows if row.target == target and row.way == way]

    def seeds(self, target: str, *ways: str) -> set[int]:
        """Seeds that all of the ways were replayed with."""
        return set.intersection(*({row.seed for row in self.of(target, way)} for way in ways))

    def means(self, way: str, value: Callable[[Row], float], beside: str = "") -> FloatArray:
        """(targets,) means over the seeds, or over those that another way has, too."""
        return np.array(
            [
                np.mean(
                    [
                        value(row)
                        for row in self.of(target.name, way)
                        if row.seed in self.seeds(target.name, way, beside or way)
                    ]
                )
                for target in self.targets
            ]
        )
