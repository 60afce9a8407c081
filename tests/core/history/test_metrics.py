"""Facts of ``core.metrics``: what is measured, and which direction is better."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from mlflow_recall.core.history.metrics import (
    METRICS,
    MetricChoice,
    check_metric,
    check_target_metric,
    choose_metric,
    compute_metrics,
    is_bounded,
    metrics_of,
    to_maximize,
    why_worthless,
)
from mlflow_recall.core.history.records import Dataset
from mlflow_recall.core.history.tasks import PRIMARY_METRICS, Target
from mlflow_recall.errors import ConfigError

LABELS = np.array([0, 0, 0, 1])
#: three right of four: the third is taken for class 1
PROBABILITIES = np.array([[0.8, 0.2], [0.6, 0.4], [0.4, 0.6], [0.1, 0.9]])
#: labels of three samples; nothing has the third label
SETS = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0]])
SET_PROBABILITIES = np.array([[0.9, 0.6, 0.1], [0.6, 0.7, 0.1], [0.2, 0.4, 0.1]])
NUMBERS = np.array([1.0, 2.0, 3.0, 10.0])
PREDICTIONS = np.array([1.0, 3.0, 2.0, 4.0])
#: task -> targets, good outputs and bad ones
EXAMPLES = {
    "classification": (LABELS, np.eye(2)[LABELS], PROBABILITIES[::-1]),
    "multilabel": (SETS, SETS.astype(float), 1 - SET_PROBABILITIES),
    "regression": (NUMBERS, NUMBERS, PREDICTIONS[::-1]),
}


def test_metrics_of_classes_by_hand() -> None:
    """Counts: 2 and 1 right, 1 false positive of class 1."""
    assert compute_metrics("classification", LABELS, PROBABILITIES) == pytest.approx(
        {
            "accuracy": 3 / 4,
            "balanced_accuracy": (2 / 3 + 1) / 2,
            "f1": 2 / 3,
            "f1_macro": (4 / 5 + 2 / 3) / 2,
            "matthews": (2 * 1 - 0 * 1) / math.sqrt(3 * 2 * 2 * 1),
            "log_loss": -(math.log(0.8) + math.log(0.6) + math.log(0.4) + math.log(0.9)) / 4,
        }
    )


def test_metrics_of_labels_by_hand() -> None:
    """The first label is found without a mistake; the second has a hit, a miss, a false alarm."""
    correct = np.where(SETS > 0, SET_PROBABILITIES, 1 - SET_PROBABILITIES)

    assert compute_metrics("multilabel", SETS, SET_PROBABILITIES) == pytest.approx(
        {
            "average_precision": (1 + (1 / 1 + 2 / 3) / 2) / 2,  # of the two that occur
            "f1_macro": (1 + 1 / 2 + 0) / 3,
            "f1_micro": 2 * 3 / (2 * 3 + 1 + 1),
            "exact_match": 1 / 3,
            "log_loss": -np.log(correct).mean(),
        }
    )


def test_metrics_of_numbers_by_hand() -> None:
    """Ranks 1 2 3 4 and 1 3 2 4 differ by 0, 1, 1, 0: rho = 1 - 6 · 2 / (4 · 15)."""
    got = compute_metrics("regression", NUMBERS, PREDICTIONS)

    squares = np.array([0, 1, 1, 36])
    assert got == pytest.approx(
        {
            "spearman": 0.8,
            "pearson": np.corrcoef(NUMBERS, PREDICTIONS)[0, 1],
            "r2": 1 - squares.sum() / ((NUMBERS - 4) ** 2).sum(),
            "mae": (0 + 1 + 1 + 6) / 4,
            "rmse": math.sqrt(38 / 4),
        }
    )


@pytest.mark.parametrize("name", sorted(METRICS))
def test_perfect_outputs_are_better_than_bad_ones_once_oriented(name: str) -> None:
    for task in METRICS[name].compute:
        targets, good, bad = EXAMPLES[task]
        scores = [compute_metrics(task, targets, outputs)[name] for outputs in (good, bad)]

        assert to_maximize(name, scores[0]) > to_maximize(name, scores[1])
        assert METRICS[name].low <= min(scores) <= max(scores) <= METRICS[name].high


@pytest.mark.parametrize("decimals", [0, 1, 15])
def test_average_precision_is_that_of_scikit_learn(decimals: int) -> None:
    """Also where many outputs are equal, and where a sample has no label or all of them."""
    rng = np.random.default_rng(decimals)
    targets = (rng.random((200, 5)) < [0.01, 0.1, 0.5, 0.9, 0.0]).astype(int)
    targets[0] = 1
    outputs = rng.random((200, 5)).round(decimals)

    got = compute_metrics("multilabel", targets, outputs)["average_precision"]

    assert got == pytest.approx(average_precision_score(targets, outputs), rel=1e-12)


def test_every_task_has_its_primary_metric() -> None:
    for task, name in PRIMARY_METRICS.items():
        assert task in METRICS[name].compute


@pytest.mark.parametrize("task", PRIMARY_METRICS)
def test_the_same_output_for_all_samples_has_finite_metrics(task: str) -> None:
    targets, outputs, _ = EXAMPLES[task]
    constant = np.broadcast_to(outputs.mean(axis=0), outputs.shape)

    assert all(map(math.isfinite, compute_metrics(task, targets, constant).values()))


def test_answers_to_one_question_are_judged_together() -> None:
    """Of two questions, the best answer is right to both, and all answers are to the second."""
    targets = np.array([1, 0, 0, 1, 0])
    right = np.array([0.9, 0.8, 0.1, 0.7, 0.2])
    groups = np.array([7, 7, 7, 3, 3])

    got = compute_metrics("classification", targets, np.stack([1 - right, right], 1), groups)

    assert (got["choice_accuracy"], got["exact_match"], got["accuracy"]) == (1.0, 0.5, 0.8)
    swapped = compute_metrics(
        "classification", targets, np.stack([right, 1 - right], axis=1), groups[::-1]
    )
    assert swapped["choice_accuracy"] == 0.0
    target = Target(classes=("False", "True"), has_groups=True)
    assert set(metrics_of(target)) == set(got)


@pytest.mark.parametrize("task", PRIMARY_METRICS)
def test_a_constant_is_worthless_and_a_perfect_model_is_not(task: str) -> None:
    targets, outputs, _ = EXAMPLES[task]
    constant = np.broadcast_to(np.full_like(outputs[0], targets.mean()), outputs.shape)
    reasons = [why_worthless(task, compute_metrics(task, targets, o)) for o in (constant, outputs)]

    assert reasons[1] is None
    assert (reasons[0] is None) == (task == "multilabel")  # no metric of it has a level of chance
    assert why_worthless(task, {}) is None


def test_a_correlation_of_a_constant_is_zero() -> None:
    got = compute_metrics("regression", NUMBERS, np.full(4, 2.0))

    assert got["spearman"] == got["pearson"] == 0.0


def test_a_metric_of_another_task_is_refused_with_those_of_this_one() -> None:
    assert check_target_metric("f1", Target(classes=("a", "b"))) == "f1"
    with pytest.raises(ConfigError, match=r"classification of 3 classes \(accuracy, .*got 'f1'"):
        check_target_metric("f1", Target(classes=("a", "b", "c")))
    with pytest.raises(ConfigError, match=r"a regression \(mae, pearson, r2, rmse, spearman\)"):
        check_target_metric("accuracy", Target(task="regression"))


def test_the_metrics_of_a_target_are_those_that_are_computed() -> None:
    for task, (targets, outputs, _) in EXAMPLES.items():
        classes = tuple("abc"[: outputs.shape[1]]) if outputs.ndim == 2 else ()
        target = Target(task=task, classes=classes)

        assert set(metrics_of(target)) == set(compute_metrics(task, targets, outputs))


@pytest.mark.parametrize("name", sorted(METRICS))
def test_orienting_twice_changes_nothing(name: str) -> None:
    assert to_maximize(name, to_maximize(name, 0.3)) == 0.3


def test_bounded_metrics_lie_between_zero_and_one() -> None:
    """These may be given in percent."""
    assert {name for name in METRICS if is_bounded(name)} == {
        "accuracy",
        "average_precision",
        "balanced_accuracy",
        "choice_accuracy",
        "exact_match",
        "f1",
        "f1_macro",
        "f1_micro",
    }


def test_a_class_without_samples_is_no_obstacle() -> None:
    got = compute_metrics(
        "classification", np.array([0, 2]), np.array([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]])
    )

    assert got["accuracy"] == got["balanced_accuracy"] == 1.0
    assert got["log_loss"] == pytest.approx(-(math.log(0.5) + math.log(0.8)) / 2)


def test_a_constant_prediction_has_finite_metrics() -> None:
    got = compute_metrics("classification", LABELS, np.tile([0.9, 0.1], (4, 1)))

    assert all(map(math.isfinite, got.values()))
    assert (got["balanced_accuracy"], got["matthews"]) == (0.5, 0.0)


def test_an_unknown_metric_names_the_known_ones() -> None:
    assert check_metric("accuracy") == "accuracy"
    with pytest.raises(
        ConfigError,
        match="unknown metric 'auc': expected one of "
        "accuracy, average_precision, balanced_accuracy, choice_accuracy, ",
    ):
        check_metric("auc")


# --- which metric a target is compared by -------------------------------------------------------


def target(task: str = "classification", own_metric: str = "") -> Dataset:
    return Dataset(
        name="t",
        digest="t1",
        modality="text",
        classes=() if task == "regression" else ("a", "b"),
        sizes={},
        source="",
        folder="",
        task=task,
        own_metric=own_metric,
    )


@pytest.mark.parametrize(
    ("dataset", "requested", "expected"),
    [
        (target(), "primary", "accuracy"),
        (target(own_metric="f1"), "primary", "f1"),
        (target("regression"), "primary", "spearman"),
        (target("multilabel"), "primary", "average_precision"),
        (target(own_metric="f1"), "matthews", "matthews"),
        (None, "primary", "primary"),
        (None, "mae", "mae"),
    ],
)
def test_a_target_is_compared_by_its_own_metric_unless_one_is_named(
    dataset: Dataset | None, requested: str, expected: str
) -> None:
    """The history is read by what was requested, whatever the target is."""
    assert choose_metric(requested, dataset) == MetricChoice(requested, expected)


@pytest.mark.parametrize(
    ("dataset", "requested"),
    [
        (target("regression"), "accuracy"),
        (target(), "spearman"),
        (target(own_metric="r2"), "primary"),
    ],
)
def test_a_target_without_the_metric_is_refused(dataset: Dataset, requested: str) -> None:
    with pytest.raises(ConfigError, match=r"^metric: expected one of a .*, got '\w+'$"):
        choose_metric(requested, dataset)
