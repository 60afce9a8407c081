"""Which cell to measure next, and which datasets suffice."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from mlflow_recall.adapters.tables import FolderHistory
from mlflow_recall.core.arrays import FloatArray
from mlflow_recall.core.matrix import PerformanceMatrix
from mlflow_recall.core.next_cells import Belief, believe, next_cells, smallest_subset
from mlflow_recall.errors import HistoryError

NAN = float("nan")
RECORDS = Path(os.environ.get("RECALL_RECORDS", Path(__file__).parents[3] / "shared" / "data"))


def matrix(values: object) -> PerformanceMatrix:
    array = np.array(values, dtype=np.float64)
    models, datasets = array.shape
    return PerformanceMatrix(
        tuple(f"m{i:02d}" for i in range(models)), tuple(f"d{j}" for j in range(datasets)), array
    )


def world(seed: int, models: int = 8, datasets: int = 6, missing: float = 0.4) -> FloatArray:
    """Strengths, families that deviate together, and datasets of different level and spread."""
    rng = np.random.default_rng(seed)
    family = rng.normal(size=(models // 2, datasets))[np.arange(models) // 2]
    scores = rng.normal(size=(models, 1)) + family + 0.3 * rng.normal(size=(models, datasets))
    scores = rng.normal(size=datasets) + np.exp(0.3 * rng.normal(size=datasets)) * scores
    holes = rng.random(scores.shape) < missing
    holes[:2] = False  # every dataset has two measured models
    return np.where(holes, NAN, scores)


# --- the cells -----------------------------------------------------------------------------------


def uncertainty_by_conditioning(belief: Belief, known: object) -> float:
    """All cells and strengths as one normal vector, conditioned on the measured cells."""
    there = np.asarray(known, dtype=bool)
    datasets = there.shape[1]
    # what the belief held before any cell: its covariance, with the measured ones taken out
    precision = np.linalg.inv(belief.covariance)
    level = 1e4 * float(np.mean(np.diag(belief.deviation)))
    total = belief.deviation + level
    for j in range(datasets):
        rows = np.flatnonzero(belief.known[:, j])
        if len(rows) > 1:
            precision[np.ix_(rows, rows)] -= np.linalg.inv(total[np.ix_(rows, rows)])
    prior = np.linalg.inv(precision)
    cells = [(i, j) for j in range(datasets) for i in np.flatnonzero(there[:, j])]
    across = np.array([prior[:, i] for i, _ in cells]).T
    among = np.array(
        [[prior[i, k] + (total[i, k] if j == n else 0.0) for k, n in cells] for i, j in cells]
    )
    after = prior - across @ np.linalg.solve(among, across.T)
    return float(np.diag(after).mean() - after.mean())


@pytest.mark.parametrize("seed", range(4))
def test_the_first_cell_is_the_best_of_all_by_conditioning_on_each(seed: int) -> None:
    """The closed form is the posterior of the joint normal vector, cell by cell."""
    history = matrix(world(seed))
    belief = believe(history)
    now = uncertainty_by_conditioning(belief, belief.known)
    slow = {}
    for i, j in np.argwhere(~belief.known):
        known = belief.known.copy()
        known[i, j] = True
        after = uncertainty_by_conditioning(belief, known)
        slow[history.models[i], history.datasets[j]] = 1.0 - after / now

    (first,) = next_cells(history, 1)

    assert now == pytest.approx(belief.uncertainty, rel=1e-3)
    assert first.value == pytest.approx(max(slow.values()), rel=5e-3)
    assert slow[first.model, first.dataset] == pytest.approx(max(slow.values()), rel=5e-3)


@pytest.mark.parametrize("seed", range(3))
def test_the_values_of_several_cells_add_up_to_what_all_of_them_remove(seed: int) -> None:
    history = matrix(world(seed))
    belief = believe(history)
    cells = next_cells(history, 5)
    known = belief.known.copy()
    for cell in cells:
        known[history.models.index(cell.model), history.datasets.index(cell.dataset)] = True

    left = uncertainty_by_conditioning(belief, known) / belief.uncertainty

    assert sum(cell.value for cell in cells) == pytest.approx(1.0 - left, rel=5e-3)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.integers(1, 12))
def test_only_missing_cells_are_named_and_none_twice(seed: int, count: int) -> None:
    values = world(seed)
    history = matrix(values)
    missing = {(history.models[i], history.datasets[j]) for i, j in np.argwhere(np.isnan(values))}

    cells = next_cells(history, count)

    named = [(cell.model, cell.dataset) for cell in cells]
    assert len(named) == len(set(named)) == min(count, len(missing))
    assert set(named) <= missing
    assert all(cell.value > 0 for cell in cells)
    assert sum(cell.value for cell in cells) < 1


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000))
def test_neither_order_nor_the_metrics_scale_matter(seed: int) -> None:
    values = world(seed)
    history = matrix(values)
    rng = np.random.default_rng(seed)
    rows, columns = rng.permutation(len(values)), rng.permutation(values.shape[1])
    moved = PerformanceMatrix(
        tuple(history.models[i] for i in rows),
        tuple(history.datasets[j] for j in columns),
        100.0 * values[np.ix_(rows, columns)] + 7.0,
    )

    one, other = next_cells(history, 4), next_cells(moved, 4)
    assert [(c.model, c.dataset) for c in one] == [(c.model, c.dataset) for c in other]
    assert [c.value for c in one] == pytest.approx([c.value for c in other])


def test_a_new_model_comes_first_and_on_several_datasets() -> None:
    """Of the others everything is known."""
    values = world(1, missing=0.0)
    values[5] = NAN

    cells = next_cells(matrix(values), 3)

    assert {cell.model for cell in cells} == {"m05"}
    assert len({cell.dataset for cell in cells}) == 3
    assert [c.value for c in cells] == sorted((c.value for c in cells), reverse=True)


def test_a_model_is_told_most_about_where_the_others_are_known() -> None:
    """Alone on a dataset, a score cannot be told from how hard that dataset is."""
    values = world(2, missing=0.0)
    values[5] = NAN
    values[:, 0] = NAN
    values[0, 0] = 1.0  # one model only

    cells = next_cells(matrix(values), 5, available=["m05"])

    assert cells[0].dataset != "d0"
    assert {cell.model for cell in cells} == {"m05"}


def test_models_that_cannot_be_trained_are_not_proposed() -> None:
    values = world(3)

    assert {cell.model for cell in next_cells(matrix(values), 9, available=["m03", "m04"])} <= {
        "m03",
        "m04",
    }


def test_nothing_is_proposed_where_nothing_is_missing() -> None:
    assert next_cells(matrix(world(4, missing=0.0)), 3) == []


def test_repeats_that_differ_make_cells_worth_less() -> None:
    """A noisy measurement says less about the model."""
    history = matrix(world(5))

    sure, unsure = next_cells(history, 1), next_cells(history, 1, noise=3.0)

    assert unsure[0].value < sure[0].value


def test_a_belief_needs_two_models_on_one_dataset() -> None:
    with pytest.raises(HistoryError, match="next: expected a dataset with at least two measured"):
        next_cells(matrix([[1.0, NAN], [NAN, 2.0]]), 1)


def test_a_belief_of_whole_records_orders_models_as_their_mean() -> None:
    """With nothing missing and equal spreads, the posterior mean grows with the mean score."""
    rng = np.random.default_rng(0)
    values = np.arange(6.0)[:, None] + 0.1 * rng.normal(size=(6, 40))

    belief = believe(matrix(values))

    assert np.argsort(belief.mean).tolist() == list(range(6))


@pytest.mark.skipif(not RECORDS.exists(), reason=f"no records at {RECORDS}")
def test_on_real_records_the_named_cells_teach_more_than_cells_at_random() -> None:
    """Sixty masks of medmnist_transfer: correlation with the ranking by all cells."""
    metric, count, found = "test_auc_paper", 10, []
    whole = PerformanceMatrix.of(FolderHistory(RECORDS / "medmnist_transfer").records(metric))
    for seed in range(60):
        rng = np.random.default_rng(seed)
        some = np.where(rng.random(whole.values.shape) < 0.3, whole.values, NAN)
        hidden = np.argwhere(np.isnan(some) & ~np.isnan(whole.values))
        known = np.where(np.isnan(whole.values), 0.0, 1.0)
        ours = [
            (whole.models.index(c.model), whole.datasets.index(c.dataset))
            for c in next_cells(PerformanceMatrix(whole.models, whole.datasets, some), count)
        ]
        random = [tuple(cell) for cell in rng.permutation(hidden)[:count]]
        pair = []
        for cells in (ours, random):
            more = some.copy()
            for i, j in cells:
                more[i, j] = whole.values[i, j] if known[i, j] else NAN
            strength = PerformanceMatrix(whole.models, whole.datasets, more).strength
            pair.append(spearmanr(np.nan_to_num(strength), whole.strength).statistic)
        found.append(pair[0] - pair[1])

    assert np.mean(found) > 2 * np.std(found) / np.sqrt(len(found))


# --- the subset ----------------------------------------------------------------------------------


def test_of_datasets_that_agree_one_is_enough() -> None:
    values = np.arange(5.0)[:, None] * np.linspace(1.0, 2.0, 7) + np.arange(7.0)

    found = smallest_subset(matrix(values))

    assert found.size == 1
    assert found.kept == pytest.approx(1.0)
    assert found.loss == pytest.approx(0.0)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000))
def test_all_datasets_keep_everything_and_lose_nothing(seed: int) -> None:
    history = matrix(world(seed))

    found = smallest_subset(history, tolerance=0.0)

    assert sorted(found.order) == sorted(history.datasets)
    assert found.datasets == found.order[: found.size]
    assert (found.kept[-1], found.loss[-1], found.error[-1]) == (1.0, 0.0, 0.0)
    assert not np.isnan(found.loss).any()


def test_a_larger_tolerance_never_needs_more_datasets() -> None:
    for seed in range(5):
        history = matrix(world(seed, models=12, datasets=15))
        sizes = [smallest_subset(history, tolerance).size for tolerance in (0.0, 0.05, 0.3, 5.0)]
        assert sizes == sorted(sizes, reverse=True)


def test_every_larger_subset_is_enough_too() -> None:
    """One that got lucky is none."""
    for seed in range(10):
        found = smallest_subset(matrix(world(seed, models=12, datasets=15)), 0.05)
        loss, error = found.loss[found.size - 1 :], found.error[found.size - 1 :]
        assert (loss <= np.maximum(0.05, error) + 1e-9).all()


def test_the_dataset_that_orders_models_as_all_do_is_taken_first() -> None:
    """The others are that one with noise of their own."""
    rng = np.random.default_rng(0)
    strength = np.arange(10.0)[:, None]
    values = np.hstack([strength + 4.0 * rng.normal(size=(10, 30)), strength])

    assert smallest_subset(matrix(values)).order[0] == "d30"


def test_what_is_lost_is_counted_on_datasets_that_were_left_out() -> None:
    """Each dataset favours a model of its own: its ranking serves nowhere else.

    Ranked by all, the good model that wins nowhere is first, at a gap of 1; by one dataset its own
    winner is, at a gap of 5 elsewhere.
    """
    values = np.vstack([np.full((1, 9), 4.0), 5.0 * np.eye(9)])

    found = smallest_subset(matrix(values))

    assert found.loss[0] > 0.5
    assert found.size > 1


@pytest.mark.parametrize("shape", [(2, 6), (6, 2)])
def test_too_little_is_refused_with_what_there_is(shape: tuple[int, int]) -> None:
    with pytest.raises(HistoryError, match=f"got {shape[0]} and {shape[1]}"):
        smallest_subset(matrix(np.random.default_rng(0).normal(size=shape)))


def test_datasets_with_one_measured_model_do_not_count() -> None:
    values = world(6, missing=0.0)
    values[1:, 0] = NAN

    assert "d0" not in smallest_subset(matrix(values)).order
