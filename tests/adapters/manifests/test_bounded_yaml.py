"""YAML of anybody: within limits, each key once, and one line for anything else."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlflow_recall import limits
from mlflow_recall.adapters.manifests.bounded_yaml import read_yaml
from mlflow_recall.errors import ConfigError


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "file.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def bomb(levels: int) -> str:
    """Nine values, each list has nine times the one before: 9 to the power of ``levels``."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, levels)]
    return "\n".join(lines)


def test_aliases_of_a_usual_file_are_understood(tmp_path: Path) -> None:
    """A recipe may be shared by models, as people write YAML."""
    text = "recipe: &r {epochs: 3}\nmodels:\n- {recipe: *r}\n- recipe: {<<: *r, seed: 1}\n"

    assert read_yaml(written(tmp_path, text)) == {
        "recipe": {"epochs": 3},
        "models": [{"recipe": {"epochs": 3}}, {"recipe": {"epochs": 3, "seed": 1}}],
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (bomb(9), f"more than {limits.MAX_YAML_VALUES} values with aliases"),
        (bomb(60), f"more than {limits.MAX_YAML_VALUES} values with aliases"),
        ("[" * 5000, f"line 1: more than {limits.MAX_NESTING} levels of nesting"),
        ("".join("  " * i + "b:\n" for i in range(200)), "levels of nesting"),
        ("x: &a [*a]", "line 1: the alias 'a' stands for no value yet"),
        ("x: *a", "line 1: the alias 'a' stands for no value yet"),
        ("x: 1\ny: 2\nx: 3", "line 3: the key 'x' stands twice"),
        ("- {x: 1, x: 2}", "line 1: the key 'x' stands twice"),
        ("x: " + "9" * 1000, "line 1: an integer of 1000 characters"),
        ("x: 0x" + "f" * 1000, "line 1: an integer of 1002 characters"),
        ("x: " + "1:" * 500 + "1", "line 1: an integer of 1001 characters"),
        ("x: !!python/object/apply:os.system [echo]", "could not determine a constructor"),
        ("x: !!timestamp 2020-99-99", "month must be in"),
        ("? [a]\n: b", "unhashable key"),
        ("{", "line 2: did not find"),
        ("\0", "cannot be read as YAML: "),
        (b"\xff\xfe\x00", "cannot be read as YAML: "),
        ("x" * (limits.MAX_YAML_BYTES + 1), f"expected at most {limits.MAX_YAML_BYTES} bytes"),
    ],
)
def test_what_no_person_writes_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    """Aliases of aliases are few bytes and more values than a memory holds."""
    path = written(tmp_path, text)

    with pytest.raises(ConfigError, match=message) as error:
        read_yaml(path)

    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 600
