"""Facts of ``core.truth``: the recorded brute force on a dataset."""

from __future__ import annotations

import math

import pytest

from mlflow_recall.core.history.ground_truth import ground_truth
from mlflow_recall.core.history.recipes import Recipe
from mlflow_recall.core.history.records import Member, Record
from mlflow_recall.core.history.score_units import RegretUnit

ZOO = [Member(name=name, version="2", modality="text", arch="transformers/bert") for name in "abc"]


def record(
    model: str, test: float, *, digest: str = "d", version: str = "2", seed: int = 0
) -> Record:
    recipe = Recipe(seed=seed).to_json()
    return Record(
        model=model,
        dataset="t",
        validation_scores=(0.5,),
        final_score=test,
        test_scores=(),
        epochs=1,
        dataset_digest=digest,
        model_version=version,
        recipe=recipe,
    )


def test_the_best_model_has_no_regret_and_equals_share_a_rank() -> None:
    known = ground_truth([record("a", 0.7), record("b", 0.9), record("c", 0.7)], "d", ZOO)

    assert known is not None
    assert known.best == "b"
    assert [known.regret(name) for name in "abc"] == pytest.approx([0.2, 0.0, 0.2])
    assert [known.rank(name) for name in "abc"] == [2, 1, 2]
    assert math.isnan(known.score("stranger"))


def test_repeats_are_averaged() -> None:
    known = ground_truth([record("a", 0.7), record("a", 0.9, seed=1), record("b", 0.75)], "d", ZOO)

    assert known is not None
    assert known.score("a") == pytest.approx(0.8)


def test_other_datasets_and_other_versions_are_not_the_truth() -> None:
    others = [record("b", 0.9, digest="e"), record("c", 0.99, version="1")]

    assert ground_truth([record("a", 0.7), *others], "d", ZOO) is None  # one model decides nothing
    known = ground_truth([record("a", 0.7), record("b", 0.6), *others], "d", ZOO)
    assert known is not None
    assert known.models == ("a", "b")


def test_a_regret_may_be_a_share_of_the_spread_over_models() -> None:
    """Errors of 1, 3 and 5 have a standard deviation of sqrt(8 / 3); scores stay as they are."""
    known = ground_truth(
        [record("a", -1.0), record("b", -3.0), record("c", -5.0)],
        "d",
        ZOO,
        unit=RegretUnit(("mae",), ("mae",)),
    )

    assert known is not None
    assert known.regret("b") == pytest.approx(2 / math.sqrt(8 / 3))
    assert known.score("b") == -3.0
