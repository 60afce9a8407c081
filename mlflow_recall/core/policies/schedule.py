"""How many models a policy trains in each stage, where nothing else is known."""

from __future__ import annotations


def halving_counts(models: int, stages: int) -> list[int]:
    """Return the models in each stage of successive halving, at least one of any.

    Example:
        >>> halving_counts(10, 5)
        [10, 5, 2, 1, 1]
    """
    return [max(1, models >> stage) if models else 0 for stage in range(stages)]


def full_counts(models: int, stages: int) -> list[int]:
    """Return the models in each stage where nobody is stopped."""
    return [models] * stages
