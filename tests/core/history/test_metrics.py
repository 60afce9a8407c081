"""Facts of ``core.metrics``: what is measured, and which direction is better."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mlflow_recall.core.history.metrics import (
    METRICS,
    check_metric,
    compute_metrics,
    default_metric,
    is_bounded,
    to_maximize,
)
from mlflow_recall.errors import ConfigError

LABELS = np.array([0, 0, 0, 1])
#: three right of four: the third is taken for class 1
PROBABILITIES = np.array([[0.8, 0.2], [0.6, 0.4], [0.4, 0.6], [0.1, 0.9]])


def test_metrics_by_hand() -> None:
    """Counts: 2 and 1 right, 1 false positive of class 1."""
    assert compute_metrics(LABELS, PROBABILITIES) == pytest.approx(
        {
            "accuracy": 3 / 4,
            "balanced_accuracy": (2 / 3 + 1) / 2,
            "f1_macro": (4 / 5 + 2 / 3) / 2,
            "matthews": (2 * 1 - 0 * 1) / math.sqrt(3 * 2 * 2 * 1),
            "log_loss": -(math.log(0.8) + math.log(0.6) + math.log(0.4) + math.log(0.9)) / 4,
        }
    )


@pytest.mark.parametrize("name", sorted(METRICS))
def test_a_perfect_classifier_is_better_than_a_bad_one_once_oriented(name: str) -> None:
    good = compute_metrics(LABELS, np.eye(2)[LABELS])[name]
    bad = compute_metrics(LABELS, PROBABILITIES[::-1])[name]

    assert to_maximize(name, good) > to_maximize(name, bad)


@pytest.mark.parametrize("name", sorted(METRICS))
def test_orienting_twice_changes_nothing(name: str) -> None:
    assert to_maximize(name, to_maximize(name, 0.3)) == 0.3


def test_bounded_metrics_lie_between_zero_and_one() -> None:
    """A tolerance of one point means something for these only."""
    assert {name for name in METRICS if is_bounded(name)} == {
        "accuracy",
        "balanced_accuracy",
        "f1_macro",
    }


def test_a_class_without_samples_is_no_obstacle() -> None:
    got = compute_metrics(np.array([0, 2]), np.array([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]]))

    assert got["accuracy"] == got["balanced_accuracy"] == 1.0
    assert got["log_loss"] == pytest.approx(-(math.log(0.5) + math.log(0.8)) / 2)


def test_a_constant_prediction_has_finite_metrics() -> None:
    got = compute_metrics(LABELS, np.tile([0.9, 0.1], (4, 1)))

    assert all(map(math.isfinite, got.values()))
    assert (got["balanced_accuracy"], got["matthews"]) == (0.5, 0.0)


def test_an_unknown_metric_names_the_known_ones() -> None:
    assert check_metric("accuracy") == "accuracy"
    with pytest.raises(
        ConfigError,
        match="unknown metric 'auc': expected one of "
        "accuracy, balanced_accuracy, f1_macro, log_loss, matthews",
    ):
        check_metric("auc")


@pytest.mark.parametrize(
    ("recorded", "expected"),
    [
        (("accuracy", "log_loss"), "accuracy"),
        (("auc",), "auc"),
        (("auc", "mcc"), ""),
        ((), "accuracy"),
    ],
)
def test_the_usual_metric_is_accuracy_or_the_only_one(
    recorded: tuple[str, ...], expected: str
) -> None:
    """Of several others none is the usual one: whoever asks has to choose."""
    assert default_metric(recorded) == expected
