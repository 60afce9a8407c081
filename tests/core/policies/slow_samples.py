"""The samples of final scores and the choice among candidates, transcribed slowly.

Everything here is computed one candidate and one dataset at a time, from recorded scores by name
and from the definition in words. Nothing is taken from the code under test.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations
from statistics import NormalDist, median

from mlflow_recall.core.history.curves import Curves

NAN = math.nan
NORMAL = NormalDist()
#: (model, dataset) -> gap to the best that was expected there
Expected = Mapping[tuple[str, str], float]
#: (candidate's place, dataset)
Cell = tuple[int, str]


@dataclass(kw_only=True)
class SlowSamples:
    """Final scores of n candidates on s recorded datasets, by row and column."""

    final_scores: list[list[float]]  # NaN: no record there
    weights: list[list[float]]  # 0: no record there
    std: list[float]
    has_history: list[bool]
    clip: float = math.inf
    #: the share of unusual gaps that last, and of unusually large expected gaps that come true
    shares: tuple[float, float] = field(default=(NAN, NAN))

    @cached_property
    def size(self) -> int:
        return len(self.final_scores[0])

    def is_known(self, i: int, h: int) -> bool:
        return self.weights[i][h] > 0

    @cached_property
    def expected(self) -> list[float]:
        """Weighted mean of each; minus infinity where nothing is known."""
        return [
            math.fsum(w * x for w, x in zip(weights, scores, strict=True) if w > 0)
            if any(weights)
            else -math.inf
            for weights, scores in zip(self.weights, self.final_scores, strict=True)
        ]

    @cached_property
    def clipped(self) -> list[list[float]]:
        """The mean, plus what all deviate by on the dataset, plus the rest within the clip."""
        scores = [[NAN] * self.size for _ in self.weights]
        for h in range(self.size):
            present = [i for i in range(len(self.weights)) if self.is_known(i, h)]
            deviation = {i: self.final_scores[i][h] - self.expected[i] for i in present}
            for i in present:
                level = _mean(list(deviation.values()))
                own = min(max(deviation[i] - level, -self.clip), self.clip)
                scores[i][h] = self.expected[i] + level + own
        return scores

    def expected_improvement(self, i: int, chosen: Sequence[int]) -> float:
        """Mean of max(0, lead + std x normal) over the datasets where both sides are known."""
        total = mass = 0.0
        for h in range(self.size):
            rivals = [self.clipped[j][h] for j in chosen if self.is_known(j, h)]
            if self.is_known(i, h) and rivals:
                lead = self.clipped[i][h] - max(rivals)
                total += self.weights[i][h] * improvement(lead, self.std[i])
                mass += self.weights[i][h]
        return total / mass if mass else 0.0

    def quantile(self, i: int, share: float) -> float:
        """The lowest final score that at least ``share`` of the weight does not exceed."""
        known = [h for h in range(self.size) if self.is_known(i, h)]
        reached = 0.0
        for value, weight in sorted((self.final_scores[i][h], self.weights[i][h]) for h in known):
            reached += weight
            if reached >= share - 1e-9:
                return value
        return NAN


def improvement(lead: float, std: float) -> float:
    """Mean of max(0, lead + std x normal); max(0, lead) where nothing is uncertain."""
    if std <= 0:
        return max(0.0, lead)
    z = lead / std
    return max(0.0, lead * NORMAL.cdf(z) + std * NORMAL.pdf(z))  # rounding is no loss


def slow_recorded(curves: Curves, models: Sequence[str]) -> SlowSamples | None:
    """Recorded final scores, every dataset alike: those that have all models, if 16 or more do.

    Else the datasets of the first model that has four; None where no model has.
    """
    final = [[_final(curves, m, d) for d in curves.datasets] for m in models]
    every = range(len(curves.datasets))
    used = [h for h in every if all(not math.isnan(row[h]) for row in final)]
    if len(used) < 16:
        used = []
        for row in final:
            own = [h for h in every if not math.isnan(row[h])]
            if len(own) >= 4:
                used = own
                break
    if len(used) < 4:
        return None
    scores = [[row[h] for h in used] for row in final]
    counts = [sum(not math.isnan(value) for value in row) for row in scores]
    return SlowSamples(
        final_scores=scores,
        weights=[
            [0.0 if math.isnan(value) else 1.0 / count for value in row]
            for row, count in zip(scores, counts, strict=True)
        ],
        std=[0.0] * len(models),
        has_history=[count > 0 for count in counts],
    )


def slow_samples(
    curves: Curves,
    models: Sequence[str],
    now: Sequence[float],
    stage: int,
    expected_here: Mapping[str, float] | None = None,
    expected_there: Expected | None = None,
) -> SlowSamples | None:
    """Final scores that the recorded datasets suggest of ``models`` that stand at ``now``."""
    n = range(len(models))
    if stage > curves.scores.shape[2]:
        return None
    then = {(i, d): _score(curves, models[i], d, stage) for i in n for d in curves.datasets}
    final = {(i, d): _final(curves, models[i], d) for i in n for d in curves.datasets}
    cells = {cell for cell in then if not math.isnan(then[cell]) and not math.isnan(final[cell])}
    # a candidate with a single record has none
    counts = Counter(i for i, _ in cells)
    cells = {(i, d) for i, d in cells if counts[i] >= 2}
    recorded = [i for i in n if counts[i] >= 2]
    present = {d: [i for i in n if (i, d) in cells] for d in curves.datasets}
    used = [d for d in curves.datasets if recorded and present[d] == recorded]
    if len(used) < 16:
        used = [d for d in curves.datasets if len(present[d]) >= max(1, min(2, len(recorded)))]
    if len(used) < 4:
        return None
    cells = {(i, d) for i, d in cells if d in used}
    # one whose records are all on other datasets has none here
    recorded = [i for i in recorded if any((i, d) in cells for d in used)]

    level = {d: _mean([then[i, d] - now[i] for i in present[d]]) for d in used}
    gap = {(i, d): then[i, d] - now[i] - level[d] for i, d in cells}
    squared = {d: _mean([gap[i, d] ** 2 for i in present[d]]) + 0.5 * level[d] ** 2 for d in used}
    nearest = sorted(squared.values())
    reach = nearest[min(16, math.ceil(2 * len(used) / 3)) - 1]
    kernel = {}
    for d in used:
        near = max(0.0, 1.0 - squared[d] / (reach + 1e-18)) + 1e-9  # nobody weighs nothing
        kernel[d] = near * len(present[d]) / len(models)
    mass = {i: math.fsum(kernel[d] for d in used if (i, d) in cells) for i in n}
    weights = [[kernel[d] / mass[i] if (i, d) in cells else 0.0 for d in used] for i in n]

    surplus = _surplus(models, used, expected_here, expected_there)
    moved = {(i, d): final[i, d] - level[d] for i, d in cells}
    shares = _lasting(cells, gap, {cell: surplus[cell] for cell in cells}, moved)
    drawn = {
        cell: moved[cell] - shares[0] * gap[cell] + shares[1] * surplus[cell] for cell in cells
    }

    noise = _noise(curves, stage) * math.sqrt(1.0 - 1.0 / len(models))
    middle = {d: _mean([drawn[i, d] for i in present[d]]) for d in used}
    spread = {}
    for i in recorded:
        off = [drawn[i, d] - middle[d] if (i, d) in cells else 0.0 for d in used]
        mean = math.fsum(w * x for w, x in zip(weights[i], off, strict=True))
        variance = math.fsum(w * (x - mean) ** 2 for w, x in zip(weights[i], off, strict=True))
        spread[i] = math.sqrt(variance)
    shared = [math.fsum(weights[i][column] for i in n) for column in range(len(used))]
    samples = SlowSamples(
        final_scores=[],
        weights=[],
        std=[],
        has_history=[i in recorded for i in n],
        clip=median(spread.values()),
        shares=shares,
    )
    for i in n:
        if i in recorded:
            effective = 1.0 / math.fsum(w**2 for w in weights[i])
            error = 0.5 * spread[i] / math.sqrt(max(effective, 2.0))
            samples.final_scores.append([drawn.get((i, d), NAN) for d in used])
            samples.weights.append(weights[i])
            samples.std.append(math.hypot(error, shares[0] * noise))
        else:
            error = math.sqrt(_mean([value**2 for value in spread.values()]))
            rows = [middle[d] + now[i] - _mean([now[j] for j in present[d]]) for d in used]
            samples.final_scores.append(rows)
            samples.weights.append([value / math.fsum(shared) for value in shared])
            samples.std.append(math.hypot(error, noise))
    return samples


def slow_choice(
    samples: SlowSamples,
    bar: float,
    start: int | None = None,
    pick: Callable[[Mapping[int, float], list[int]], int] | None = None,
) -> tuple[list[int], dict[int, float]]:
    """Add whoever raises the expected best most, while someone raises it by more than ``bar``.

    Returns:
        Who is chosen, in order, and by how much each raised the best when chosen, or would.
    """
    n = range(len(samples.weights))
    chosen = [max(n, key=lambda i: (samples.expected[i], -i)) if start is None else start]
    raised = {chosen[0]: 0.0}
    while True:
        gains = {i: samples.expected_improvement(i, chosen) for i in n if i not in chosen}
        raised |= gains
        if not gains or max(gains.values()) <= bar:
            return chosen, raised
        chosen.append(pick(gains, chosen) if pick else max(gains, key=lambda i: gains[i]))


def in_turn(gains: Mapping[int, float], chosen: list[int]) -> int:
    """The ranking's next, then whoever raises the best most, and so on."""
    if len(chosen) % 2:
        return min(gains)
    return max(gains, key=lambda i: gains[i])


def _lasting(
    cells: set[Cell],
    gap: Mapping[Cell, float],
    surplus: Mapping[Cell, float],
    moved: Mapping[Cell, float],
) -> tuple[float, float]:
    """Least squares with two coefficients of at least 0, by trying every set of them.

    Explained is how a model ended beside its cohort, less its own mean of that; by its gap to the
    cohort and by its surplus of expected gap, less its own means of those.
    """
    order = sorted(cells)

    def less_mean(values: Mapping[Cell, float], axis: int) -> dict[Cell, float]:
        groups: dict[int | str, list[float]] = defaultdict(list)
        for cell in order:
            groups[cell[axis]].append(values[cell])
        means = {key: _mean(group) for key, group in groups.items()}
        return {cell: values[cell] - means[cell[axis]] for cell in order}

    def unusual(values: Mapping[Cell, float]) -> list[float]:
        return list(less_mean(values, 0).values())

    y = unusual(less_mean(moved, 1))
    x = [unusual(gap), [-value for value in unusual(surplus)]]
    varies = [any(column) for column in x]
    if not any(varies):
        return 1.0, 0.0
    best, min_models = [0.0, 0.0], math.fsum(value**2 for value in y)
    for count in (1, 2):
        for active in combinations([k for k in (0, 1) if varies[k]], count):
            solution = _solve([x[k] for k in active], y)
            if solution is None or min(solution) < 0:
                continue
            full = [0.0, 0.0]
            for k, value in zip(active, solution, strict=True):
                full[k] = value
            left = math.fsum(
                (value - full[0] * a - full[1] * b) ** 2 for value, a, b in zip(y, *x, strict=True)
            )
            if left < min_models:
                best, min_models = full, left
    if not varies[0]:
        best[0] = 1.0  # of gaps that never differed everything lasts
    return min(best[0], 1.0), min(best[1], 1.0)


def _solve(x: Sequence[Sequence[float]], y: Sequence[float]) -> list[float] | None:
    """Least squares on one or two columns by Cramer's rule; None where they are parallel."""

    def dot(a: Sequence[float], b: Sequence[float]) -> float:
        return math.fsum(p * q for p, q in zip(a, b, strict=True))

    if len(x) == 1:
        return [dot(x[0], y) / dot(x[0], x[0])]
    aa, ab, bb = dot(x[0], x[0]), dot(x[0], x[1]), dot(x[1], x[1])
    determinant = aa * bb - ab * ab
    if determinant <= 1e-12 * aa * bb:
        return None
    ay, by = dot(x[0], y), dot(x[1], y)
    return [(bb * ay - ab * by) / determinant, (aa * by - ab * ay) / determinant]


def _surplus(
    models: Sequence[str],
    datasets: Sequence[str],
    here: Mapping[str, float] | None,
    there: Expected | None,
) -> dict[Cell, float]:
    """How much larger a gap was expected there than here, beside the mean over the candidates."""
    shift = {(i, d): 0.0 for i in range(len(models)) for d in datasets}
    if here is None or there is None:
        return shift
    for d in datasets:
        more = {
            i: there[model, d] - here[model]
            for i, model in enumerate(models)
            if not math.isnan(there.get((model, d), NAN) - here.get(model, NAN))
        }
        for i, value in more.items():
            shift[i, d] = value - _mean(list(more.values()))
    return shift


def _noise(curves: Curves, stage: int) -> float:
    """Standard deviation of one score at the stage, pooled over the cells that have repeats."""
    if curves.variances is None:
        return 0.0
    known = [float(v) for v in curves.variances[:, :, stage - 1].ravel() if not math.isnan(v)]
    return math.sqrt(_mean(known)) if known else 0.0


def _score(curves: Curves, model: str, dataset: str, stage: int) -> float:
    if model not in curves.models:
        return NAN
    row, column = curves.models.index(model), curves.datasets.index(dataset)
    return float(curves.scores[row, column, stage - 1])


def _final(curves: Curves, model: str, dataset: str) -> float:
    if model not in curves.models:
        return NAN
    return float(curves.final_scores[curves.models.index(model), curves.datasets.index(dataset)])


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
