"""What the running block of code asks of its reads: where from, and how new.

Kept in a context variable, so that it holds for coroutines and for the threads that asgiref
runs their synchronous parts in, and for nobody else.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, NamedTuple

from galera_router.cluster.nodes import Node
from galera_router.cluster.position import EVERYTHING, Position

Mode = Literal["primary", "causal", "any"]


@dataclass(eq=False)
class Need:
    """Reads must include all that had been committed at ``position``.

    Attributes:
        void: the position is in the history of no cluster that is there now.
    """

    position: Position
    void: bool = False
    _met: set[Node] = field(default_factory=set)

    def is_met(self, node: Node) -> bool:
        """Whether it is known that ``node`` has come so far."""
        if self.void or node in self._met:
            return True
        known = node.position
        return known is not None and known.includes(self.position)

    def note_met(self, node: Node) -> None:
        """``node`` has come so far."""
        self._met.add(node)

    @property
    def everything(self) -> bool:
        """Whether nothing more is known than that there was a write."""
        return self.position is EVERYTHING


Needs = Mapping[str, tuple[Need, ...]]


class Scope(NamedTuple):
    """What holds in a block, and ``outer``, what holds around it.

    ``modes``: by alias, None for all others. ``needs``: by alias. ``writes``: how often the
    request at hand has written, by alias, in whatever thread; None outside of requests.
    ``outages``: until when it need not wait for a node again (monotonic seconds), by alias.
    """

    modes: Mapping[str | None, Mode]
    needs: Needs
    writes: Counter[str] | None
    outages: dict[str, float]
    outer: Scope | None


#: Seconds for which a request that has waited for a node in vain does not wait again. A page takes
#: less; a task that runs for long is to find a cluster that was mended meanwhile.
OUTAGE = 60.0

_NOTHING = Scope(MappingProxyType({}), MappingProxyType({}), None, {}, None)
_scope: ContextVar[Scope] = ContextVar("galera_router", default=_NOTHING)


def mode(alias: str) -> Mode | None:
    """The mode of the innermost :class:`reads` that speaks of ``alias``; None without one."""
    modes = _scope.get().modes
    return (modes.get(alias) or modes.get(None)) if modes else None


def needs(alias: str) -> tuple[Need, ...]:
    """What reads on the cluster ``alias`` must include."""
    found = _scope.get().needs
    return found.get(alias, ()) if found else ()


def in_request() -> bool:
    """Whether a request or a task is under way that the middleware, say, has told of."""
    return _scope.get().writes is not None


def writes(alias: str) -> int:
    """How often the request at hand has written to the cluster ``alias``."""
    found = _scope.get().writes
    return found[alias] if found else 0


def note_write(alias: str) -> None:
    """Something may have been changed on the cluster ``alias``."""
    found = _scope.get().writes
    if found is not None:
        found[alias] += 1


def written() -> list[str]:
    """The clusters that the request at hand has written to."""
    return list(_scope.get().writes or ())


def note_outage(alias: str) -> None:
    """The request at hand has waited in vain for a node of the cluster ``alias``."""
    if in_request():
        _scope.get().outages[alias] = time.monotonic() + OUTAGE


def in_outage(*aliases: str) -> bool:
    """Return True if this request has waited in vain, just now, for one of the clusters.

    Args:
        aliases: of the clusters; without any, all are meant.
    """
    found, now = _scope.get().outages, time.monotonic()
    return any(found.get(alias, 0.0) > now for alias in aliases or tuple(found)) if found else False


def enter(mode: Mode, using: str | None = None) -> None:
    """Have reads come from where ``mode`` says, until :func:`leave`; see ``galera_router.reads``.

    Args:
        mode: where from.
        using: the alias of one cluster; without, for all.
    """
    before = _scope.get()
    others = {} if using is None else before.modes
    _scope.set(before._replace(modes={**others, using: mode}, outer=before))


@contextmanager
def needing(new: Mapping[str, Position], *, request: bool = False) -> Iterator[None]:
    """Have reads in the block include the positions ``new``, by alias.

    Args:
        new: on top of what the block is asked for already.
        request: the block is a request or a task, whose writes are counted.
    """
    before = _scope.get()
    found = dict(before.needs)
    for alias, position in new.items():
        found[alias] = (*found.get(alias, ()), Need(position))
    counter: Counter[str] | None = Counter() if request else before.writes
    outages = {} if request else before.outages
    _scope.set(Scope(before.modes, found, counter, outages, before))
    try:
        yield
    finally:
        leave()


def current() -> Scope:
    """What holds now."""
    return _scope.get()


@contextmanager
def resumed(scope: Scope) -> Iterator[None]:
    """Have what ``scope`` asks hold once more, for what a block has left to be done later."""
    _scope.set(scope._replace(outer=_scope.get()))
    try:
        yield
    finally:
        leave()


def leave() -> None:
    """End the innermost block: what held around it holds again."""
    outer = _scope.get().outer
    assert outer is not None, "each block is left once"
    _scope.set(outer)
