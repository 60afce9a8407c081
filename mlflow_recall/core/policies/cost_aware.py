"""Cost-aware stopping: a candidate goes on while it may raise the best score by what it costs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mlflow_recall.core.arrays import FloatArray
from mlflow_recall.core.formatting import count_of
from mlflow_recall.core.policies.halving import FINISHED, halving
from mlflow_recall.core.policies.policy_history import PolicyHistory
from mlflow_recall.core.policies.score_samples import (
    FULL_SAMPLE,
    MIN_DATASETS,
    NEIGHBOR_FRACTION,
    ScoreSamples,
    sample_final_scores,
    sample_recorded_scores,
)
from mlflow_recall.core.policies.spec import (
    Cohort,
    PolicyOptions,
    PolicySetting,
    PolicySpec,
    Verdict,
    current_stage,
)
from mlflow_recall.core.recommend.greedy_set import choose_greedily
from mlflow_recall.errors import ConfigError

#: minimum gains that the policy is compared by, from expensive to cheap: the first trains one model
MIN_GAINS: tuple[float, ...] = (math.inf, 4e-3, 2.8e-3, 2e-3, 1.4e-3, 1e-3)
MIN_GAINS += (7e-4, 5e-4, 3.5e-4, 2.5e-4, 1.8e-4, 1.25e-4)
#: share of the epochs after the next one that a candidate is expected to be trained for
_CONTINUATION_SHARE = 0.3


@dataclass(frozen=True)
class CostAwareOptions(PolicyOptions):
    """Options of cost-aware stopping."""

    #: gain in the metric that one more epoch must be expected to bring, at least 0
    min_gain_per_epoch: float = 0.001

    def __post_init__(self) -> None:
        if not self.min_gain_per_epoch >= 0:
            raise ConfigError(
                f"min_gain_per_epoch: expected 0 or more, got {self.min_gain_per_epoch:g}"
            )


def cost_aware(
    cohort: Cohort, history: PolicyHistory | None, options: CostAwareOptions
) -> dict[str, Verdict]:
    """Keep whoever raises the expected best final score by more than its epochs are worth.

    The final scores of all candidates are sampled jointly from recorded datasets on which they had
    similar scores (``sample_final_scores``). The candidate with the best expectation is kept. Then,
    one at a time, whoever raises the expected best the most is kept, while that is more than
    ``min_gain_per_epoch`` times the epochs that it is still expected to cost: the next one, and 0.3
    of those after it, since it may be stopped later. Diverged candidates are stopped. Where nothing
    can be predicted, because the history has fewer than four datasets with these models, halving
    decides.

    Raises:
        StageIncomplete: A model has not reported at all.

    Example:
        >>> from mlflow_recall.core.history.curves import Curves
        >>> scores = np.array([[[0.5, 0.6]] * 4, [[0.6, 0.9]] * 4])
        >>> curves = Curves(
        ...     models=("a", "b"),
        ...     datasets=tuple("wxyz"),
        ...     scores=scores,
        ...     final_scores=scores[..., -1],
        ... )
        >>> options = CostAwareOptions(stages=2)
        >>> verdicts = cost_aware({"a": [0.5], "b": [0.6]}, PolicyHistory(curves), options)
        >>> [model for model, verdict in verdicts.items() if verdict.stop]
        ['a']
    """
    stage = current_stage(cohort)
    if stage >= options.stages:
        return {model: Verdict(stop=False, reason=FINISHED) for model in cohort}
    if history is None:
        return halving(cohort, history, options)
    models = tuple(model for model in cohort if math.isfinite(cohort[model][stage - 1]))
    scores = np.array([cohort[model][stage - 1] for model in models], dtype=np.float64)
    samples = sample_final_scores(history, models, scores, stage) if models else None
    if samples is None:
        return _halve(cohort, history, options)
    epochs = _expected_epochs(options.stages - stage)
    chosen, gains = choose_greedily(
        samples.clipped,
        samples.expected_improvement,
        first=int(samples.expected.argmax()),
        min_gain=options.min_gain_per_epoch * epochs,
    )
    price = f"{epochs:.1f} epochs at {options.min_gain_per_epoch:g}"
    verdicts = _verdicts(models, samples, chosen, gains, price)
    diverged = Verdict(
        stop=True, reason="diverged: its score is not a finite number", rival=models[chosen[0]]
    )
    return {model: verdicts.get(model, diverged) for model in cohort}


def initial_candidates(
    ranking: Sequence[str], history: PolicyHistory, options: CostAwareOptions
) -> tuple[str, ...]:
    """Return the candidates to start with, in the order of ``ranking``.

    The first of the ranking, and then in turn the next of the ranking and whoever raises the
    expected best of the recorded final scores the most, while some candidate raises it by more than
    ``min_gain_per_epoch`` times the epochs that it is expected to cost. Taking turns hedges: the
    recorded scores know which models complement each other, the ranking knows the target. Fewer
    than sixteen datasets only tell how many models are worth it, so there it is the first of the
    ranking.

    Args:
        ranking: Names, best first.
        history: Recorded curves; where fewer than four datasets have these models, everyone
            starts, or the first alone at an infinite minimum gain.
        options: Minimum gain and stages.
    """
    names = tuple(ranking)
    if len(names) <= 1 or math.isinf(options.min_gain_per_epoch):
        return names[:1]
    samples = sample_recorded_scores(history, names)
    if samples is None:
        return names
    chosen, _ = choose_greedily(
        samples.clipped,
        samples.expected_improvement,
        first=0,
        min_gain=options.min_gain_per_epoch * _expected_epochs(options.stages),
        pick=_take_turns,
    )
    if samples.final_scores.shape[1] < FULL_SAMPLE:
        return names[: len(chosen)]
    return tuple(names[i] for i in sorted(chosen))


def data_warning(datasets: int) -> str:
    """Say what so few recorded datasets cannot tell this policy; empty where there are many.

    Args:
        datasets: Recorded datasets with curves of the candidates, without the target.
    """
    few = f"with the curves of only {count_of(datasets, 'dataset')}"
    if datasets < MIN_DATASETS:
        return f"{few} no final score can be predicted, so halving decides instead of cost_aware"
    if datasets < FULL_SAMPLE:
        return (
            f"{few}, cost_aware takes from them how many models to start with, and from the "
            "ranking which ones; on such histories it was no better than halving"
        )
    if math.ceil(NEIGHBOR_FRACTION * datasets) < FULL_SAMPLE:
        return f"{few}, cost_aware predicts final scores from the nearer two thirds of them"
    return ""


def _expected_epochs(stages: int) -> float:
    """Return the epochs that a candidate is expected to cost with that many stages left."""
    return 1.0 + _CONTINUATION_SHARE * (stages - 1)


def _take_turns(gains: FloatArray, chosen: Sequence[int]) -> int:
    """Pick by turns the first that is left and the one with the largest gain."""
    remaining = np.setdiff1d(np.arange(len(gains)), chosen)
    return int(remaining[0] if len(chosen) % 2 else gains.argmax())


def _verdicts(
    models: Sequence[str],
    samples: ScoreSamples,
    chosen: Sequence[int],
    gains: FloatArray,
    price: str,
) -> dict[str, Verdict]:
    leader = chosen[0]
    low, high = samples.quantile(0.1), samples.quantile(0.9)
    verdicts = {}
    for i, model in enumerate(models):
        stop = i not in chosen
        predicted = float(samples.expected[i])
        reason = f"predicted final {predicted:.3f} ({low[i]:.3f} to {high[i]:.3f})"
        if i == leader:
            reason += f", the best of {len(models)}"
        else:
            comparison = "not more" if stop else "more"
            reason += (
                f"; raises the expected best by {gains[i]:.4f}, {comparison} than {price}; "
                f"{models[leader]}: predicted final {samples.expected[leader]:.3f}"
            )
        if not samples.has_history[i]:
            reason += "; assumed to converge like the others, since it has too few records"
        verdicts[model] = Verdict(
            stop=stop,
            reason=reason,
            predicted=predicted,
            low=float(low[i]),
            high=float(high[i]),
            rival=models[leader] if stop else None,
        )
    return verdicts


def _halve(cohort: Cohort, history: PolicyHistory, options: CostAwareOptions) -> dict[str, Verdict]:
    """Return halving's verdicts, and say why they are not those of this policy."""
    why = "too few recorded datasets to predict final scores, so halving decides: "
    return {
        model: replace(verdict, reason=why + verdict.reason)
        for model, verdict in halving(cohort, history, options).items()
    }


COST_AWARE = PolicySpec(
    decide=cost_aware,
    summary="stops whoever is not expected to bring what its epochs cost",
    options=CostAwareOptions,
    needs_history=True,
    initial_candidates=initial_candidates,
    data_warning=data_warning,
    settings=tuple(PolicySetting(None, {"min_gain_per_epoch": gain}) for gain in MIN_GAINS),
)
