"""A browser, and pages of somebody else's for it to meet."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.browser.stories import CHROMIUM, told


class _Page(BaseHTTPRequestHandler):
    """An empty one, of no policy at all."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>Elsewhere</title><body>")

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture
def others() -> Iterator[dict[str, str]]:
    """Origins of pages that are not ours: of our site, for it knows no ports, and of another."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Page) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield {
            "of our site": f"http://127.0.0.1:{server.server_port}",
            "elsewhere": f"http://localhost:{server.server_port}",
        }
        server.shutdown()
        thread.join()


@pytest.fixture
def browse(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """`browse(story, **facts)`: what a browser that went through the story says."""
    if CHROMIUM is None:
        pytest.skip("There is no Chromium on this machine: apt-get install chromium")

    def gone_through(story: str, **facts: Any) -> dict[str, Any]:
        return told(story, tmp_path, **facts)

    return gone_through
