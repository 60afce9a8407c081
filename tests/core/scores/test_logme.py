"""Facts of LogME: the maximum of its evidence, its invariances, and what it refuses."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize_scalar
from scipy.stats import ortho_group

from mlflow_recall.core.arrays import AnyArray, FloatArray
from mlflow_recall.core.scores import SCORES, logme, logme_regression
from mlflow_recall.errors import ScoreInputError

NAN = math.nan


def sample(
    n: int, d: int, classes: int = 2, apart: float = 0.5, seed: int = 0
) -> tuple[FloatArray, AnyArray]:
    """Gaussian classes whose means are ``apart`` in each dimension, 0 is noise."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % classes)
    means = apart * rng.normal(size=(classes, d))
    return rng.normal(size=(n, d)) + means[labels], labels


def evidence(features: FloatArray, y: FloatArray, alpha: float, beta: float) -> float:
    """Equation 2 of You et al. 2021 with dense matrices, per sample."""
    n, d = features.shape
    A = alpha * np.eye(d) + beta * features.T @ features
    m = beta * np.linalg.solve(A, features.T @ y)
    fit = beta * ((features @ m - y) ** 2).sum() + alpha * (m**2).sum()
    determinant = np.linalg.slogdet(A)[1]
    twice = n * math.log(beta / (2 * math.pi)) + d * math.log(alpha) - fit - determinant
    return float(twice / (2 * n))


def fixed_point(features: FloatArray, y: FloatArray) -> float:
    """Algorithm 1 with dense matrices, ``gamma`` the number of effective dimensions."""
    n, d = features.shape
    alpha = beta = 1.0
    for _ in range(500):
        A = alpha * np.eye(d) + beta * features.T @ features
        inverse = np.linalg.inv(A)
        m = beta * inverse @ features.T @ y
        gamma = d - alpha * np.trace(inverse)
        alpha, beta = gamma / (m @ m), (n - gamma) / ((features @ m - y) ** 2).sum()
    return evidence(features, y, alpha, beta)


def highest(features: FloatArray, y: FloatArray) -> tuple[float, float, float]:
    """Maximum of the evidence, as the density of y ~ N(0, I / beta + F Fᵀ / alpha), and where.

    Given r = alpha / beta, the best beta is n / (yᵀ S⁻¹ y) with S = I + F Fᵀ / r: a search along
    one line, over a grid first, since there can be two peaks.
    """
    n = len(y)
    gram = features @ features.T

    def at(log_ratio: float) -> tuple[float, float]:
        factor = cho_factor(np.eye(n) + gram / math.exp(log_ratio), lower=True)
        beta = n / float(y @ cho_solve(factor, y))
        determinant = 2 * float(np.log(np.diag(factor[0])).sum())
        return (n * math.log(beta / (2 * math.pi)) - determinant - n) / (2 * n), beta

    grid = math.log(np.trace(gram) / n) + np.linspace(-16.0, 16.0, 33)
    peak = grid[int(np.argmax([at(x)[0] for x in grid]))]
    optimum = minimize_scalar(
        lambda x: -at(x)[0], bounds=(peak - 1, peak + 1), method="bounded", options={"xatol": 1e-9}
    )
    value, beta = at(optimum.x)
    return value, math.exp(optimum.x) * beta, beta


def contrasts(n: int) -> FloatArray:
    """(n - 1, n) orthonormal rows that sum to zero: what is left once the mean is free."""
    basis = np.linalg.qr(np.column_stack([np.ones(n), np.eye(n)[:, 1:]]))[0]
    rest: FloatArray = basis[:, 1:].T
    return rest


@pytest.mark.parametrize(("n", "d"), [(60, 8), (50, 76), (76, 76)])
def test_the_score_is_the_fixed_point_of_algorithm_1(n: int, d: int) -> None:
    """Also with fewer samples than dimensions, where log |A| has d - n more terms."""
    features, labels = sample(n, d, classes=3, apart=0.3)

    expected = np.mean([fixed_point(features, column) for column in np.eye(3)[labels].T])

    assert logme(features, labels, center=False) == pytest.approx(expected, rel=1e-6)


def test_500_samples_of_a_768_wide_encoder() -> None:
    """The case that the common implementation gets wrong, against all 768 eigenvalues of A."""
    features, labels = sample(500, 768, apart=0.1)

    peaks = [(column, *highest(features, column)) for column in np.eye(2)[labels].T]
    dense = [evidence(features, column, alpha, beta) for column, _, alpha, beta in peaks]

    assert dense == pytest.approx([value for _, value, _, _ in peaks], rel=1e-9)
    assert logme(features, labels, center=False) == pytest.approx(np.mean(dense), rel=1e-6)


@pytest.mark.parametrize(("n", "d"), [(60, 8), (50, 76), (20, 19)])
@pytest.mark.parametrize("apart", [0.3, 1.0])
def test_centering_leaves_one_sample_less(n: int, d: int, apart: float) -> None:
    """A free intercept takes one degree of freedom: the evidence is that of the n - 1 contrasts.

    Counting n instead leaves, wherever d >= n - 1, a direction without residual, in which the
    evidence has no bound.
    """
    features, labels = sample(n, d, apart=apart)
    rest = contrasts(n)

    expected = highest(rest @ features, rest @ np.eye(2)[labels][:, 0])[0]

    assert logme(features, labels) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("seed", [*range(8), 49, 62, 109])
def test_no_other_prior_and_noise_have_more_evidence(seed: int) -> None:
    """The evidence can have two peaks (features of unlike scales); the score is the higher."""
    rng = np.random.default_rng(seed)
    n, d = int(rng.integers(12, 50)), int(rng.integers(30, 90))
    features, labels = sample(n, d, apart=0.2, seed=seed)
    features *= np.exp(1.5 * rng.normal(size=d))

    expected = np.mean([highest(features, column)[0] for column in np.eye(2)[labels].T])

    assert logme(features, labels, center=False) == pytest.approx(expected, abs=1e-5)


@given(seed=st.integers(0, 2**32 - 1), shape=st.sampled_from([(40, 6), (15, 25)]))
@settings(max_examples=20)
def test_names_order_rotation_and_origin_do_not_matter(seed: int, shape: tuple[int, int]) -> None:
    """The prior is isotropic, and centered features have no origin."""
    n, d = shape
    rng = np.random.default_rng(seed)
    features, labels = sample(n, d, classes=3, seed=seed)
    base = logme(features, labels)
    order = rng.permutation(n)
    rotation = ortho_group.rvs(d, random_state=rng)

    assert logme(features, np.array([9, -1, 4])[labels]) == pytest.approx(base)
    assert logme(features, np.array(["c", "a", "b"])[labels]) == pytest.approx(base)
    assert logme(features[order], labels[order]) == pytest.approx(base)
    assert logme(features @ rotation, labels) == pytest.approx(base, rel=1e-6)
    assert logme(features + 10 * rng.normal(size=d), labels) == pytest.approx(base, rel=1e-6)


@pytest.mark.parametrize("factor", [1e-6, 1e-2, 1e2, 1e6])
@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize(("n", "d"), [(60, 8), (50, 76)])
def test_the_unit_of_the_features_does_not_matter(
    n: int, d: int, center: bool, factor: float
) -> None:
    """Features times s are undone by alpha times s²."""
    features, labels = sample(n, d)

    assert logme(factor * features, labels, center=center) == pytest.approx(
        logme(features, labels, center=center), rel=1e-5
    )


@pytest.mark.parametrize(
    ("n", "strong", "weak", "ratio", "powers"),
    [(30, 5, 4, 10, (13.0, 1.0, 0.16)), (12, 2, 4, 9, (1.0, 4.0, 0.07))],
)
def test_the_higher_of_two_peaks_is_found_where_both_are_narrow(
    n: int, strong: int, weak: int, ratio: int, powers: tuple[float, float, float]
) -> None:
    """Strong dimensions hold part of the target, weak ones another, and each has a prior for it.

    A search by steps of 1 in log r, in place of 0.5, would take the lower peak, by 0.008 and 0.03.
    """
    spectrum = np.r_[np.ones(strong), np.full(weak, math.exp(-ratio))]
    scale = n / sum(powers)
    power = scale * np.r_[np.full(strong, powers[0] / strong), np.full(weak, powers[1] / weak)]
    outside = scale * powers[2]
    axes = ortho_group.rvs(n, random_state=0)
    k = len(spectrum)
    target = axes[:, :k] @ np.sqrt(power) + math.sqrt(outside) * axes[:, k]

    got = logme_regression(axes[:, :k] * np.sqrt(spectrum), target, center=False)

    log_r = np.linspace(-25.0, 5.0, 30_001)
    left = 1 / (1 + spectrum[:, None] / np.exp(log_r))  # of the target, by dimension
    square = power @ left + outside
    twice = n * np.log(n / (2 * math.pi * square)) - n + np.log(left).sum(axis=0)
    assert got == pytest.approx(twice.max() / (2 * n), abs=1e-6)


def test_features_nobody_uses_cost_no_evidence() -> None:
    """A dimension of zeros adds log alpha twice, once with each sign."""
    features, labels = sample(40, 5)

    wider = np.column_stack([features, np.zeros((40, 60))])

    assert logme(wider, labels) == pytest.approx(logme(features, labels))


def test_zero_features_leave_the_labels_own_variance() -> None:
    """With F = 0 the evidence is that of N(0, mean y²): -(log 2π mean y² + 1) / 2."""
    labels = [0, 0, 0, 1]
    expected = np.mean([-(math.log(2 * math.pi * square) + 1) / 2 for square in (0.75, 0.25)])

    assert logme(np.zeros((4, 3)), labels, center=False) == pytest.approx(expected)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e5])
def test_constant_features_say_nothing_whatever_their_value(value: float) -> None:
    labels = np.arange(30) % 3

    assert logme(np.full((30, 4), value), labels) == pytest.approx(logme(np.zeros((30, 4)), labels))


def test_better_separated_classes_have_more_evidence() -> None:
    scores = [logme(*sample(100, 10, apart=apart)) for apart in (0.0, 0.3, 1.0, 3.0)]

    assert scores == sorted(scores)


def test_features_that_are_the_labels_have_a_finite_score() -> None:
    labels = np.arange(40) % 4

    assert math.isfinite(logme(np.eye(4)[labels], labels))


def test_one_sample_in_a_class_and_an_absent_class_id_are_fine() -> None:
    """Classes are those that occur: 0, 2 and 9 are three."""
    features, _ = sample(12, 3)
    labels = np.r_[np.zeros(6), np.full(5, 2), 9].astype(int)

    got = logme(features, labels, center=False)

    columns = [labels == c for c in (0, 2, 9)]
    assert got == pytest.approx(np.mean([highest(features, 1.0 * c)[0] for c in columns]), abs=1e-6)


def test_half_precision_is_computed_in_double() -> None:
    features, labels = sample(80, 6)

    assert logme(features.astype(np.float16), labels) == pytest.approx(
        logme(features, labels), abs=1e-3
    )


def test_the_arguments_are_not_changed() -> None:
    features, labels = sample(20, 3)
    before = features.copy()

    logme(features, labels)

    np.testing.assert_array_equal(features, before)


def test_the_table_states_what_it_needs() -> None:
    assert SCORES["logme"].needs == "embeddings"
    assert SCORES["logme"].compute is logme


@pytest.mark.parametrize(
    ("rows", "labels", "message"),
    [
        ([[1.0], [NAN]], [0, 1], "row 1 of embeddings is not finite"),
        ([[-math.inf], [1.0]], [0, 1], "row 0 of embeddings is not finite"),
        ([[1.0], [2.0]], [1, 1], "two classes or more, got 1"),
        ([[1.0], [2.0]], [0, 1, 1], r"expected embeddings .* got \(2, 1\) and \(3,\)"),
        ([1.0, 2.0], [0, 1], r"expected embeddings \(n, d\) and labels \(n,\), got \(2,\)"),
        (np.zeros((2, 3, 4)), [0, 1], r"got \(2, 3, 4\)"),
        (np.zeros((2, 0)), [0, 1], r"got \(2, 0\)"),
    ],
)
def test_what_it_is_not_defined_for_is_refused(rows: object, labels: object, message: str) -> None:
    with pytest.raises(ScoreInputError, match=message):
        logme(rows, labels)  # type: ignore[arg-type]


@pytest.mark.parametrize(("n", "d"), [(60, 8), (50, 76)])
def test_regression_is_the_evidence_of_the_targets(n: int, d: int) -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(n, d))
    targets = features[:, :2] + rng.normal(size=(n, 2))
    unit = targets / np.sqrt((targets**2).mean(axis=0))

    expected = np.mean([highest(features, column)[0] for column in unit.T])

    assert logme_regression(features, targets, center=False) == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize(("n", "d"), [(60, 8), (20, 19), (30, 45)])
def test_centered_regression_is_the_evidence_of_the_contrasts(n: int, d: int) -> None:
    """A free intercept takes one degree of freedom, as it does of the classes' indicators."""
    rng = np.random.default_rng(1)
    features = rng.normal(size=(n, d)) + 3.0
    targets = features[:, :2] + rng.normal(size=(n, 2))
    unit = (targets - targets.mean(axis=0)) / targets.std(axis=0)
    rest = contrasts(n)

    expected = np.mean([highest(rest @ features, rest @ column)[0] for column in unit.T])

    assert logme_regression(features, targets) == pytest.approx(expected, rel=1e-5)


def test_regression_knows_no_unit_and_no_origin() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(40, 5))
    targets = features[:, 0] + rng.normal(size=40)
    base = logme_regression(features, targets)

    assert logme_regression(features - 7, 1000 * targets + 3) == pytest.approx(base, rel=1e-6)
    assert logme_regression(features, targets[:, None]) == base
    assert base > logme_regression(features, rng.permutation(targets))


@pytest.mark.parametrize(
    ("rows", "targets", "message"),
    [
        (np.eye(3), [1.0, 1.0, 1.0], "target 0 is constant"),
        (np.eye(3), [1.0, NAN, 1.0], "row 1 of targets is not finite"),
        (np.eye(3), [1.0, 2.0], "expected a target for each of 3 rows, got 2"),
        (np.eye(2), [1.0, 2.0], "three samples or more, got 2"),
        (np.zeros(3), [1.0, 2.0, 3.0], r"expected embeddings \(n, d\), got \(3,\)"),
        (np.eye(3), ["a", "b", "c"], "expected numbers as targets"),
    ],
)
def test_regression_refuses_what_it_is_not_defined_for(
    rows: object, targets: object, message: str
) -> None:
    with pytest.raises(ScoreInputError, match=message):
        logme_regression(rows, targets)  # type: ignore[arg-type]
