"""How much each node has read for the tests, by the servers' own general logs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from galera_router.testing import GaleraCluster

#: A read of some table in a packet; what the watchdog asks names none of the tests'.
_READ = re.compile(r"\bSELECT\b.+\bFROM\s+`(?!galera_router_)", re.DOTALL | re.IGNORECASE)


@contextmanager
def counted(cluster: GaleraCluster) -> Iterator[dict[str, int]]:
    """Give a dict that holds, at the end of the block, each node's packets with a read."""
    marks = {node.name: node.log_mark() for node in cluster.nodes}
    reads: dict[str, int] = {}
    yield reads
    for node in cluster.nodes:
        sent = node.log_since(marks[node.name])
        reads[node.name] = sum(1 for one in sent if _READ.search(one.sql))


def of_secondaries(reads: dict[str, int]) -> int:
    """The reads of all nodes but the first, which is the primary."""
    return sum(list(reads.values())[1:])
