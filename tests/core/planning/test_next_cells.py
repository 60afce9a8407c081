"""Facts of the next cells: which measurement removes the most uncertainty."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from histories import NAN, matrix, world
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from mlflow_recall.adapters.tables.folder_history import FolderHistory
from mlflow_recall.core.history.matrix import PerformanceMatrix
from mlflow_recall.core.planning.belief import Belief, fit_belief
from mlflow_recall.core.planning.next_cells import next_cells

RECORDS = Path(os.environ.get("RECALL_RECORDS", Path(__file__).parents[4] / "shared" / "data"))


def uncertainty_by_conditioning(belief: Belief, known: object) -> float:
    """All cells and strengths as one normal vector, conditioned on the measured cells."""
    measured = np.asarray(known, dtype=bool)
    datasets = measured.shape[1]
    # what the belief held before any cell: its covariance, with the measured ones taken out
    precision = np.linalg.inv(belief.covariance)
    level = 1e4 * float(np.mean(np.diag(belief.residual_covariance)))
    total = belief.residual_covariance + level
    for j in range(datasets):
        rows = np.flatnonzero(belief.is_measured[:, j])
        if len(rows) > 1:
            precision[np.ix_(rows, rows)] -= np.linalg.inv(total[np.ix_(rows, rows)])
    prior = np.linalg.inv(precision)
    cells = [(i, j) for j in range(datasets) for i in np.flatnonzero(measured[:, j])]
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
    belief = fit_belief(history)
    now = uncertainty_by_conditioning(belief, belief.is_measured)
    slow = {}
    for i, j in np.argwhere(~belief.is_measured):
        known = belief.is_measured.copy()
        known[i, j] = True
        after = uncertainty_by_conditioning(belief, known)
        slow[history.models[i], history.datasets[j]] = 1.0 - after / now

    (first,) = next_cells(history, 1)

    assert now == pytest.approx(belief.uncertainty, rel=1e-3)
    assert first.uncertainty_removed == pytest.approx(max(slow.values()), rel=5e-3)
    assert slow[first.model, first.dataset] == pytest.approx(max(slow.values()), rel=5e-3)


@pytest.mark.parametrize("seed", range(3))
def test_the_values_of_several_cells_add_up_to_what_all_of_them_remove(seed: int) -> None:
    history = matrix(world(seed))
    belief = fit_belief(history)
    cells = next_cells(history, 5)
    known = belief.is_measured.copy()
    for cell in cells:
        known[history.models.index(cell.model), history.datasets.index(cell.dataset)] = True

    left = uncertainty_by_conditioning(belief, known) / belief.uncertainty

    assert sum(cell.uncertainty_removed for cell in cells) == pytest.approx(1.0 - left, rel=5e-3)


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.integers(1, 12))
def test_only_missing_cells_are_named_and_none_twice(seed: int, count: int) -> None:
    values = world(seed)
    history = matrix(values)
    missing = {(history.models[i], history.datasets[j]) for i, j in np.argwhere(np.isnan(values))}

    cells = next_cells(history, count)

    named = [(cell.model, cell.dataset) for cell in cells]
    assert len(named) == len(set(named)) == min(count, len(missing))
    assert set(named) <= missing
    assert all(cell.uncertainty_removed > 0 for cell in cells)
    assert sum(cell.uncertainty_removed for cell in cells) < 1


@settings(max_examples=20)
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
    assert [c.uncertainty_removed for c in one] == pytest.approx(
        [c.uncertainty_removed for c in other]
    )


def test_a_new_model_comes_first_and_on_several_datasets() -> None:
    """Everything is known of the others."""
    values = world(1, missing=0.0)
    values[5] = NAN

    cells = next_cells(matrix(values), 3)

    assert {cell.model for cell in cells} == {"m05"}
    assert len({cell.dataset for cell in cells}) == 3
    assert [c.uncertainty_removed for c in cells] == sorted(
        (c.uncertainty_removed for c in cells), reverse=True
    )


def test_a_new_model_is_proposed_where_the_others_are_known() -> None:
    """Alone on a dataset, a score cannot be separated from how hard that dataset is."""
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

    assert unsure[0].uncertainty_removed < sure[0].uncertainty_removed


@pytest.mark.skipif(not RECORDS.exists(), reason=f"no records at {RECORDS}")
def test_on_real_records_the_named_cells_teach_more_than_cells_at_random() -> None:
    """Sixty masks of medmnist_transfer: correlation with the ranking by all cells."""
    metric, count, differences = "test_auc_paper", 10, []
    whole = PerformanceMatrix.from_records(
        FolderHistory(RECORDS / "medmnist_transfer").records(metric)
    )
    for seed in range(60):
        rng = np.random.default_rng(seed)
        masked = np.where(rng.random(whole.values.shape) < 0.3, whole.values, NAN)
        hidden = np.argwhere(np.isnan(masked) & ~np.isnan(whole.values))
        known = np.where(np.isnan(whole.values), 0.0, 1.0)
        named = [
            (whole.models.index(c.model), whole.datasets.index(c.dataset))
            for c in next_cells(PerformanceMatrix(whole.models, whole.datasets, masked), count)
        ]
        random = [tuple(cell) for cell in rng.permutation(hidden)[:count]]
        pair = []
        for cells in (named, random):
            more = masked.copy()
            for i, j in cells:
                more[i, j] = whole.values[i, j] if known[i, j] else NAN
            strength = PerformanceMatrix(whole.models, whole.datasets, more).mean_z_score
            pair.append(spearmanr(np.nan_to_num(strength), whole.mean_z_score).statistic)
        differences.append(pair[0] - pair[1])

    assert np.mean(differences) > 2 * np.std(differences) / np.sqrt(len(differences))
