"""All kinds of operations, by subject; importing this enters them into `KINDS`."""

from __future__ import annotations

from tests.chaos import workloads
from tests.chaos.jobs import KINDS
from tests.chaos.operations import (
    histories,
    inserts,
    locks,
    names,
    orders,
    relations,
    sizes,
    stored,
)

__all__ = [
    "KINDS",
    "histories",
    "inserts",
    "locks",
    "names",
    "orders",
    "relations",
    "sizes",
    "stored",
    "workloads",
]
