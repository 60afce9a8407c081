"""Waiting for other threads and processes, and servers of a process of their own.

No test has a deadline: a limit here only ends a hang, so that a busy machine breaks nothing.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

#: Where the installed commands are found: ``--env-manager=local`` looks for ``python`` there.
PATH = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
#: Seconds after which a wait counts as a hang; beside eight busy loops a command takes minutes.
HANG_LIMIT = 1800.0
#: Ports that are tried before a server counts as broken: another process may take one meanwhile.
MAX_PORTS = 3


def wait_until(
    condition: Callable[[], object],
    process: subprocess.Popen[bytes] | None = None,
    log: Path | None = None,
) -> None:
    """Wait until a condition holds.

    Args:
        condition: Checked every 50 ms.
        process: Process that must not end before; None: none.
        log: Output of the process, which a failure shows; None: none.
    """
    start = time.monotonic()
    while not condition():
        written = log.read_text() if log else ""
        if process is not None and process.poll() is not None and not condition():
            pytest.fail(f"the process ended with exit code {process.returncode}:\n{written}")
        if time.monotonic() - start > HANG_LIMIT:
            pytest.fail(f"still waiting after {HANG_LIMIT:.0f} s:\n{written}")
        time.sleep(0.05)


def is_answering(url: str) -> bool:
    """Return whether a server answers at this address."""
    with suppress(OSError), urllib.request.urlopen(url, timeout=30):  # noqa: S310
        return True
    return False


def read_url(request: str | urllib.request.Request) -> bytes:
    """Return the content of the answer of a server of these tests."""
    with urllib.request.urlopen(request, timeout=HANG_LIMIT) as response:  # noqa: S310
        content: bytes = response.read()
    return content


@contextmanager
def run_server(
    command: Callable[[str], Sequence[str]],
    folder: Path,
    environment: Mapping[str, str],
    scheme: str = "http",
) -> Iterator[str]:
    """Run a web server on a free port.

    Args:
        command: Function from a port to the arguments of the process.
        folder: Working folder of the process, which its log is written to.
        environment: Environment of the process.
        scheme: ``http``, or ``https`` for a server whose certificate this process trusts.

    Yields:
        The address, once the server answers there.
    """
    for _ in range(MAX_PORTS):
        with _run_server_once(command, folder, environment, scheme) as url:
            if url:
                yield url
                return
    pytest.fail(f"no free port in {MAX_PORTS} tries: {command('PORT')}")


@contextmanager
def _run_server_once(
    command: Callable[[str], Sequence[str]],
    folder: Path,
    environment: Mapping[str, str],
    scheme: str,
) -> Iterator[str]:
    """Yield the address, or an empty text where another process has taken the port meanwhile."""
    log, port = folder / "server.log", find_free_port()
    url = f"{scheme}://127.0.0.1:{port}"
    with log.open("w") as file:
        process = subprocess.Popen(
            command(str(port)),
            cwd=folder,
            env=dict(environment),
            stdout=file,
            stderr=file,
            start_new_session=True,  # The command starts the server as its child.
        )
    try:
        wait_until(lambda: process.poll() is not None or is_answering(f"{url}/health"), log=log)
        has_ended = process.poll() is not None
        if has_ended and "already in use" not in log.read_text():
            pytest.fail(f"no server at {url}:\n{log.read_text()}")
        yield "" if has_ended else url
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def find_free_port() -> int:
    """Return a port that no process listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
