"""An HTTP server for tests, in threads, which answers as a function says: a fake of a service, or a proxy."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class Asked(NamedTuple):
    """A request. headers: by their names in small letters. address: of the host that asks."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    address: str


class Answer(NamedTuple):
    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = {}


Answering = Callable[[Asked], Answer | None]
"""None: the connection is closed without an answer. Called from several threads."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever asked may have gone: a process that is stopped waits for no reply."""


def server(bound: tuple[str, int], answer: Answering) -> ThreadingHTTPServer:
    """Not served yet: `serve_forever` does."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            said = answer(Asked(self.command, self.path, headers, body, self.client_address[0]))
            if said is None:
                self.close_connection = True
                return
            self.send_response(said.status)
            for name, value in {**said.headers, "Content-Length": str(len(said.body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(said.body)

        do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = handle_any  # noqa: N815 - the base class's names

        def log_message(self, format: str, *args: object) -> None:
            """Not to be told."""

    return _Server(bound, Handler)


@contextmanager
def answering(answer: Answering) -> Iterator[str]:
    """The server's URL on the loopback, while it serves."""
    serving = server(("127.0.0.1", 0), answer)
    thread = threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{serving.server_port}"
    finally:
        serving.shutdown()
        thread.join()
        serving.server_close()
