"""Facts of beliefs: what is known of the models' strength."""

from __future__ import annotations

import numpy as np
import pytest
from histories import NAN, matrix

from mlflow_recall.core.planning.belief import fit_belief
from mlflow_recall.errors import HistoryError


def test_a_belief_needs_two_models_on_one_dataset() -> None:
    with pytest.raises(HistoryError, match="next: expected a dataset with at least two measured"):
        fit_belief(matrix([[1.0, NAN], [NAN, 2.0]]))


def test_a_belief_of_whole_records_orders_models_as_their_mean() -> None:
    """With nothing missing and equal spreads, the posterior mean grows with the mean score."""
    rng = np.random.default_rng(0)
    values = np.arange(6.0)[:, None] + 0.1 * rng.normal(size=(6, 40))

    belief = fit_belief(matrix(values))

    assert np.argsort(belief.mean).tolist() == list(range(6))
