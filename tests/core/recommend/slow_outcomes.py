"""Joint outcomes on the target, as the portfolio defines them: their exact mean and covariance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

#: history and scores are right about the target, or one of them alone
SCENARIOS = ((0.7, 0.0), (0.5, 0.5), (0.0, 0.7))


@dataclass(frozen=True)
class Taught:
    """One recorded dataset: its own best weights, if its scores are known, and who was off by."""

    weights: tuple[float, float] | None
    errors: Sequence[float]  # by model; NaN where never measured


def chances(fits: Sequence[Taught], has_scores: bool) -> list[float]:
    """Probability of each scenario: one vote, and a share of one of every recorded dataset.

    A dataset votes for the scenario whose direction is nearest to that of its own weights.
    """
    if not has_scores:
        return [1.0, 0.0, 0.0]
    votes = [1.0, 1.0, 1.0]
    for dataset in fits:
        if dataset.weights is not None:
            angle = math.atan2(dataset.weights[1], dataset.weights[0])
            apart = [
                abs(math.remainder(angle - math.atan2(scores, history), 2 * math.pi))
                for history, scores in SCENARIOS
            ]
            votes[apart.index(min(apart))] += 1 / 3
    return [vote / sum(votes) for vote in votes]


def moments(
    columns: Sequence[Sequence[float]], fits: Sequence[Taught]
) -> tuple[list[float], list[list[float]]]:
    """Mean (m,) and covariance (m, m) of the outcomes.

    Variance comes from not knowing what is right, from the errors of one recorded dataset that all
    models share (half of theirs), and from each model's own luck (as much as the other half, on the
    mean over models and datasets).

    Args:
        columns: history and scores of each model, standardized.
        fits: recorded datasets, their errors in the order of ``columns``.
    """
    n = range(len(columns))
    chance = chances(fits, any(scores for _, scores in columns))
    value = [
        [history * h + scores * s for h, s in columns] for history, scores in SCENARIOS
    ]  # of each scenario
    mean = [math.fsum(p * v[i] for p, v in zip(chance, value, strict=True)) for i in n]
    errors = [[0.0 if math.isnan(e) else e for e in dataset.errors] for dataset in fits]
    squares = [e * e for row in errors for e in row]
    own = math.fsum(squares) / len(squares) if squares and any(squares) else 1.0
    middle = [math.fsum(row[i] for row in errors) / len(errors) if errors else 0.0 for i in n]
    covariance = []
    for i in n:
        row = []
        for j in n:
            by_scenario = math.fsum(
                p * (v[i] - mean[i]) * (v[j] - mean[j]) for p, v in zip(chance, value, strict=True)
            )
            shared = (
                math.fsum((e[i] - middle[i]) * (e[j] - middle[j]) for e in errors) / len(errors)
                if errors
                else 0.0
            )
            row.append(by_scenario + 0.5 * shared + (0.5 * own if i == j else 0.0))
        covariance.append(row)
    shift = math.sqrt(0.5)
    return [mean[i] + shift * middle[i] for i in n], covariance
