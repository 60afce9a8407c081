"""YAML files that people write: what is read, and the line that says what is wrong."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from mlflow_recall.adapters.manifests.yaml_files import ZooEntry, read_benchmarks, read_zoo
from mlflow_recall.errors import ConfigError, DatasetError


def zoo(folder: Path, text: str) -> Path:
    path = folder / "zoo.yaml"
    path.write_text(text)
    return path


def test_a_zoo_file_lists_models_by_source(tmp_path: Path) -> None:
    entries = read_zoo(
        zoo(
            tmp_path,
            """
models:
  - source: hf:/org/base@v1
    modality: text
    family: bert
    source_head: true
    config: {num_hidden_layers: 4}
    recipe: {epochs: 3}
  - source: weights
    modality: image
    arch: timm/test_vit
    name: mine
    rebuild: make mine --again
""",
        )
    )

    assert entries == [
        ZooEntry(
            source="hf:/org/base@v1",
            modality="text",
            family="bert",
            source_head=True,
            config={"num_hidden_layers": 4},
            recipe={"epochs": 3},
        ),
        ZooEntry(
            source=str(tmp_path / "weights"),
            modality="image",
            name="mine",
            arch="timm/test_vit",
            rebuild="make mine --again",
        ),
    ]
    assert entries[0].rebuild == ""


@pytest.mark.parametrize(
    ("entry", "title"),
    [
        (ZooEntry(source="hf:/org/name@rev", modality="text"), "org--name"),
        (ZooEntry(source="timm:/resnet18.a1_in1k", modality="image"), "resnet18.a1_in1k"),
        (ZooEntry(source="hf:/org/name", modality="text", name="a/b:c"), "a--b--c"),
        (ZooEntry(source="/some/folder/", modality="text"), "some--folder"),
    ],
)
def test_a_title_has_no_slash_and_no_colon(entry: ZooEntry, title: str) -> None:
    assert entry.title == title


def test_only_a_source_without_a_scheme_is_a_folder() -> None:
    assert ZooEntry(source="hf:/org/name", modality="text").folder is None
    assert ZooEntry(source="/weights", modality="text").folder == Path("/weights")


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ("- {source: a, modality: text, color: red}", r"models\[1\]: unknown key 'color': expec"),
        ("- {modality: text}", r"models\[1\]: expected a source such as hf:/org/name, got none"),
        ("- {source: a, modality: sound}", "modality: expected one of image, text, got 'sound'"),
        ("- {source: a}", "modality: expected one of image, text, got None"),
        (
            "- {source: a, modality: text}\n  - {source: a, modality: text}",
            "expected every model once, got '.*a' twice",
        ),
        (
            "- {source: a, modality: text, recipe: {lr: 1}}",
            r"models\[1\]: unknown field 'lr' of a recipe",
        ),
        (
            "- {source: a, modality: text, recipe: {epochs: many}}",
            r"models\[1\]: epochs: expected int, got 'many'",
        ),
        ("- {source: a, modality: text, recipe: 3}", r"models\[1\]: recipe: expected a mapping"),
        ("- {source: a, modality: text, config: [1]}", r"models\[1\]: config: expected a mapping"),
    ],
)
def test_a_wrong_entry_is_named_by_its_place(tmp_path: Path, models: str, message: str) -> None:
    path = zoo(tmp_path, f"models:\n  {models}\n")

    with pytest.raises(ConfigError, match=message) as error:
        read_zoo(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("text", ["", "models:", "models: []", "models: [a]", "- a", "3", "a: 1"])
def test_a_file_without_a_list_of_models_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match="expected a list 'models' of mappings at the top, got"):
        read_zoo(zoo(tmp_path, text))


def test_a_file_that_is_no_yaml_or_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"zoo\.yaml: cannot be read as YAML: ") as error:
        read_zoo(zoo(tmp_path, "models: [{\n  a: b: c"))
    assert "\n" not in str(error.value)
    with pytest.raises(ConfigError, match=r"none\.yaml: expected a YAML file, got none"):
        read_zoo(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="expected a YAML file, got a folder"):
        read_zoo(tmp_path)


@pytest.mark.parametrize(
    ("pair", "key", "value"),
    [
        ("name: 2024", "name", "2024"),
        ("license: 3", "license", "3"),
        ("license: null", "license", ""),
        ('gmacs: "4.1"', "gmacs", 4.1),
        ("gmacs: 4", "gmacs", 4.0),
        ("parameters: 22e6", "parameters", 22_000_000),
        ("input_size: '128'", "input_size", 128),
        ("source_head: 'True'", "source_head", True),
    ],
)
def test_a_value_of_another_type_is_what_it_says(
    tmp_path: Path, pair: str, key: str, value: object
) -> None:
    """YAML makes numbers of names, and people write numbers in quotes."""
    (entry,) = read_zoo(zoo(tmp_path, f"models:\n  - {{source: a, modality: text, {pair}}}\n"))

    assert getattr(entry, key) == value
    assert type(getattr(entry, key)) is type(value)


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        ("gmacs: x", "gmacs: expected a number above 0, got 'x'"),
        ("gmacs: .nan", "gmacs: expected a number above 0, got nan"),
        ("gmacs: true", "gmacs: expected a number above 0, got True"),
        ("parameters: 1.5", "parameters: expected a whole number, got 1.5"),
        ("parameters: -1", "parameters: expected a number above 0, got -1"),
        ("source_head: perhaps", "source_head: expected true or false, got 'perhaps'"),
        ("name: 1.10", r"name: expected text, got 1\.1: write it in quotes"),
        ("name: no", "name: expected text, got False: write it in quotes"),
        ("name: 2024-01-02", "name: expected text, got datetime.*: write it in quotes"),
        ("name: [a]", r"name: expected text, got \['a'\]: write it in quotes"),
        ("name: /", "expected a name, got '/'"),
        ('name: "a\\e[31m"', "name: expected one line of at most 1000 printable characters"),
        ("config: {1: 2}", r"config: expected a mapping of names, got \{1: 2\}"),
    ],
)
def test_a_value_that_cannot_be_meant_is_one_line(tmp_path: Path, pair: str, message: str) -> None:
    """A guess would be registered without a word."""
    path = zoo(tmp_path, f"models:\n  - {{source: a, modality: text, {pair}}}\n")

    with pytest.raises(ConfigError, match=rf"zoo\.yaml: models\[1\]: {message}") as error:
        read_zoo(path)
    assert "\n" not in str(error.value)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.dates(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(max_examples=40)
@given(st.dictionaries(st.sampled_from([field.name for field in fields(ZooEntry)]), VALUES))
def test_any_value_under_any_key_is_an_entry_or_one_line(
    tmp_path_factory: pytest.TempPathFactory, values: dict[str, object]
) -> None:
    """A file of somebody else must never end in a traceback."""
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(yaml.safe_dump({"models": [{"source": "a", "modality": "text", **values}]}))

    message = ""
    try:
        titles = [entry.title for entry in read_zoo(path)]
    except ConfigError as error:
        titles, message = [], str(error)

    assert message.isprintable()
    assert [bool(title) for title in titles] == [True] * (not message)


def test_a_benchmark_file_lists_datasets_relative_to_itself(tmp_path: Path) -> None:
    (tmp_path / "a.csv").touch()
    path = tmp_path / "benchmarks.yaml"
    path.write_text("datasets:\n  - path: a.csv\n  - {path: glue, config: sst2, name: sst2}\n")

    first, second = read_benchmarks(path)

    assert first.path == str(tmp_path / "a.csv")
    assert (second.path, second.config, second.title) == ("glue", "sst2", "sst2")


def test_a_wrong_dataset_entry_is_named_by_its_place(tmp_path: Path) -> None:
    path = tmp_path / "benchmarks.yaml"
    path.write_text("datasets:\n  - path: a.csv\n  - {path: b.csv, lable: x}\n")

    with pytest.raises(DatasetError, match=r"benchmarks\.yaml: datasets\[2\]: unknown key 'lable'"):
        read_benchmarks(path)
