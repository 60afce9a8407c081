"""Facts of standardizations: the scales on which parts are added."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy.special import ndtri
from scipy.stats import norm

from mlflow_recall.core.arrays import FloatArray
from mlflow_recall.core.standardize import fill_zero, mean_ranks, normal_scores, spreads, z_scores

NAN = math.nan


def test_normal_scores_by_hand() -> None:
    """Places 1, 2.5, 2.5 and 4 of 4 are the quantiles 1/8, 1/2, 1/2 and 7/8."""
    top = float(norm.ppf(7 / 8))

    got = normal_scores(np.array([3.0, NAN, 3.0, 9.0, -1.0]))

    np.testing.assert_allclose(got, np.array([0, NAN, 0, top, -top]), atol=1e-12)


def test_only_the_order_counts_for_normal_scores() -> None:
    values = np.random.default_rng(0).random(20)

    np.testing.assert_array_equal(normal_scores(values), normal_scores(np.exp(9 * values)))


def test_z_scores_by_hand() -> None:
    got = z_scores(np.array([[1.0, 5.0], [3.0, 5.0], [NAN, 5.0]]))

    np.testing.assert_allclose(got, np.array([[-1, 0], [1, 0], [NAN, 0]]))


@pytest.mark.parametrize("scale", [normal_scores, z_scores])
def test_nothing_known_stays_unknown_and_counts_as_the_mean(
    scale: Callable[[FloatArray], FloatArray],
) -> None:
    got = scale(np.full(3, NAN))

    assert np.isnan(got).all()
    np.testing.assert_array_equal(fill_zero(got), np.zeros(3))


def test_columns_are_ranked_by_themselves() -> None:
    """One array of many columns is what the columns are one by one, whatever they lack."""
    rng = np.random.default_rng(0)
    values = np.round(rng.normal(size=(9, 4)), 1)  # some ties
    values[rng.random(values.shape) < 0.3] = np.nan
    values[0, 0], values[1, 1] = np.inf, -np.inf

    together = normal_scores(values)

    for j, column in enumerate(values.T):
        np.testing.assert_allclose(together[:, j], normal_scores(column))
        known = ~np.isnan(column)
        expected = ndtri((mean_ranks(column[known]) - 0.5) / known.sum())
        np.testing.assert_allclose(together[known, j], expected)


def test_a_spread_that_is_rounding_is_none() -> None:
    """0.1 + 0.2 and 0.3 differ in their last digit."""
    columns = np.array([[0.1 + 0.2, 1.0], [0.3, 3.0]])

    assert spreads(columns).tolist() == [0.0, 1.0]
