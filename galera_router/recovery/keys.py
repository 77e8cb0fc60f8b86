"""What the application was told of a row stays the same when its insert is replayed.

Galera sets ``auto_increment_increment`` and ``_offset`` per node and ignores the session's, so a
replayed insert would draw other keys; a default such as ``NOW()`` or ``NEXTVAL(s)`` would be
another one too. What was told is therefore written into the statement; but not in the place of what
depends on data, or may write, such as a subquery or a stored function: that is done again, and
compared.

``SET INSERT_ID`` pins the first key alone (seen on 10.11: 1, 4, 7 came back as 1, 2, 5), stays
until an insert has drawn a key, and is undone by ``SET INSERT_ID = 0``. It is for statements that
nothing can be written into.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.apps import apps

from galera_router.recovery.functions import OWN
from galera_router.recovery.inserts import Insert, Value, is_literal, parse
from galera_router.recovery.journal import Answer, Entry

Literal = Callable[[Any], bytes]

#: Ends the effect of ``SET INSERT_ID`` where no insert has used it up (seen on 10.11).
UNPIN = b"SET INSERT_ID = 0"


@dataclass(frozen=True, slots=True)
class Table:
    """What is to be known of a table before a value is written into an insert.

    Names are in lower case.

    Attributes:
        columns: all of them, in order.
        auto: the one whose keys are drawn by AUTO_INCREMENT, if there is one.
        computed: those whose default is an expression, with its text.
        generated: those that cannot be set.
        invisible: those that an INSERT without names does not set, and ``*`` does not return.
    """

    columns: tuple[bytes, ...]
    auto: bytes | None = None
    computed: dict[bytes, str] = field(default_factory=dict)
    generated: frozenset[bytes] = frozenset()
    invisible: frozenset[bytes] = frozenset()

    @classmethod
    def of(cls, rows: Sequence[tuple[Any, ...]]) -> Table:
        """From the answer to :func:`describe`."""
        named = [(str(name).encode().lower(), *rest) for name, *rest in rows]
        return cls(
            tuple(name for name, *_ in named),
            next((name for name, _, extra, _ in named if "auto_increment" in extra.lower()), None),
            {name: text for name, text, *_ in named if text and not _CONSTANT.fullmatch(text)},
            frozenset(name for name, _, _, generated in named if generated != "NEVER"),
            frozenset(name for name, _, extra, _ in named if "INVISIBLE" in extra.upper()),
        )

    def names_of(self, insert: Insert) -> tuple[bytes, ...]:
        """The columns that ``insert`` sets, in its order."""
        return self.visible if insert.names is None else insert.names

    @property
    def visible(self) -> tuple[bytes, ...]:
        """Those that ``*`` stands for, in order."""
        return tuple(name for name in self.columns if name not in self.invisible)


# How information_schema writes a default that is always the same.
_CONSTANT = re.compile(r"'.*'|NULL|[-+]?[\d.]+(?:e[-+]?\d+)?|[bx]'.*'", re.DOTALL | re.IGNORECASE)
_NAME = r"(?:`[^`]+`|[\w$]+)"
_NEXT_VALUE = re.compile(
    rf"(?:nextval\s*\(\s*|next\s+value\s+for\s+)((?:{_NAME}\.)?{_NAME})[\s)]*", re.IGNORECASE
)


def describe(insert: Insert, literal: Literal) -> bytes:
    """The question whose answer :meth:`Table.of` reads."""
    *schema, name = _table_parts(insert.table)
    where = literal(schema[0]) if schema else b"DATABASE()"
    return (
        b"SELECT COLUMN_NAME, COLUMN_DEFAULT, EXTRA, IS_GENERATED FROM information_schema.COLUMNS"
        b" WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s ORDER BY ORDINAL_POSITION"
    ) % (where, literal(name))


_PART = re.compile(r"`((?:[^`]|``)+)`|([^`.]+)")


def _table_parts(table: bytes) -> list[str]:
    found = _PART.findall(table.decode("utf-8", "surrogateescape"))
    return [quoted.replace("``", "`") or plain for quoted, plain in found]


@dataclass(frozen=True, slots=True)
class Kept:
    """An insert in which the values that were told are written.

    Attributes:
        statement: the insert.
        drawn: the key that ``LAST_INSERT_ID()`` is to give behind it; None if it is not ours.
        sequences: each sequence that one of the values came from, and the highest of them.
    """

    statement: bytes
    drawn: int | None = None
    sequences: tuple[tuple[str, int], ...] = ()


def told(entry: Entry, *, backslashes: bool = True) -> Insert | None:
    """The insert of ``entry`` if its answer has told anything that can be written into it."""
    answer = entry.answer
    if not entry.insert or answer is None or not (answer.rows or answer.lastrowid):
        return None
    insert = parse(entry.statement, backslashes=backslashes)
    return insert if insert is not None and insert.rows else None


def keys_told(insert: Insert, answer: Answer, table: Table) -> list[int]:
    """The keys of ``answer`` that the server has drawn by AUTO_INCREMENT, row by row."""
    values = _told(insert, answer, table).get(table.auto or b"", [])
    return [value for value in values if isinstance(value, int)]


def with_keys(
    entry: Entry, insert: Insert, table: Table, literal: Literal, there: Collection[int] = ()
) -> Kept | None:
    """The insert of ``entry`` with what the application was told of its rows written into it.

    Args:
        entry: what was sent, and its answer.
        insert: its parts.
        table: the table that it inserts into.
        literal: a value as it is written in a statement.
        there: keys that the table has already. A row that only updates one of them needs no key;
            written into the statement, it could meet another row than it did.

    Returns:
        None if there is nothing to be written into it.
    """
    assert entry.answer is not None
    values = _told(insert, entry.answer, table)
    if insert.updates:  # what was returned may be a row's that was there before
        values = {name: column for name, column in values.items() if name == table.auto}
    if table.auto in values:
        keys = values[table.auto]
        values[table.auto] = [None if key in there else key for key in keys]
    edits = _Edits(entry.statement, insert, table, literal)
    for name, column in values.items():
        edits.put(name, column)
    if not edits:
        return None
    keys = values[table.auto] if table.auto in edits.put_in else []
    drawn = next((key for key in keys if isinstance(key, int)), None)
    return Kept(edits.result(), drawn, _sequences(edits.made))


def _told(insert: Insert, answer: Answer, table: Table) -> dict[bytes, list[Any]]:
    """What the application was told of each row, by column; None where a row is to draw anew."""
    if answer.rows is None:
        return _first_key(insert, answer, table)
    if len(answer.rows) != len(insert.rows):
        return {}
    rows = [tuple(row.values()) if isinstance(row, dict) else row for row in answer.rows]
    names = _returned(insert, answer, table)
    if any(len(row) != len(names) for row in rows):
        return {}
    known = {name for name in names if name in table.columns}
    settable = known - table.generated
    return {
        name: [row[position] for row in rows]
        for position, name in enumerate(names)
        if name is not None and name in settable
    }


def _returned(insert: Insert, answer: Answer, table: Table) -> Sequence[bytes | None]:
    if insert.returning == (b"*",):
        names = answer.names
        return [name.encode().lower() for name in names] if names else table.visible
    return insert.returning


def _first_key(insert: Insert, answer: Answer, table: Table) -> dict[bytes, list[Any]]:
    count = len(insert.rows)
    certain = answer.rowcount == count and not (insert.may_replace and count > 1)
    if insert.may_replace and count == 1:
        certain = bool(answer.rowcount)
    if not certain or not answer.lastrowid or table.auto is None or insert.returning:
        return {}
    first = next((n for n in range(count) if _draws(insert, table, n)), None)
    if first is None:
        return {}
    return {table.auto: [answer.lastrowid if n == first else None for n in range(count)]}


def _draws(insert: Insert, table: Table, row: int) -> bool:
    """Returns True if the key of ``row`` is left to the server."""
    names = table.names_of(insert)
    if table.auto not in names:
        return True
    position = names.index(table.auto)
    values = insert.rows[row]
    return position >= len(values) or not _says(values[position], auto=True)


def _says(value: Value, *, auto: bool) -> bool:
    """Returns True if ``value`` is what is stored, as far as the text tells."""
    return is_literal(value) and not (auto and b"".join(t.text for t in value) in (b"0", b"'0'"))


def _is_settled(value: Value) -> bool:
    """Returns True if ``value`` stays as it is: it depends on data, or may write."""
    if any(token.word == b"SELECT" for token in value):
        return True
    calls = [at for at, token in enumerate(value[1:]) if token.text == b"(" and value[at].is_name]
    return any(
        value[at].word.decode("ascii", "replace") not in OWN or (at and value[at - 1].text == b".")
        for at in calls
    )


class _Edits:
    """Values that are put into one insert.

    Attributes:
        put_in: the columns that they are put into.
        made: what had made one of them, as its text, and the value.
    """

    def __init__(self, statement: bytes, insert: Insert, table: Table, literal: Literal) -> None:
        self._statement, self._insert, self._table = statement, insert, table
        self._literal = literal
        self._names = table.names_of(insert)
        self._edits: list[tuple[int, int, bytes]] = []
        self._new: list[tuple[bytes, list[bytes]]] = []
        self.put_in: set[bytes] = set()
        self.made: list[tuple[str, Any]] = []

    def __bool__(self) -> bool:
        return bool(self._edits or self._new)

    def put(self, name: bytes, values: list[Any]) -> None:
        """Have each row's ``name`` be what was told: in the place of its value, or as a new one."""
        auto = name == self._table.auto
        if name in self._names:
            self._replace(self._names.index(name), name, values, auto=auto)
        elif self._insert.names is None:  # it has no place for an invisible one
            return
        elif (auto and any(values)) or name in self._table.computed:
            self.put_in.add(name)
            self.made += [(self._table.computed.get(name, ""), value) for value in values]
            self._new.append((name, [self._literal(value) for value in values]))

    def _replace(self, position: int, name: bytes, values: list[Any], *, auto: bool) -> None:
        for row, value in zip(self._insert.rows, values, strict=True):
            if position >= len(row) or value is None or _says(row[position], auto=auto):
                continue
            if _is_settled(row[position]):
                continue
            begin, end = row[position][0].start, row[position][-1].end
            text = self._statement[begin:end].decode("utf-8", "replace")
            default = self._table.computed.get(name, "")
            self.made.append((default if text.upper() == "DEFAULT" else text, value))
            self._edits.append((begin, end, self._literal(value)))
            self.put_in.add(name)

    def result(self) -> bytes:
        """The statement with all of them in it."""
        edits = [*self._edits, *self._added()]
        statement = self._statement
        for begin, end, text in sorted(edits, reverse=True):
            statement = statement[:begin] + text + statement[end:]
        return statement

    def _added(self) -> list[tuple[int, int, bytes]]:
        if not self._new:
            return []
        names = [b"`" + name.replace(b"`", b"``") + b"`" for name, _ in self._new]
        if self._insert.assigns:
            values = [column[0] for _, column in self._new]
            text = b"".join(b"%s = %s, " % pair for pair in zip(names, values, strict=True))
            return [(self._insert.names_at, self._insert.names_at, text)]
        edits = [(self._insert.names_at, b", ".join(names), bool(self._insert.names))]
        for row, at in enumerate(self._insert.rows_at):
            values = [column[row] for _, column in self._new]
            edits.append((at, b", ".join(values), bool(self._insert.rows[row])))
        return [(at, at, text + b", " if more else text) for at, text, more in edits]


def _sequences(made: Sequence[tuple[str, Any]]) -> tuple[tuple[str, int], ...]:
    """Each sequence that has made one of the values, and the highest of those."""
    highest: dict[str, int] = {}
    for text, value in made:
        match = _NEXT_VALUE.fullmatch(text)
        if match is not None and isinstance(value, int):
            highest[match[1]] = max(value, highest.get(match[1], value))
    return tuple(highest.items())


def pinned_key(entry: Entry, *, backslashes: bool = True) -> int | None:
    """The key to ``SET INSERT_ID`` to before an insert that no key can be written into.

    Of several rows it pins the first one's; that is the one that the application was told.
    """
    answer = entry.answer
    if not entry.insert or answer is None or answer.rows is not None or not answer.lastrowid:
        return None
    insert = parse(entry.statement, backslashes=backslashes)
    if insert is not None and (insert.may_replace or (insert.ignore and len(insert.rows) != 1)):
        return None
    from_select = insert is not None and not insert.rows
    return answer.lastrowid if from_select or answer.rowcount == 1 else None


def key_matters(entry: Entry, *, backslashes: bool = True) -> bool:
    """Returns True if ``lastrowid`` of ``entry`` is kept by a replay, or is the same by itself.

    It is not where one of several rows may be the first that was inserted: no row is known to
    have the key that was told.
    """
    if not entry.insert or entry.answer is None:
        return True
    insert = parse(entry.statement, backslashes=backslashes)
    if insert is not None and len(insert.rows) == 1:
        return True
    if insert is not None and (insert.rows or insert.ignore):
        return False
    return entry.answer.rowcount == 1 or pinned_key(entry, backslashes=backslashes) is not None


# --- what outside of a replay is asked of an insert ----------------------------------------


@functools.lru_cache(maxsize=256)
def key_returned(sql: str | bytes) -> bool:
    """Returns True if ``sql`` inserts one row and returns only the key that the server draws."""
    statement = sql.encode("utf-8", "surrogateescape") if isinstance(sql, str) else sql
    insert = parse(statement)
    if insert is None or insert.may_replace or insert.ignore or len(insert.rows) != 1:
        return False
    name = insert.returning[0] if len(insert.returning) == 1 else None
    if name is None or name in (insert.names or (name,)):
        return False
    return b"\\" not in statement and is_drawn(insert.table, name)


def is_drawn(table: bytes, column: bytes) -> bool:
    """Returns True if a model says that the server draws the keys of ``column``."""
    return _drawn().get(_table_parts(table)[-1].lower()) == column


@functools.cache
def _drawn() -> dict[str, bytes | None]:
    """The column whose keys the server draws, by table; None where the model has none."""
    models = apps.get_models(include_auto_created=True, include_swapped=True)
    fields = [(model._meta.db_table.lower(), model._meta.auto_field) for model in models]
    return {table: str(auto.column).lower().encode() if auto else None for table, auto in fields}


def key_drawn(statement: bytes, answer: Answer, *, backslashes: bool = True) -> int | None:
    """The key that ``LAST_INSERT_ID()`` gives behind an insert.

    The server tells in ``lastrowid`` also a key that was given to it, or that of a row which was
    only updated; it returns whatever the statement says.

    Args:
        statement: what was sent.
        answer: the answer to it; the first of its rows will do.
        backslashes: a backslash escapes, in the session's SQL mode.

    Returns:
        0 if it has drawn none, and ``LAST_INSERT_ID()`` gives what it gave before it; None if
        that cannot be told.
    """
    if not (answer.lastrowid if answer.rows is None else answer.rows):
        return 0
    insert = parse(statement, backslashes=backslashes)
    if insert is None:
        return None
    if insert.updates:
        updated = len(insert.rows) == 1 and answer.rows is None and answer.rowcount == 2
        return 0 if updated else None
    parts = _table_parts(insert.table)
    known = len(parts) == 1 and parts[0].lower() in _drawn()
    auto = _drawn()[parts[0].lower()] if known else None
    if known and auto is None and answer.rows is not None:
        return 0
    given = _is_given(insert, auto, answer.lastrowid or 0)
    if given is None:
        return None
    if given:
        return 0
    return (answer.lastrowid if answer.rows is None else _key_in(insert, auto, answer)) or None


def _is_given(insert: Insert, auto: bytes | None, key: int) -> bool | None:
    """Returns True if the statement gives the key of each row; None if that cannot be told."""
    if auto is not None and insert.names is not None:
        if auto not in insert.names:
            return False
        position = insert.names.index(auto)
        said = {_says(row[position], auto=True) for row in insert.rows}
        drawing = all(_is_drawing(row[position]) for row in insert.rows)
        return True if said == {True} else False if insert.rows and drawing else None
    values = [value for row in insert.rows for value in row]
    certain = values and key and all(_is_other(value, key) for value in values)
    return False if certain else None


def _is_drawing(value: Value) -> bool:
    return len(value) == 1 and (
        value[0].word in (b"NULL", b"DEFAULT") or value[0].text in (b"0", b"'0'")
    )


def _is_other(value: Value, key: int) -> bool:
    """Returns True if ``value`` is certainly not ``key``."""
    if _is_drawing(value):
        return True
    if not is_literal(value) or len(value) != 1:
        return False
    try:
        return float(value[0].text.strip(b"'")) != key
    except ValueError:
        return not value[0].text.strip(b"' ")[:1].isdigit()


def _key_in(insert: Insert, auto: bytes | None, answer: Answer) -> int:
    """The key in the first row that was returned; 0 if it is not there."""
    names = insert.returning
    if names == (b"*",):
        names = tuple(name.encode().lower() for name in answer.names)
    row = answer.rows[0] if answer.rows else ()
    key = row[names.index(auto)] if auto in names and len(row) == len(names) else 0
    return key if isinstance(key, int) else 0
