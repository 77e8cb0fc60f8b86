"""The parts of an INSERT or REPLACE that a key can be written into."""

from __future__ import annotations

from dataclasses import dataclass

from galera_router.recovery.lexer import Kind, Token, column, split, tokens

Value = tuple[Token, ...]


@dataclass(frozen=True, slots=True)
class Insert:
    """An INSERT or REPLACE.

    Attributes:
        table: its table as the statement writes it.
        names: the columns that it names, plain; None if it names none and so sets all.
        names_at: where in the statement the first of them stands, or would.
        rows: the values of each row of its VALUES list, or of its SET; empty for a SELECT.
        rows_at: where in the statement each row's first value stands, or would.
        may_replace: REPLACE, or ON DUPLICATE KEY UPDATE: it may meet a row that is there.
        assigns: it has the form INSERT … SET column = value.
        ignore: it may insert fewer rows than it names.
        returning: what it returns: a column's name, ``*``, or None for anything else.
        updates: it has ON DUPLICATE KEY UPDATE.
    """

    table: bytes
    names: tuple[bytes, ...] | None
    names_at: int
    rows: tuple[tuple[Value, ...], ...]
    rows_at: tuple[int, ...]
    may_replace: bool
    assigns: bool
    ignore: bool
    returning: tuple[bytes | None, ...]
    updates: bool = False


_MODIFIERS = frozenset({b"LOW_PRIORITY", b"DELAYED", b"HIGH_PRIORITY", b"IGNORE", b"INTO"})
_VALUES = frozenset({b"VALUES", b"VALUE"})


def parse(statement: bytes, *, backslashes: bool = True) -> Insert | None:
    """The parts of ``statement``; None if it is no INSERT, or in a form that is not known here."""
    found = tokens(statement, backslashes=backslashes)
    while found and found[-1].text == b";":
        found = found[:-1]
    if not found or found[0].word not in (b"INSERT", b"REPLACE"):
        return None
    try:
        return _parse(found)
    except (IndexError, ValueError, StopIteration):
        return None


def _parse(found: tuple[Token, ...]) -> Insert:
    at = 1
    while found[at].word in _MODIFIERS:
        at += 1
    ignore = any(token.word == b"IGNORE" for token in found[1:at])
    size = 3 if found[at + 1].text == b"." else 1
    table = found[at : at + size]
    if not column(table):
        raise ValueError
    at += size
    names, names_at = None, table[-1].end
    if found[at].text == b"(" and found[at + 1].word not in (b"SELECT", b"WITH"):
        end = _closing(found, at)
        names, names_at = _names(found[at + 1 : end]), found[at].end
        at = end + 1
    end = _top(found, b"RETURNING", at)
    returning = tuple(_returned(part) for part in split(found[end + 1 :])) if found[end:] else ()
    duplicate = _top(found[:end], b"DUPLICATE", at) < end
    assigns = names is None and found[at].word == b"SET"
    if assigns:
        names_at = found[at + 1].start
        names, rows = _assigned(found[at + 1 : end])
        rows_at: tuple[int, ...] = (names_at,)
    else:
        rows, rows_at = _rows(found[at:end])
    return Insert(
        b"".join(token.text for token in table),
        names,
        names_at,
        rows,
        rows_at,
        duplicate or found[0].word == b"REPLACE",
        assigns,
        ignore,
        returning,
        duplicate,
    )


def _closing(found: tuple[Token, ...], opening: int) -> int:
    depth = found[opening].depth
    position = opening + 1
    while found[position].depth != depth:
        position += 1
    return position


def _names(found: tuple[Token, ...]) -> tuple[bytes, ...]:
    return tuple(column(part)[-1] for part in split(found)) if found else ()


def _top(found: tuple[Token, ...], word: bytes, begin: int) -> int:
    for position in range(begin, len(found)):
        if found[position].depth == 0 and found[position].word == word:
            return position
    return len(found)


def _returned(part: tuple[Token, ...]) -> bytes | None:
    if len(part) > 2 and part[-2].word == b"AS":
        part = part[:-2]
    if part[-1].text == b"*":
        return b"*"
    names = column(part)
    return names[-1] if names else None


def _rows(found: tuple[Token, ...]) -> tuple[tuple[tuple[Value, ...], ...], tuple[int, ...]]:
    rows: list[tuple[Value, ...]] = []
    rows_at: list[int] = []
    if not found or found[0].word not in _VALUES:
        return (), ()
    position = 1
    while position < len(found) and found[position].text == b"(":
        end = _closing(found, position)
        values = found[position + 1 : end]
        rows.append(tuple(split(values)) if values else ())
        rows_at.append(found[position].end)
        position = end + 1
        if position < len(found) and found[position].text == b",":
            position += 1
    if position < len(found) and found[position].word != b"ON":
        raise ValueError
    return tuple(rows), tuple(rows_at)


def _assigned(found: tuple[Token, ...]) -> tuple[tuple[bytes, ...], tuple[tuple[Value, ...], ...]]:
    end = next((i for i, t in enumerate(found) if t.depth == 0 and t.word == b"ON"), len(found))
    names: list[bytes] = []
    values: list[Value] = []
    for part in split(found[:end]):
        at = next(i for i, token in enumerate(part) if token.text == b"=")
        names.append(column(part[: at - (part[at - 1].text == b":")])[-1])
        values.append(part[at + 1 :])
    return tuple(names), (tuple(values),)


def is_literal(value: Value) -> bool:
    """Returns True if ``value`` itself is stored: no NULL, no DEFAULT, nothing to be computed."""
    if value and value[0].text in (b"-", b"+"):
        value = value[1:]
    if not value:
        return False
    head, *others = value
    if others:  # _binary'…', x'…'
        return head.kind is Kind.WORD and len(others) == 1 and others[0].kind is Kind.STRING
    return head.kind in (Kind.STRING, Kind.NUMBER) or head.word in (b"TRUE", b"FALSE")
