"""Facts of the samples of final scores: their slow definition, and what each part of it does."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.special import ndtri
from slow_samples import SlowSamples, improvement, slow_recorded, slow_samples

from mlflow_recall.core.arrays import FloatArray
from mlflow_recall.core.history.curves import Curves
from mlflow_recall.core.policies.policy_history import PolicyHistory
from mlflow_recall.core.policies.score_samples import (
    ScoreSamples,
    sample_final_scores,
    sample_recorded_scores,
)
from mlflow_recall.core.recommend import PredictedGaps

NAN = math.nan
STAGES = 3
SEEDS = st.integers(0, 2**32 - 1)


def curves(scores: FloatArray, final: FloatArray, variances: FloatArray | None = None) -> Curves:
    """Recorded scores of m0, m1, ... on d0, d1, ...; a matrix of scores holds at every stage."""
    if scores.ndim == 2:
        scores = np.repeat(scores[:, :, None], STAGES, axis=2)
    models = tuple(f"m{i}" for i in range(len(final)))
    datasets = tuple(f"d{j}" for j in range(final.shape[1]))
    return Curves(
        models=models, datasets=datasets, scores=scores, final_scores=final, variances=variances
    )


def random_curves(rng: np.random.Generator, models: int, datasets: int, holes: float) -> Curves:
    """Curves that rise towards final scores of their own, or of others; some cells are repeated."""
    final = 0.5 + 0.2 * rng.normal(size=(models, 1)) + 0.1 * rng.normal(size=(models, datasets))
    rise = np.sort(rng.random((models, datasets, STAGES)), axis=2)
    towards = rng.permutation(final.ravel()).reshape(final.shape) if rng.random() < 0.3 else final
    scores = towards[:, :, None] * (0.5 + 0.5 * rise)
    scores[rng.random((models, datasets)) < holes] = NAN
    final = np.where(rng.random((models, datasets)) < holes / 2, NAN, final)
    repeated = rng.random(scores.shape) < 0.5
    variances = np.where(repeated, 1e-3 * rng.random(scores.shape), NAN)
    return curves(scores, final, variances if rng.random() < 0.5 else None)


def expected_gaps(
    rng: np.random.Generator, models: tuple[str, ...], known: Curves
) -> tuple[PredictedGaps, dict[str, float], dict[tuple[str, str], float]]:
    """Gaps that a recommender expects of some models, here and on some datasets, in other orders.

    On the recorded datasets they are related to what came out.
    """
    asked = tuple(rng.permutation(list(models)).tolist())
    datasets = tuple(rng.permutation(list(known.datasets)).tolist())[
        : -1 - len(known.datasets) // 5
    ]
    here = 0.2 * rng.random(len(asked))
    there = 0.1 * rng.random((len(asked), len(datasets)))
    for row, model in enumerate(asked):
        for column, dataset in enumerate(datasets):
            if model in known.models:
                place = known.models.index(model), known.datasets.index(dataset)
                there[row, column] -= 0.5 * known.final_scores[place]
    there[rng.random(there.shape) < 0.1] = NAN
    unknown = np.full(len(asked), NAN)
    gaps = PredictedGaps(
        models=asked,
        mean=here,
        low=unknown,
        high=unknown,
        predicted=unknown,
        p_within=unknown,
        joint_gaps=there,
        tolerance=0.01,
        datasets=datasets,
        held_out_expected=there,
    )
    by_cell = {
        (model, dataset): float(there[row, column])
        for row, model in enumerate(asked)
        for column, dataset in enumerate(datasets)
    }
    return gaps, dict(zip(asked, here.tolist(), strict=True)), by_cell


def assert_near(got: FloatArray, expected: object) -> None:
    np.testing.assert_allclose(got, np.array(expected, dtype=np.float64), rtol=1e-7, atol=1e-9)


def assert_same(got: ScoreSamples | None, expected: SlowSamples | None) -> None:
    if expected is None:
        assert got is None
        return
    assert got is not None
    assert_near(got.final_scores, expected.final_scores)
    assert_near(got.weights, expected.weights)
    assert_near(got.std, expected.std)
    assert got.has_history.tolist() == expected.has_history
    assert got.clip == pytest.approx(expected.clip)
    assert_near(got.expected, expected.expected)
    assert_near(got.clipped, expected.clipped)


@given(seed=SEEDS, holes=st.sampled_from([0.0, 0.2, 0.5]))
@settings(max_examples=60, deadline=None)
@example(seed=621, holes=0.5)  # a model whose records are all on datasets that are not used
def test_the_samples_are_their_slow_definition(seed: int, holes: float) -> None:
    """Few and many datasets, missing cells, models without records, repeats, expected gaps."""
    rng = np.random.default_rng(seed)
    known = random_curves(rng, 5, int(rng.integers(3, 40)), holes)
    models = tuple(rng.permutation(["m0", "m1", "m2", "m3", "m4", "new"])[: rng.integers(1, 7)])
    now, stage = 0.3 + 0.3 * rng.random(len(models)), int(rng.integers(1, STAGES + 2))
    gaps, gaps_here, gaps_there = expected_gaps(rng, models, known)

    silent = sample_final_scores(PolicyHistory(known), models, now, stage)
    informed = sample_final_scores(PolicyHistory(known, gaps), models, now, stage)

    assert_same(silent, slow_samples(known, models, now.tolist(), stage))
    assert_same(informed, slow_samples(known, models, now.tolist(), stage, gaps_here, gaps_there))


def test_the_slow_definition_has_been_everywhere() -> None:
    """Every rule of the definition decides in some of the worlds that it is compared on."""
    shares, effective, sizes = [], [], set()
    for seed in range(60):
        rng = np.random.default_rng(seed)
        known = random_curves(rng, 4, int(rng.integers(4, 30)), 0.2)
        models = ("m0", "m1", "m2", "new")
        gaps, gaps_here, gaps_there = expected_gaps(rng, models, known)
        now = 0.3 + 0.3 * rng.random(4)
        slow = slow_samples(known, models, now.tolist(), 1, gaps_here, gaps_there)
        assert_same(sample_final_scores(PolicyHistory(known, gaps), models, now, 1), slow)
        if slow is not None:
            shares += [slow.shares]
            effective += [1 / sum(w * w for w in row) for row in slow.weights]
            sizes.add(slow.size)

    lasting, true = np.array(shares).T
    for share in (lasting, true):
        assert ((share > 0) & (share < 1)).any()
        assert (share == 0).any()
        assert (share == 1).any()
    assert min(effective) < 2 < max(effective)
    assert min(sizes) < 16 <= max(sizes)


@given(seed=SEEDS)
@settings(max_examples=40, deadline=None)
def test_recorded_final_scores_are_their_slow_definition(seed: int) -> None:
    """Every dataset counts alike; those that have everyone are used alone where 16 do."""
    rng = np.random.default_rng(seed)
    holes = float(rng.choice([0.0, 0.1, 0.4, 0.8]))
    known = random_curves(rng, 4, int(rng.integers(2, 40)), holes)
    models = tuple(rng.permutation(["m0", "m1", "m2", "m3", "new"])[: rng.integers(1, 6)])

    assert_same(sample_recorded_scores(PolicyHistory(known), models), slow_recorded(known, models))


@given(seed=SEEDS)
@settings(max_examples=40, deadline=None)
def test_what_a_candidate_adds_is_the_mean_of_what_it_wins_by(seed: int) -> None:
    """Expected improvement over the best of those chosen, draw by draw."""
    rng = np.random.default_rng(seed)
    n, s = int(rng.integers(2, 6)), int(rng.integers(1, 9))
    known = rng.random((n, s)) < 0.8
    weights = np.where(known, rng.random((n, s)), 0.0)
    weights /= np.maximum(weights.sum(axis=1, keepdims=True), 1e-300)
    samples = ScoreSamples(
        final_scores=np.where(known, rng.normal(size=(n, s)), NAN),
        weights=weights,
        std=rng.choice([0.0, 0.1, 1.0], n),
        has_history=np.array([bool(row.any()) for row in known]),
        clip=float(rng.choice([0.1, 1.0, math.inf])),
    )
    slow = SlowSamples(
        final_scores=samples.final_scores.tolist(),
        weights=weights.tolist(),
        std=samples.std.tolist(),
        has_history=samples.has_history.tolist(),
        clip=samples.clip,
    )
    chosen = rng.permutation(n)[: rng.integers(1, n + 1)].tolist()
    best = samples.clipped[chosen[0]]
    for i in chosen[1:]:
        best = np.fmax(best, samples.clipped[i])

    assert_same(samples, slow)
    expected = [slow.expected_improvement(i, chosen) for i in range(n)]
    assert samples.expected_improvement(best) == pytest.approx(expected, abs=1e-9)
    for share in (0.1, 0.5, 0.9):
        quantiles = [slow.quantile(i, share) for i in range(n)]
        np.testing.assert_allclose(samples.quantile(share), quantiles)


def weights_of(known: Curves, models: tuple[str, ...], now: list[float]) -> list[float]:
    """Weight of each dataset for the first candidate."""
    samples = sample_final_scores(PolicyHistory(known), models, np.array(now), 1)
    assert samples is not None
    weights: list[float] = samples.weights[0].tolist()
    return weights


def test_a_difference_of_the_level_counts_half_of_one_of_the_gaps() -> None:
    """Squared: the two stand 0.1 apart from d0 in opposite directions, and 0.1 sqrt 2 from d1."""
    scores = np.array([[0.6, 0.5, 0.9, 0.9, 0.9, 0.9], [0.4, 0.5, 0.9, 0.9, 0.9, 0.9]])
    scores[:, 1] += 0.1 * math.sqrt(2)

    weights = weights_of(curves(scores, scores + 0.1), ("m0", "m1"), [0.5, 0.5])

    assert weights[0] == pytest.approx(weights[1])
    assert weights[:2] == pytest.approx([0.5, 0.5], abs=1e-6)


def test_the_weight_falls_with_the_squared_distance_to_the_farthest_that_counts() -> None:
    """Six datasets: the nearer four count, the fourth with nothing, at shifts of 0, 1, 2, 3, ..."""
    shifts = np.array([0.0, 0.1, 0.2, 0.3, 0.4, 0.5])
    scores = 0.5 + np.vstack([shifts, shifts])

    weights = weights_of(curves(scores, scores), ("m0", "m1"), [0.5, 0.5])

    kernel = [1.0, 1 - 1 / 9, 1 - 4 / 9, 0.0, 0.0, 0.0]
    assert weights == pytest.approx(np.array(kernel) / sum(kernel), abs=1e-6)


def test_of_many_datasets_the_sixteen_nearest_count() -> None:
    """Two thirds of 30 would be 20; the sixteenth is where the weight reaches nothing."""
    shifts = 0.01 * np.arange(30)
    scores = 0.3 + np.vstack([shifts, shifts])

    weights = weights_of(curves(scores, scores), ("m0", "m1"), [0.3, 0.3])

    assert [w > 1e-6 for w in weights] == [True] * 15 + [False] * 15


def test_a_dataset_that_lacks_a_candidate_weighs_less_by_its_share() -> None:
    """On d0 and d1 all looks the same, but of the three candidates d1 has only two."""
    scores = np.full((3, 6), 0.5)
    scores[:, 2:] = 0.9
    final = scores.copy()
    final[2, 1] = NAN

    weights = weights_of(curves(scores, final), ("m0", "m1", "m2"), [0.5, 0.5, 0.5])

    assert weights[1] / weights[0] == pytest.approx(2 / 3)


def test_two_records_are_a_history_of_ones_own_and_one_is_none() -> None:
    """Two can differ; what one alone says of a candidate may be the dataset's doing."""
    rng = np.random.default_rng(0)
    final = rng.random((4, 8))
    final[2, 2:] = NAN
    final[3, 1:] = NAN
    known = curves(np.where(np.isnan(final), NAN, 0.5), final)

    samples = sample_final_scores(
        PolicyHistory(known), ("m0", "m1", "m2", "m3"), np.full(4, 0.5), 1
    )

    assert samples is not None
    assert samples.has_history.tolist() == [True, True, True, False]


@pytest.mark.parametrize(("grown", "lasting"), [(0.5, 0.5), (1.0, 1.0), (2.0, 1.0), (-1.0, 0.0)])
def test_of_an_unusual_gap_no_more_than_all_of_it_lasts(grown: float, lasting: float) -> None:
    """Recorded gaps of plus or minus 0.1 ended ``grown`` times as large; today there is none."""
    sign = np.array([1.0, -1.0] * 10)
    scores = 0.5 + 0.05 * np.vstack([sign, -sign])
    final = 0.8 + 0.05 * grown * np.vstack([sign, -sign])

    samples = sample_final_scores(
        PolicyHistory(curves(scores, final)), ("m0", "m1"), np.array([0.5, 0.5]), 1
    )

    assert samples is not None
    expected = 0.8 + 0.05 * (grown - lasting) * sign
    assert samples.final_scores[0] == pytest.approx(expected)


@pytest.mark.parametrize("lasting", [1.0, 0.5, 0.0])
def test_noise_of_a_score_counts_by_the_share_of_gaps_that_last(lasting: float) -> None:
    """A deviation of 0.1, beside the mean of two candidates 0.1 / sqrt 2, fades as gaps do."""
    sign = np.array([1.0, -1.0] * 10)
    scores = 0.5 + 0.05 * np.vstack([sign, -sign])
    final = 0.8 + 0.05 * lasting * np.vstack([sign, -sign])
    noisy = curves(scores, final, np.full((2, 20, STAGES), 0.01))

    exact = sample_final_scores(
        PolicyHistory(replace(noisy, variances=None)), ("m0", "m1"), np.full(2, 0.5), 1
    )
    samples = sample_final_scores(PolicyHistory(noisy), ("m0", "m1"), np.full(2, 0.5), 1)

    assert exact is not None
    assert samples is not None
    carried = np.sqrt(samples.std**2 - exact.std**2)
    assert carried == pytest.approx(np.full(2, lasting * 0.1 / math.sqrt(2)), abs=1e-6)


def test_noise_of_a_newcomers_score_counts_whole() -> None:
    """Whether its gap will last is not on record, so nothing of the noise is taken off."""
    final = np.vstack([np.full(20, 0.8), np.full(20, 0.7)])
    rng = np.random.default_rng(1)
    scores = 0.5 + 0.05 * rng.choice([-1.0, 1.0], (2, 20))  # gaps of which nothing lasts
    noisy = curves(scores, final, np.full((2, 20, STAGES), 0.01))
    asked = ("m0", "m1", "new"), np.full(3, 0.5), 1

    exact, samples = (
        sample_final_scores(PolicyHistory(replace(noisy, variances=None)), *asked),
        sample_final_scores(PolicyHistory(noisy), *asked),
    )

    assert exact is not None
    assert samples is not None
    carried = math.sqrt(samples.std[2] ** 2 - exact.std[2] ** 2)
    assert carried == pytest.approx(0.1 * math.sqrt(2 / 3), abs=1e-6)


def test_a_row_is_off_by_half_a_standard_error_of_its_gap() -> None:
    """16 equal datasets; gaps to the level of plus or minus 0.05: half of 0.05 / sqrt 16."""
    sign = np.array([1.0, -1.0] * 8)
    final = 0.8 + 0.05 * np.vstack([sign, -sign])
    known = curves(np.full((2, 16), 0.5), final)

    samples = sample_final_scores(PolicyHistory(known), ("m0", "m1"), np.full(2, 0.5), 1)

    assert samples is not None
    assert samples.weights == pytest.approx(np.full((2, 16), 1 / 16))
    assert samples.std == pytest.approx(np.full(2, 0.5 * 0.05 / 4))
    assert samples.clip == pytest.approx(0.05)


def test_one_dataset_that_stands_out_is_no_certainty() -> None:
    """Where nearly all weight is one dataset's, the error is that of a mean of two."""
    scores = np.array([[0.5, 0.6, 0.95, 0.99], [0.5, 0.6, 0.95, 0.99]])
    final = np.array([[0.8, 0.6, 0.7, 0.7], [0.7, 0.7, 0.7, 0.7]])
    known = curves(scores, final)

    samples = sample_final_scores(PolicyHistory(known), ("m0", "m1"), np.array([0.5, 0.5]), 1)

    assert samples is not None
    first, second = samples.weights[0, :2]
    assert first**2 + second**2 > 0.5  # of fewer than two datasets
    spread = 0.1 * math.sqrt(first * second)  # of a gap of 0.05 on the first and -0.05 on the other
    assert samples.std == pytest.approx(np.full(2, 0.5 * spread / math.sqrt(2)), rel=1e-4)


def test_sixteen_datasets_with_everyone_are_used_alone_and_fifteen_are_not() -> None:
    """More datasets are worth less than datasets on which all can be compared."""
    rng = np.random.default_rng(2)
    for whole, used in ((16, 16), (15, 20)):
        final = rng.random((3, 20))
        final[2, whole:] = NAN
        known = PolicyHistory(curves(np.where(np.isnan(final), NAN, 0.5), final))

        recorded = sample_recorded_scores(known, ("m0", "m1", "m2"))
        drawn = sample_final_scores(known, ("m0", "m1", "m2"), np.full(3, 0.5), 1)

        assert recorded is not None
        assert drawn is not None
        assert recorded.final_scores.shape == drawn.final_scores.shape == (3, used)


@pytest.mark.parametrize(("datasets", "enough"), [(3, False), (4, True)])
def test_four_datasets_are_the_least_that_tell_anything(datasets: int, enough: bool) -> None:
    known = PolicyHistory(curves(np.full((2, datasets), 0.5), np.full((2, datasets), 0.7)))

    assert (sample_recorded_scores(known, ("m0", "m1")) is not None) == enough
    assert (sample_final_scores(known, ("m0", "m1"), np.full(2, 0.5), 1) is not None) == enough


def test_what_all_gain_on_a_dataset_is_no_surprise_of_one() -> None:
    """m0 deviates by 0.3 with all others, by 0.1 alone: the first stays, the second is clipped."""
    final_scores = np.array([[0.9, 0.5], [0.8, 0.4], [0.7, 0.3]])
    final_scores[0, 0] += 0.12
    samples = ScoreSamples(
        final_scores=final_scores,
        weights=np.full((3, 2), 0.5),
        std=np.zeros(3),
        has_history=np.ones(3, dtype=bool),
        clip=0.01,
    )

    got = samples.clipped

    # the mean of m0 is 0.76 and it deviates by 0.26, the others by 0.2: by 0.22 in all, 0.04 alone
    assert got[0] == pytest.approx([0.76 + 0.22 + 0.01, 0.76 - 0.22 - 0.01])
    assert got[1] == pytest.approx([0.6 + 0.22 - 0.01, 0.6 - 0.22 + 0.01])


@given(seed=SEEDS)
@settings(max_examples=20, deadline=None)
def test_the_order_of_models_and_datasets_does_not_matter(seed: int) -> None:
    rng = np.random.default_rng(seed)
    known = random_curves(rng, 5, 20, 0.1)
    names = tuple(known.models)
    now = 0.3 + 0.3 * rng.random(5)
    rows, columns = rng.permutation(5), rng.permutation(20)
    other = Curves(
        models=tuple(names[i] for i in rows),
        datasets=tuple(known.datasets[j] for j in columns),
        scores=known.scores[np.ix_(rows, columns)],
        final_scores=known.final_scores[np.ix_(rows, columns)],
        variances=None if known.variances is None else known.variances[np.ix_(rows, columns)],
    )
    asked = rng.permutation(5)

    one = sample_final_scores(PolicyHistory(known), names, now, 2)
    two = sample_final_scores(PolicyHistory(other), tuple(names[i] for i in asked), now[asked], 2)

    assert one is not None
    assert two is not None
    np.testing.assert_allclose(two.expected, one.expected[asked])
    np.testing.assert_allclose(two.std, one.std[asked])


@given(lead=st.floats(-3, 3), std=st.floats(1e-3, 3))
@settings(max_examples=50, deadline=None)
def test_expected_improvement_is_the_mean_of_the_positive_part(lead: float, std: float) -> None:
    """Its closed form against a sum over ten thousand quantiles of the normal distribution."""
    samples = ScoreSamples(
        final_scores=np.array([[lead]]),
        weights=np.ones((1, 1)),
        std=np.array([std]),
        has_history=np.ones(1, dtype=bool),
    )
    normal = ndtri((np.arange(10_000) + 0.5) / 10_000)

    got = float(samples.expected_improvement(np.zeros(1))[0])

    assert got == pytest.approx(np.maximum(0.0, lead + std * normal).mean(), abs=1e-3 * std)
    assert got == pytest.approx(improvement(lead, std))
