"""The one greedy choice of a set: each next member raises the expected best the most."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from mlflow_recall.core.arrays import FloatArray


def choose_greedily(
    outcomes: FloatArray,
    expected_gain: Callable[[FloatArray], FloatArray],
    *,
    first: int,
    size: int | None = None,
    min_gain: float = -np.inf,
    pick: Callable[[FloatArray, Sequence[int]], int] | None = None,
) -> tuple[list[int], FloatArray]:
    """Add candidates one by one while one of them raises the expected best enough.

    The expected best of a set is submodular, so a set of a given size reaches at least 1 - 1/e of
    what the best set of that size raises over the first candidate (Nemhauser et al. 1978).

    Args:
        outcomes: (n, s) joint outcomes of n candidates in s samples; NaN where unknown.
        expected_gain: (s,) best outcome of the set so far -> (n,) by how much each candidate is
            expected to raise it.
        first: The candidate that the set starts with.
        size: Number of candidates to choose, at most n; None: as many as raise the best enough.
        min_gain: The set grows while the largest gain is above this.
        pick: (gains, chosen so far) -> the next candidate; by default the one with the largest
            gain. Gains of chosen candidates are -inf.

    Returns:
        The chosen candidates in order, and (n,) gains: of a chosen candidate what it raised the
        expected best by when it was chosen, 0 for the first; of the others what they would now.
    """
    chosen, gains = [first], np.zeros(len(outcomes))
    best = outcomes[first]
    final_size = len(outcomes) if size is None else min(size, len(outcomes))
    while True:
        gain = expected_gain(best)
        gain[chosen] = -np.inf
        gains = np.where(np.isfinite(gain), gain, gains)
        if len(chosen) >= final_size or gain.max() <= min_gain:
            return chosen, gains
        taken = int(gain.argmax()) if pick is None else pick(gain, chosen)
        chosen.append(taken)
        best = np.fmax(best, outcomes[taken])
