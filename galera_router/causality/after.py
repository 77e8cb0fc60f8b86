"""Blocks that read no older than a token says."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from galera_router.causality import scope, tokens
from galera_router.cluster.nodes import cluster_of
from galera_router.cluster.position import EVERYTHING, Position

logger = logging.getLogger("galera_router")


@contextmanager
def after(*given: str | None) -> Iterator[None]:
    """A block whose reads include every write that the tokens ``given`` stand for.

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
            found[alias] = later(found.get(alias), new)
    return found


def later(one: Position | None, other: Position) -> Position:
    """The position that includes both. Of two clusters, one of them rebuilt, it is ``other``."""
    if one is None or EVERYTHING in (one, other):
        return other if one is None else EVERYTHING
    return one if one.cluster_id == other.cluster_id and one.seqno > other.seqno else other
