"""Facts of verdicts: the built-in choice stays unless another is surely better."""

from __future__ import annotations

import numpy as np
import pytest

from mlflow_recall.core.arrays import FloatArray
from mlflow_recall.core.backtest.verdict import favorite


def losses(*values: float) -> FloatArray:
    return np.array(values)


def test_a_sure_lead_takes_the_place() -> None:
    """0.1 lower everywhere, without any spread."""
    got = favorite("old", {"old": losses(0.3, 0.5, 0.4), "new": losses(0.2, 0.4, 0.3)})

    assert (got.name, got.compared_with, got.is_changed) == ("new", "old", True)
    assert got.lead == pytest.approx(0.1)
    assert got.standard_error == pytest.approx(0.0, abs=1e-12)
    assert got.sentence("the loss").startswith("new instead of old: the loss is 0.1000 ± 0.0000")


def test_a_lead_within_its_error_changes_nothing() -> None:
    """Differences -0.3, 0.1, 0.1: mean -0.033, standard error 0.133."""
    got = favorite("old", {"old": losses(0.5, 0.2, 0.2), "new": losses(0.2, 0.3, 0.3)})

    assert (got.name, got.compared_with, got.is_changed) == ("old", "new", False)
    assert got.lead == pytest.approx(-0.1 / 3)
    assert got.standard_error == pytest.approx(0.4 / 3)
    assert got.sentence("the loss").endswith("lower for new, which is too little.")


def test_the_best_of_the_sure_is_taken() -> None:
    """The mean decides among those that are surely better, not the surest."""
    got = favorite(
        "old",
        {
            "old": losses(0.5, 0.5, 0.5),
            "sure": losses(0.45, 0.45, 0.45),
            "best": losses(0.2, 0.3, 0.4),
        },
    )

    assert got.name == "best"


def test_a_worse_other_is_named_with_what_it_loses() -> None:
    got = favorite("old", {"old": losses(0.1, 0.2), "new": losses(0.2, 0.3)})

    assert got.sentence("the loss") == (
        "old stays: the loss is 0.1000 ± 0.0000 higher for new, the best other."
    )


def test_equals_change_nothing() -> None:
    got = favorite("old", {"old": losses(0.1, 0.2), "new": losses(0.1, 0.2)})

    assert (got.name, got.is_changed) == ("old", False)
    assert got.sentence("the loss") == "old stays: new is as good."


def test_alone_there_is_nothing_to_compare() -> None:
    got = favorite("old", {"old": losses(0.1, 0.2)})

    assert (got.name, got.compared_with) == ("old", None)
    assert "nothing to compare" in got.sentence("the loss")
