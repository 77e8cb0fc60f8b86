"""What the tests of causality share."""

from __future__ import annotations

from galera_router import causal_token
from tests.integration.support import elsewhere
from tests.shop.models import Author

BEGIN = "Query START TRANSACTION READ ONLY"
SYNC = "Query SET STATEMENT wsrep_dirty_reads=0, wsrep_sync_wait=1, max_statement_time=0 FOR "
REACH = "Query BEGIN NOT ATOMIC DECLARE cluster"


def write(name: str = "Bea") -> str:
    """Add an author in a thread of its own; returns the token of that."""

    def work() -> str:
        Author.objects.create(name=name)
        return causal_token()

    token: str = elsewhere(work)
    return token


def count() -> int:
    return Author.objects.count()
