"""The cache folder: names from tags never leave it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlflow_recall.adapters.data.preparation import find_prepared
from mlflow_recall.cache import cache_folder, is_digest
from mlflow_recall.errors import ConfigError


@settings(max_examples=50)
@given(st.lists(st.text(), min_size=1, max_size=3))
def test_no_name_leaves_the_cache(names: list[str]) -> None:
    """A run's id and a dataset's digest come from a server, where anyone can write tags."""
    root = cache_folder()
    try:
        folder = cache_folder(*names)
    except ConfigError:
        return
    assert folder.is_relative_to(root)
    assert len(folder.relative_to(root).parts) == len(names)


@pytest.mark.parametrize("name", ["..", ".", "", "/etc", "a/b", "a\\b", "a\0b", "x" * 300, ".ssh"])
def test_a_path_is_no_name(name: str) -> None:
    with pytest.raises(ConfigError, match="expected names of folders"):
        cache_folder("datasets", name)


@pytest.mark.parametrize("digest", ["", "..", "../../x", "0123456789abcde", "0123456789ABCDEF"])
def test_what_is_no_digest_finds_no_dataset(digest: str, tmp_path: Path) -> None:
    """The tag of a run is looked up only if it has the form of a digest."""
    assert not is_digest(digest)
    assert find_prepared("x", digest, "text") is None
