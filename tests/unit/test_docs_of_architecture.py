"""docs/architecture.md has the moves of a transaction, and names files that are there."""

from __future__ import annotations

import re
from pathlib import Path

from galera_router.transactions.transaction import MOVES

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "architecture.md").read_text("utf-8")


def test_the_table_of_moves_is_that_of_the_code() -> None:
    states = {state.__name__ for state in MOVES}
    rows = re.findall(r"^\| `(\w+)`.*? \| (.*?) ?\|$", TEXT, re.MULTILINE)
    drawn = {state: set(re.findall(r"`(\w+)`", to)) for state, to in rows if state in states}
    table = {state.__name__: {to.__name__ for to in moves} for state, moves in MOVES.items()}
    assert drawn == table


def test_every_file_that_is_named_is_there() -> None:
    named = set(re.findall(r"`((?:\w+/)+\w+\.py)`", TEXT))
    assert len(named) > 20
    folders = (ROOT / "galera_router", ROOT)
    gone = [name for name in named if not any((folder / name).exists() for folder in folders)]
    assert gone == []
