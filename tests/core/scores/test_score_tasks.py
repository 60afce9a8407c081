"""What holds for every score of labels and of numbers: definitions, invariances, refusals."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from labeled import sample, sample_of
from scipy.stats import spearmanr
from sklearn.decomposition import PCA
from sklearn.metrics import average_precision_score
from sklearn.preprocessing import StandardScaler

from mlflow_recall.core.arrays import AnyArray, FloatArray
from mlflow_recall.core.history.tasks import CLASSIFICATION, MULTILABEL, REGRESSION, TASKS
from mlflow_recall.core.scores import SCORES, logme, logme_regression
from mlflow_recall.core.scores.features import unit_rows
from mlflow_recall.errors import ScoreInputError

CASES = [
    (name, task)
    for name, row in sorted(SCORES.items())
    for task in row.tasks
    if task != CLASSIFICATION
]
REGRESSIONS = [name for name, task in CASES if task == REGRESSION]
MULTILABELS = [name for name, task in CASES if task == MULTILABEL]
#: a label is two classes, and the score is the mean over labels
MEANS_OVER_LABELS = ["gbc", "hscore", "logme", "nleep", "transrate"]
#: scores whose samples have no order; nleep draws its halves by place
SETS = [case for case in CASES if case[0] != "nleep"]
SHAPES = [(60, 8), (30, 45)]

ALL_CASES = pytest.mark.parametrize(("name", "task"), CASES)
ALL_SHAPES = pytest.mark.parametrize(("n", "d"), SHAPES)


def score(name: str, task: str, features: object, targets: object) -> float:
    return SCORES[name].compute(features, targets, task=task)


def test_each_score_serves_the_tasks_that_it_is_defined_for() -> None:
    """Design of the table: three tasks, those with classes, or those with a source head."""
    assert {name: row.tasks for name, row in SCORES.items()} == {
        **dict.fromkeys(["logme", "parc", "lfc", "knn", "linear_probe"], TASKS),
        **dict.fromkeys(["hscore", "nleep", "transrate", "gbc"], (CLASSIFICATION, MULTILABEL)),
        **dict.fromkeys(["leep", "nce"], (CLASSIFICATION,)),
    }


# --- definitions ----------------------------------------------------------------------------------


def mean_average_precision(targets: AnyArray, predicted: FloatArray) -> float:
    pairs = zip(targets.T, predicted.T, strict=True)
    return float(np.mean([average_precision_score(y, p) for y, p in pairs]))


def rank_correlation(targets: AnyArray, predicted: FloatArray) -> float:
    return float(spearmanr(targets, predicted)[0])


#: task -> primary metric of targets and predictions
METRIC: dict[str, Callable[[AnyArray, FloatArray], float]] = {
    MULTILABEL: mean_average_precision,
    REGRESSION: rank_correlation,
}


def slow_knn(features: FloatArray, targets: AnyArray, task: str) -> float:
    """Each sample against all others, one by one."""
    predicted = []
    for i, row in enumerate(features):
        others = [j for j in range(len(features)) if j != i]
        near = sorted(others, key=lambda j: float(np.linalg.norm(features[j] - row)))[:5]
        predicted.append(np.mean([targets[j] for j in near], axis=0))
    return METRIC[task](targets, np.array(predicted).round(9))


def slow_linear_probe(features: FloatArray, targets: AnyArray, task: str) -> float:
    """For each column the best penalty, then n fits that lack one sample each."""
    n, d = features.shape
    X = features - features.mean(axis=0)
    largest = float(np.linalg.eigvalsh(X.T @ X)[-1])
    predicted = []
    for column in targets.reshape(n, -1).T:
        y = column - column.mean()

        def error(penalty: float, y: FloatArray = y) -> float:
            hat = X @ np.linalg.solve(X.T @ X + penalty * np.eye(d), X.T)
            return float(((y - hat @ y) ** 2).sum() / (n - 1 - np.trace(hat)) ** 2)

        best = min((largest * 10.0**x for x in np.linspace(-7, 2, 37)), key=error)
        fits = []
        for i in range(n):
            rest = np.arange(n) != i
            gram = X[rest].T @ X[rest] + best * np.eye(d)
            fits.append(X[i] @ np.linalg.solve(gram, X[rest].T @ y[rest]))
        predicted.append(fits)
    return METRIC[task](targets, np.array(predicted).T.reshape(targets.shape))


def label_distance(a: AnyArray, b: AnyArray) -> float:
    """1 - Pearson's correlation; constant vectors correlate with nothing but their equals."""
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0 if np.array_equal(a, b) else 1.0
    return float(np.round(1 - np.corrcoef(a, b)[0, 1], 9))


def slow_parc(features: FloatArray, targets: AnyArray, task: str) -> float:
    """Pair by pair on the dense matrices."""
    n, d = features.shape
    reduced = StandardScaler().fit_transform(PCA(min(32, n - 1, d)).fit_transform(features))
    first = 1 - np.corrcoef(reduced)
    pairs = [(i, j) for i in range(n) for j in range(i)]
    second = [
        label_distance(targets[i], targets[j])
        if task == MULTILABEL
        else abs(targets[i] - targets[j])
        for i, j in pairs
    ]
    return float(100 * spearmanr([first[p] for p in pairs], second)[0])


def slow_lfc(features: FloatArray, targets: AnyArray, task: str) -> float:
    """Cosine of two n x n kernels, with the centering matrix."""
    n = len(targets)
    centering = np.eye(n) - 1 / n
    rows = [row / np.linalg.norm(row) for row in centering @ features]
    columns = targets.reshape(n, -1)
    kernel = centering @ np.array([[a @ b for b in rows] for a in rows]) @ centering
    similar = centering @ np.array([[a @ b for b in columns] for a in columns]) @ centering
    return float((kernel * similar).sum() / np.linalg.norm(kernel) / np.linalg.norm(similar))


SLOW: dict[str, Callable[[FloatArray, AnyArray, str], float]] = {
    "knn": slow_knn,
    "lfc": slow_lfc,
    "linear_probe": slow_linear_probe,
    "parc": slow_parc,
}


@pytest.mark.parametrize("name", sorted(SLOW))
@pytest.mark.parametrize("task", [MULTILABEL, REGRESSION])
@ALL_SHAPES
@pytest.mark.parametrize("seed", range(2))
def test_the_score_is_its_definition(name: str, task: str, n: int, d: int, seed: int) -> None:
    features, targets = sample_of(task, n, d, seed=seed)

    expected = SLOW[name](features, targets, task)

    assert score(name, task, features, targets) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("name", MEANS_OVER_LABELS)
@ALL_SHAPES
def test_the_score_of_labels_is_the_mean_of_the_scores_of_each(name: str, n: int, d: int) -> None:
    """Of the two classes that each of them makes, whose definitions have their own tests."""
    features, targets = sample_of(MULTILABEL, n, d)

    expected = np.mean([SCORES[name].compute(features, column) for column in targets.T])

    assert score(name, MULTILABEL, features, targets) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("name", ["knn", "linear_probe"])
@ALL_SHAPES
def test_labels_are_predicted_each_by_itself(name: str, n: int, d: int) -> None:
    features, targets = sample_of(MULTILABEL, n, d)

    each = [score(name, MULTILABEL, features, column[:, None]) for column in targets.T]

    assert score(name, MULTILABEL, features, targets) == pytest.approx(np.mean(each))


@pytest.mark.parametrize("center", [True, False])
@ALL_SHAPES
def test_logme_of_numbers_is_logme_regression(center: bool, n: int, d: int) -> None:
    features, targets = sample_of(REGRESSION, n, d)

    assert logme(features, targets, task=REGRESSION, center=center) == pytest.approx(
        logme_regression(features, targets, center=center), rel=1e-12
    )


@pytest.mark.parametrize("name", sorted({*MEANS_OVER_LABELS, "lfc", "parc"}))
@ALL_SHAPES
def test_one_label_is_two_classes(name: str, n: int, d: int) -> None:
    """The scores of labels continue those of classes; accuracy is no average precision."""
    features, labels = sample(n, d, classes=2)

    got = score(name, MULTILABEL, features, labels[:, None])

    assert got == pytest.approx(SCORES[name].compute(features, labels), rel=1e-9)


@pytest.mark.parametrize("name", ["lfc", "parc"])
@ALL_SHAPES
def test_label_vectors_that_are_one_hot_are_classes(name: str, n: int, d: int) -> None:
    features, labels = sample(n, d)

    got = score(name, MULTILABEL, features, np.eye(3)[labels])

    assert got == pytest.approx(SCORES[name].compute(features, labels), rel=1e-9)


@pytest.mark.parametrize("name", ["lfc", "parc"])
def test_features_that_are_the_numbers_align_as_much_as_can_be(name: str) -> None:
    """Closed form: two values are two classes, and the label kernel is that of the features."""
    features, _ = sample(30, 5)
    numbers = np.repeat([-1.0, 1.0], 15)

    as_numbers = score(name, REGRESSION, features, 10 + 3 * numbers)

    assert as_numbers == pytest.approx(SCORES[name].compute(features, numbers), rel=1e-9)
    if name == "lfc":
        assert score(name, REGRESSION, numbers[:, None], numbers) == pytest.approx(1.0)


# --- invariances ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "task"), SETS)
@ALL_SHAPES
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=4, deadline=None)
def test_order_of_samples_does_not_matter(name: str, task: str, n: int, d: int, seed: int) -> None:
    features, targets = sample_of(task, n, d, seed=seed % 1000)
    order = np.random.default_rng(seed).permutation(n)

    got = score(name, task, features[order], targets[order])

    assert got == pytest.approx(score(name, task, features, targets), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("name", REGRESSIONS)
@ALL_SHAPES
@pytest.mark.parametrize(
    ("factor", "shift"), [(1.0, 100.0), (-3.0, 0.0), (1e-3, -1.0), (1e200, 0.0), (1e-200, 0.0)]
)
def test_numbers_have_no_unit_no_origin_and_no_direction(
    name: str, n: int, d: int, factor: float, shift: float
) -> None:
    features, targets = sample_of(REGRESSION, n, d)

    got = score(name, REGRESSION, features, factor * targets + shift)

    assert got == pytest.approx(score(name, REGRESSION, features, targets), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("name", MULTILABELS)
@ALL_SHAPES
def test_order_of_labels_does_not_matter(name: str, n: int, d: int) -> None:
    features, targets = sample_of(MULTILABEL, n, d)

    got = score(name, MULTILABEL, features, targets[:, [2, 0, 3, 1]])

    assert got == pytest.approx(score(name, MULTILABEL, features, targets), rel=1e-9)


@pytest.mark.parametrize("name", MULTILABELS)
@ALL_SHAPES
def test_labels_that_all_or_no_samples_have_are_left_out(name: str, n: int, d: int) -> None:
    """They say nothing, and there is no second class to tell the first one from."""
    features, targets = sample_of(MULTILABEL, n, d)
    more = np.column_stack([np.ones(n), targets, np.zeros((n, 2))])

    assert score(name, MULTILABEL, features, more) == score(name, MULTILABEL, features, targets)


@ALL_CASES
@ALL_SHAPES
def test_features_have_no_origin(name: str, task: str, n: int, d: int) -> None:
    features, targets = sample_of(task, n, d)
    offset = 10.0 * np.random.default_rng(1).normal(size=d)

    got = score(name, task, features + offset, targets)

    assert got == pytest.approx(score(name, task, features, targets), rel=1e-6, abs=1e-9)


@ALL_CASES
def test_types_do_not_matter(name: str, task: str) -> None:
    """Lists, booleans and single precision: what is computed is double."""
    features, targets = sample_of(task, 40, 6)
    single = features.astype(np.float32)
    others: list[Any] = [targets.tolist(), targets.astype(np.float64)]
    if task == MULTILABEL:
        others.append(targets.astype(bool))

    for other in others:
        assert score(name, task, single, other) == score(
            name, task, single.astype(np.float64), targets
        )


# --- what it says ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "task", "n", "d"),
    [(*case, 120, 12) for case in CASES]
    + [(*case, 90, 120) for case in CASES if case[0] != "transrate"],
)
def test_features_that_know_the_targets_score_higher_than_noise(
    name: str, task: str, n: int, d: int
) -> None:
    """Higher transfers better: than features that know nothing, and than permuted targets.

    Features are at length one where the table says so, since TransRate depends on their unit. It
    does not see two classes apart where there are fewer samples than dimensions.
    """
    features, targets = sample_of(task, n, d, apart=2.0)
    noise = [sample_of(task, n, d, apart=0.0, seed=seed)[0] for seed in range(1, 6)]
    if SCORES[name].unit:
        features, noise = unit_rows(features), [unit_rows(rows) for rows in noise]
    permuted = [np.random.default_rng(seed).permutation(targets) for seed in range(5)]

    chance = [score(name, task, rows, targets) for rows in noise]
    chance += [score(name, task, features, other) for other in permuted]

    assert score(name, task, features, targets) > max(chance)


@pytest.mark.parametrize("name", ["knn", "linear_probe", "parc"])
@pytest.mark.parametrize("d", [20, 200])
def test_features_that_know_nothing_of_numbers_correlate_with_nothing(name: str, d: int) -> None:
    """A held-out mean would correlate negatively; here it is that of all samples."""
    scores = [
        score(name, REGRESSION, *sample_of(REGRESSION, 100, d, apart=0.0, seed=seed))
        for seed in range(20)
    ]

    assert np.mean(scores) / SCORES[name].high == pytest.approx(0.0, abs=0.06)


@pytest.mark.parametrize("name", ["knn", "linear_probe"])
def test_constant_features_score_chance(name: str) -> None:
    """Numbers do not correlate with a constant, and the precision is the share of a label."""
    constant = np.full((200, 3), 0.1)
    _, numbers = sample_of(REGRESSION, 200, 3)
    _, labels = sample_of(MULTILABEL, 200, 3)

    assert score(name, REGRESSION, constant, numbers) == pytest.approx(0.0, abs=0.15)
    assert score(name, MULTILABEL, constant, labels) == pytest.approx(labels.mean(), abs=0.06)


@ALL_CASES
@pytest.mark.parametrize(
    "features",
    [
        np.zeros((24, 4)),
        np.full((24, 4), 0.1),
        np.column_stack([sample(24, 2)[0], np.full((24, 3), 1e6)]),
        np.repeat(sample(6, 3)[0], 4, axis=0),
        sample(24, 1)[0],
        sample(24, 100)[0],
        1e-8 * sample(24, 4)[0],
        1e8 * sample(24, 4)[0],
        np.eye(24),
    ],
    ids=[
        "zeros",
        "constant",
        "some columns constant",
        "duplicates",
        "one dimension",
        "n < d",
        "small",
        "large",
        "alike",
    ],
)
def test_the_score_is_finite_and_in_its_range(name: str, task: str, features: FloatArray) -> None:
    _, targets = sample_of(task, 24, 1)
    low, high = SCORES[name].range_of(task)

    got = score(name, task, features, targets)

    assert math.isfinite(got)
    assert low <= got <= high
    assert isinstance(got, float)


@ALL_CASES
def test_features_that_are_the_targets_have_a_finite_score(name: str, task: str) -> None:
    _, targets = sample_of(task, 40, 1)

    got = score(name, task, targets.reshape(40, -1), targets)

    assert math.isfinite(got)
    if name == "linear_probe":
        assert got == pytest.approx(1.0)


@ALL_CASES
def test_it_leaves_its_arguments_alone(name: str, task: str) -> None:
    features, targets = sample_of(task, 50, 20)
    before = features.copy(), targets.copy()

    assert score(name, task, features, targets) == score(name, task, features, targets)
    np.testing.assert_array_equal(features, before[0])
    np.testing.assert_array_equal(targets, before[1])


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", REGRESSIONS)
@pytest.mark.parametrize(
    ("rows", "numbers", "message"),
    [
        (np.eye(3), [5.0, 5.0, 5.0], "target 0 is constant: nothing to regress"),
        (np.eye(3), [0.0, 0.0, 0.0], "target 0 is constant: nothing to regress"),
        (np.eye(3), [1.0, math.nan, 2.0], "row 1 of targets is not finite"),
        (np.eye(3), [1.0, 2.0, math.inf], "row 2 of targets is not finite"),
        (np.eye(3), [1.0, 2.0], "expected a target for each of 3 rows, got 2"),
        (np.eye(2), [1.0, 2.0], "expected three samples or more, got 2"),
        (np.eye(3), np.eye(3), r"expected numbers \(n,\) of a regression, got \(3, 3\)"),
        (np.eye(3), ["a", "b", "c"], "expected numbers as targets"),
        (np.eye(3), [1j, 2j, 3j], "expected real numbers as targets"),
        (np.zeros(3), [1.0, 2.0, 3.0], r"expected embeddings \(n, d\), got \(3,\)"),
        ([[1.0], [math.nan], [2.0]], [1.0, 2.0, 3.0], "row 1 of embeddings is not finite"),
    ],
)
def test_numbers_that_it_is_not_defined_for_are_refused(
    name: str, rows: object, numbers: object, message: str
) -> None:
    with pytest.raises(ScoreInputError, match=message):
        score(name, REGRESSION, rows, numbers)


@pytest.mark.parametrize("name", MULTILABELS)
@pytest.mark.parametrize(
    ("rows", "labels", "message"),
    [
        (np.eye(3), [[0, 1]] * 3, "a label that some samples have and others lack, got none of 2"),
        (np.eye(3), [0, 1, 1], r"expected labels \(n, c\) of zeros and ones, got \(3,\)"),
        (np.eye(3), np.zeros((3, 0)), "have and others lack, got none of 0"),
        (np.eye(3), [[0, 1], [1, 2], [0, 0]], r"row 1 of labels: expected zeros and ones, got \["),
        (np.eye(3), [[0.0], [0.5], [1.0]], r"row 1 of labels: expected zeros and ones, got \[0.5"),
        (np.eye(3), [[0.0], [math.nan], [1.0]], "row 1 of labels is not finite"),
        (np.eye(3), [[0], [1]], "expected a target for each of 3 rows, got 2"),
        (np.eye(2), [[0], [1]], "expected three samples or more, got 2"),
        (np.eye(3), [[1], [0, 1], []], "expected numbers as labels"),
        (np.eye(3), [["a"], ["b"], ["c"]], "expected numbers as labels"),
        (np.zeros(3), [[0], [1], [1]], r"expected embeddings \(n, d\), got \(3,\)"),
    ],
)
def test_labels_that_it_is_not_defined_for_are_refused(
    name: str, rows: object, labels: object, message: str
) -> None:
    with pytest.raises(ScoreInputError, match=message):
        score(name, MULTILABEL, rows, labels)


@pytest.mark.parametrize(
    "name", [name for name, row in sorted(SCORES.items()) if row.needs == "embeddings"]
)
def test_a_task_that_it_does_not_serve_is_refused(name: str) -> None:
    """As the table says, and as the function itself says."""
    for task in {*TASKS, "ranking"} - {*SCORES[name].tasks}:
        with pytest.raises(ScoreInputError, match=f"expected a task of .*, got '{task}'"):
            score(name, task, np.eye(4), [0.0, 1.0, 2.0, 3.0])


def test_pairs_that_are_all_alike_have_no_correlation() -> None:
    """Each sample has a label that no other has: all are equally unlike."""
    with pytest.raises(ScoreInputError, match="all pairs of the 4 compared samples are equally"):
        score("parc", MULTILABEL, sample(4, 3)[0], np.eye(4))
