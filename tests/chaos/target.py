"""What a fault strikes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import MySQLdb

from galera_router.testing import GaleraCluster, GaleraNode, Proxy
from tests.chaos.children import Crew
from tests.chaos.plan import Strike
from tests.chaos.ways import Way

COMMIT = r"\bCOMMIT\b"
ANSWER = 20  # seconds that a statement of a fault may take


@dataclass(frozen=True)
class Target:
    """One node, or none, and the client processes.

    Attributes:
        name: of the node; "" if the fault hits none.
        ways: by the name of the node to which each leads.
    """

    strike: Strike
    name: str
    cluster: GaleraCluster
    ways: Mapping[str, Way]
    crew: Crew

    @property
    def node(self) -> GaleraNode:
        return self.cluster[self.name]

    @property
    def way(self) -> Way:
        """The way of all clients to the node."""
        return self.ways[self.name]

    @property
    def proxy(self) -> Proxy:
        """The way to the node of the client process that is hit."""
        return self.way[self.strike.process]

    @property
    def process(self) -> int:
        """The client process that is hit."""
        return self.strike.process

    def connect(self) -> Any:
        """Another client's connection to the node, past the proxies. Raises MySQLdb.Error."""
        return MySQLdb.connect(
            host=self.node.host,
            port=self.node.port,
            user=self.cluster.user,
            password=self.cluster.password,
            database=self.cluster.database,
            autocommit=True,
            connect_timeout=2,
            read_timeout=ANSWER,
        )

    @contextmanager
    def session(self) -> Iterator[Any]:
        """The same for the time of a ``with`` block: a cursor."""
        with closing(self.connect()) as connection, closing(connection.cursor()) as cursor:
            yield cursor
