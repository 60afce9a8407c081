"""Gaps and their intervals, transcribed slowly from the definition in words.

Nothing is taken from the code under test: points and datasets are plain lists, an isotonic
regression is its max-min formula, and weights are fractions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

NAN = math.nan


@dataclass(frozen=True)
class Point:
    """What one model's place in the ranking of one recorded dataset was worth there."""

    dataset: int
    place: float
    gap: float
    weight: float  # every dataset weighs the same in all


@dataclass(frozen=True)
class SlowCurve:
    """Mean gap, and usual error, by place: increasing, and linear between the measured places."""

    places: list[float]
    means: list[float]
    errors: list[float]
    least_error: float

    def mean(self, place: float) -> float:
        return between(place, self.places, self.means)

    def error(self, place: float) -> float:
        return max(between(place, self.places, self.errors), self.least_error)


def points_of(places: list[list[float]], gaps: list[list[float]]) -> list[Point]:
    """Places and gaps by model and dataset; NaN where a model was not ranked or measured."""
    points = []
    for dataset in range(len(places[0])):
        known = [i for i, row in enumerate(places) if not math.isnan(row[dataset])]
        points += [
            Point(dataset, places[i][dataset], gaps[i][dataset], 1.0 / len(known)) for i in known
        ]
    return points


def slow_curve(points: list[Point]) -> SlowCurve:
    """The curve through these points."""
    levels = sorted({point.place for point in points})
    means = isotonic(points, [point.gap for point in points])
    fitted = dict(zip(levels, means, strict=True))
    errors = [abs(point.gap - fitted[point.place]) for point in points]
    total = math.fsum(point.weight for point in points)
    average = math.fsum(p.weight * e for p, e in zip(points, errors, strict=True)) / total
    return SlowCurve(levels, means, isotonic(points, errors), 0.1 * average + 1e-12)


def isotonic(points: list[Point], values: list[float]) -> list[float]:
    """Weighted isotonic regression by place: the largest least mean of the blocks around it."""
    levels = sorted({point.place for point in points})
    weight = [math.fsum(p.weight for p in points if p.place == level) for level in levels]
    mass = [
        math.fsum(p.weight * v for p, v in zip(points, values, strict=True) if p.place == level)
        for level in levels
    ]

    def mean(i: int, j: int) -> float:
        return math.fsum(mass[i : j + 1]) / math.fsum(weight[i : j + 1])

    n = range(len(levels))
    return [max(min(mean(i, j) for j in n if j >= k) for i in n if i <= k) for k in n]


def between(place: float, places: list[float], values: list[float]) -> float:
    """Linear between the places, constant beyond them."""
    if place <= places[0]:
        return values[0]
    for left, right, low, high in zip(places, places[1:], values, values[1:], strict=False):
        if place <= right:
            return low + (high - low) * (place - left) / (right - left)
    return values[-1]


@dataclass(frozen=True)
class SlowGaps:
    """By model of the held-out predictions, in their order."""

    mean: list[float]
    low: list[float]
    high: list[float]
    within: list[float]
    joint: list[list[float]]
    #: mean gap expected on each recorded dataset, from the others
    before: list[list[float]]


def slow_gaps(
    ranked: list[float],
    places: list[list[float]],
    gaps: list[list[float]],
    tolerance: float,
    coverage: Fraction,
) -> SlowGaps:
    """Gaps on the target by each model's place in its ranking (NaN: not ranked).

    A recorded dataset is judged by the curve through the points of all the others; where it is the
    only one, by its own.
    """
    models, datasets = range(len(places)), range(len(places[0]))
    points = points_of(places, gaps)
    curves = [
        slow_curve([p for p in points if p.dataset != d] if len(datasets) > 1 else points)
        for d in datasets
    ]
    before = [
        [NAN if math.isnan(places[i][d]) else curves[d].mean(places[i][d]) for d in datasets]
        for i in models
    ]
    errors = [
        (abs(p.gap - curves[p.dataset].mean(p.place)) / curves[p.dataset].error(p.place), p.dataset)
        for p in points
    ]
    quantile = _conformal(errors, len(datasets), coverage)
    whole = slow_curve(points)
    known = [gap for row in gaps for gap in row if not math.isnan(gap)]
    floor = 1e-3 * math.fsum(known) / len(known) + 1e-12
    mean, low, high, within, joint = [], [], [], [], []
    for i in models:
        expected = NAN if math.isnan(ranked[i]) else whole.mean(ranked[i])
        reach = NAN if math.isnan(ranked[i]) else quantile * whole.error(ranked[i])
        mean.append(expected)
        low.append(NAN if math.isnan(expected) else max(0.0, expected - reach))
        high.append(expected + reach if math.isfinite(reach) else NAN)
        row = []
        for d in datasets:
            change = (expected + floor) / (before[i][d] + floor)
            row.append(gaps[i][d] * min(max(change, 1 / 5), 5.0) if change == change else NAN)
        joint.append(row)
        outcomes = [value for value in row if not math.isnan(value)]
        hits = sum(value <= tolerance + 1e-9 for value in outcomes)
        within.append((hits + 0.5) / (len(outcomes) + 1) if outcomes else NAN)
    return SlowGaps(mean, low, high, within, joint, before)


def _conformal(errors: list[tuple[float, int]], datasets: int, coverage: Fraction) -> float:
    """The least error up to which enough weight lies, the target being one more dataset."""
    counts = [sum(d == dataset for _, d in errors) for dataset in range(datasets)]
    used = sum(count > 0 for count in counts)
    reached = Fraction(0)
    for error, dataset in sorted(errors):
        reached += Fraction(1, counts[dataset] * (used + 1))
        if reached >= coverage:
            return error
    return math.inf
