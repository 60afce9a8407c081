"""The price of an epoch: a candidate goes on while it may raise the best end by what it costs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from mlflow_recall.core.arrays import FloatArray
from mlflow_recall.core.policies.halving import halving
from mlflow_recall.core.policies.policy_history import PolicyHistory
from mlflow_recall.core.policies.score_samples import (
    FULL_SAMPLE,
    MIN_DATASETS,
    NEIGHBOR_FRACTION,
    ScoreSamples,
    sample_final_scores,
    sample_recorded_scores,
)
from mlflow_recall.core.policies.spec import Cohort, PolicyOptions, Verdict, current_stage
from mlflow_recall.errors import ConfigError

#: settings that the policy is judged by, from dear to cheap: the dearest trains one model
MIN_GAINS: tuple[float, ...] = (math.inf, 4e-3, 2.8e-3, 2e-3, 1.4e-3, 1e-3)
MIN_GAINS += (7e-4, 5e-4, 3.5e-4, 2.5e-4, 1.8e-4, 1.25e-4)
#: share of the epochs after the next one that a candidate is expected to be trained for
_SHARE = 0.3


def cost_aware(
    cohort: Cohort, past: PolicyHistory | None, settings: PolicyOptions
) -> dict[str, Verdict]:
    """Keep whoever raises the expected best end by more than its epochs are worth.

    The ends of all candidates are drawn jointly from recorded datasets on which they stood alike
    (``draws.foretold``). The candidate with the best expectation is kept; then, one at a time,
    whoever raises the expected best end most, while that is more than ``settings.price`` times the
    epochs that it is still expected to cost: the next one, and 0.3 of those after it, as it may be
    stopped later. Diverged candidates are stopped. Where nothing can be foretold, because there is
    no past or it has fewer than four datasets with these models, halving decides.

    Raises:
        SettingError: a negative price.
        Undecided: someone has not reported at all.
    """
    _check(settings)
    stage = current_stage(cohort)
    if stage >= settings.stages:
        return {model: Verdict(False, "trained to the last stage") for model in cohort}
    if past is None:
        return halving(cohort, past, settings)
    models = tuple(model for model in cohort if math.isfinite(cohort[model][stage - 1]))
    now = np.array([cohort[model][stage - 1] for model in models], dtype=np.float64)
    draws = sample_final_scores(past, models, now, stage) if models else None
    if draws is None:
        return _halved(cohort, past, settings)
    cost = _epochs(settings.stages - stage)
    chosen, raised = _greedy(
        draws, int(draws.expected.argmax()), settings.min_gain_per_epoch * cost
    )
    said = _verdicts(models, draws, chosen, raised, (settings.min_gain_per_epoch, cost))
    diverged = Verdict(True, "diverged: its score is no number", rival=models[chosen[0]])
    return {model: said.get(model, diverged) for model in cohort}


def initial_candidates(
    ranking: Sequence[str], past: PolicyHistory, settings: PolicyOptions
) -> tuple[str, ...]:
    """The candidates to start with, in the order of ``ranking``.

    The first of the ranking, and then in turn the next of the ranking and whoever raises the
    expected best of the recorded final scores most, while some candidate raises it by more than
    ``settings.price`` times the epochs that it is expected to cost. The turns are a hedge: the
    recorded scores know who complements whom, the ranking knows the target. Fewer than sixteen
    datasets tell no more than how many are worth it, so there it is the first of the ranking.

    Args:
        ranking: names, best first.
        past: recorded curves; where fewer than four datasets have these models, everyone starts,
            or the first alone at an infinite price.
        settings: price and stages.

    Raises:
        SettingError: a negative price.
    """
    _check(settings)
    names = tuple(ranking)
    if len(names) <= 1 or math.isinf(settings.min_gain_per_epoch):
        return names[:1]
    draws = sample_recorded_scores(past, names)
    if draws is None:
        return names
    chosen, _ = _greedy(draws, 0, settings.min_gain_per_epoch * _epochs(settings.stages), _in_turn)
    thin = draws.final_scores.shape[1] < FULL_SAMPLE
    return names[: len(chosen)] if thin else tuple(names[i] for i in sorted(chosen))


def data_warning(datasets: int) -> str:
    """What so few recorded datasets cannot tell this policy; empty where they are many.

    Args:
        datasets: with curves of the candidates, beside the target.
    """
    said = f"with the curves of only {datasets} dataset{'' if datasets == 1 else 's'}"
    if datasets < MIN_DATASETS:
        return f"{said} no end can be foretold, so halving decides in place of price"
    if datasets < FULL_SAMPLE:
        return (
            f"{said}, price asks them how many models to start with, and the ranking which ones; "
            "on such histories it was no better than halving"
        )
    if math.ceil(NEIGHBOR_FRACTION * datasets) < FULL_SAMPLE:
        return f"{said}, price foretells ends by the nearer two thirds of them"
    return ""


def _check(settings: PolicyOptions) -> None:
    if not settings.min_gain_per_epoch >= 0:
        raise ConfigError(
            f"price: expected at least 0 score points, got {settings.min_gain_per_epoch}"
        )


def _epochs(stages: int) -> float:
    """Epochs that a candidate is expected to cost with so many stages left."""
    return 1.0 + _SHARE * (stages - 1)


def _in_turn(raises: FloatArray, chosen: Sequence[int]) -> int:
    """The first that is left and who raises the best most, by turns."""
    left = np.setdiff1d(np.arange(len(raises)), chosen)
    return int(left[0] if len(chosen) % 2 else raises.argmax())


def _most(raises: FloatArray, _: Sequence[int]) -> int:
    return int(raises.argmax())


def _greedy(
    draws: ScoreSamples,
    start: int,
    bar: float,
    pick: Callable[[FloatArray, Sequence[int]], int] = _most,
) -> tuple[list[int], FloatArray]:
    """Who is chosen, in that order, and (n,) by how much each raises the best end.

    Of the chosen that is what it raised it by when it was chosen; of the others, what it would.
    """
    chosen, raised = [start], np.zeros(len(draws.final_scores))
    best = draws.clipped[start]
    while True:
        gain = draws.expected_improvement(best)
        gain[chosen] = -1.0
        raised = np.where(gain >= 0, gain, raised)
        if len(chosen) == len(gain) or gain.max() <= bar:
            return chosen, raised
        taken = pick(gain, chosen)
        chosen.append(taken)
        best = np.fmax(best, draws.clipped[taken])


def _verdicts(
    models: Sequence[str],
    draws: ScoreSamples,
    chosen: Sequence[int],
    raised: FloatArray,
    priced: tuple[float, float],
) -> dict[str, Verdict]:
    leader = chosen[0]
    bar = f"{priced[1]:.1f} epochs at {priced[0]:g}"
    ends = zip(draws.expected, draws.quantile(0.1), draws.quantile(0.9), strict=True)
    verdicts = {}
    for i, (end, low, high) in enumerate(ends):
        stop = i not in chosen
        reason = f"expected to end at {end:.3f} ({low:.3f} to {high:.3f})"
        if i == leader:
            reason += f", the best of {len(models)}"
        else:
            side = "not more" if stop else "more"
            reason += f"; raises the best end by {raised[i]:.4f}, {side} than {bar}"
            reason += f"; {models[leader]} is expected at {draws.expected[leader]:.3f}"
        if not draws.has_history[i]:
            reason += "; taken to converge like the others, it has too few records"
        rival = models[leader] if stop else None
        verdicts[models[i]] = Verdict(stop, reason, float(end), float(low), float(high), rival)
    return verdicts


def _halved(cohort: Cohort, past: PolicyHistory, settings: PolicyOptions) -> dict[str, Verdict]:
    """Halving's verdicts, saying why they are not the price's."""
    why = "too few recorded datasets to foretell ends by, so halving decides: "
    return {
        model: replace(verdict, reason=why + verdict.reason)
        for model, verdict in halving(cohort, past, settings).items()
    }
