"""Session variables that a transaction sets: ROLLBACK does not undo them."""

from __future__ import annotations

from itertools import chain

from galera_router.connections.connection import NodeConnection
from galera_router.recovery.lexer import Token, split, tokens

#: Those that a transaction may set and still be replayed; others are state of the connection.
KEPT = frozenset({b"foreign_key_checks", b"unique_checks"})
_SCOPES = frozenset({b"session", b"local", b"@@session", b"@@local"})


def names_set(statement: bytes) -> tuple[bytes, ...]:
    """Those of :data:`KEPT` that ``statement``, a SET, sets."""
    found = tokens(statement.rstrip(b"; \t\r\n"))
    if len(found) < 4 or found[0].word != b"SET":
        return ()
    return tuple(filter(None, (_name(part) for part in split(found[1:]))))


def _name(part: tuple[Token, ...]) -> bytes:
    end = next((i for i, token in enumerate(part) if token.text == b"="), None)
    if end is None:
        return b""
    names = [t.plain for t in part[:end] if t.is_name and t.plain not in _SCOPES]
    name = names[0].removeprefix(b"@@") if len(names) == 1 else b""
    return name if name in KEPT else b""


def remember(link: NodeConnection, statement: bytes) -> None:
    """Have :func:`restore` bring back what ``statement``, not sent yet, sets on ``link``.

    Raises:
        Exception: the driver's errors.
    """
    names = [name for name in names_set(statement) if name not in link.before]
    if not names:
        return
    link.query(b"SELECT " + b", ".join(b"@@session." + name for name in names))
    values = chain.from_iterable(link.rows())
    link.before.update(zip(names, map(link.connection.literal, values), strict=True))


def restore(link: NodeConnection) -> None:
    """Set what the transaction on ``link`` has set to what it was before.

    Raises:
        Exception: the driver's errors.
    """
    if not link.before:
        return
    link.query(b"SET " + b", ".join(b"SESSION %s = %s" % pair for pair in link.before.items()))
    link.before.clear()
