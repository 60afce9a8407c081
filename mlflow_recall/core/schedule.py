"""How many epochs every stage of a fine-tuning is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mlflow_recall.core.arrays import FloatArray


def stage_lengths(stages: int, first_look: float = 1.0) -> FloatArray:
    """(t,) epochs of every stage.

    A stage is an epoch. Where the first look comes after a share of the first epoch, that share is
    the first stage, and what is left of the epoch the second.

    Args:
        stages: how many, the first look included.
        first_look: in (0, 1]; 1: there is none.
    """
    lengths = np.ones(stages)
    if first_look < 1.0:
        lengths[:2] = np.array([first_look, 1.0 - first_look])[:stages]
    return lengths


def whole_epochs(stages: int, first_look: float) -> int:
    """Epochs that have ended after so many stages; the inverse of ``Recipe.stages``."""
    return max(0, stages - (first_look < 1.0))


def first_look_of(steps: Sequence[float]) -> float:
    """Share of the first epoch that the first step is, where steps are epochs; else 1."""
    return float(steps[0]) if len(steps) > 1 and 0 < steps[0] < 1 == steps[1] else 1.0
