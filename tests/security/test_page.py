"""The page on security states what the code does."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlflow_recall import limits
from mlflow_recall.adapters.data import decoding

PAGE = (Path(__file__).parents[2] / "docs" / "security.md").read_text(encoding="utf-8")
LIMITS = {name: value for name, value in vars(limits).items() if name.startswith("MAX_")}


@pytest.mark.parametrize("value", [*LIMITS.values(), decoding.MAX_PIXELS], ids=[*LIMITS, "PIXELS"])
def test_every_limit_is_stated(value: int) -> None:
    """Who is refused by a limit looks for its number."""
    cells = [line.split("|")[2] for line in PAGE.splitlines() if line.startswith("|")]

    assert any(cell.split()[:1] == [f"{value:,}"] for cell in cells)
