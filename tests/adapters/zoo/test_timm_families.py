"""Families of timm go the whole way of a member."""

from __future__ import annotations

from pathlib import Path

import pytest
from architectures import FAMILIES, save_timm_model, travel

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", FAMILIES)
def test_an_architecture_goes_the_whole_way(
    name: str, store: str, namespace: str, tmp_path: Path
) -> None:
    """What registers is trained, probed, loaded again and served, whatever its configuration."""
    folder = save_timm_model(name, tmp_path / "network")

    travel(store, namespace, folder, "image", name="network", recipe={"input_size": 64})


def test_there_are_at_least_forty() -> None:
    """Fewer would leave out kinds of sizes, positions, heads and outputs."""
    assert len(FAMILIES) >= 40
