"""Every parser reads damaged input or refuses it with one line; `benchmarks/fuzz.py` tries more."""

from __future__ import annotations

import importlib.util
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

FILE = Path(__file__).parents[2] / "benchmarks" / "fuzz.py"


def _load() -> Any:
    specification = importlib.util.spec_from_file_location("fuzz", FILE)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules["fuzz"] = module  # its dataclasses look there
    specification.loader.exec_module(module)
    return module


fuzz = _load()
TARGETS = fuzz.targets()
EXAMPLES = settings(
    max_examples=8,
    derandomize=True,  # fuzz.py looks for more
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    with fuzz.sealed(tmp_path):
        yield tmp_path


@pytest.mark.parametrize("name", [name for name in TARGETS if not name.startswith("options of s")])
@EXAMPLES
@given(seed=st.integers(0, 2**32))
def test_changed_input_is_read_or_refused_with_one_line(name: str, seed: int, root: Path) -> None:
    """A person's typo, a cut download or a stranger's file: none is a traceback."""
    target = TARGETS[name]
    data = fuzz.mutate(random.Random(seed), next(iter(target.files.values())))

    kind, cause, _ = fuzz.try_input(target, data, root)

    assert kind != "traceback", f"{cause}\n{data[:2000]!r}"
    assert {path.name for path in root.iterdir()} <= {"input", "cache", "home"}
    assert fuzz._GUARD.refused == []


@pytest.mark.parametrize("name", [name for name in TARGETS if not name.startswith("options")])
@EXAMPLES
@given(data=st.binary(max_size=200))
def test_any_bytes_are_read_or_refused_with_one_line(name: str, data: bytes, root: Path) -> None:
    """A file may be anything under a name that says otherwise."""
    kind, cause, _ = fuzz.try_input(TARGETS[name], data, root)

    assert kind != "traceback", f"{cause}\n{data!r}"


@pytest.mark.parametrize("name", TARGETS)
def test_the_input_that_is_changed_is_valid(name: str, root: Path) -> None:
    """Changes of what is refused anyway would test nothing behind the first check."""
    target = TARGETS[name]

    kind, cause, _ = fuzz.try_input(target, next(iter(target.files.values())), root)

    needs_server = "expected a tracking server, got no answer" in cause
    assert kind == "read" or (kind == "refused" and needs_server), cause
