"""Facts of ``core.recipes``: what identifies a recipe, and what is refused."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import Any

import pytest

from mlflow_recall.core.history.recipes import FAMILY_RECIPES, Recipe, default_recipe
from mlflow_recall.errors import ConfigError


def other_value(name: str, value: Any) -> Any:
    """Return another valid value of a field."""
    texts = {"mode": "frozen", "freeze": "backbone", "class_weight": "balanced"}
    changed: dict[type, Any] = {bool: not value, str: texts.get(name), float: 0.25, int: 7}
    return changed[type(value)]


@pytest.mark.parametrize("name", [field.name for field in fields(Recipe)])
def test_the_digest_changes_with_every_field_that_is_read(name: str) -> None:
    base = Recipe(mode="lora" if name.startswith("lora_") else "full")
    value: Any = getattr(base, name)

    assert replace(base, **{name: other_value(name, value)}).digest != base.digest


def test_a_field_that_was_added_later_leaves_the_digests_of_earlier_cells() -> None:
    assert "class_weight" not in Recipe().to_json()
    balanced = Recipe(class_weight="balanced")
    assert Recipe.from_json(balanced.to_json()) == balanced


def test_the_digests_of_recorded_cells_hold() -> None:
    """They are parts of keys in histories that exist."""
    recipes = (Recipe(), default_recipe("image"), Recipe(freeze="backbone", seed=3))

    assert [recipe.digest for recipe in recipes] == ["340c85b9", "3e38ce8b", "d8742109"]


def test_a_mode_says_itself_what_is_trained() -> None:
    """What ``freeze`` says beside it is not read, so it must not make another cell."""
    recipes = [Recipe(mode="frozen", freeze=what) for what in ("nothing", "backbone")]

    assert recipes[0].digest == recipes[1].digest != Recipe().digest
    assert Recipe.from_json(recipes[1].to_json()) == recipes[0]


def test_the_mode_lora_alone_reads_its_fields_and_records_them_all() -> None:
    """Another default of a later version must not change what a recorded cell was trained with."""
    full = Recipe(lora_rank=4, lora_alpha=1, lora_dropout=0.5)
    recorded = json.loads(Recipe(mode="lora").to_json())

    assert full == Recipe()
    assert [name for name in json.loads(full.to_json()) if name.startswith("lora")] == []
    assert {name for name in recorded if name.startswith("lora_")} == {
        "lora_alpha",
        "lora_dropout",
        "lora_rank",
    }
    assert Recipe(mode="lora", lora_rank=4).digest != Recipe(mode="lora").digest


def test_a_family_has_defaults_of_the_mode_lora() -> None:
    llama = default_recipe("text", "llama", mode="lora")

    assert (llama.mode, llama.lora_rank, llama.learning_rate) == ("lora", 16, 2e-4)
    assert default_recipe("text", "roberta", mode="lora").learning_rate == 5e-4
    assert default_recipe("text", "roberta", mode="frozen") == replace(
        default_recipe("text", "roberta"), mode="frozen"
    )


def test_equal_recipes_have_equal_digests() -> None:
    """An integer where a float is meant (``1`` in YAML) must not make another cell."""
    one, two = Recipe(learning_rate=1), Recipe(learning_rate=1.0)

    assert one == two
    assert one.digest == two.digest


def test_json_gives_the_same_recipe_back() -> None:
    recipe = Recipe(learning_rate=3e-4, freeze="backbone", freeze_batchnorm=False, seed=7)

    assert Recipe.from_json(recipe.to_json()) == recipe
    assert len(recipe.digest) == 8


def test_the_method_is_the_same_for_every_seed_and_for_nothing_else() -> None:
    base, repeat = Recipe(epochs=3, seed=1), Recipe(epochs=3, seed=2)

    assert base.without_seed == repeat.without_seed == Recipe(epochs=3)
    for field in fields(Recipe):
        value: Any = getattr(base, field.name)
        if field.name.startswith("lora_"):
            continue  # it is not read in the mode full
        other = replace(base, **{field.name: other_value(field.name, value)})
        assert (other.without_seed == base.without_seed) == (field.name == "seed")


def test_fields_missing_in_a_record_keep_their_default() -> None:
    assert Recipe.from_json('{"epochs": 3}') == Recipe(epochs=3)


@pytest.mark.parametrize("text", ["[]", "{", "null"])
def test_a_record_that_is_no_object_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="recorded recipe: expected a JSON object"):
        Recipe.from_json(text)


def test_text_from_tags_and_options_is_converted() -> None:
    got = Recipe().with_changes(
        {"learning_rate": "1e-4", "epochs": "3", "freeze": "backbone"}, "tag"
    )

    assert got == Recipe(learning_rate=1e-4, epochs=3, freeze="backbone")


@pytest.mark.parametrize(
    ("text", "value"), [("false", False), ("False", False), ("0", False), ("true", True)]
)
def test_false_as_text_is_false(text: str, value: bool) -> None:
    """``bool("false")`` is True: a tag would silently train batch normalization otherwise."""
    assert Recipe().with_changes({"freeze_batchnorm": text}, "tag").freeze_batchnorm is value


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"lr": 1},
            "zoo.yaml: unknown field 'lr' of a recipe: expected one of batch_size, class_weight",
        ),
        ({"epochs": "many"}, "zoo.yaml: epochs: expected int, got 'many'"),
        ({"epochs": None}, "zoo.yaml: epochs: expected int, got None"),
        ({"epochs": 2.7}, "zoo.yaml: epochs: expected int, got 2.7"),
        ({"epochs": float("inf")}, "zoo.yaml: epochs: expected int, got inf"),
        ({"freeze_batchnorm": "maybe"}, "zoo.yaml: freeze_batchnorm: expected bool, got 'maybe'"),
        ({"class_weight": "some"}, "class_weight: expected one of none, balanced, got 'some'"),
        ({"epochs": 0}, "epochs: expected at least 1, got 0"),
    ],
)
def test_changes_that_make_no_recipe_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Recipe().with_changes(changes, "zoo.yaml")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("learning_rate", float("inf")),
        ("head_learning_rate", -1.0),
        ("weight_decay", -0.1),
        ("warmup", 1.5),
        ("batch_size", 0),
        ("epochs", 0),
        ("train_samples", -1),
        ("eval_samples", -1),
        ("input_size", -1),
        ("freeze", "everything"),
        ("mode", "half"),
    ],
)
def test_impossible_values_are_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"{name}: expected .*, got '?{value}"):
        Recipe(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("family", sorted(FAMILY_RECIPES))
def test_every_family_makes_a_valid_recipe(family: str) -> None:
    got = json.loads(default_recipe("text", family + "-base").to_json())

    assert {name: got[name] for name in FAMILY_RECIPES[family]} == dict(FAMILY_RECIPES[family])


def test_the_longest_beginning_of_the_first_known_name_decides() -> None:
    assert default_recipe("text", "RoBERTa-large", "bert").learning_rate == 2e-5
    assert default_recipe("text", "own-family", "bert").learning_rate == 3e-5
    assert default_recipe("text", "distilbert").learning_rate == 5e-5
    assert default_recipe("image", "scratch") == replace(
        default_recipe("image"), learning_rate=3e-3, freeze_batchnorm=False
    )


def test_an_architecture_is_found_behind_its_library() -> None:
    """``Member.arch`` reads ``transformers/roberta``."""
    assert default_recipe("text", "", "transformers/roberta").learning_rate == 2e-5
    assert default_recipe("image", "", "timm/vit_tiny").learning_rate == 1e-4


def test_an_unknown_name_gets_the_recipe_of_its_modality() -> None:
    assert default_recipe("text", "own-family") == default_recipe("text")
    assert default_recipe("text").input_size == 128
    assert default_recipe("image").input_size == 224
