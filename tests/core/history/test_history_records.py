"""Facts of records: when a fine-tuning is complete, and which library loads a model."""

from __future__ import annotations

import math

import pytest

from mlflow_recall.core.history.records import Member, Record

NAN = math.nan


@pytest.mark.parametrize(
    ("stages", "epochs", "test", "complete"),
    [
        (3, 3, 0.5, True),
        (2, 3, 0.5, False),
        (4, 3, 0.5, True),
        (3, 3, NAN, False),
        (0, 0, 0.5, True),
    ],
)
def test_a_record_is_complete_if_it_reached_its_last_stage_and_was_tested(
    stages: int, epochs: int, test: float, complete: bool
) -> None:
    """A status is never trusted: trackers that prune close runs as finished."""
    record = Record(
        model="m", dataset="d", validation_scores=(0.1,) * stages, final_score=test, epochs=epochs
    )

    assert record.is_complete == complete


def test_a_diverged_stage_keeps_its_place_in_the_curve() -> None:
    assert Record(
        model="m", dataset="d", validation_scores=(0.1, NAN, 0.3), final_score=0.5, epochs=3
    ).is_complete


@pytest.mark.parametrize(
    ("arch", "library"),
    [("transformers/bert", "transformers"), ("timm/vit_tiny", "timm"), ("timm/a/b", "timm")],
)
def test_the_library_is_the_first_part_of_the_architecture(arch: str, library: str) -> None:
    assert Member(name="m", version="1", modality="image", arch=arch).library == library
