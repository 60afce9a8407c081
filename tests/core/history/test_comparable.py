"""Facts of comparable records: which ones may be in one matrix, and why others are not."""

from __future__ import annotations

import math

import pytest

from mlflow_recall.core.history.comparable import (
    minority_recipes,
    most_common_mode,
    recipe_without_seed,
    select_comparable,
)
from mlflow_recall.core.history.matrix import PerformanceMatrix
from mlflow_recall.core.history.recipes import Recipe
from mlflow_recall.core.history.records import Member, Record
from mlflow_recall.errors import HistoryError

#: two epochs, of which every record here has run as many
RECIPE = Recipe(epochs=2)


def record(
    model: str = "m",
    dataset: str = "d",
    test: float = 0.5,
    recipe: Recipe | None = RECIPE,
    *,
    stages: int = 2,
    modality: str = "text",
    version: str = "1",
) -> Record:
    return Record(
        model=model,
        dataset=dataset,
        validation_scores=(0.1,) * stages,
        final_score=test,
        epochs=2,
        modality=modality,
        dataset_digest=f"{dataset}1",
        model_version=version,
        recipe=recipe.to_json() if recipe else "",
    )


def seeded(seed: int, **changes: float) -> Recipe:
    return RECIPE.with_changes({"seed": seed, **changes}, "test")


# --- recipes -------------------------------------------------------------------------------------


def test_recipes_that_differ_in_the_seed_alone_are_one_and_their_scores_are_averaged() -> None:
    """Repeats tell a cell better; as recipes of their own, all but one would be thrown away."""
    records = [
        record(test=value, recipe=seeded(seed)) for seed, value in enumerate((0.2, 0.4, 0.9))
    ]

    kept = select_comparable(records)

    assert (kept.records, kept.notes) == (tuple(records), ())
    assert PerformanceMatrix.from_records(kept.records).values.tolist() == [[pytest.approx(0.5)]]


def test_records_of_a_rarer_recipe_are_left_out_and_it_is_said() -> None:
    """Another learning rate is another method: it does not compare."""
    often = [record(dataset=name, recipe=seeded(seed)) for seed, name in enumerate("de")]
    rare = record(dataset="f", recipe=seeded(0, learning_rate=0.5))

    kept = select_comparable([rare, *often])

    assert kept.records == tuple(often)
    assert kept.notes == ("1 records of rarer recipes are not used: m 1 of 3",)


def test_our_own_records_and_adopted_ones_of_a_model_are_told_apart() -> None:
    """Nobody knows the recipe of an adopted run; the models with most such records come first."""
    own = [record(model, name) for model in "ab" for name in "cde"]
    adopted = [record("b", "f", recipe=None), *(record("a", n, recipe=None) for n in "fg")]

    kept = select_comparable([*own, *adopted])

    assert kept.records == tuple(own)
    assert kept.notes == ("3 records of rarer recipes are not used: a 2 of 5, b 1 of 4",)
    assert minority_recipes(own) == ""


def test_of_many_models_with_rarer_recipes_a_few_are_named() -> None:
    pairs = [
        record(f"m{i}", name, recipe=recipe)
        for i in range(7)
        for name, recipe in (("d", RECIPE), ("e", RECIPE), ("f", seeded(0, learning_rate=0.5)))
    ]

    assert minority_recipes(pairs).startswith(
        "7 records of rarer recipes are not used: m0 1 of 3, "
    )
    assert minority_recipes(pairs).endswith("m4 1 of 3 and 2 more models")


def test_seeds_count_together_where_recipes_compete() -> None:
    """Each by itself is rarer than the other recipe, which has two records."""
    repeats = [record(recipe=seeded(seed)) for seed in (1, 2, 3)]
    others = [record(dataset=name, recipe=seeded(0, learning_rate=0.5)) for name in "de"]

    assert select_comparable([*others, *repeats]).records == tuple(repeats)


def test_the_recipe_of_a_model_is_its_most_frequent_one_with_its_seed() -> None:
    """A cell that is trained again for comparison must be able to be the very same."""
    records = [record(dataset=name, recipe=seeded(seed)) for name, seed in (("d", 3), ("e", 7))]
    records += [record(dataset="f", recipe=seeded(7))]

    assert select_comparable(records).recipes == {"m": seeded(7)}


def test_each_model_has_a_recipe_of_its_own() -> None:
    records = [record("a", recipe=seeded(1)), record("b", recipe=seeded(0, learning_rate=0.5))]

    kept = select_comparable(records)

    assert kept.records == tuple(records)
    assert kept.recipes == {"a": seeded(1), "b": seeded(0, learning_rate=0.5)}


def test_records_without_a_recipe_are_used_and_give_none() -> None:
    """Plain tables tell scores alone."""
    kept = select_comparable([record(recipe=None)])

    assert (len(kept.records), kept.recipes, kept.notes) == (1, {}, ())


def test_the_method_is_the_recipe_without_its_seed() -> None:
    one, two, other = (record(recipe=r) for r in (RECIPE, seeded(9), seeded(0, weight_decay=0.5)))

    assert recipe_without_seed(one) == recipe_without_seed(two) == RECIPE.to_json()
    assert recipe_without_seed(other) != recipe_without_seed(one)
    assert recipe_without_seed(record(recipe=None)) == ""


# --- everything else that is left out ------------------------------------------------------------


@pytest.mark.parametrize("partial", [record(stages=1), record(test=math.nan)])
def test_partial_records_are_left_out_and_it_is_said(partial: Record) -> None:
    whole = record(dataset="e")

    kept = select_comparable([partial, whole])

    assert (kept.records, kept.notes) == ((whole,), ("1 partial curves are not used",))


def test_the_targets_own_records_are_left_out_and_it_is_said() -> None:
    """They would tell the answer."""
    kept = select_comparable([record(dataset="d"), record(dataset="e")], target="d1")

    assert [r.dataset for r in kept.records] == ["e"]
    assert kept.notes == ("1 records of the target itself are not used",)


def test_only_records_of_the_present_version_count_and_it_is_said() -> None:
    """Models that the zoo does not know keep all of theirs."""
    records = [record("a", version="1"), record("a", version="2"), record("b", version="1")]

    kept = select_comparable(
        records, members=[Member(name="a", version="2", modality="text", arch="transformers/bert")]
    )

    assert [(r.model, r.model_version) for r in kept.records] == [("a", "2"), ("b", "1")]
    assert kept.notes == ("1 records of other model versions are not used: a 1",)


def test_where_only_other_versions_were_recorded_that_is_why() -> None:
    with pytest.raises(HistoryError, match="got 1 records of other model versions are not used: a"):
        select_comparable(
            [record("a", version="1")],
            members=[Member(name="a", version="2", modality="text", arch="transformers/bert")],
        )


def test_another_modality_is_left_out_and_where_nothing_is_left_it_is_named() -> None:
    records = [record("a"), record("b", modality="image")]

    assert [r.model for r in select_comparable(records, "image").records] == ["b"]
    assert select_comparable(records).records == tuple(records)
    with pytest.raises(HistoryError, match="of modality 'image', got those of text: run"):
        select_comparable(records[:1], "image")
    with pytest.raises(HistoryError, match="of modality 'any', got those of none: run"):
        select_comparable([])


# --- modes ---------------------------------------------------------------------------------------


FROZEN_RECIPE = RECIPE.with_changes({"mode": "frozen"}, "test")


def test_records_of_one_mode_are_kept_that_of_most_unless_one_is_named() -> None:
    full = [record(dataset=name) for name in "def"]
    frozen = [record(model=name, recipe=FROZEN_RECIPE) for name in "mn"]

    usual, named = (select_comparable([*full, *frozen], mode=mode) for mode in (None, "frozen"))

    assert (usual.records, usual.mode, usual.is_usual_mode) == (tuple(full), "full", True)
    assert usual.notes == ("2 records of other modes are not used: frozen 2",)
    assert (named.records, named.mode, named.is_usual_mode) == (tuple(frozen), "frozen", False)
    assert named.notes == ("3 records of other modes are not used: full 3",)
    assert named.recipes == {"m": FROZEN_RECIPE, "n": FROZEN_RECIPE}


def test_a_record_of_an_unknown_recipe_counts_as_fully_trained() -> None:
    """Whoever logs a fine-tuning and says nothing else has trained all of it."""
    records = [record(recipe=None), record(recipe=FROZEN_RECIPE)]

    assert most_common_mode(records) == "full"  # the first of equally frequent ones
    assert select_comparable(records).records == (records[0],)


def test_a_mode_that_nothing_was_trained_in_is_one_error() -> None:
    with pytest.raises(HistoryError) as raised:
        select_comparable([record()], mode="frozen")

    assert str(raised.value) == (
        "history: expected finished benchmark runs of mode frozen, got 1 records of other modes "
        "are not used: full 1: run `mlflow-recall benchmark --mode frozen` first, or select "
        "without --mode"
    )
