"""Read your writes elsewhere: a token of what was last committed."""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterable, Mapping

from django.db import DEFAULT_DB_ALIAS, connections

from galera_router.causality import scope, tokens
from galera_router.causality.after import later
from galera_router.cluster.position import ASK, EVERYTHING, Mark, Position, position
from galera_router.connections.connection import NodeConnection
from galera_router.connections.errors import ERRORS
from galera_router.exceptions import ConfigurationError, NotCommitted
from galera_router.transactions import waiting
from galera_router.transactions.session import Session
from galera_router.transactions.sessions import session_of

logger = logging.getLogger("galera_router")


def causal_token(using: str | None = None) -> str:
    """A token of what this request, task or thread has last committed on a cluster.

    Whoever reads in :func:`after` this token sees it, in whatever process. It costs no
    round trip; only where the last write had no marker, such as DDL, the primary is asked, once.
    Where nothing was written, it is the token that the running block was itself given, or empty.

    Args:
        using: the alias of the cluster.

    Raises:
        ConfigurationError: ``using`` is no cluster.
        NotCommitted: the open transaction has written. Ask in ``transaction.on_commit``.
    """
    session = _session(using or DEFAULT_DB_ALIAS)
    if session.transaction is not None and session.marking.wanted:
        raise NotCommitted(
            "causal_token() was called in a transaction that has written and is not committed:"
            " no token can name that. Call it in transaction.on_commit()."
        )
    return token_of(session)


def token_of(session: Session) -> str:
    """The token of what was committed last; empty if there is nothing to name."""
    if not session.options.wsrep_sync_after_write:
        return ""
    following, alias = session.following, session.cluster.alias
    given = scope.needs(alias)
    if following.writes != following.writes_before or alias in scope.written():
        # What was given before the write was committed before it; what was given since may not.
        where = _where(session)
        for need in given:
            if need not in following.given:
                where = later(where, need.position)
        return tokens.dump(alias, where)
    if not given:
        return ""
    return tokens.dump(alias, functools.reduce(later, [need.position for need in given]))


def tokens_of(aliases: Iterable[str]) -> Mapping[str, str]:
    """A token for each cluster of ``aliases`` that there is one for, by its alias.

    To be called in the thread whose connections the request has used.
    """
    found = {}
    for alias in aliases:
        session = session_of(alias)
        if session is not None and (token := token_of(session)):
            found[session.cluster.alias] = token
    return found


def _session(alias: str) -> Session:
    session = session_of(alias) if alias in connections.settings else None
    if session is None or session.cluster.alias != alias:
        raise ConfigurationError(f"causal_token(using={alias!r}): that is not a cluster's alias.")
    return session


def _where(session: Session) -> Position | Mark:
    """The last write by its marker; else where the primary is after it.

    :data:`EVERYTHING` if that does not say.
    """
    mark = session.following.mark()
    if mark is not None:
        return mark
    last = session.following.writes, scope.writes(session.cluster.alias)
    record, told = scope.current().writes, session.following.told
    if told is not None and told[0] == last and told[1] is record:  # equal ones of two requests
        return told[2]
    link = session.primary
    if link is None or session.following.found or link.node is not session.cluster.acting:
        return EVERYTHING  # another thread of this request has written through another node
    if link.is_stale():
        return EVERYTHING
    found = _ask(session, link)
    if found is None:
        return EVERYTHING
    session.cluster.note_position(link.node, found)
    session.following.told = last, record, found
    return found


def _ask(session: Session, link: NodeConnection) -> Position | None:
    gtid = waiting.ask_gtid(session, link) if session.options.wsrep_sync_use_gtid else None
    try:
        link.query(ASK)
        return position(link.rows(), gtid.gtid if gtid is not None else "")
    except ERRORS as error:
        logger.info(
            "%s: %s does not say where it is: %s", session.cluster.alias, link.node.name, error
        )
        return None
