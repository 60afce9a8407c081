"""Archives of PyPI, npm and Debian, fetched by name, version and sha256.

Each registry's own client downloads, and `source_archive` where that would run code of the archive;
an archive is then read as a file, so that none of its code runs.
"""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path


class ExampleError(Exception):
    """A part of the example cannot be made: what was expected, what was found, what to do."""


CLIENTS = {
    # Wheels only: pip runs the code of a source distribution to learn its metadata.
    "pypi": [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"],
    "pypi-source": [sys.executable, "-m", "mlflow_recall_example.source_archive"],
    "npm": ["npm", "pack", "--silent"],
    "debian": ["apt-get", "download"],
}
REMEDIES = {
    "pypi": "check that pip can reach a package index",
    "pypi-source": "check that pip's package index can be reached",
    "npm": "install npm and check that it can reach a registry",
    "debian": "on Debian 12, run `apt-get update` as root and try again",
}
#: command that makes a client download again what it may have cached
ANEW = {
    "pypi": "pip cache purge",
    "pypi-source": "the same command again",
    "npm": "npm cache clean --force",
    "debian": "apt-get update",
}
#: what a client reads between name and version
BETWEEN = {"pypi": "==", "pypi-source": "==", "npm": "@", "debian": "="}


@dataclass(frozen=True)
class Package:
    """One archive of a registry."""

    registry: str
    name: str
    version: str
    sha256: str

    def fetch(self, cache: Path) -> Path:
        """Return the archive, downloaded unless `cache` has it."""
        archive = cache / f"{self.sha256[:16]}-{self.name.rpartition('/')[2]}"
        if not archive.is_file():
            with tempfile.TemporaryDirectory(dir=cache) as scratch:
                wanted = f"{self.name}{BETWEEN[self.registry]}{self.version}"
                run([*CLIENTS[self.registry], wanted], Path(scratch), REMEDIES[self.registry])
                (file,) = Path(scratch).iterdir()
                self._verify(file)
                file.replace(archive)
        return archive

    def _verify(self, file: Path) -> None:
        with file.open("rb") as stream:
            got = hashlib.file_digest(stream, "sha256").hexdigest()
        if got != self.sha256:
            raise ExampleError(
                f"{file.name} of {self.registry} is not what this example was built from: "
                f"expected sha256 {self.sha256}, got {got}; run: {ANEW[self.registry]}, and try "
                f"again, or correct the sha256 of {self.name} after a look at what changed"
            )


def run(command: list[str], folder: Path, remedy: str) -> str:
    """Return the standard output of a registry's client; a failure is one line with a remedy."""
    try:
        done = subprocess.run(
            command, cwd=folder, check=True, capture_output=True, encoding="utf-8", errors="replace"
        )
    except FileNotFoundError:
        raise ExampleError(f"{command[0]} is not installed; {remedy}") from None
    except subprocess.CalledProcessError as error:
        reason = (error.stderr.strip() or f"exit code {error.returncode}").splitlines()[-1]
        raise ExampleError(f"`{' '.join(command)}` failed: {reason}; {remedy}") from error
    return done.stdout


def files(archive: Path, pattern: str) -> Iterator[tuple[str, bytes]]:
    """Yield path and content of the files of a wheel, npm or Debian archive that fit a glob."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            for name in opened.namelist():
                if fnmatch(name, pattern):
                    yield name, opened.read(name)
        return
    with archive.open("rb") as stream, tarfile.open(fileobj=_tar(stream)) as tar:
        for member in tar:
            wanted = member.isfile() and fnmatch(member.name, pattern)  # a link would seek back
            content = tar.extractfile(member) if wanted else None
            if content is not None:
                yield member.name, content.read()


def _tar(stream: io.BufferedReader) -> io.BufferedIOBase:
    """Return the data of a Debian package, which is an `ar` archive of tars, or the tar itself."""
    if stream.read(8) != b"!<arch>\n":
        stream.seek(0)
        return stream
    while header := stream.read(60):
        size = int(header[48:58])
        if header.startswith(b"data.tar"):
            return io.BytesIO(stream.read(size))
        stream.seek(size + size % 2, io.SEEK_CUR)  # members start at even offsets
    raise ExampleError(f"{stream.name} is no Debian package: it has no data.tar; download it again")


def file(archive: Path, pattern: str) -> bytes:
    """Return the content of the only file that fits a glob."""
    (content,) = (content for _, content in files(archive, pattern))
    return content
