"""See what a database that is no cluster makes final, and when hooks of ``on_commit`` run.

Why private: Django lets one wrap statements (``execute_wrappers``), but neither COMMIT nor a
procedure's call pass there.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

Wrapper = BaseDatabaseWrapper
Note = Callable[[str], None]

_WATCHED = "galera_watched"
_DIRTY = "galera_dirty"
_WRITES = "galera_writes"

_COMMENTS = r"(?:\s|\(|--[^\n]*(?:\n|\Z)|/\*(?!!).*?\*/)*"
_VERB = re.compile(rf"{_COMMENTS}(\w+)", re.DOTALL)
_WRITES_INSIDE = re.compile(
    r"\b(?:INSERT|UPDATE|DELETE|MERGE|INTO|AUTOCOMMIT|STATEMENT)\b", re.IGNORECASE
)
_LOCKS = re.compile(r"\bFOR\s+(?:NO\s+KEY\s+)?UPDATE\b", re.IGNORECASE)
_READS = frozenset({"SELECT", "WITH", "VALUES"})
#: They change no data: what they set lasts for the connection or the transaction.
_HARMLESS = frozenset(
    {"SHOW", "SET", "PRAGMA", "BEGIN", "START", "SAVEPOINT", "RELEASE", "ROLLBACK", "USE"}
)
#: They are undone with their transaction, on every database.
_UNDONE = _READS | {"INSERT", "UPDATE", "DELETE", "MERGE", "REPLACE"}
#: What the cursors of sqlite3, psycopg, psycopg2 and oracledb have besides: each may write.
_HANDED_ON = (
    "executescript", "copy", "stream", "copy_expert", "copy_from", "callfunc", "parse",
    "executemanyprepared",
)  # fmt: skip


def watch(
    wrapper: Wrapper, *, committed: Note, hooks: Note, at_once: Note, statements: bool
) -> None:
    """Have the wrapper's commits noted; harmless when repeated.

    Args:
        wrapper: of any database.
        committed: called with the alias before something is made final, or may be.
        hooks: called with the alias after a commit, before the hooks of ``on_commit`` run.
        at_once: called with it before a hook runs for which there is no transaction.
        statements: watch the statements too; a cluster notes its own.
    """
    if _WATCHED in vars(wrapper):
        return
    setattr(wrapper, _WATCHED, committed if statements else _nothing)
    _tell_hooks_at_once(wrapper, at_once)
    if statements:
        wrapper.execute_wrappers.insert(0, _on_statement)
        setattr(wrapper, _DIRTY, False)
        setattr(wrapper, _WRITES, 0)
    if not statements:
        _tell_hooks(wrapper, hooks)
    else:
        _around(wrapper, "commit", _before_commit, lambda w: _before_hooks(w, hooks))
        _around(wrapper, "rollback", _ignore, _clean)
        _around(wrapper, "set_autocommit", _before_commit, _ignore)


def _nothing(alias: str) -> None: ...
def _ignore(wrapper: Wrapper) -> None: ...


def _around(
    wrapper: Wrapper,
    name: str,
    before: Callable[[Wrapper], None],
    after: Callable[[Wrapper], None],
) -> None:
    """Put a function in the place of a method of this one wrapper."""
    method = getattr(wrapper, name)

    def around(*args: Any, **kwargs: Any) -> Any:
        before(wrapper)
        result = method(*args, **kwargs)
        after(wrapper)
        return result

    setattr(wrapper, name, around)


def _tell_hooks(wrapper: Wrapper, hooks: Note) -> None:
    """As :func:`_around`, for a wrapper whose statements are not watched."""
    method = wrapper.commit

    def commit() -> None:
        method()
        if wrapper.run_on_commit:
            hooks(wrapper.alias)

    wrapper.commit = commit  # type: ignore[method-assign]


def _tell_hooks_at_once(wrapper: Wrapper, at_once: Note) -> None:
    """Django runs a hook at once where no transaction is open."""
    method = wrapper.on_commit

    def on_commit(func: Callable[[], Any], robust: bool = False) -> None:
        if not wrapper.in_atomic_block and wrapper.get_autocommit():
            at_once(wrapper.alias)
        method(func, robust=robust)

    wrapper.on_commit = on_commit  # type: ignore[method-assign]


def _before_commit(wrapper: Wrapper) -> None:
    """The answer may be lost, so what was written counts before it is sent.

    ``set_autocommit(True)`` commits too, where ``commit()`` has not been called.
    """
    if getattr(wrapper, _DIRTY, False) and not wrapper.in_atomic_block:
        _note(wrapper)
        _clean(wrapper)


def _before_hooks(wrapper: Wrapper, hooks: Note) -> None:
    if wrapper.run_on_commit:
        hooks(wrapper.alias)


def _clean(wrapper: Wrapper) -> None:
    if _DIRTY in vars(wrapper):
        setattr(wrapper, _DIRTY, False)


def _note(wrapper: Wrapper) -> None:
    vars(wrapper)[_WATCHED](wrapper.alias)


def _on_statement(execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
    wrapper = context["connection"]
    verb = written(str(sql))
    if verb:
        if wrapper.autocommit or verb not in _UNDONE:
            _note(wrapper)
        else:
            setattr(wrapper, _DIRTY, True)
            vars(wrapper)[_WRITES] += 1
    try:
        return execute(sql, params, many, context)
    except Exception:
        vars(wrapper)[_WRITES] += 1  # what came before in the transaction may be undone
        raise


def writes_in(wrapper: Wrapper) -> int:
    """Returns how many statements of ``wrapper`` have written in transactions, or failed."""
    count: int = vars(wrapper).get(_WRITES, 0)
    return count


def written(sql: str) -> str:
    """Returns the verb of a statement that may write; nothing for one that only reads.

    A function that writes, called in a SELECT, cannot be seen.
    """
    match = _VERB.match(sql)
    verb = match[1].upper() if match is not None else "?"
    reads = verb in _READS or verb in _HARMLESS
    return "" if reads and not _WRITES_INSIDE.search(_LOCKS.sub("", sql)) else verb


def watch_cursors() -> None:
    """Make ``callproc``, and methods that only the driver's cursor has, count as writes.

    Only for wrappers that are watched.
    """
    original = CursorWrapper.callproc
    if hasattr(original, _WATCHED):
        return

    def callproc(self: CursorWrapper, *args: Any, **kwargs: Any) -> Any:
        if _DIRTY in vars(self.db):
            _note(self.db)
        return original(self, *args, **kwargs)

    setattr(callproc, _WATCHED, True)
    CursorWrapper.callproc = callproc  # type: ignore[method-assign]
    for name in _HANDED_ON:
        setattr(CursorWrapper, name, _HandedOn(name))


class _HandedOn:
    """A method of a driver's cursor that Django's has not, and hands on as it is."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, cursor: CursorWrapper, owner: type[CursorWrapper]) -> Any:
        method = getattr(cursor.cursor, self._name)  # without it Django's own look-up goes on
        return partial(_call, cursor.db, method) if _DIRTY in vars(cursor.db) else method


def _call(wrapper: Wrapper, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    _note(wrapper)
    return method(*args, **kwargs)
