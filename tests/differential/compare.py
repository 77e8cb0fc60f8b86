"""What one side saw that the other did not."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any

from tests.differential.seeds import SEEDS, TABLES

MISSING = "nothing"


@dataclass(frozen=True)
class Difference:
    """The first thing that is not the same on both sides.

    Attributes:
        kind: "hung", "runs", "status", "seen", "tables", "nodes"; "keys" if it is in the values of
            new keys alone, and "left" for what is left of something that was undone.
        place: the step, as numbers counted from 0 on each level, or the table.
        what: the op.
        stock, router: what either side has; for "nodes", the first node and another one.
    """

    kind: str
    place: str
    what: str
    stock: Any
    router: Any

    def __str__(self) -> str:
        return (
            f"{self.kind} at {self.place or 'the end'}: {self.what}\n"
            f"  stock:  {self.stock}\n  router: {self.router}"
        )

    @property
    def signature(self) -> str:
        """The same for differences that are probably of one cause."""
        sides = (outcome_kind(self.stock), outcome_kind(self.router))
        return f"{self.kind} {self.what}: {sides[0]} / {sides[1]}"

    def raised(self) -> str | None:
        """The name of the exception that the router alone has raised, if that is it."""
        return exception(self.router) if exception(self.stock) != exception(self.router) else None


def exception(outcome: Any) -> str | None:
    """The name of the exception that an event tells of."""
    if isinstance(outcome, dict) and "raised" in outcome:
        name, number = outcome["raised"]
        return f"{name} {number}" if number is not None else str(name)
    return None


def outcome_kind(outcome: Any) -> str:
    return exception(outcome) or ("nothing" if outcome == MISSING else "a value")


def compare_keys(
    stock: dict[str, Any], router: dict[str, Any], rows: dict[str, list[Any]]
) -> Difference | None:
    """``compare``; where keys alone differ, and not their order, it says so."""
    difference = compare(stock, router, rows)
    if difference is None or difference.kind == "hung":
        return difference
    if compare_renamed(stock, router, rows) is None:
        return replace(difference, kind="keys")
    return difference


def compare_renamed(
    stock: dict[str, Any], router: dict[str, Any], rows: dict[str, list[Any]]
) -> Difference | None:
    """``compare``, with keys by the order of their appearance, and rows in no order of theirs.

    Of keys that nobody was told, a replay may draw others than those of the rows around them.
    """
    sides = []
    for answer, name in ((stock, "stock"), (router, "router")):
        names: dict[str, str] = {}
        told = renamed(answer, names)  # first: what was seen gives the keys their names
        sides.append((told, [_unordered(renamed(node, names)) for node in rows[name]]))
    (one, one_rows), (other, other_rows) = sides
    return compare(one, other, {"stock": one_rows, "router": other_rows})


def _unordered(tables: dict[str, Any]) -> dict[str, Any]:
    return {
        table: sorted(rows, key=repr) if table in TABLES else rows for table, rows in tables.items()
    }


def compare(
    stock: dict[str, Any], router: dict[str, Any], rows: dict[str, list[Any]]
) -> Difference | None:
    """The first difference between what the sides saw, and then what their tables hold.

    Args:
        stock, router: the answers of the two processes; see ``child``.
        rows: what ``Tables.rows`` gave.
    """
    return (
        _hung(stock, router)
        or _events(stock["events"], router["events"])
        or _number("status", stock, router)
        or _tables(rows["stock"][0], rows["router"][0])
        or _nodes(rows["router"])
        or _number("runs", stock, router)
    )


def _hung(stock: dict[str, Any], router: dict[str, Any]) -> Difference | None:
    sides = ["hung" if "hung" in side else "ended" for side in (stock, router)]
    return Difference("hung", "", "the programme", *sides) if "hung" in sides else None


def _events(stock: list[Any], router: list[Any]) -> Difference | None:
    for one, other in zip_longest(stock, router):
        if one == other:
            continue
        if one is None or other is None or one[:2] != other[:2]:
            place, what = (one or other)[:2]
            return Difference("seen", place, what, one[2] if one else MISSING, _instead(one, other))
        if one[2] == other[2]:
            return Difference("seen", one[0], f"in_atomic_block after {one[1]}", one[3], other[3])
        return Difference("seen", one[0], one[1], one[2], other[2])
    return None


def _instead(one: Any, other: Any) -> Any:
    """What the router has where stock Django has the event ``one``."""
    if other is None or one is None:
        return MISSING if other is None else other[2]
    return other[2] if exception(other[2]) else f"at {other[0]}: {other[1]}"


def _number(kind: str, stock: dict[str, Any], router: dict[str, Any]) -> Difference | None:
    one, other = stock[kind], router[kind]
    return Difference(kind, "", "the programme", one, other) if one != other else None


def _tables(one: dict[str, Any], other: dict[str, Any], kind: str = "tables") -> Difference | None:
    for table in one:
        if one[table] != other[table]:
            return Difference(kind, table, "the rows", one[table], other[table])
    return None


def _nodes(nodes: list[dict[str, Any]]) -> Difference | None:
    for node in nodes[1:]:
        found = _tables(nodes[0], node, "nodes")
        if found:
            return found
    return None


def renamed(value: Any, names: dict[str, str] | None = None) -> Any:
    """``value`` with the keys of new rows counted by table, in the order of their appearance."""
    names = {} if names is None else names
    if isinstance(value, str) and "+" in value and value.partition("+")[0] in TABLES:
        table, _, place = value.partition("+")
        if int(place) < SEEDS.get(table, 0):
            return value
        known = sum(name.startswith(f"{table}+") for name in names)
        return names.setdefault(value, f"{table}#{known}")
    if isinstance(value, (list, tuple)):
        return [renamed(each, names) for each in value]
    if isinstance(value, dict):
        return {key: renamed(each, names) for key, each in value.items()}
    return value
