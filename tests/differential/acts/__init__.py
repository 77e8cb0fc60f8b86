"""What programmes are made of; importing this package fills ``language.OPS``."""

from __future__ import annotations

from tests.differential.acts import (
    blocks,
    bulk,
    cursors,
    hooks,
    links,
    reads,
    wrappers,
    writes,
)
from tests.differential.language import OPS

GROUPS = tuple(dict.fromkeys(op.group for op in OPS.values()))

__all__ = [
    "GROUPS",
    "OPS",
    "blocks",
    "bulk",
    "cursors",
    "hooks",
    "links",
    "reads",
    "wrappers",
    "writes",
]
