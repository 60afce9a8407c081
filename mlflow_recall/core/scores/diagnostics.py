"""Scores that tell nothing about the models at hand, and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from mlflow_recall.core.arrays import AnyArray, FloatArray, IntArray
from mlflow_recall.core.history.tasks import CLASSIFICATION, MULTILABEL
from mlflow_recall.core.scores.table import SCORES, ForwardPass, Score, compute_all
from mlflow_recall.errors import ScoreInputError

#: probability that a score without any information passes the test with permuted labels
_LEVEL = 0.05
#: maximum number of strata of the numbers of a regression, and minimum of samples in each
_BINS, _MIN_BIN = 10, 4


@dataclass(frozen=True)
class ScoreDiagnostics:
    """Spread, noise and chance level of one score over the models."""

    #: standard deviation of the score over the models
    spread: float
    #: standard error of the differences between models, from half-samples of the target
    noise: float
    #: model -> its mean score with permuted labels
    chance_scores: Mapping[str, float]
    #: why the score tells nothing; empty if it is informative
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
    """Return the scores that tell nothing about these models, each with the reason.

    The arguments are those of ``diagnose``.
    """
    diagnostics = diagnose(
        names,
        passes,
        halves=halves,
        permutations=permutations,
        max_samples=max_samples,
        seed=seed,
        table=table,
    )
    return {name: result.reason for name, result in diagnostics.items() if result.reason}


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
    """Compare each score with its own noise, and with its values for permuted labels.

    A score tells nothing if its spread over the models is below the noise of their differences,
    which is the standard deviation over stratified half-samples; that is the standard error on all
    samples (McCarthy 1969). Half-samples are the same for all models, so what changes all scores
    alike is no noise. Nor does a score tell anything if no model scores higher than it does with
    permuted labels, beyond a one-sided prediction interval of 95 % for all models together.

    A stratum is a class; the rarest thing that a sample of a multi-label dataset has, which is a
    label or the lack of one; or the range between two deciles of the numbers of a regression.

    Permuted labels reuse all that does not depend on labels (decomposition, neighbors, ranks,
    mixtures). Half-samples use a part of the whole Gram matrix where n < d, so that eight of them
    cost about as much as one more decomposition; otherwise they cost about eight, of at most half
    of ``max_samples`` rows each.

    Args:
        names: Names of rows of the table.
        passes: Model -> its forward pass; all models have the same samples.
        halves: Number of half-samples.
        permutations: Number of permutations of the labels.
        max_samples: Maximum number of samples that are examined, with the same share of every
            stratum; the noise is scaled to the number of all samples.
        seed: Seed of the half-samples and permutations.
        table: Known scores.

    Raises:
        ScoreInputError: A name is unknown, the models have different samples or tasks, or fewer
            than two halves or permutations are requested.
    """
    if min(halves, permutations) < 2 or max_samples < 4:
        raise ScoreInputError(
            "expected 2 halves, 2 permutations and 4 max_samples or more, got "
            f"{halves}, {permutations} and {max_samples}"
        )
    names = tuple(dict.fromkeys(names))
    if not passes:
        return dict.fromkeys(names, _undefined("no model was probed"))
    labels, task = _common_labels(passes)
    rng = np.random.default_rng(seed)
    models, n = tuple(passes), len(labels)
    whole = _scores(names, passes, table)
    if not np.isfinite(whole).any():
        return dict.fromkeys(names, _undefined("it is defined for no model"))
    strata = _strata(labels, task)
    if n > max_samples:
        part = _stratified(strata, max_samples, rng)
        passes = {model: forward.select_rows(part) for model, forward in passes.items()}
        labels, strata = labels[part], strata[part]
    size = len(labels) // 2
    resampled = np.stack(
        [
            _scores(names, {m: p.select_rows(half) for m, p in passes.items()}, table)
            for half in (_stratified(strata, size, rng) for _ in range(halves))
        ]
    )  # (halves, scores, models)
    shuffled = [rng.permutation(labels) for _ in range(permutations)]
    permuted = np.stack(
        [_scores(names, {m: p.with_labels(y) for m, p in passes.items()}, table) for y in shuffled]
    )  # (permutations, scores, models)
    examined = whole if len(labels) == n else _scores(names, passes, table)
    scale = np.sqrt(size / (len(labels) - size) * len(labels) / n)
    return {
        name: _judge(models, whole[i], examined[i], scale * resampled[:, i], permuted[:, i])
        for i, name in enumerate(names)
    }


def _undefined(reason: str) -> ScoreDiagnostics:
    return ScoreDiagnostics(spread=0.0, noise=0.0, chance_scores={}, reason=reason)


def _judge(
    models: Sequence[str],
    values: FloatArray,
    examined: FloatArray,
    resampled: FloatArray,
    permuted: FloatArray,
) -> ScoreDiagnostics:
    """Judge one score.

    Args:
        models: m names.
        values: (m,) values on all samples.
        examined: (m,) values on the examined samples.
        resampled: (h, m) values on half-samples.
        permuted: (p, m) values with permuted labels.
    """
    known = np.isfinite(values)
    if not known.any():
        return _undefined("it is defined for no model")
    spread = float(values[known].std(ddof=1)) if known.sum() > 1 else 0.0
    noise = _noise(resampled[:, known])
    comparable = known & np.isfinite(examined) & np.isfinite(permuted).all(axis=0)
    names = [model for model, use in zip(models, comparable, strict=True) if use]
    means, deviations = (
        permuted[:, comparable].mean(axis=0),
        permuted[:, comparable].std(axis=0, ddof=1),
    )
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
    elif names and not (examined[comparable] > means + bound * deviations).any():
        reason = f"no better than with permuted labels for any of {len(names)} models"
    return ScoreDiagnostics(spread, noise, chance, reason)


def _noise(resampled: FloatArray) -> float:
    """Return the standard deviation over halves of a model's distance to the mean of all models.

    Args:
        resampled: (h, m) scores; half-samples with a score that is not finite are left out.
    """
    complete = resampled[np.isfinite(resampled).all(axis=1)]
    halves, models = complete.shape
    if halves < 2 or models < 2:
        return 0.0
    centered = complete - complete.mean(axis=1, keepdims=True)
    return float(np.sqrt(centered.var(axis=0, ddof=1).sum() / (models - 1)))


def _scores(
    names: Sequence[str], passes: Mapping[str, ForwardPass], table: Mapping[str, Score]
) -> FloatArray:
    """Return (scores, models) values; NaN where a score is not defined."""
    columns = [compute_all(names, forward, table=table).values for forward in passes.values()]
    return np.array([[column.get(name, np.nan) for column in columns] for name in names])


def _common_labels(passes: Mapping[str, ForwardPass]) -> tuple[AnyArray, str]:
    """Return the labels of all models, classes as 0 .. c-1, and their task."""
    first, *others = passes.items()
    labels, task = np.asarray(first[1].labels), first[1].task
    for model, forward in others:
        if forward.task != task or not np.array_equal(labels, np.asarray(forward.labels)):
            raise ScoreInputError(
                f"{first[0]} and {model} were probed on different samples: expected the same labels"
            )
    if task == CLASSIFICATION:
        labels = np.unique(labels, return_inverse=True)[1].astype(np.intp)
    return labels, task


def _strata(labels: AnyArray, task: str) -> IntArray:
    """Return the (n,) strata 0 .. s-1 that a part of the samples has in the same shares.

    Args:
        labels: Labels of ``ForwardPass``, classes as 0 .. c-1.
        task: Their task.
    """
    if task == CLASSIFICATION:
        return labels
    n = len(labels)
    if task == MULTILABEL:
        has = np.hstack([labels != 0, labels == 0])  # (n, 2 c) labels, and their lack
        strata = np.where(has, has.sum(axis=0), n + 1).argmin(axis=1)
    else:
        rank = np.searchsorted(np.sort(labels), labels)  # equal numbers share the lowest
        strata = rank * min(_BINS, max(1, n // _MIN_BIN)) // n
    return np.unique(strata, return_inverse=True)[1].astype(np.intp)


def _stratified(strata: IntArray, size: int, rng: np.random.Generator) -> IntArray:
    """Draw about ``size`` indices, with the share of each stratum and at least one sample of it."""
    n, counts = len(strata), np.bincount(strata)
    order = np.lexsort((rng.random(n), strata))  # by stratum, in random order within it
    position = np.empty(n)  # of a sample in its stratum
    position[order] = np.arange(n) - np.repeat(np.cumsum(counts) - counts, counts)
    # share of its stratum that is drawn before a sample
    priority = (position + rng.random(n)) / counts[strata]
    priority[position == 0] = -1.0
    size = min(max(size, len(counts) + 1), n)
    return np.sort(np.argsort(priority, kind="stable")[:size])
