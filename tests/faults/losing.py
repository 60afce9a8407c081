"""A proxy before a tracking server that loses answers: the work is done, and nobody hears of it."""

from __future__ import annotations

import http.client
import random
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from urllib.parse import urlsplit

#: headers that belong to one connection
_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "host"}


class Losses:
    """Which answers get lost.

    Args:
        share: Share of all answers, in [0, 1].
        seed: Seed of the choice.
    """

    def __init__(self, share: float, seed: int = 0) -> None:
        self._share = share
        self._random = random.Random(seed)
        self._lock = Lock()
        #: number of answers that got lost
        self.count = 0

    def next(self) -> bool:
        with self._lock:
            lost = self._random.random() < self._share
            self.count += lost
            return lost


@contextmanager
def losing(server: str, losses: Losses) -> Iterator[str]:
    """Run the proxy, and yield its address."""
    target = urlsplit(server)

    class Proxy(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _forward(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {k: v for k, v in self.headers.items() if k.lower() not in _HOP_BY_HOP}
            connection = http.client.HTTPConnection(target.hostname or "", target.port)
            connection.request(self.command, self.path, body, headers)
            answer = connection.getresponse()
            content = answer.read()
            connection.close()
            self.close_connection = True
            if losses.next():
                return
            self.send_response(answer.status)
            for key, value in answer.getheaders():
                if key.lower() not in _HOP_BY_HOP:
                    self.send_header(key, value)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Connection", "close")
            self.end_headers()
            with suppress(OSError):
                self.wfile.write(content)

        do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _forward  # noqa: N815 - its names

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 64

    with Server(("127.0.0.1", 0), Proxy) as proxy:
        thread = Thread(target=proxy.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{proxy.server_port}"
        finally:
            proxy.shutdown()
            thread.join()
