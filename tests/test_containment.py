"""Folders of strangers: which links lead out of them, and which are a hub cache's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlflow_recall.containment import find_escape


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    file = tmp_path / "private" / "secret.txt"
    file.parent.mkdir()
    file.write_text("secret")
    return file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "models--org--name" / "snapshots" / "abc"
    path.mkdir(parents=True)
    (path / "config.json").write_text("{}")
    return path


def test_a_folder_of_its_own_files_is_whole(folder: Path) -> None:
    """Links inside are as good as files."""
    (folder / "again.json").symlink_to("config.json")

    assert find_escape(folder) is None


@pytest.mark.parametrize("depth", [0, 2])
def test_a_link_to_elsewhere_is_found_at_any_depth(
    folder: Path, secret: Path, depth: int, tmp_path: Path
) -> None:
    """A file, a folder, or a folder behind a link: all would be read as the model's."""
    place = folder.joinpath(*["sub"] * depth)
    place.mkdir(parents=True, exist_ok=True)
    (place / "vocab.txt").symlink_to(secret)

    assert find_escape(folder) == place / "vocab.txt"

    (place / "vocab.txt").unlink()
    (place / "folder").symlink_to(secret.parent)
    assert find_escape(folder) == place / "folder"


def test_the_blobs_of_a_hub_cache_are_its_own(folder: Path, tmp_path: Path) -> None:
    """The hub's client keeps each file once, by its content, and links to it."""
    blobs = folder.parents[1] / "blobs"
    shared = tmp_path / "blobs"
    for place in (blobs, shared):
        place.mkdir()
        (place / "0123").write_text("weights")
        (folder / f"{place.parent.name}.safetensors").symlink_to(place / "0123")

    assert find_escape(folder) is None
    assert find_escape(folder, folder) is not None


def test_links_may_stay_within_a_given_root_but_not_leave_it_from_there(
    folder: Path, secret: Path, tmp_path: Path
) -> None:
    """A mirror may share files between repositories; a detour through one of them is no way out."""
    other = tmp_path / "models--org--name" / "other"
    other.mkdir()
    (folder / "shared").symlink_to(other)
    assert find_escape(folder, tmp_path / "models--org--name") is None

    (other / "vocab.txt").symlink_to(secret)
    assert find_escape(folder, tmp_path / "models--org--name") == folder / "shared" / "vocab.txt"


def test_links_in_a_circle_end(folder: Path) -> None:
    """A folder may link to the folder around it."""
    (folder / "round").symlink_to(folder)

    assert find_escape(folder) is None
