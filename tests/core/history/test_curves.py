"""Facts of ``core.curves``: what becomes of recorded validation scores."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mlflow_recall.core.history.curves import Curves
from mlflow_recall.core.history.records import Record
from mlflow_recall.errors import HistoryError

NAN = math.nan


def test_repeats_are_averaged_stage_by_stage_with_their_end() -> None:
    records = [
        Record(model="a", dataset="x", validation_scores=(0.1, 0.3), final_score=0.5, epochs=2),
        Record(
            model="a", dataset="x", validation_scores=(0.3, NAN, 0.9), final_score=0.7, epochs=2
        ),
        Record(model="b", dataset="x", validation_scores=(0.4, 0.5), final_score=0.6, epochs=2),
    ]

    got = Curves.from_records(records)

    assert (got.models, got.datasets, got.stages) == (("a", "b"), ("x",), 3)
    np.testing.assert_allclose(got.scores[:, 0], [[0.2, 0.3, 0.9], [0.4, 0.5, NAN]])
    np.testing.assert_allclose(got.final_scores[:, 0], [0.6, 0.6])


def test_one_fine_tuning_is_kept_beside_the_mean_of_its_repeats() -> None:
    """Validation noise is what a selection has to live with: the mean of three has less of it."""
    second = Record(
        model="a",
        dataset="x",
        validation_scores=(0.3, 0.9),
        final_score=0.7,
        epochs=2,
        recipe='{"seed": 1}',
    )
    first = Record(
        model="a",
        dataset="x",
        validation_scores=(0.1, 0.3),
        final_score=0.5,
        epochs=2,
        recipe='{"seed": 0}',
    )

    got = Curves.from_records([second, first])

    np.testing.assert_allclose(got.single_run_scores, [[[0.1, 0.3]]])
    np.testing.assert_allclose(got.scores, [[[0.2, 0.6]]])
    np.testing.assert_allclose(got.without_dataset("y").single_run_scores, got.single_run_scores)


def test_noise_is_what_repeats_of_a_cell_differ_by_stage_by_stage() -> None:
    """Deviations of 0.1 and 0.2 at stage 1 pool to the root of 0.025; a diverged one is none."""
    records = [
        Record(model="a", dataset="x", validation_scores=(0.1, 0.3), final_score=0.5, epochs=2),
        Record(
            model="a",
            dataset="x",
            validation_scores=(0.1 + 0.1 * math.sqrt(2), 0.3),
            final_score=0.5,
            epochs=2,
        ),
        Record(
            model="a", dataset="y", validation_scores=(0.1, -math.inf), final_score=0.5, epochs=2
        ),
        Record(
            model="a",
            dataset="y",
            validation_scores=(0.1 + 0.2 * math.sqrt(2), -math.inf),
            final_score=0.5,
            epochs=2,
        ),
        Record(model="b", dataset="x", validation_scores=(0.9, 0.1), final_score=0.5, epochs=2),
    ]

    got = Curves.from_records(records)

    np.testing.assert_allclose(got.noise, [math.sqrt(0.025), 0.0], atol=1e-9)
    np.testing.assert_allclose(got.without_dataset("y").noise, [0.1, 0.0], atol=1e-9)
    assert Curves.from_records(records[-1:]).noise.tolist() == [0.0, 0.0]


def test_partial_untested_and_curveless_records_are_left_out() -> None:
    records = [
        Record(model="a", dataset="x", validation_scores=(0.1,), final_score=0.5, epochs=2),
        Record(model="b", dataset="x", validation_scores=(0.1, 0.2), final_score=NAN, epochs=2),
        Record(model="c", dataset="x", validation_scores=(), final_score=0.5, epochs=0),
    ]

    assert Curves.from_records(records).models == ()


def test_no_records_make_empty_curves() -> None:
    assert Curves.from_records([]).scores.shape == (0, 0, 0)


def test_a_diverged_loss_stays_infinite() -> None:
    """Averaging must not turn minus infinity into a finite number that can win a comparison."""
    got = Curves.from_records(
        [
            Record(
                model="a",
                dataset="x",
                validation_scores=(-math.inf, -0.5),
                final_score=-0.4,
                epochs=2,
            )
        ]
    )

    assert got.scores.tolist() == [[[-math.inf, -0.5]]]


def test_arrays_are_read_only_copies() -> None:
    scores = np.zeros((1, 1, 2))
    got = Curves(models=("a",), datasets=("x",), scores=scores, final_scores=np.zeros((1, 1)))

    scores[:] = 1.0

    assert not got.scores.any()
    assert not got.scores.flags.writeable
    assert not got.final_scores.flags.writeable


def test_shapes_that_do_not_fit_the_names_are_refused() -> None:
    with pytest.raises(HistoryError, match=r"expected scores \(1, 1\) x stages, got \(1, 2, 3\)"):
        Curves(
            models=("a",),
            datasets=("x",),
            scores=np.zeros((1, 2, 3)),
            final_scores=np.zeros((1, 1)),
        )
    with pytest.raises(HistoryError, match=r"expected scores \(1, 1\) x stages, got \(1, 1\)"):
        Curves(
            models=("a",), datasets=("x",), scores=np.zeros((1, 1)), final_scores=np.zeros((1, 1))
        )
    with pytest.raises(HistoryError, match=r"expected first_repeat \(1, 1, 3\), got \(1, 1, 2\)"):
        Curves(
            models=("a",),
            datasets=("x",),
            scores=np.zeros((1, 1, 3)),
            final_scores=np.zeros((1, 1)),
            first_repeat=np.zeros((1, 1, 2)),
        )
    with pytest.raises(HistoryError, match=r"expected final scores \(1, 1\), got \(1, 2\)"):
        Curves(
            models=("a",),
            datasets=("x",),
            scores=np.zeros((1, 1, 3)),
            final_scores=np.zeros((1, 2)),
        )


def test_datasets_of_one_unit_can_be_taken_alone() -> None:
    """The curves of the others predict nothing in it."""
    records = [
        Record(model="a", dataset=dataset, metric=metric, validation_scores=(0.5,), final_score=0.5)
        for dataset, metric in (("u", "f1"), ("v", "rmse"), ("w", "rmse"), ("x", "accuracy"))
    ]
    curves = Curves.from_records(records)

    points = curves.in_unit("points")

    assert points.datasets == ("u", "x")
    assert (points.scores.shape, points.final_scores.shape) == ((1, 2, 1), (1, 2))
    assert curves.in_unit(curves.unit("v")).datasets == ("v",)
    assert curves.in_unit("nats").stages == 1
    assert curves.without_dataset("u").in_unit("points").datasets == ("x",)
