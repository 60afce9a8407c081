"""The budget of a selection."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Budget:
    """What training on the target may cost; infinite: no limit."""

    epochs: float = math.inf
    seconds: float = math.inf

    @property
    def is_limited(self) -> bool:
        """Whether epochs or seconds are limited."""
        return math.isfinite(self.epochs) or math.isfinite(self.seconds)

    def affordable_candidates(
        self,
        *,
        spent_epochs: int,
        spent_seconds: float,
        seconds_per_epoch: float,
        waiting: int,
        later_stages: int,
    ) -> int:
        """Return how many candidates may train one more stage.

        As many as leave enough for one of them to be trained to the end. Where that is not enough
        for any, one goes on as far as it gets; the first epoch of a selection is always trained.

        Args:
            spent_epochs: Epochs so far.
            spent_seconds: Seconds so far.
            seconds_per_epoch: Seconds of an epoch; NaN where they are unknown.
            waiting: Candidates that could go on.
            later_stages: Stages of each after the next one.
        """
        remaining = self.epochs - spent_epochs
        if not math.isnan(seconds_per_epoch) and seconds_per_epoch > 0:
            remaining = min(remaining, (self.seconds - spent_seconds) / seconds_per_epoch)
        elif spent_seconds >= self.seconds:
            remaining = 0
        if remaining < 1:
            return 0 if spent_epochs else 1
        if math.isinf(remaining):
            return waiting
        return min(waiting, max(1, math.floor(remaining) - later_stages))

    def __str__(self) -> str:
        """Return the limits for people."""
        limits = [f"{self.epochs:g} epochs"] if math.isfinite(self.epochs) else []
        if math.isfinite(self.seconds):
            limits.append(f"{self.seconds / 3600:g} hours")
        return " and ".join(limits) or "no limit"
