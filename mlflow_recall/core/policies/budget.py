"""A selection that may cost so much and no more."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Budget:
    """What training on the target may cost; infinite: whatever it takes."""

    epochs: float = math.inf
    seconds: float = math.inf

    @property
    def is_limited(self) -> bool:
        """Whether anything is too much."""
        return math.isfinite(self.epochs) or math.isfinite(self.seconds)

    def affordable_candidates(
        self, *, epochs: int, seconds: float, per_epoch: float, waiting: int, ahead: int
    ) -> int:
        """How many candidates may train one more stage.

        As many as leave enough for one of them to be trained to the end. Where not even one can be,
        one goes on as far as it gets; the first epoch of a selection is always trained.

        Args:
            epochs: spent so far.
            seconds: spent so far.
            per_epoch: seconds an epoch takes; NaN where nobody knows yet.
            waiting: candidates that want to go on.
            ahead: stages that are left to each after the next one.
        """
        left = self.epochs - epochs
        if not math.isnan(per_epoch) and per_epoch > 0:
            left = min(left, (self.seconds - seconds) / per_epoch)
        elif seconds >= self.seconds:
            left = 0
        if left < 1:
            return 0 if epochs else 1
        return waiting if math.isinf(left) else min(waiting, max(1, math.floor(left) - ahead))

    def __str__(self) -> str:
        """For people."""
        told = [f"{self.epochs:g} epochs"] if math.isfinite(self.epochs) else []
        if math.isfinite(self.seconds):
            told.append(f"{self.seconds / 3600:g} hours")
        return " and ".join(told) or "no limit"
