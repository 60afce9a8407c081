"""Facts of the price of an epoch: what it foretells, whom it keeps, and when halving decides."""

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
from mlflow_recall.core.policies import Decide, PolicyHistory, PolicyOptions, data_warning
from mlflow_recall.core.policies.cost_aware import MIN_GAINS, cost_aware, initial_candidates
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


def past(scores: FloatArray, ends: FloatArray) -> PolicyHistory:
    """Curves of m0, m1, ... on d0, d1, ..."""
    m, d, _ = scores.shape
    curves = Curves(
        tuple(f"m{i}" for i in range(m)), tuple(f"d{i}" for i in range(d)), scores, ends
    )
    return PolicyHistory(curves)


def random_past(rng: np.random.Generator, models: int = 6, datasets: int = 30) -> PolicyHistory:
    """Curves that rise towards ends of their own; every tenth cell is missing."""
    ends = rng.random((models, datasets))
    ways = np.sort(rng.random((models, datasets, STAGES)), axis=2)
    missing = rng.random((models, datasets)) < 0.1
    scores = np.where(missing[:, :, None], NAN, ends[:, :, None] * ways)
    return past(scores, np.where(missing, NAN, ends))


def rising(*ends: list[float], by: float = 0.2) -> PolicyHistory:
    """One model a row; every curve stands ``by`` below its end at every stage."""
    end = np.array(ends)
    return past(np.repeat(end[:, :, None] - by, STAGES, axis=2), end)


def left(cohort: Scores, known: PolicyHistory | None, settings: PolicyOptions) -> list[str]:
    return [model for model, v in cost_aware(cohort, known, settings).items() if not v.stop]


def test_it_is_the_greedy_choice_on_hundreds_of_cohorts() -> None:
    """One more epoch and 0.3 of each after it is what going on is expected to cost.

    The choice is made anew from the recorded scores, with nothing taken from the policy.
    """
    rng = np.random.default_rng(0)
    sizes = set()
    for _ in range(200):
        known = random_past(rng, datasets=int(rng.integers(6, 40)))
        models = [f"m{i}" for i in rng.permutation(7)[: rng.integers(1, 8)]]  # m6 has no record
        stage = int(rng.integers(1, STAGES))
        cohort = {model: rng.random(stage).tolist() for model in models}
        settings = PolicyOptions(STAGES, min_gain_per_epoch=float(rng.choice([0.0, 0.003, 0.03])))
        samples = slow_samples(known.curves, models, [cohort[m][-1] for m in models], stage)
        if samples is None:
            continue
        bar = settings.min_gain_per_epoch * (1 + 0.3 * (STAGES - stage - 1))

        got = cost_aware(cohort, known, settings)

        chosen, raised = slow_choice(samples, bar)
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
                assert f"raises the best end by {raised[i]:.4f}" in verdict.reason
        sizes.add(len(chosen))
    assert len(sizes) > 4, "prices must matter"


def test_who_starts_is_the_greedy_choice_on_hundreds_of_records() -> None:
    """The turns of ranking and record, made anew from the recorded final scores.

    Whoever is chosen starts in the order of the ranking, not in that of the choice.
    """
    rng = np.random.default_rng(20)
    turned = 0
    for _ in range(200):
        known = random_past(rng, datasets=int(rng.integers(3, 45)))
        ranking = [f"m{i}" for i in rng.permutation(7)]  # m6 has no record
        settings = PolicyOptions(STAGES, min_gain_per_epoch=float(rng.choice([0.0, 0.01, 0.03])))
        samples = slow_recorded(known.curves, ranking)

        got = initial_candidates(ranking, known, settings)

        if samples is None:
            assert got == tuple(ranking)
            continue
        chosen, _ = slow_choice(samples, settings.min_gain_per_epoch * 1.9, 0, in_turn)
        if samples.size < 16:
            assert got == tuple(ranking[: len(chosen)])
        else:
            assert got == tuple(ranking[i] for i in sorted(chosen))
            turned += chosen != sorted(chosen)
    assert turned > 10, "the order must matter"


def test_gaps_that_last_are_kept_and_levels_move_along() -> None:
    """Everyone gains 0.2 everywhere: whatever the level, ends are the present plus 0.2."""
    rng = np.random.default_rng(1)
    known = rising(*rng.random((3, 20)).tolist())
    now = np.array([0.9, 0.5, 1.4])

    draws = sample_final_scores(known, ("m0", "m1", "m2"), now, 2)

    assert draws is not None
    assert draws.final_scores == pytest.approx(np.repeat(now[:, None] + 0.2, 20, axis=1))
    assert draws.expected == pytest.approx(now + 0.2)


def test_gaps_that_never_lasted_are_forgotten() -> None:
    """Present gaps are coin tosses, ends are the model's own: 0.7 and 0.5."""
    rng = np.random.default_rng(2)
    then = 0.3 + 0.01 * rng.choice([-1.0, 1.0], (2, 4000))
    ends = np.repeat([[0.7], [0.5]], 4000, axis=1)
    known = past(np.repeat(then[:, :, None], STAGES, axis=2), ends)

    draws = sample_final_scores(known, ("m0", "m1"), np.array([0.29, 0.31]), 1)

    assert draws is not None
    assert draws.expected == pytest.approx([0.7, 0.5], abs=2e-3)


def test_the_datasets_that_look_alike_decide() -> None:
    """On 20 datasets the worse of the two overtakes, on 20 others it does not."""
    alike = np.array([[0.5], [0.4]]) + np.linspace(0, 0.01, 20)
    other = np.array([[0.9], [0.1]]) + np.linspace(0, 0.01, 20)
    scores = np.repeat(np.hstack([alike, other])[:, :, None], STAGES, axis=2)
    ends = np.hstack([alike + np.array([[0.0], [0.3]]), other])
    known = past(scores, ends)

    assert left({"m0": [0.5], "m1": [0.4]}, known, PolicyOptions(STAGES)) == ["m1"]
    assert left({"m0": [0.9], "m1": [0.1]}, known, PolicyOptions(STAGES)) == ["m0"]


def test_the_dearer_the_fewer() -> None:
    """The greedy order does not depend on the price, so the kept are nested."""
    rng = np.random.default_rng(3)
    for _ in range(50):
        known = random_past(rng)
        cohort = {f"m{i}": [float(rng.random())] for i in range(6)}
        kept = [
            set(left(cohort, known, PolicyOptions(STAGES, min_gain_per_epoch=p)))
            for p in (*MIN_GAINS, 0.0)
        ]

        assert all(dear <= cheap for dear, cheap in pairwise(kept))
        assert len(kept[0]) == 1


def test_the_order_of_the_cohort_and_a_shift_of_all_scores_change_nothing() -> None:
    rng = np.random.default_rng(4)
    for _ in range(30):
        known = random_past(rng)
        cohort = {f"m{i}": rng.random(2).tolist() for i in range(6)}
        settings = PolicyOptions(STAGES, min_gain_per_epoch=0.01)
        turned = {model: cohort[model] for model in reversed(cohort)}
        shifted = replace(
            known,
            curves=replace(
                known.curves,
                scores=known.curves.scores + 1,
                final_scores=known.curves.final_scores + 1,
            ),
        )
        higher = {model: [score + 1 for score in scores] for model, scores in cohort.items()}

        kept = left(cohort, known, settings)

        assert sorted(left(turned, known, settings)) == kept
        assert left(higher, shifted, settings) == kept


def test_without_a_past_or_with_too_little_it_is_halving() -> None:
    rng = np.random.default_rng(6)
    thin = random_past(rng, datasets=3)
    strangers = random_past(rng, datasets=30)
    for n in range(1, 9):
        cohort = {f"m{i}": [float(rng.random())] for i in range(n)}
        unknown = {f"x{model}": scores for model, scores in cohort.items()}
        settings = PolicyOptions(STAGES, min_gain_per_epoch=0.01)

        assert cost_aware(cohort, None, settings) == halving(cohort, None, settings)
        for known, asked in ((thin, cohort), (strangers, unknown)):
            got, halved = cost_aware(asked, known, settings), halving(asked, None, settings)
            assert [v.stop for v in got.values()] == [v.stop for v in halved.values()]
            assert all("halving decides" in v.reason for v in got.values())


def test_beyond_the_recorded_stages_halving_decides() -> None:
    known = random_past(np.random.default_rng(7))
    cohort = {f"m{i}": [0.1 * i] * 5 for i in range(6)}

    assert left(cohort, known, PolicyOptions(9)) == ["m3", "m4", "m5"]


def test_nobody_is_stopped_after_the_last_stage() -> None:
    """All is paid for; the last scores decide who has won."""
    known = rising(*np.random.default_rng(19).random((2, 20)).tolist())
    scores = {"m0": [0.5] * STAGES, "m1": [0.1] * STAGES}
    settings = PolicyOptions(STAGES, min_gain_per_epoch=0.01)

    got = cost_aware(scores, known, settings)

    assert [verdict.stop for verdict in got.values()] == [False, False]
    assert {verdict.reason for verdict in got.values()} == {"trained to the last stage"}
    assert left({m: s[:-1] for m, s in scores.items()}, known, settings) == ["m0"]


def test_a_newcomer_is_taken_to_converge_like_the_others() -> None:
    """The others gain 0.2 from where they stand; it says so of the one that nobody has seen."""
    rng = np.random.default_rng(8)
    known = rising(*rng.random((3, 20)).tolist())

    got = cost_aware(
        {"m0": [0.5], "m1": [0.6], "new": [0.8]},
        known,
        PolicyOptions(STAGES, min_gain_per_epoch=0.01),
    )

    assert got["new"].predicted == pytest.approx(1.0)
    assert not got["new"].stop
    assert "too few records" in got["new"].reason
    assert "too few records" not in got["m0"].reason


def test_diverged_candidates_are_stopped_and_do_not_disturb() -> None:
    known = random_past(np.random.default_rng(9))
    cohort = {"m0": [0.5], "m1": [0.6], "m2": [0.4]}
    settings = PolicyOptions(STAGES, min_gain_per_epoch=0.01)
    alone = cost_aware(cohort, known, settings)

    got = cost_aware({"m3": [NAN], **cohort, "m4": [-math.inf]}, known, settings)

    assert {model: got[model] for model in cohort} == alone
    (leader,) = (m for m, verdict in alone.items() if "the best of" in verdict.reason)
    for lost in ("m3", "m4"):
        assert got[lost].stop
        assert "diverged" in got[lost].reason
        assert got[lost].rival == leader
    assert left({"m0": [NAN], "m1": [NAN]}, known, settings) == ["m0"]


def test_a_verdict_says_what_was_weighed() -> None:
    """Both gain 0.2 everywhere, so the second cannot raise the best end by anything."""
    known = rising(*np.random.default_rng(10).random((2, 20)).tolist())

    got = cost_aware(
        {"m0": [0.5], "m1": [0.3]}, known, PolicyOptions(STAGES, min_gain_per_epoch=0.002)
    )

    assert got["m0"].reason == "expected to end at 0.700 (0.700 to 0.700), the best of 2"
    assert got["m1"].reason == (
        "expected to end at 0.500 (0.500 to 0.500); raises the best end by 0.0000, not more than "
        "1.6 epochs at 0.002; m0 is expected at 0.700"
    )
    assert (got["m1"].stop, got["m1"].rival) == (True, "m0")
    assert (got["m1"].predicted, got["m1"].low) == pytest.approx((0.5, 0.5))


def test_the_range_is_where_the_draws_are() -> None:
    """Ten equal draws 0.0 to 0.9: a tenth of them is not above 0.0, nine tenths not above 0.8."""
    ends = np.random.default_rng(11).permutation(10)[None, :] / 10
    draws = ScoreSamples(
        final_scores=ends,
        weights=np.full((1, 10), 0.1),
        std=np.zeros(1),
        has_history=np.ones(1, dtype=bool),
    )

    assert draws.quantile(0.1).tolist() == [0.0]
    assert draws.quantile(0.9).tolist() == [0.8]
    assert draws.expected == pytest.approx([0.45])


def test_the_prices_are_few_and_start_with_one_model_to_the_end() -> None:
    known = random_past(np.random.default_rng(12))
    names = [f"m{i}" for i in range(6)]

    assert len(MIN_GAINS) <= MAX_SETTINGS
    assert list(MIN_GAINS) == sorted(MIN_GAINS, reverse=True)
    assert initial_candidates(
        names, known, PolicyOptions(STAGES, min_gain_per_epoch=MIN_GAINS[0])
    ) == ("m0",)


def test_those_who_start_complement_the_first() -> None:
    """Of 20 datasets m0 leads on 10 and m1 on 10; m2 is second everywhere, m3 always last."""
    known = rising([0.6] * 20, [0.5] * 10 + [0.7] * 10, [0.59] * 20, [0.1] * 20)
    names = ["m0", "m1", "m2", "m3"]

    # m1 raises the best by 0.05 on average, 4 stages cost 1 + 0.3 x 3 = 1.9 epochs:
    # worth it up to 0.05 / 1.9 = 0.0263 an epoch
    assert initial_candidates(names, known, PolicyOptions(STAGES, min_gain_per_epoch=0.026)) == (
        "m0",
        "m1",
    )
    assert initial_candidates(names, known, PolicyOptions(STAGES, min_gain_per_epoch=0.027)) == (
        "m0",
    )
    assert initial_candidates(names, known, PolicyOptions(STAGES, min_gain_per_epoch=0.0)) == (
        "m0",
        "m1",
    )


def test_the_ranking_and_the_record_take_turns() -> None:
    """The ranking names a newcomer second; the record then names who complements the first."""
    known = rising([0.6] * 20, [0.5] * 20, [0.4] * 20, [0.5] * 10 + [0.9] * 10, by=0.1)
    ranking = ["m0", "new", "m1", "m2", "m3"]

    assert initial_candidates(ranking, known, PolicyOptions(STAGES, min_gain_per_epoch=0.01)) == (
        "m0",
        "new",
        "m3",
    )


def test_a_thin_record_does_not_tell_who_complements_whom() -> None:
    """The same on 12 datasets: how many is worth it is the record's, who is the ranking's."""
    known = rising([0.6] * 12, [0.5] * 12, [0.4] * 12, [0.5] * 6 + [0.9] * 6, by=0.1)
    ranking = ["m0", "new", "m1", "m2", "m3"]

    assert initial_candidates(ranking, known, PolicyOptions(STAGES, min_gain_per_epoch=0.01)) == (
        "m0",
        "new",
        "m1",
    )
    assert initial_candidates(ranking, known, PolicyOptions(STAGES, min_gain_per_epoch=0.2)) == (
        "m0",
    )


def test_of_few_datasets_the_nearer_two_thirds_decide() -> None:
    """Of 9 the worse of the two overtakes on 5, and on the 4 that look otherwise it does not."""
    alike = np.array([[0.5], [0.4]]) + np.linspace(0, 0.01, 5)
    other = np.array([[0.9], [0.1]]) + np.linspace(0, 0.01, 4)
    scores = np.repeat(np.hstack([alike, other])[:, :, None], STAGES, axis=2)
    known = past(scores, np.hstack([alike + np.array([[0.0], [0.3]]), other]))

    draws = sample_final_scores(known, ("m0", "m1"), np.array([0.5, 0.4]), 1)

    assert draws is not None
    assert (draws.weights[0] > 1e-3).sum() == 5
    assert left({"m0": [0.5], "m1": [0.4]}, known, PolicyOptions(STAGES)) == ["m1"]


def test_one_collapse_is_no_lottery_ticket() -> None:
    """m1 is worse by 0.1 but on one dataset of 20, where m0 collapses; m2 to m5 vary by 0.02."""
    rng = np.random.default_rng(13)
    ends = np.vstack([np.full((1, 20), 0.7), np.full((1, 20), 0.6), np.full((4, 20), 0.3)])
    ends += 0.02 * rng.standard_normal(ends.shape)
    ends[0, 0] -= 0.6
    draws = sample_final_scores(
        past(np.full((6, 20, STAGES), 0.3), ends),
        tuple(f"m{i}" for i in range(6)),
        np.full(6, 0.3),
        1,
    )

    assert draws is not None
    gain = np.maximum(0.0, draws.final_scores[1] - draws.final_scores[0]) @ draws.weights[0]
    assert gain > 0.02
    assert draws.expected_improvement(draws.clipped[0])[1] < gain / 4


def test_what_a_score_may_be_off_by_is_carried_to_the_end() -> None:
    """Gaps last whole, so a repeat's deviation of 0.1 does: two candidates share the half of it."""
    known = rising(*np.random.default_rng(16).random((2, 20)).tolist())
    noisy = replace(known.curves, variances=np.full((2, 20, STAGES), 0.01))
    cohort = {"m0": [0.5], "m1": [0.47]}
    asked = ("m0", "m1"), np.array([0.5, 0.47]), 1

    exact, carried = (
        sample_final_scores(known, *asked),
        sample_final_scores(PolicyHistory(noisy), *asked),
    )

    assert exact is not None
    assert carried is not None
    assert carried.std == pytest.approx(np.hypot(exact.std, 0.1 * math.sqrt(0.5)), abs=1e-9)
    assert left(cohort, known, PolicyOptions(STAGES, min_gain_per_epoch=0.005)) == ["m0"]
    assert left(cohort, PolicyHistory(noisy), PolicyOptions(STAGES, min_gain_per_epoch=0.005)) == [
        "m0",
        "m1",
    ]


def told(
    here: FloatArray, there: FloatArray, models: tuple[str, ...] = ("m0", "m1")
) -> PredictedGaps:
    """Gaps that were expected of m0, m1, ... here and on d0, d1, ..."""
    names = tuple(f"d{j}" for j in range(there.shape[1]))
    return PredictedGaps(
        models=models,
        mean=here,
        low=here,
        high=here,
        predicted=here,
        p_within=here,
        joint_gaps=there,
        tolerance=0.01,
        datasets=names,
        held_out_expected=there,
    )


@pytest.mark.parametrize("worth", [1.0, 0.5, 0.0])
def test_what_a_recommender_foretells_counts_by_what_it_was_worth(worth: float) -> None:
    """All stand alike. Of the gaps that were expected on record, so large a share came true."""
    rng = np.random.default_rng(17)
    expected = 0.1 * rng.random((2, 4000))
    ends = 0.7 - worth * (expected - expected.mean(axis=0)) + 0.01 * rng.standard_normal((2, 4000))
    curves = past(np.full((2, 4000, STAGES), 0.5), ends).curves
    known = PolicyHistory(curves, told(np.array([0.08, 0.02]), expected))

    draws = sample_final_scores(known, ("m0", "m1"), np.array([0.5, 0.5]), 1)

    assert draws is not None
    apart = worth * 0.06 / 2
    assert draws.expected == pytest.approx([0.7 - apart, 0.7 + apart], abs=2e-3)


def test_of_whom_nothing_is_foretold_nothing_changes() -> None:
    """Datasets and models that the recommender was not asked of; and nobody at all."""
    known = random_past(np.random.default_rng(18), models=3)
    nothing = told(np.full(2, NAN), np.full((2, 5), NAN))
    some = told(np.array([0.0, 0.1]), np.array([[0.3, 0.0], [0.1, 0.0]]), ("m2", "m0"))

    assert known.gap_shift(["m0"]) is None
    assert PolicyHistory(known.curves, nothing).gap_shift(["m0", "m1"]) == pytest.approx(
        np.zeros((2, 30))
    )
    got = PolicyHistory(known.curves, some).gap_shift(["m0", "m1", "m2"])
    assert got is not None
    # m2 is farther by 0.3 on d0 and by 0 on d1; m0 by 0 and by -0.1
    assert got[:, :3] == pytest.approx(
        np.array([[-0.15, -0.05, 0.0], [0.0, 0.0, 0.0], [0.15, 0.05, 0.0]])
    )


def test_who_starts_without_a_history() -> None:
    thin = random_past(np.random.default_rng(14), datasets=2)

    assert initial_candidates(["a", "b"], thin, PolicyOptions(STAGES)) == ("a", "b")
    assert initial_candidates(
        ["a", "b"], thin, PolicyOptions(STAGES, min_gain_per_epoch=math.inf)
    ) == ("a",)
    assert initial_candidates([], thin, PolicyOptions(STAGES)) == ()
    assert sample_recorded_scores(thin, ("m0", "m1")) is None


def test_a_negative_price_and_a_silent_candidate_are_refused() -> None:
    known = random_past(np.random.default_rng(15))
    with pytest.raises(ConfigError, match="price: expected at least 0 score points, got -1"):
        cost_aware({"m0": [0.1]}, known, PolicyOptions(STAGES, min_gain_per_epoch=-1))
    with pytest.raises(ConfigError, match="got nan"):
        initial_candidates(["m0", "m1"], known, PolicyOptions(STAGES, min_gain_per_epoch=NAN))
    with pytest.raises(StageIncomplete, match="m1 has not reported"):
        cost_aware({"m0": [0.1], "m1": []}, known, PolicyOptions(STAGES))


Start = Callable[[Sequence[str], PolicyHistory, PolicyOptions], Sequence[str]]


def best_of(
    count: int, ranking: Sequence[str], _: PolicyHistory, __: PolicyOptions
) -> Sequence[str]:
    """The first ``count`` of the ranking."""
    return ranking[:count]


def frontier(curves: Curves, policy: Decide, starts: Sequence[tuple[Start, float]]) -> Frontier:
    """One dataset held out at a time, candidates ranked by mean place on the others."""
    filled = np.where(np.isnan(curves.final_scores), -np.inf, curves.final_scores)
    above = (filled[:, None] > filled[None]).sum(axis=1) + 0.5 * (
        filled[:, None] == filled[None]
    ).sum(axis=1)
    missing = np.isnan(curves.final_scores)
    places = np.where(missing, NAN, (above - missing.sum(axis=0)) / (~missing).sum(axis=0))
    spent, lost = np.zeros((2, len(starts), len(curves.datasets)))
    for j in range(len(curves.datasets)):
        others = np.arange(len(curves.datasets)) != j
        names = tuple(np.array(curves.datasets)[others].tolist())
        known = PolicyHistory(
            Curves(curves.models, names, curves.scores[:, others], curves.final_scores[:, others])
        )
        mean = np.nanmean(places[:, others], axis=1)
        order = [i for i in np.argsort(-mean, kind="stable") if not missing[i, j]]
        shown = {curves.models[i]: curves.scores[i, j].tolist() for i in order}
        end = {curves.models[i]: curves.final_scores[i, j] for i in order}
        for row, (start, worth) in enumerate(starts):
            settings = PolicyOptions(curves.stages, min_gain_per_epoch=worth)
            begun = {model: shown[model] for model in start(list(shown), known, settings)}
            got = replay(policy, begun, known, settings)
            spent[row, j], lost[row, j] = got.epochs, max(end.values()) - end[got.winner]
    return Frontier(curves.datasets, spent, lost, curves.stages)


@pytest.mark.skipif(not LCDB.exists(), reason="needs the recorded learning curves")
def test_on_recorded_curves_it_finds_more_for_its_epochs_than_halving() -> None:
    """28 learners x 122 datasets, 5 stages; both readings of the area, paired by dataset."""
    curves = resample_curves(FolderHistory(LCDB).curves(), 5, 20)
    sizes = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 28)

    ours = frontier(curves, cost_aware, [(initial_candidates, worth) for worth in MIN_GAINS])
    halves = frontier(curves, halving, [(partial(best_of, k), 0.0) for k in sizes])

    assert ours.area <= 0.0066
    for one, other in ((ours.plain, halves.plain), (ours.nested, halves.nested)):
        difference, error = paired(one, other)
        assert difference < -2 * error


@pytest.mark.parametrize(
    ("datasets", "said"),
    [
        (1, "with the curves of only 1 dataset no end can be foretold, so halving decides"),
        (3, "with the curves of only 3 datasets no end can be foretold"),
        (4, "with the curves of only 4 datasets, price asks them how many models to start with"),
        (15, "it was no better than halving"),
        (16, "with the curves of only 16 datasets, price foretells ends by the nearer two thirds"),
        (22, "the nearer two thirds"),
    ],
)
def test_a_thin_history_is_said_to_be_one(datasets: int, said: str) -> None:
    assert said in data_warning("price", datasets)


def test_a_history_that_suffices_needs_no_word() -> None:
    """From 23 datasets on, two thirds are the sixteen that it draws from."""
    assert data_warning("price", 23) == ""
    assert data_warning("halving", 1) == ""
