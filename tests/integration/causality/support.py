"""What the tests of causality share."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection
from django.test import Client

from galera_router import causal_token
from tests.integration.support import Shop, elsewhere
from tests.shop.models import Author

BEGIN = "Query START TRANSACTION READ ONLY"
SYNC = "Query SET STATEMENT wsrep_dirty_reads=0, wsrep_sync_wait=1, max_statement_time=0 FOR "
#: How a node is asked if it has a transaction, and how it waits for one.
LOOK = "Query SELECT 18446744073709551615 + (COALESCE((SELECT seq FROM galera_router_marker"
WAIT = "Query SET STATEMENT max_statement_time=0 FOR BEGIN NOT ATOMIC DECLARE reached"
REACH = "Query SET STATEMENT max_statement_time=0 FOR BEGIN NOT ATOMIC DECLARE cluster"


def write(name: str = "Bea", *, marked: bool = True) -> str:
    """Add an author in a thread of its own; returns the token of that.

    Args:
        name: the author's.
        marked: the write has a marker; without, its token is a position.
    """

    def work() -> str:
        connection.commit_marker = marked  # type: ignore[attr-defined]
        Author.objects.create(name=name)
        return causal_token()

    token: str = elsewhere(work)
    return token


@contextmanager
def late(shop: Shop, seconds: float = 0.7) -> Iterator[str]:
    """The token of a new author, which the secondaries get some ``seconds`` later.

    A read that does not wait is old. None waits in vain: that node would be avoided for a while.
    """
    nodes = [shop.galera[name] for name in ("db2", "db3")]
    with nodes[0].hold_applier(), nodes[1].hold_applier():
        token = write()
        timers = [threading.Timer(seconds, node.release_applier) for node in nodes]
        for timer in timers:
            timer.start()
        yield token
        for timer in timers:
            timer.join()


def count() -> int:
    return Author.objects.count()


class Browser:
    """A client that keeps cookies as a browser does, whichever response comes first."""

    def __init__(self) -> None:
        self.cookies: dict[str, str] = {}

    def ask(self, path: str, data: dict[str, str] | None = None) -> Any:
        """The response, in a thread of its own; its cookies are not taken yet."""
        return elsewhere(lambda: self._ask(path, data))

    def _ask(self, path: str, data: dict[str, str] | None) -> Any:
        client = Client()
        for name, value in self.cookies.items():
            client.cookies[name] = value
        response = client.get(path) if data is None else client.post(path, data)
        assert response.status_code == 200
        return response

    def take(self, response: Any) -> None:
        """The response has come."""
        for name, morsel in response.cookies.items():
            if morsel["max-age"] == 0:
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = morsel.value

    def get(self, path: str) -> str:
        """Ask, and take what is set; returns the content."""
        response = self.ask(path)
        self.take(response)
        return str(response.content.decode())

    def add(self, name: str) -> None:
        """Add an author."""
        self.take(self.ask("/add/", {"name": name}))
