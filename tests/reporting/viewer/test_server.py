"""The server of `thorax view`: one page, on this machine only."""

import http.client
import threading
from collections.abc import Iterator

import pytest

from thorax.reporting.viewer.server import PageServer, serve

DOCUMENT = "<p>Größe</p>"


@pytest.fixture
def server() -> Iterator[PageServer]:
    with PageServer(DOCUMENT) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.02,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def request(
    server: PageServer, method: str, path: str, headers: dict[str, str] | None = None
) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    connection.request(method, path, headers=headers or {})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer, body


def test_it_serves_the_page(server: PageServer) -> None:
    answer, body = request(server, "GET", "/")
    assert (answer.status, body.decode()) == (200, DOCUMENT)
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    answer, body = request(server, "HEAD", "/")
    assert (answer.status, body) == (200, b"")


@pytest.mark.parametrize("path", ["/index.html", "/?", "/../etc/passwd", "/favicon.ico"])
def test_it_serves_no_other_path(server: PageServer, path: str) -> None:
    answer, body = request(server, "GET", path)
    assert answer.status == 404
    assert DOCUMENT.encode() not in body


def test_post_requests_are_rejected(server: PageServer) -> None:
    assert request(server, "POST", "/")[0].status == 501


@pytest.mark.parametrize("host", ["elsewhere.example", "127.0.0.1", "localhost:1", ""])
def test_another_host_name_is_rejected(server: PageServer, host: str) -> None:
    answer, body = request(server, "GET", "/", {"Host": host})
    assert answer.status == 403
    assert DOCUMENT.encode() not in body


def test_it_listens_on_the_loopback_address_only(server: PageServer) -> None:
    assert server.server_address[0] == "127.0.0.1"
    assert server.url == f"http://127.0.0.1:{server.server_port}/"
    assert server.server_port > 0


def test_an_interrupt_ends_it() -> None:
    urls: list[str] = []

    def ready(url: str) -> None:
        urls.append(url)
        raise KeyboardInterrupt

    serve(DOCUMENT, ready=ready)
    assert urls[0].startswith("http://127.0.0.1:")
