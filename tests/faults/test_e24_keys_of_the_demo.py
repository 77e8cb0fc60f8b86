"""The demo's visitors assume that the first account has key 1.

Each node of a cluster draws keys of its own: 1, 4, 7 on one, 2, 5, 8 on another.
"""

from __future__ import annotations

import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.faults.known import both

sys.path.append(str(Path(__file__).parents[2] / "example_project"))

from demo.load import Walk
from demo.tally import Tally

SECONDS = 0.7


class Bank(BaseHTTPRequestHandler):
    """A bank with three accounts, whose pages are like those of the example project."""

    accounts: tuple[int, ...] = ()

    def do_GET(self) -> None:
        """Answer with the page, or 404."""
        account = re.fullmatch(r"/accounts/(\d+)/", self.path)
        if account is not None and int(account[1]) not in self.accounts:
            self._answer(404, "")
        elif self.path == "/transfer/":
            options = "".join(f'<option value="{n}">Mill</option>' for n in self.accounts)
            hidden = '<input type="hidden" name="reference" value="r1">'
            self._answer(200, f"<form>{hidden}<select>{options}</select></form>")
        else:
            links = "".join(f'<td><a href="/accounts/{n}/">Mill</a></td>' for n in self.accounts)
            self._answer(200, links)

    def do_POST(self) -> None:
        """The transfer is refused: the form is shown again."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(200, "")

    def log_request(self, code: object = "-", size: object = "-") -> None:
        """Nobody reads it."""

    def _answer(self, status: int, body: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())


@pytest.fixture
def accounts(request: pytest.FixtureRequest) -> tuple[int, ...]:
    found: tuple[int, ...] = request.param
    return found


@pytest.fixture
def port(accounts: tuple[int, ...]) -> Iterator[int]:
    """Where the bank with these ``accounts`` is."""
    handler = type("Handler", (Bank,), {"accounts": accounts})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.02])
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def _visit(port: int) -> Counter[str]:
    """What went wrong for a few visitors, one after the other."""
    tally = Tally()
    for seed in range(2):
        Walk(port, time.monotonic() + SECONDS, tally, seed).run()
    assert tally.requests > 5
    return tally.errors


@both(stock=False)
@pytest.mark.parametrize("accounts", [(2, 5, 8), (3, 6, 9)], indirect=True)
def test_the_seed_was_written_on_another_node(side: str, port: int) -> None:
    assert _visit(port) == Counter()


@both(stock=False)
@pytest.mark.parametrize("accounts", [(1, 4, 7)], indirect=True)
def test_the_seed_was_written_on_the_first_node(side: str, port: int) -> None:
    assert _visit(port) == Counter()
