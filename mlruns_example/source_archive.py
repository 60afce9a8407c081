"""Downloads the source archive of a release: `python -m ... NAME==VERSION`, into this folder.

pip would run code of the archive to learn its metadata; here nothing of it runs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path

#: pip's own default
_INDEX = "https://pypi.org/simple"
_JSON = "application/vnd.pypi.simple.v1+json"  # PEP 691
_SECONDS = 60


def download(release: str, index: str) -> Path:
    """Download the `.tar.gz` of `NAME==VERSION` into the working directory, and return it.

    Raises:
        LookupError: The index has no such file.
        OSError: The index cannot be reached.
    """
    name, _, version = release.partition("==")
    page = json.loads(_read(f"{index.rstrip('/')}/{name.lower()}/", {"Accept": _JSON}))
    wanted = f"{name}-{version}.tar.gz"
    for file in page["files"]:
        if file["filename"] == wanted:
            Path(wanted).write_bytes(_read(file["url"], {}))
            return Path(wanted)
    raise LookupError(f"the package index has no {wanted}")


def _read(url: str, headers: dict[str, str]) -> bytes:
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - the index that pip uses
    with urllib.request.urlopen(request, timeout=_SECONDS) as answer:  # noqa: S310
        content: bytes = answer.read()
    return content


def pip_index() -> str:
    """Return the address of the package index that pip is configured to use."""
    if "PIP_INDEX_URL" in os.environ:
        return os.environ["PIP_INDEX_URL"]
    command = [sys.executable, "-m", "pip", "config", "get", "global.index-url"]
    asked = subprocess.run(command, check=False, capture_output=True, text=True)
    return asked.stdout.strip() or _INDEX


if __name__ == "__main__":
    try:
        download(sys.argv[1], pip_index())
    except (LookupError, OSError) as error:
        raise SystemExit(str(error)) from None
