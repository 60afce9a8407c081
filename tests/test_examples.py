"""The examples of docstrings run, and print what they say."""

from __future__ import annotations

import doctest
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MODULES = sorted(
    ".".join(file.relative_to(ROOT).with_suffix("").parts)
    for file in (ROOT / "mlflow_recall").rglob("*.py")
    if ">>> " in file.read_text()
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_a_module_print_what_they_say(name: str) -> None:
    """A reader copies an example, so a wrong one is a defect."""
    results = doctest.testmod(import_module(name.removesuffix(".__init__")))

    assert results.attempted > 0
    assert results.failed == 0
