"""Blocks that read no older than a token says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from galera_router import signals
from galera_router.causality import scope, tokens
from galera_router.causality.scope import Need, Needs
from galera_router.causality.voids import instead_of
from galera_router.cluster.position import EVERYTHING, Mark, Position
from galera_router.cluster.registry import cluster_of
from galera_router.events import TokenIgnored

#: Transactions of so many workers are asked for one by one.
QUESTIONS = 8


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


def accepted(texts: Iterable[str], max_age: int | None = None) -> Needs:
    """Returns what the tokens ``texts`` stand for, by alias: the latest of each history.

    Nothing tells here which of two workers' transactions is later, nor which of two positions if
    the cluster was built anew between them.
    """
    found: dict[str, dict[str, Need]] = {}
    for text in texts:
        need = _need(text, max_age)
        if need is not None:
            alias, new = need
            known = found.setdefault(alias, {})
            history = _history(new)
            known[history] = _later(known.get(history), new)
    return {alias: _bounded(tuple(needs.values())) for alias, needs in found.items()}


def _history(need: Need) -> str:
    position = need.position
    return position.worker if isinstance(position, Mark) else position.cluster_id


def _bounded(needs: tuple[Need, ...]) -> tuple[Need, ...]:
    """Each is a question: from some number on a wait for everything costs less."""
    if len(needs) <= QUESTIONS:
        return needs
    return (Need(EVERYTHING, void=any(need.void for need in needs)),)


def _need(text: str, max_age: int | None) -> tuple[str, Need] | None:
    loaded = tokens.load(text, max_age)
    if loaded is None:
        return None
    alias, position = loaded
    cluster = cluster_of(alias)
    if cluster is None or cluster.alias != alias:
        signals.send(TokenIgnored, alias, f"there is no cluster {alias!r} here")
        return None
    instead = instead_of(cluster, position)
    return alias, Need(instead or position, void=instead is not None)


def _later(one: Need | None, other: Need) -> Need:
    if one is None:
        return other
    found = one if one.position.seqno > other.position.seqno else other
    found.void = one.void or other.void
    return found


def includes(token: str, other: str, max_age: int | None) -> bool:
    """Returns True if who brings ``token`` need not bring ``other`` as well.

    A token of what a request has written includes each one that the request has brought. One that
    is void, forged or too old is of no use to anybody. Of two clusters, one of them built anew,
    neither position includes the other.
    """
    found, loaded = tokens.load(token, None), tokens.load(other, max_age)
    if found is None or loaded is None or found[0] != loaded[0]:
        return loaded is None
    (alias, new), (_, old) = found, loaded
    cluster = cluster_of(alias)
    if new is EVERYTHING or (cluster is not None and instead_of(cluster, old) is not None):
        return True
    if isinstance(new, Mark) or isinstance(old, Mark):
        return True
    return new.cluster_id == old.cluster_id and new.seqno >= old.seqno


def later(one: Position | Mark, other: Position | Mark) -> Position | Mark:
    """Returns what includes both; ``other`` if the cluster was rebuilt between two positions."""
    if isinstance(one, Mark) or isinstance(other, Mark):
        return one if one == other else EVERYTHING
    if EVERYTHING in (one, other):
        return EVERYTHING
    return one if one.cluster_id == other.cluster_id and one.seqno > other.seqno else other
