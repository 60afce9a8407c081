"""Which scores say nothing about the models at hand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from mlflow_recall.core.arrays import FloatArray, IntArray
from mlflow_recall.core.scores.table import SCORES, ForwardPass, Score, compute_all
from mlflow_recall.errors import ScoreInputError

#: chance that a score which knows nothing passes for one that does
_LEVEL = 0.05


@dataclass(frozen=True)
class ScoreDiagnostics:
    """What speaks for a score and what against it."""

    #: standard deviation of the score over the models
    spread: float
    #: standard error of the differences between models, from half-samples of the target
    noise: float
    #: model -> its mean score with permuted labels: what knowing nothing scores
    chance_scores: Mapping[str, float]
    #: why the score says nothing; empty if it says something
    reason: str


def uninformative(
    names: Iterable[str],
    passes: Mapping[str, ForwardPass],
    *,
    halves: int = 8,
    permutations: int = 10,
    max_samples: int = 1000,
    seed: int = 0,
    table: Mapping[str, Score] = SCORES,
) -> dict[str, str]:
    """The scores that say nothing about these models, each with the reason: see ``examine``."""
    examined = diagnose(
        names,
        passes,
        halves=halves,
        permutations=permutations,
        max_samples=max_samples,
        seed=seed,
        table=table,
    )
    return {name: found.reason for name, found in examined.items() if found.reason}


def diagnose(
    names: Iterable[str],
    passes: Mapping[str, ForwardPass],
    *,
    halves: int = 8,
    permutations: int = 10,
    max_samples: int = 1000,
    seed: int = 0,
    table: Mapping[str, Score] = SCORES,
) -> dict[str, ScoreDiagnostics]:
    """Hold each score against its own noise and against labels that mean nothing.

    A score says nothing if its spread over the models is below the noise of their differences:
    the standard deviation over stratified half-samples, which is the standard error on all
    samples (McCarthy 1969); halves are the same for all models, so what moves all alike is no
    noise. Nor does it if no model scores higher than permuted labels let it, beyond a one-sided
    prediction interval of 95 % for all models together.

    Permuted labels reuse all that does not depend on labels (decomposition, neighbors, ranks,
    mixtures). Half-samples take their Gram matrix out of the whole one where n < d: eight of them
    cost about one further decomposition; otherwise about eight, of at most half of
    ``max_samples`` rows each.

    Args:
        names: rows of the table.
        passes: model -> what it makes of the target; the same samples for all.
        halves: half-samples drawn.
        permutations: of the labels.
        max_samples: of more samples than these as many are examined, class by class alike; the
            noise is then brought to all.
        seed: draws halves and permutations.
        table: the scores known.

    Raises:
        ScoreInputError: a name is unknown, models saw different samples, or fewer than two
            halves or permutations are asked for.
    """
    if min(halves, permutations) < 2 or max_samples < 4:
        raise ScoreInputError(
            "expected 2 halves, 2 permutations and 4 max_samples or more, got "
            f"{halves}, {permutations} and {max_samples}"
        )
    names = tuple(dict.fromkeys(names))
    if not passes:
        return {name: ScoreDiagnostics(0.0, 0.0, {}, "no model was probed") for name in names}
    labels = _common_labels(passes)
    rng = np.random.default_rng(seed)
    models, n = tuple(passes), len(labels)
    whole = _scores(names, passes, table)
    if n > max_samples:
        part = _stratified(labels, max_samples, rng)
        passes = {model: seen.select_rows(part) for model, seen in passes.items()}
        labels = labels[part]
    size = len(labels) // 2
    resampled = np.stack(
        [
            _scores(names, {m: p.select_rows(half) for m, p in passes.items()}, table)
            for half in (_stratified(labels, size, rng) for _ in range(halves))
        ]
    )  # (halves, scores, models)
    shuffled = [rng.permutation(labels) for _ in range(permutations)]
    permuted = np.stack(
        [_scores(names, {m: p.with_labels(y) for m, p in passes.items()}, table) for y in shuffled]
    )  # (permutations, scores, models)
    seen = whole if len(labels) == n else _scores(names, passes, table)
    scale = np.sqrt(size / (len(labels) - size) * len(labels) / n)
    return {
        name: _judge(models, whole[i], seen[i], scale * resampled[:, i], permuted[:, i])
        for i, name in enumerate(names)
    }


def _judge(
    models: Sequence[str],
    values: FloatArray,
    seen: FloatArray,
    resampled: FloatArray,
    permuted: FloatArray,
) -> ScoreDiagnostics:
    """One score: its (m,) values, those of the examined samples, (h, m) and (p, m) resampled."""
    known = np.isfinite(values)
    if not known.any():
        return ScoreDiagnostics(0.0, 0.0, {}, "it is defined for no model")
    spread = float(values[known].std(ddof=1)) if known.sum() > 1 else 0.0
    noise = _noise(resampled[:, known])
    usable = known & np.isfinite(seen) & np.isfinite(permuted).all(axis=0)
    names = [model for model, use in zip(models, usable, strict=True) if use]
    means, deviations = permuted[:, usable].mean(axis=0), permuted[:, usable].std(axis=0, ddof=1)
    chance = dict(zip(names, means.tolist(), strict=True))
    count = len(permuted)
    bound = student.ppf(1.0 - _LEVEL / max(len(names), 1), count - 1) * np.sqrt(1 + 1 / count)
    reason = ""
    if known.sum() > 1 and spread <= 1e-9 * float(np.abs(values[known]).max()):
        reason = "it is the same for every model"
    elif known.sum() > 1 and spread < noise:
        reason = (
            f"its spread over {known.sum()} models, {spread:.3g}, is below its noise, {noise:.3g}"
        )
    elif names and not (seen[usable] > means + bound * deviations).any():
        reason = f"no better than with permuted labels for any of {len(names)} models"
    return ScoreDiagnostics(spread, noise, chance, reason)


def _noise(resampled: FloatArray) -> float:
    """Root mean square over models of the deviation from the models' mean, over halves."""
    whole = resampled[np.isfinite(resampled).all(axis=1)]
    halves, models = whole.shape
    if halves < 2 or models < 2:
        return 0.0
    apart = whole - whole.mean(axis=1, keepdims=True)
    return float(np.sqrt(apart.var(axis=0, ddof=1).sum() / (models - 1)))


def _scores(
    names: Sequence[str], passes: Mapping[str, ForwardPass], table: Mapping[str, Score]
) -> FloatArray:
    """(scores, models), NaN where a score is not defined."""
    columns = [compute_all(names, seen, table=table).values for seen in passes.values()]
    return np.array([[column.get(name, np.nan) for column in columns] for name in names])


def _common_labels(passes: Mapping[str, ForwardPass]) -> IntArray:
    first, *others = passes.items()
    labels = np.asarray(first[1].labels)
    for model, seen in others:
        if not np.array_equal(labels, np.asarray(seen.labels)):
            raise ScoreInputError(
                f"{first[0]} and {model} were probed on different samples: expected the same labels"
            )
    return np.unique(labels, return_inverse=True)[1].astype(np.intp)


def _stratified(labels: IntArray, size: int, rng: np.random.Generator) -> IntArray:
    """About ``size`` indices, in which each class has its share and at least one sample."""
    n, counts = len(labels), np.bincount(labels)
    order = np.lexsort((rng.random(n), labels))  # by class, within it by chance
    place = np.empty(n)
    place[order] = np.arange(n) - np.repeat(np.cumsum(counts) - counts, counts)
    due = (place + rng.random(n)) / counts[labels]  # the share of its class drawn before it
    due[place == 0] = -1.0
    size = min(max(size, len(counts) + 1), n)
    return np.sort(np.argsort(due, kind="stable")[:size])
