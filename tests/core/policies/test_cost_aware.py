"""Facts of cost-aware stopping: what it predicts, whom it keeps, and when halving decides."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from slow_samples import in_turn, slow_choice, slow_recorded, slow_samples

from mlflow_recall.adapters.tables.folder_history import FolderHistory
from mlflow_recall.core.arrays import FloatArray
from mlflow_recall.core.backtest.frontier import MAX_SETTINGS, Frontier, paired
from mlflow_recall.core.backtest.replay import replay
from mlflow_recall.core.history.curves import Curves
from mlflow_recall.core.history.resample import resample_curves
from mlflow_recall.core.policies import POLICIES, Decide, PolicyHistory
from mlflow_recall.core.policies.cost_aware import (
    MIN_GAINS,
    CostAwareOptions,
    cost_aware,
    initial_candidates,
)
from mlflow_recall.core.policies.halving import halving
from mlflow_recall.core.policies.score_samples import (
    ScoreSamples,
    sample_final_scores,
    sample_recorded_scores,
)
from mlflow_recall.core.recommend import PredictedGaps
from mlflow_recall.errors import ConfigError, StageIncomplete

_RECORDS = os.environ.get("RECALL_RECORDS", Path(__file__).parents[4] / "shared" / "data")
LCDB = Path(_RECORDS) / "lcdb11"
NAN = math.nan
STAGES = 4
Scores = dict[str, list[float]]


def history_of(scores: FloatArray, final_scores: FloatArray) -> PolicyHistory:
    """Curves of m0, m1, ... on d0, d1, ..."""
    m, d, _ = scores.shape
    curves = Curves(
        models=tuple(f"m{i}" for i in range(m)),
        datasets=tuple(f"d{i}" for i in range(d)),
        scores=scores,
        final_scores=final_scores,
    )
    return PolicyHistory(curves)


def random_history(rng: np.random.Generator, models: int = 6, datasets: int = 30) -> PolicyHistory:
    """Curves that rise towards final scores of their own; every tenth cell is missing."""
    final_scores = rng.random((models, datasets))
    shares = np.sort(rng.random((models, datasets, STAGES)), axis=2)
    missing = rng.random((models, datasets)) < 0.1
    scores = np.where(missing[:, :, None], NAN, final_scores[:, :, None] * shares)
    return history_of(scores, np.where(missing, NAN, final_scores))


def rising(*rows: list[float], by: float = 0.2) -> PolicyHistory:
    """Final scores, one model a row; every curve is ``by`` below its final score at every stage."""
    final_scores = np.array(rows)
    return history_of(np.repeat(final_scores[:, :, None] - by, STAGES, axis=2), final_scores)


def kept(cohort: Scores, known: PolicyHistory | None, options: CostAwareOptions) -> list[str]:
    return [model for model, v in cost_aware(cohort, known, options).items() if not v.stop]


def test_it_is_the_greedy_choice_on_hundreds_of_cohorts() -> None:
    """One more epoch and 0.3 of every later one is what going on is expected to cost.

    The choice is made anew from the recorded scores, with nothing taken from the policy.
    """
    rng = np.random.default_rng(0)
    sizes = set()
    for _ in range(200):
        known = random_history(rng, datasets=int(rng.integers(6, 40)))
        models = [f"m{i}" for i in rng.permutation(7)[: rng.integers(1, 8)]]  # m6 has no record
        stage = int(rng.integers(1, STAGES))
        cohort = {model: rng.random(stage).tolist() for model in models}
        options = CostAwareOptions(STAGES, min_gain_per_epoch=float(rng.choice([0.0, 0.003, 0.03])))
        samples = slow_samples(known.curves, models, [cohort[m][-1] for m in models], stage)
        if samples is None:
            continue
        min_gain = options.min_gain_per_epoch * (1 + 0.3 * (STAGES - stage - 1))

        got = cost_aware(cohort, known, options)

        chosen, raised = slow_choice(samples, min_gain)
        leader = models[chosen[0]]
        assert list(got) == models
        for i, model in enumerate(models):
            verdict = got[model]
            assert verdict.stop == (i not in chosen)
            assert verdict.rival == (leader if verdict.stop else None)
            assert verdict.predicted == pytest.approx(samples.expected[i])
            assert verdict.low == pytest.approx(samples.quantile(i, 0.1))
            assert verdict.high == pytest.approx(samples.quantile(i, 0.9))
            assert ("too few records" in verdict.reason) == (not samples.has_history[i])
            if model != leader:
                assert f"raises the expected best by {raised[i]:.4f}" in verdict.reason
        sizes.add(len(chosen))
    assert len(sizes) > 4, "minimum gains must matter"


def test_initial_candidates_are_the_greedy_choice_on_hundreds_of_histories() -> None:
    """The turns of ranking and history, made anew from the recorded final scores.

    Whoever is chosen starts in the order of the ranking, not in that of the choice.
    """
    rng = np.random.default_rng(20)
    turned = 0
    for _ in range(200):
        known = random_history(rng, datasets=int(rng.integers(3, 45)))
        ranking = [f"m{i}" for i in rng.permutation(7)]  # m6 has no record
        options = CostAwareOptions(STAGES, min_gain_per_epoch=float(rng.choice([0.0, 0.01, 0.03])))
        samples = slow_recorded(known.curves, ranking)

        got = initial_candidates(ranking, known, options)

        if samples is None:
            assert got == tuple(ranking)
            continue
        chosen, _ = slow_choice(samples, options.min_gain_per_epoch * 1.9, 0, in_turn)
        if samples.size < 16:
            assert got == tuple(ranking[: len(chosen)])
        else:
            assert got == tuple(ranking[i] for i in sorted(chosen))
            turned += chosen != sorted(chosen)
    assert turned > 10, "the order must matter"


def test_gaps_that_last_are_kept_and_levels_move_along() -> None:
    """Everyone gains 0.2 everywhere, so a final score is the present one plus 0.2 at any level."""
    rng = np.random.default_rng(1)
    known = rising(*rng.random((3, 20)).tolist())
    now = np.array([0.9, 0.5, 1.4])

    samples = sample_final_scores(known, ("m0", "m1", "m2"), now, 2)

    assert samples is not None
    assert samples.final_scores == pytest.approx(np.repeat(now[:, None] + 0.2, 20, axis=1))
    assert samples.expected == pytest.approx(now + 0.2)


def test_gaps_that_never_lasted_are_forgotten() -> None:
    """Present gaps are coin tosses, final scores are the model's own: 0.7 and 0.5."""
    rng = np.random.default_rng(2)
    recorded = 0.3 + 0.01 * rng.choice([-1.0, 1.0], (2, 4000))
    final_scores = np.repeat([[0.7], [0.5]], 4000, axis=1)
    known = history_of(np.repeat(recorded[:, :, None], STAGES, axis=2), final_scores)

    samples = sample_final_scores(known, ("m0", "m1"), np.array([0.29, 0.31]), 1)

    assert samples is not None
    assert samples.expected == pytest.approx([0.7, 0.5], abs=2e-3)


def test_the_datasets_that_look_alike_decide() -> None:
    """On 20 datasets the worse of the two overtakes, on 20 others it does not."""
    alike = np.array([[0.5], [0.4]]) + np.linspace(0, 0.01, 20)
    other = np.array([[0.9], [0.1]]) + np.linspace(0, 0.01, 20)
    scores = np.repeat(np.hstack([alike, other])[:, :, None], STAGES, axis=2)
    final_scores = np.hstack([alike + np.array([[0.0], [0.3]]), other])
    known = history_of(scores, final_scores)

    assert kept({"m0": [0.5], "m1": [0.4]}, known, CostAwareOptions(STAGES)) == ["m1"]
    assert kept({"m0": [0.9], "m1": [0.1]}, known, CostAwareOptions(STAGES)) == ["m0"]


def test_a_higher_minimum_gain_keeps_fewer() -> None:
    """The greedy order does not depend on the minimum gain, so the kept are nested."""
    rng = np.random.default_rng(3)
    for _ in range(50):
        known = random_history(rng)
        cohort = {f"m{i}": [float(rng.random())] for i in range(6)}
        sets = [
            set(kept(cohort, known, CostAwareOptions(STAGES, min_gain_per_epoch=gain)))
            for gain in (*MIN_GAINS, 0.0)
        ]

        assert all(few <= many for few, many in pairwise(sets))
        assert len(sets[0]) == 1


def test_the_order_of_the_cohort_and_a_shift_of_all_scores_change_nothing() -> None:
    rng = np.random.default_rng(4)
    for _ in range(30):
        known = random_history(rng)
        cohort = {f"m{i}": rng.random(2).tolist() for i in range(6)}
        options = CostAwareOptions(STAGES, min_gain_per_epoch=0.01)
        reordered = {model: cohort[model] for model in reversed(cohort)}
        shifted = replace(
            known,
            curves=replace(
                known.curves,
                scores=known.curves.scores + 1,
                final_scores=known.curves.final_scores + 1,
            ),
        )
        higher = {model: [score + 1 for score in scores] for model, scores in cohort.items()}

        expected = kept(cohort, known, options)

        assert sorted(kept(reordered, known, options)) == expected
        assert kept(higher, shifted, options) == expected


def test_without_a_history_or_with_too_little_it_is_halving() -> None:
    rng = np.random.default_rng(6)
    short = random_history(rng, datasets=3)
    unrelated = random_history(rng, datasets=30)
    for n in range(1, 9):
        cohort = {f"m{i}": [float(rng.random())] for i in range(n)}
        unknown = {f"x{model}": scores for model, scores in cohort.items()}
        options = CostAwareOptions(STAGES, min_gain_per_epoch=0.01)

        assert cost_aware(cohort, None, options) == halving(cohort, None, options)
        for known, asked in ((short, cohort), (unrelated, unknown)):
            got, halved = cost_aware(asked, known, options), halving(asked, None, options)
            assert [v.stop for v in got.values()] == [v.stop for v in halved.values()]
            assert all("halving decides" in v.reason for v in got.values())


def test_beyond_the_recorded_stages_halving_decides() -> None:
    known = random_history(np.random.default_rng(7))
    cohort = {f"m{i}": [0.1 * i] * 5 for i in range(6)}

    assert kept(cohort, known, CostAwareOptions(9)) == ["m3", "m4", "m5"]


def test_nobody_is_stopped_after_the_last_stage_with_a_history() -> None:
    """Nothing more is to be paid; the last scores decide which model wins."""
    known = rising(*np.random.default_rng(19).random((2, 20)).tolist())
    scores = {"m0": [0.5] * STAGES, "m1": [0.1] * STAGES}
    options = CostAwareOptions(STAGES, min_gain_per_epoch=0.01)

    got = cost_aware(scores, known, options)

    assert [verdict.stop for verdict in got.values()] == [False, False]
    assert {verdict.reason for verdict in got.values()} == {"trained to the last stage"}
    assert kept({m: s[:-1] for m, s in scores.items()}, known, options) == ["m0"]


def test_a_model_without_records_is_assumed_to_converge_like_the_others() -> None:
    """The others gain 0.2, so 0.2 more is predicted of the model without records."""
    rng = np.random.default_rng(8)
    known = rising(*rng.random((3, 20)).tolist())

    got = cost_aware(
        {"m0": [0.5], "m1": [0.6], "new": [0.8]},
        known,
        CostAwareOptions(STAGES, min_gain_per_epoch=0.01),
    )

    assert got["new"].predicted == pytest.approx(1.0)
    assert not got["new"].stop
    assert "too few records" in got["new"].reason
    assert "too few records" not in got["m0"].reason


def test_diverged_candidates_are_stopped_and_do_not_disturb() -> None:
    known = random_history(np.random.default_rng(9))
    cohort = {"m0": [0.5], "m1": [0.6], "m2": [0.4]}
    options = CostAwareOptions(STAGES, min_gain_per_epoch=0.01)
    alone = cost_aware(cohort, known, options)

    got = cost_aware({"m3": [NAN], **cohort, "m4": [-math.inf]}, known, options)

    assert {model: got[model] for model in cohort} == alone
    (leader,) = (m for m, verdict in alone.items() if "the best of" in verdict.reason)
    for model in ("m3", "m4"):
        assert got[model].stop
        assert "diverged" in got[model].reason
        assert got[model].rival == leader
    assert kept({"m0": [NAN], "m1": [NAN]}, known, options) == ["m0"]


def test_a_verdict_holds_what_was_weighed() -> None:
    """Both gain 0.2 everywhere, so the second cannot raise the expected best."""
    known = rising(*np.random.default_rng(10).random((2, 20)).tolist())

    got = cost_aware(
        {"m0": [0.5], "m1": [0.3]}, known, CostAwareOptions(STAGES, min_gain_per_epoch=0.002)
    )

    assert got["m0"].reason == "predicted final 0.700 (0.700 to 0.700), the best of 2"
    assert got["m1"].reason == (
        "predicted final 0.500 (0.500 to 0.500); raises the expected best by 0.0000, not more than "
        "1.6 epochs at 0.002; m0: predicted final 0.700"
    )
    assert (got["m1"].stop, got["m1"].rival) == (True, "m0")
    assert (got["m1"].predicted, got["m1"].low) == pytest.approx((0.5, 0.5))


def test_the_range_is_where_the_samples_are() -> None:
    """Ten equal samples 0.0 to 0.9: a tenth is not above 0.0, nine tenths are not above 0.8."""
    final_scores = np.random.default_rng(11).permutation(10)[None, :] / 10
    samples = ScoreSamples(
        final_scores=final_scores,
        weights=np.full((1, 10), 0.1),
        std=np.zeros(1),
        has_history=np.ones(1, dtype=bool),
    )

    assert samples.quantile(0.1).tolist() == [0.0]
    assert samples.quantile(0.9).tolist() == [0.8]
    assert samples.expected == pytest.approx([0.45])


def test_the_minimum_gains_are_few_and_start_with_one_model_to_the_end() -> None:
    known = random_history(np.random.default_rng(12))
    names = [f"m{i}" for i in range(6)]

    assert len(MIN_GAINS) <= MAX_SETTINGS
    assert list(MIN_GAINS) == sorted(MIN_GAINS, reverse=True)
    assert initial_candidates(
        names, known, CostAwareOptions(STAGES, min_gain_per_epoch=MIN_GAINS[0])
    ) == ("m0",)


def test_initial_candidates_complement_the_first() -> None:
    """Of 20 datasets m0 leads on 10 and m1 on 10; m2 is second everywhere, m3 always last."""
    known = rising([0.6] * 20, [0.5] * 10 + [0.7] * 10, [0.59] * 20, [0.1] * 20)
    names = ["m0", "m1", "m2", "m3"]

    # m1 raises the best by 0.05 on average, 4 stages cost 1 + 0.3 x 3 = 1.9 epochs:
    # worth it up to 0.05 / 1.9 = 0.0263 an epoch
    assert initial_candidates(names, known, CostAwareOptions(STAGES, min_gain_per_epoch=0.026)) == (
        "m0",
        "m1",
    )
    assert initial_candidates(names, known, CostAwareOptions(STAGES, min_gain_per_epoch=0.027)) == (
        "m0",
    )
    assert initial_candidates(names, known, CostAwareOptions(STAGES, min_gain_per_epoch=0.0)) == (
        "m0",
        "m1",
    )


def test_the_ranking_and_the_history_take_turns() -> None:
    """The second of the ranking has no records; the history then names the best complement."""
    known = rising([0.6] * 20, [0.5] * 20, [0.4] * 20, [0.5] * 10 + [0.9] * 10, by=0.1)
    ranking = ["m0", "new", "m1", "m2", "m3"]

    assert initial_candidates(
        ranking, known, CostAwareOptions(STAGES, min_gain_per_epoch=0.01)
    ) == (
        "m0",
        "new",
        "m3",
    )


def test_a_short_history_does_not_decide_which_models_complement_each_other() -> None:
    """The same on 12 datasets: the history decides how many, the ranking decides which."""
    known = rising([0.6] * 12, [0.5] * 12, [0.4] * 12, [0.5] * 6 + [0.9] * 6, by=0.1)
    ranking = ["m0", "new", "m1", "m2", "m3"]

    assert initial_candidates(
        ranking, known, CostAwareOptions(STAGES, min_gain_per_epoch=0.01)
    ) == (
        "m0",
        "new",
        "m1",
    )
    assert initial_candidates(ranking, known, CostAwareOptions(STAGES, min_gain_per_epoch=0.2)) == (
        "m0",
    )


def test_the_nearer_two_thirds_of_few_datasets_decide() -> None:
    """The worse of two overtakes on 5 of 9 datasets, and not on the 4 that look different."""
    alike = np.array([[0.5], [0.4]]) + np.linspace(0, 0.01, 5)
    other = np.array([[0.9], [0.1]]) + np.linspace(0, 0.01, 4)
    scores = np.repeat(np.hstack([alike, other])[:, :, None], STAGES, axis=2)
    known = history_of(scores, np.hstack([alike + np.array([[0.0], [0.3]]), other]))

    samples = sample_final_scores(known, ("m0", "m1"), np.array([0.5, 0.4]), 1)

    assert samples is not None
    assert (samples.weights[0] > 1e-3).sum() == 5
    assert kept({"m0": [0.5], "m1": [0.4]}, known, CostAwareOptions(STAGES)) == ["m1"]


def test_one_collapse_is_no_reason_to_hope() -> None:
    """m1 is worse by 0.1 but on one dataset of 20, where m0 collapses; m2 to m5 vary by 0.02."""
    rng = np.random.default_rng(13)
    means = np.array([0.7, 0.6, 0.3, 0.3, 0.3, 0.3])[:, None]
    final_scores = means + 0.02 * rng.standard_normal((6, 20))
    final_scores[0, 0] -= 0.6
    samples = sample_final_scores(
        history_of(np.full((6, 20, STAGES), 0.3), final_scores),
        tuple(f"m{i}" for i in range(6)),
        np.full(6, 0.3),
        1,
    )

    assert samples is not None
    gain = np.maximum(0.0, samples.final_scores[1] - samples.final_scores[0]) @ samples.weights[0]
    assert gain > 0.02
    assert samples.expected_improvement(samples.clipped[0])[1] < gain / 4


def test_the_noise_of_one_score_is_carried_to_the_final_score() -> None:
    """Gaps last whole, so a repeat's deviation of 0.1 does: two candidates share the half of it."""
    known = rising(*np.random.default_rng(16).random((2, 20)).tolist())
    noisy = replace(known.curves, variances=np.full((2, 20, STAGES), 0.01))
    cohort = {"m0": [0.5], "m1": [0.47]}
    arguments = ("m0", "m1"), np.array([0.5, 0.47]), 1

    exact, carried = (
        sample_final_scores(known, *arguments),
        sample_final_scores(PolicyHistory(noisy), *arguments),
    )

    assert exact is not None
    assert carried is not None
    assert carried.std == pytest.approx(np.hypot(exact.std, 0.1 * math.sqrt(0.5)), abs=1e-9)
    assert kept(cohort, known, CostAwareOptions(STAGES, min_gain_per_epoch=0.005)) == ["m0"]
    assert kept(
        cohort, PolicyHistory(noisy), CostAwareOptions(STAGES, min_gain_per_epoch=0.005)
    ) == [
        "m0",
        "m1",
    ]


def expected_gaps(
    target: FloatArray, held_out: FloatArray, models: tuple[str, ...] = ("m0", "m1")
) -> PredictedGaps:
    """Gaps that are expected of the models on the target, and were on d0, d1, ..."""
    names = tuple(f"d{j}" for j in range(held_out.shape[1]))
    return PredictedGaps(
        models=models,
        mean=target,
        low=target,
        high=target,
        predicted=target,
        p_within=target,
        joint_gaps=held_out,
        tolerance=0.01,
        datasets=names,
        held_out_expected=held_out,
    )


@pytest.mark.parametrize("share", [1.0, 0.5, 0.0])
def test_expected_gaps_count_by_the_share_that_came_true(share: float) -> None:
    """All score alike now. That share of the gaps expected on recorded datasets came true."""
    rng = np.random.default_rng(17)
    expected = 0.1 * rng.random((2, 4000))
    final_scores = 0.7 - share * (expected - expected.mean(axis=0))
    final_scores += 0.01 * rng.standard_normal((2, 4000))
    curves = history_of(np.full((2, 4000, STAGES), 0.5), final_scores).curves
    known = PolicyHistory(curves, expected_gaps(np.array([0.08, 0.02]), expected))

    samples = sample_final_scores(known, ("m0", "m1"), np.array([0.5, 0.5]), 1)

    assert samples is not None
    half = share * 0.06 / 2
    assert samples.expected == pytest.approx([0.7 - half, 0.7 + half], abs=2e-3)


def test_without_expected_gaps_nothing_is_shifted() -> None:
    """Nothing is expected at all, or of some datasets and models only."""
    known = random_history(np.random.default_rng(18), models=3)
    nothing = expected_gaps(np.full(2, NAN), np.full((2, 5), NAN))
    partial_gaps = expected_gaps(
        np.array([0.0, 0.1]), np.array([[0.3, 0.0], [0.1, 0.0]]), ("m2", "m0")
    )

    assert known.gap_shift(["m0"]) is None
    assert PolicyHistory(known.curves, nothing).gap_shift(["m0", "m1"]) == pytest.approx(
        np.zeros((2, 30))
    )
    got = PolicyHistory(known.curves, partial_gaps).gap_shift(["m0", "m1", "m2"])
    assert got is not None
    # the gap of m2 was larger by 0.3 on d0 and by 0 on d1, that of m0 by 0 and by -0.1
    assert got[:, :3] == pytest.approx(
        np.array([[-0.15, -0.05, 0.0], [0.0, 0.0, 0.0], [0.15, 0.05, 0.0]])
    )


def test_initial_candidates_without_a_history() -> None:
    short = random_history(np.random.default_rng(14), datasets=2)

    assert initial_candidates(["a", "b"], short, CostAwareOptions(STAGES)) == ("a", "b")
    assert initial_candidates(
        ["a", "b"], short, CostAwareOptions(STAGES, min_gain_per_epoch=math.inf)
    ) == ("a",)
    assert initial_candidates([], short, CostAwareOptions(STAGES)) == ()
    assert sample_recorded_scores(short, ("m0", "m1")) is None


def test_a_negative_minimum_gain_and_a_candidate_without_scores_are_refused() -> None:
    known = random_history(np.random.default_rng(15))
    with pytest.raises(ConfigError, match="min_gain_per_epoch: expected 0 or more, got -1"):
        CostAwareOptions(STAGES, min_gain_per_epoch=-1)
    with pytest.raises(ConfigError, match="min_gain_per_epoch: expected 0 or more, got nan"):
        CostAwareOptions(STAGES, min_gain_per_epoch=NAN)
    with pytest.raises(StageIncomplete, match="m1: expected a score of the first stage, got none"):
        cost_aware({"m0": [0.1], "m1": []}, known, CostAwareOptions(STAGES))


Start = Callable[[Sequence[str], PolicyHistory, CostAwareOptions], Sequence[str]]


def first_of(
    count: int, ranking: Sequence[str], _: PolicyHistory, __: CostAwareOptions
) -> Sequence[str]:
    """The first ``count`` of the ranking."""
    return ranking[:count]


def frontier(
    curves: Curves, policy: Decide[CostAwareOptions], starts: Sequence[tuple[Start, float]]
) -> Frontier:
    """One dataset held out at a time, candidates ranked by mean place on the others."""
    filled = np.where(np.isnan(curves.final_scores), -np.inf, curves.final_scores)
    above = (filled[:, None] > filled[None]).sum(axis=1) + 0.5 * (
        filled[:, None] == filled[None]
    ).sum(axis=1)
    missing = np.isnan(curves.final_scores)
    places = np.where(missing, NAN, (above - missing.sum(axis=0)) / (~missing).sum(axis=0))
    epochs, regrets = np.zeros((2, len(starts), len(curves.datasets)))
    for j in range(len(curves.datasets)):
        others = np.arange(len(curves.datasets)) != j
        names = tuple(np.array(curves.datasets)[others].tolist())
        known = PolicyHistory(
            Curves(
                models=curves.models,
                datasets=names,
                scores=curves.scores[:, others],
                final_scores=curves.final_scores[:, others],
            )
        )
        mean = np.nanmean(places[:, others], axis=1)
        order = [i for i in np.argsort(-mean, kind="stable") if not missing[i, j]]
        scores = {curves.models[i]: curves.scores[i, j].tolist() for i in order}
        final_scores = {curves.models[i]: curves.final_scores[i, j] for i in order}
        best = max(final_scores.values())
        for row, (start, gain) in enumerate(starts):
            options = CostAwareOptions(curves.stages, min_gain_per_epoch=gain)
            started = {model: scores[model] for model in start(list(scores), known, options)}
            outcome = replay(policy, started, known, options)
            epochs[row, j], regrets[row, j] = outcome.epochs, best - final_scores[outcome.winner]
    return Frontier(curves.datasets, epochs, regrets, curves.stages)


@pytest.mark.slow
@pytest.mark.skipif(not LCDB.exists(), reason="needs the recorded learning curves")
def test_on_recorded_curves_it_finds_more_for_its_epochs_than_halving() -> None:
    """28 learners x 122 datasets, 5 stages; both readings of the area, paired by dataset."""
    curves = resample_curves(FolderHistory(LCDB).curves(), 5, 20)
    sizes = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 28)

    cost = frontier(curves, cost_aware, [(initial_candidates, gain) for gain in MIN_GAINS])
    half = frontier(curves, halving, [(partial(first_of, k), 0.0) for k in sizes])

    assert cost.area <= 0.0066
    for one, other in ((cost.plain, half.plain), (cost.nested, half.nested)):
        difference, error = paired(one, other)
        assert difference < -2 * error


@pytest.mark.parametrize(
    ("datasets", "message"),
    [
        (
            1,
            "with the curves of only 1 dataset no final score can be predicted, so halving decides",
        ),
        (3, "with the curves of only 3 datasets no final score can be predicted"),
        (4, "of only 4 datasets, cost_aware takes from them how many models to start with"),
        (15, "it was no better than halving"),
        (16, "16 datasets, cost_aware predicts final scores from the nearer two thirds"),
        (22, "the nearer two thirds"),
    ],
)
def test_a_short_history_is_warned_about(datasets: int, message: str) -> None:
    assert message in POLICIES["cost_aware"].warn_about(datasets)


def test_a_history_that_suffices_needs_no_warning() -> None:
    """From 23 datasets on, two thirds of them are a full sample."""
    assert POLICIES["cost_aware"].warn_about(23) == ""
    assert POLICIES["halving"].warn_about(1) == ""
