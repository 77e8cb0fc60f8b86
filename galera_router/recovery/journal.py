"""What the open transaction has sent and was told: kept to be replayed and compared.

Recording is O(1) per statement: mysqlclient's default cursor holds its whole result on the
client as a tuple, and the journal keeps a reference to that tuple. Beyond
:data:`ROWS_KEPT` rows or :data:`BYTES_KEPT` bytes of them in one transaction a digest stands in for
the rows, except for those of the last answer: a transaction with one large read never pays for a
digest. Statements on the primary are kept up to :data:`WRITTEN_KEPT` bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

Rows = Sequence[Any]

#: Rows that one transaction may keep by reference before digests take their place.
ROWS_KEPT = 50_000
#: The same for their bytes, taken as if each row were as wide as the widest.
BYTES_KEPT = 64 * 1024 * 1024
#: Bytes of statements on the primary; with more the transaction is not replayed.
WRITTEN_KEPT = 128 * 1024 * 1024
TOO_LARGE = f"its statements are larger than {WRITTEN_KEPT // 1024**2} MB together"
#: Where a column's widest value is in the driver's ``description``.
_WIDTH = 2


def digest(rows: Rows) -> bytes:
    """A digest of ``rows``, whatever their order.

    ``hash()`` will not do (``hash(-1) == hash(-2)``). Another node may give rows in another order.
    """
    if rows and isinstance(rows[0], dict):
        rows = [tuple(row.values()) for row in rows]
    hashed = hashlib.blake2b(digest_size=16)
    for text in sorted(map(repr, rows)):
        hashed.update(text.encode("utf-8", "surrogatepass"))
        hashed.update(b"\n")
    return hashed.digest()


@dataclass(slots=True)
class Answer:
    """What one statement gave.

    Attributes:
        rows: None where it has no result set.
        rowcount: the number of rows given or changed.
        lastrowid: the key that the driver tells.
        columns: the driver's ``description``, by reference.
    """

    rows: Rows | None
    rowcount: int | None
    lastrowid: int | None
    columns: Sequence[Sequence[Any]] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The columns' names; empty where they are not known."""
        return tuple(column[0] for column in self.columns or ())


@dataclass(slots=True)
class Entry:
    """One statement of the transaction.

    Attributes:
        statement: the bytes that were sent.
        answer: what came back; None for savepoints and for failed statements.
        ordered: it has an ORDER BY.
        insert: it is an INSERT or REPLACE.
        error: the number of the error that the application was given instead.
        digest: takes the place of ``answer.rows`` when these are not kept.
        savepoint: the name, if it was set before the transaction came to the primary; there
            :class:`~galera_router.recovery.marker.Marking` follows them.
        session: it sets a variable of the session, which ROLLBACK does not undo.
        plain: it neither locks nor writes, as far as its text tells.
    """

    statement: bytes
    answer: Answer | None = None
    ordered: bool = False
    insert: bool = False
    error: int | None = None
    digest: bytes | None = None
    savepoint: str | None = None
    session: bool = False
    plain: bool = False

    @property
    def read_only(self) -> bool:
        """Returns True if the statement gave rows and was no insert."""
        rows = self.answer is not None and self.answer.rows is not None
        return not self.insert and (rows or self.digest is not None)

    @property
    def is_savepoint(self) -> bool:
        """Returns True if the statement sets, releases or goes back to a savepoint."""
        return self.answer is None and self.error is None

    def forget_rows(self) -> None:
        """Keep a digest in place of the rows; those of an insert are needed to repeat it."""
        if self.insert or self.answer is None or self.answer.rows is None:
            return
        self.digest = digest(self.answer.rows)
        self.answer = Answer(None, self.answer.rowcount, self.answer.lastrowid)


class Journal:
    """The statements of one transaction, in order.

    Attributes:
        count: how many there were.
        rows, size: how many rows they have given, and how many bytes at most.
        written: bytes of those on the primary.
        full: there were more than are kept.
        obstacle: why they cannot be replayed.
    """

    count: int
    rows: int
    size: int
    written: int
    full: bool
    obstacle: str | None

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        #: Reads that the fast lane has noted, and that nobody has asked for since.
        self.fresh: list[tuple[bytes, Rows, int, int, Any, bool, bool]] = []
        self.count = self.rows = self.size = self.written = 0
        self.full = False
        self.obstacle = None
        self._last: Entry | None = None  # whose rows are kept beyond the bound

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def entries(self) -> list[Entry]:
        """All that was noted, in order."""
        if self.fresh:
            self._unpack()
        return self._entries

    def _unpack(self) -> None:
        for sql, rows, rowcount, lastrowid, columns, ordered, plain in self.fresh:
            answer = Answer(rows, rowcount, lastrowid, columns)
            self._entries.append(Entry(sql, answer, ordered, plain=plain))
        self.fresh.clear()

    def clear(self) -> None:
        """Start anew: a transaction has begun or ended."""
        self._entries.clear()
        self.fresh.clear()
        self.count = self.rows = self.size = self.written = 0
        self.full = False
        self.obstacle = self._last = None

    def bound(self) -> None:
        """There are more rows than are kept: a digest takes the place of all but the last ones."""
        self._bound(self.entries[-1])

    def _bound(self, entry: Entry) -> None:
        last, self._last = self._last, entry
        if last is not None:
            last.forget_rows()

    def append(self, entry: Entry) -> None:
        """Note one statement; its rows by reference while the bound allows."""
        self.count += 1
        if entry.answer is not None and entry.answer.rows is not None:
            self.rows += len(entry.answer.rows)
            width = 0
            for column in entry.answer.columns or ():
                width += column[_WIDTH] or 0
            self.size += width * len(entry.answer.rows)
            if self.rows > ROWS_KEPT or self.size > BYTES_KEPT:
                self._bound(entry)
        self.entries.append(entry)

    def append_read(self, entry: Entry, limit: int) -> None:
        """Note a statement from before the first write.

        Beyond ``limit`` statements there is no failover any more, but the reads are still
        compared at the promotion: they are kept as digests.
        """
        if self.count >= limit:
            self.full = True
            entry.forget_rows()
        self.append(entry)

    def append_write(self, entry: Entry, limit: int) -> None:
        """Note a statement on the primary; beyond ``limit`` the whole journal is let go."""
        self.written += len(entry.statement)
        if self.written > WRITTEN_KEPT:
            self.prevent(TOO_LARGE)
            self.entries.clear()
        elif self.count >= limit:
            self.full = True
            self.entries.clear()
            self.count += 1
        else:
            self.append(entry)

    def prevent(self, obstacle: str) -> None:
        """Rule out a replay of this transaction; the first ``obstacle`` is the one told."""
        self.obstacle = self.obstacle or obstacle

    # Savepoints of a transaction that no server has begun yet: only the open ones matter.

    def savepoints(self) -> list[str]:
        """The names of the open ones, outermost first."""
        return [entry.savepoint for entry in self.entries if entry.savepoint is not None]

    def savepoint(self, name: str, statement: bytes) -> None:
        """Note a savepoint that a server will learn of only if the transaction is promoted.

        An older one of that name is gone, as on a server.
        """
        position = self._position(name)
        if position is not None:
            del self.entries[position]
        self.entries.append(Entry(statement, savepoint=name))

    def release(self, name: str) -> None:
        """Forget the savepoint ``name`` and those set after it."""
        self._drop_savepoints(name, keep=False)

    def rollback_to(self, name: str) -> None:
        """Forget the savepoints set after ``name``; the reads in between were still seen."""
        self._drop_savepoints(name, keep=True)

    def _drop_savepoints(self, name: str, *, keep: bool) -> None:
        position = self._position(name)
        if position is None:
            return
        head = self.entries[: position + keep]
        tail = [entry for entry in self.entries[position + 1 :] if entry.savepoint is None]
        self._entries = head + tail

    def _position(self, name: str) -> int | None:
        for position in range(len(self.entries) - 1, -1, -1):
            if self.entries[position].savepoint == name:
                return position
        return None
