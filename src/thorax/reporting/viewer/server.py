"""Serve one page from memory, to the browser on this machine only."""

from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LOOPBACK = "127.0.0.1"


class PageServer(ThreadingHTTPServer):
    """Serves one document at ``/``, on the loopback address and a free port.

    Requests with another ``Host`` are rejected, so that no other web page can read this one through
    a domain name that resolves to this machine (DNS rebinding).

    Args:
        document: HTML document.
    """

    daemon_threads = True

    def __init__(self, document: str) -> None:
        super().__init__((LOOPBACK, 0), _Handler)
        self.content = document.encode()
        self.host = f"{LOOPBACK}:{self.server_port}"

    @property
    def url(self) -> str:
        """Address of the document."""
        return f"http://{self.host}/"


class _Handler(BaseHTTPRequestHandler):
    server: PageServer

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, *, with_body: bool) -> None:
        if self.headers.get("Host") != self.server.host:
            self.send_error(HTTPStatus.FORBIDDEN)
        elif self.path != "/":
            self.send_error(HTTPStatus.NOT_FOUND)
        else:
            self._send(self.server.content if with_body else b"")

    def _send(self, body: bytes) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(self.server.content)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        self.send_header("Content-Security-Policy", "frame-ancestors 'none'")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Do not log requests."""


def serve(document: str, *, ready: Callable[[str], None]) -> None:
    """Serve a document until Ctrl-C.

    Args:
        document: HTML document.
        ready: Called with the address once the server answers.
    """
    with PageServer(document) as server:
        try:
            ready(server.url)
            server.serve_forever()
        except KeyboardInterrupt:
            return
