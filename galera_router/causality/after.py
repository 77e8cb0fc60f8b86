"""Read your writes elsewhere: a token of the last write, and blocks that read no older than it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from django.db import DEFAULT_DB_ALIAS, connections

from galera_router.causality import scope, tokens
from galera_router.cluster.nodes import cluster_of
from galera_router.cluster.position import ASK, EVERYTHING, Position, position
from galera_router.compat import internals
from galera_router.connections.connection import Link
from galera_router.exceptions import ConfigurationError, NotCommitted
from galera_router.transactions import links, waits
from galera_router.transactions.context import Context, context_of

logger = logging.getLogger("galera_router")


def causal_token(using: str | None = None) -> str:
    """A token of what this request, task or thread has last committed on a cluster.

    Whoever reads in :func:`after` this token sees it, in whatever process. It costs one round
    trip to the primary after a write, and none until the next one. Where nothing was written,
    it is the token that the running block was itself given, or empty.

    Args:
        using: the alias of the cluster.

    Raises:
        ConfigurationError: ``using`` is no cluster.
        NotCommitted: the open transaction has written. Ask in ``transaction.on_commit``.
    """
    context = _context(using or DEFAULT_DB_ALIAS)
    if not context.autocommit and context.marking.wanted:
        raise NotCommitted(
            "causal_token() was called in a transaction that has written and is not committed:"
            " no token can name that. Call it in transaction.on_commit()."
        )
    return token_of(context)


@contextmanager
def after(*given: str | None) -> Iterator[None]:
    """Have reads in the block include what the tokens ``given`` name.

    A token that is empty or None, forged, malformed, or of a cluster that is not here, is
    ignored; all but the first are logged. It may be of any age.

    Args:
        given: from :func:`causal_token`; one for each cluster.

    Raises:
        TypeError: for what is neither text nor None.
    """
    for token in given:
        if token is not None and not isinstance(token, str):
            raise TypeError(f"after: a token is text, not {type(token).__name__}")
    with scope.needing(accepted(filter(None, given))):
        yield


def accepted(texts: Iterable[str], max_age: int | None = None) -> dict[str, Position]:
    """The positions of the tokens ``texts`` by the alias of their cluster, the latest of each."""
    found: dict[str, Position] = {}
    for text in texts:
        loaded = tokens.load(text, max_age)
        if loaded is None:
            continue
        alias, new = loaded
        cluster = cluster_of(alias)
        if cluster is None or cluster.alias != alias:
            logger.warning("a causal token was ignored: there is no cluster %r here", alias)
        else:
            found[alias] = _later(found.get(alias), new)
    return found


def token_of(context: Context) -> str:
    """The token of what was committed last; empty if there is nothing to name."""
    if not context.options.wsrep_sync_after_write:
        return ""
    alias = context.cluster.alias
    found: Position | None = None
    for need in scope.needs(alias):
        if not need.void:
            found = _later(found, need.position)
    if context.writes != context.writes_before or alias in scope.written():
        found = _later(found, _where(context))
    return "" if found is None else tokens.dump(alias, found)


def written() -> Mapping[str, str]:
    """A token for each cluster that the request at hand has written to, by its alias.

    To be called in the thread whose connections the request has used.
    """
    contexts = [context_of(alias) for alias in scope.written()]
    tokens = {c.cluster.alias: token_of(c) for c in contexts if c is not None}
    return {alias: token for alias, token in tokens.items() if token}


def _context(alias: str) -> Context:
    context = context_of(alias) if alias in connections.settings else None
    if context is None or context.cluster.alias != alias:
        raise ConfigurationError(f"causal_token(using={alias!r}): that is not a cluster's alias.")
    return context


def _later(one: Position | None, other: Position) -> Position:
    """What includes both, as far as they can be compared: a rebuilt cluster begins anew."""
    if one is None or EVERYTHING in (one, other):
        return other if one is None else EVERYTHING
    return one if one.cluster_id == other.cluster_id and one.seqno > other.seqno else other


def _where(context: Context) -> Position:
    """Where the primary is, after the last write; :data:`EVERYTHING` if it does not say."""
    last = context.writes, scope.writes(context.cluster.alias)
    if context.told is not None and context.told[0] == last:
        return context.told[1]
    link = context.primary
    if link is None or link.node is not context.cluster.acting:
        return EVERYTHING  # another thread of this request has written through another node
    if internals.is_stale(link.connection):
        return EVERYTHING
    found = _ask(context, link)
    if found is None:
        return EVERYTHING
    context.cluster.note_position(link.node, found)
    context.told = last, found
    return found


def _ask(context: Context, link: Link) -> Position | None:
    gtid = waits.ask_gtid(context, link) if context.options.wsrep_sync_use_gtid else None
    try:
        link.query(ASK)
        return position(link.rows(), gtid.gtid if gtid is not None else "")
    except links.errors(context) as error:
        logger.info(
            "%s: %s does not say where it is: %s", context.cluster.alias, link.node.name, error
        )
        return None
