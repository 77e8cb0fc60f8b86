"""Where the reads of the running block come from, and how new they must be.

It is kept in a context variable. So it holds for coroutines, and for the threads in which asgiref
runs their synchronous parts, and for nobody else.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from types import FrameType, MappingProxyType
from typing import Literal

from galera_router.cluster.node import Node
from galera_router.cluster.position import EVERYTHING, Mark, Position

Mode = Literal["primary", "causal", "any"]


@dataclass(eq=False)
class Need:
    """Reads must include all that had been committed at ``position``.

    Attributes:
        position: a point in the cluster's history, or one transaction.
        looked: nodes that did not have it when they were asked; they are to wait for it.
        gone: a node does not know the transaction's marker.
        void: the position that was asked for is not there, and another one stands in its place.
        doubted: a node has been waited for in vain.
    """

    position: Position | Mark
    void: bool = False
    doubted: bool = False
    gone: bool = False
    looked: set[Node] = field(default_factory=set)
    _met: dict[Node, int] = field(default_factory=dict)

    def is_met(self, node: Node) -> bool:
        """Returns True if ``node`` is known to have come so far."""
        if self._met.get(node) == node.turn:
            return True
        position = self.position
        if isinstance(position, Mark):
            return node.marks.get(position.worker, 0) >= position.seqno
        known = node.position
        return known is not None and known.includes(position)

    def note_met(self, node: Node, turn: int | None = None) -> None:
        """``node`` has come so far.

        Args:
            node: the node.
            turn: the node's turn when it did; None if its server cannot be another by now.
        """
        self._met[node] = node.turn if turn is None else turn

    def replace(self, instead: Position) -> None:
        """The cluster does not have the position: ``instead`` is where it is."""
        self.position, self.void, self.gone = instead, True, False

    @property
    def everything(self) -> bool:
        """Returns True if all that is known is that there was a write."""
        return self.position is EVERYTHING


Needs = Mapping[str, tuple[Need, ...]]


@dataclass(eq=False, slots=True)
class Entry:
    """Where a block was entered; all copies of its scope have the same one.

    Attributes:
        generator: the frame of the generator that the block is in, if it has a mode.
        place: of the thread or task that has entered it.
        over: it was left by another one.
    """

    generator: FrameType | None
    place: tuple[int, int]
    over: bool = False

    @property
    def holds(self) -> bool:
        """Returns False if it is over, and while the generator that it is in is suspended."""
        return not self.over and (self.generator is None or self.generator.f_back is not None)


@dataclass(eq=False, slots=True)
class Scope:
    """The rules for the reads in one block.

    It is never changed: what was started in a block keeps its rules when the block is left.

    Attributes:
        mode: where reads come from, and the alias of the cluster that this is said of, None for
            all; None if the block does not say.
        needs: by alias.
        writes: how often the request at hand has written, by alias, in whatever thread; None
            outside of requests.
        seen: the node that any thread of the request at hand has last read from, by alias; None
            outside of requests.
        outer: the rules around the block; None for the outermost.
        outages: until when it need not wait for a node again (monotonic seconds), by alias.
        modes: some block around it, or itself, says where reads come from.
        owner: who has begun the block, and ends it; None: who has this very object.
        entry: None for a request or a task, and if the mode holds whatever becomes of the block.
    """

    mode: tuple[str | None, Mode] | None
    needs: Needs
    writes: dict[str, int] | None
    seen: dict[str, Node] | None
    outages: dict[str, float]
    outer: Scope | None
    modes: bool = False
    owner: object = None
    entry: Entry | None = None

    @property
    def holds(self) -> bool:
        """Returns True if the mode holds for the running code."""
        return self.entry is None or self.entry.holds

    @property
    def is_request(self) -> bool:
        """Returns True for the outermost block of a request or a task."""
        return self.outer is not None and self.writes is not self.outer.writes


#: Seconds for which a request that has waited for a node in vain does not wait again. A page takes
#: less; a task that runs for long is to find a cluster that was mended meanwhile.
OUTAGE = 60.0

_NOTHING = Scope(None, MappingProxyType({}), None, None, {}, None)
_scope: ContextVar[Scope] = ContextVar("galera_router", default=_NOTHING)
_ATTRIBUTE = "galera_scope"
#: Some thread has inherited a scope from its starter: only then is it looked for.
_some_inherit = False
_counting = threading.Lock()


def _renew_lock() -> None:
    """A lock that another thread held at the fork would never be released in the child."""
    global _counting
    _counting = threading.Lock()


os.register_at_fork(after_in_child=_renew_lock)


def current() -> Scope:
    """Returns the scope of the running code; a plain thread keeps that of its starter."""
    found = _scope.get()
    if found is _NOTHING and _some_inherit:
        found = getattr(threading.current_thread(), _ATTRIBUTE, _NOTHING)
    return found


#: Returns the scope of the running context, without a look at the thread: the same object as
#: long as the same rules hold.
raw = _scope.get


def inherit(thread: threading.Thread) -> None:
    """``thread`` is being started: what it reads and writes belongs to the request at hand."""
    global _some_inherit
    found = lasting()
    if found is not _NOTHING:
        _some_inherit = True
        setattr(thread, _ATTRIBUTE, found)


def lasting() -> Scope:
    """Returns the scope of the running code, for what it leaves to be done later or elsewhere.

    The mode of a generator's block holds there, too, while that generator is suspended.
    """
    found = current()
    return _lasting(found) if found.modes else found


def _lasting(scope: Scope) -> Scope:
    if scope.outer is None or not scope.modes:
        return scope
    outer, generator = _lasting(scope.outer), scope.entry and scope.entry.generator
    if outer is scope.outer and generator is None:
        return scope
    mode = scope.mode if scope.holds else None
    entry = scope.entry if generator is None else None
    return replace(scope, mode=mode, outer=outer, owner=scope.owner or scope, entry=entry)


def mode(alias: str) -> Mode | None:
    """The mode of the innermost :class:`reads` that speaks of ``alias``; None without one."""
    scope: Scope | None = current()
    if scope is None or not scope.modes:
        return None
    while scope is not None:
        if scope.mode is not None and scope.mode[0] in (None, alias) and scope.holds:
            return scope.mode[1]
        scope = scope.outer
    return None


def needs(alias: str) -> tuple[Need, ...]:
    """Returns the positions that a read on the cluster ``alias`` must include."""
    found = current().needs
    return found.get(alias, ()) if found else ()


def in_request() -> bool:
    """Returns True within a request or a task, as the middleware or a worker has told."""
    return current().writes is not None


def writes(alias: str) -> int:
    """Returns how many times the current request has written to the cluster ``alias``."""
    found = current().writes
    return found.get(alias, 0) if found else 0


def count_write(record: dict[str, int] | None, alias: str) -> None:
    """Something may have been changed on the cluster ``alias``, by a block with this ``record``."""
    if record is not None:
        with _counting:  # a write that is not counted would be missing in the token
            record[alias] = record.get(alias, 0) + 1


def written() -> list[str]:
    """The clusters that the request at hand has written to."""
    return list(current().writes or ())


def void() -> list[str]:
    """The clusters that do not have what the running block was given a token for."""
    return [alias for alias, needs in current().needs.items() if any(n.void for n in needs)]


def note_outage(alias: str) -> None:
    """The request at hand has waited in vain for a node of the cluster ``alias``."""
    if in_request():
        current().outages[alias] = time.monotonic() + OUTAGE


def in_outage(*aliases: str) -> bool:
    """Returns True if this request has waited in vain, just now, for one of the clusters.

    Args:
        aliases: of the clusters; without any, all are meant.
    """
    found, now = current().outages, time.monotonic()
    return any(found.get(alias, 0.0) > now for alias in aliases or tuple(found)) if found else False


def enter(mode: Mode, using: str | None, owner: object, generator: FrameType | None) -> None:
    """Begin a block whose reads come from where ``mode`` says; :func:`leave` ends it.

    Args:
        mode: where from.
        using: the alias of one cluster; None for all.
        owner: who ends the block.
        generator: that the block is in: the mode holds while it runs, not for its consumer.
    """
    outer = _not_over(current())
    _scope.set(
        replace(
            outer,
            mode=(using, mode),
            outer=outer,
            modes=True,
            owner=owner,
            entry=Entry(generator, _place()),
        )
    )


def leave(owner: object) -> None:
    """End the innermost block of ``owner``: what held around it holds again."""
    found: Scope | None = current()
    while found is not None and found.owner is not owner:
        found = found.outer
    if found is not None:  # else nothing that runs here comes from where it was entered
        end(found)


def _place() -> tuple[int, int]:
    """Returns what tells the running task or thread from all others there are."""
    try:
        task = asyncio.current_task()
    except RuntimeError:
        task = None
    return threading.get_ident(), id(task)


@contextmanager
def needing(new: Needs, *, request: bool = False) -> Iterator[None]:
    """Enter a block whose reads must include the positions in ``new``.

    Args:
        new: by alias, besides what the code around it requires.
        request: the block is a request or a task, whose writes are counted.
    """
    scope = begin(new, request=request)
    try:
        yield
    finally:
        end(scope)


def begin(new: Needs, *, request: bool = False) -> Scope:
    """Begin the block that :func:`needing` describes; :func:`end` ends it."""
    before = current() if _some_inherit else _scope.get()
    if before.entry is not None:
        before = _not_over(before)
    needs = before.needs
    if new:
        needs = {**needs, **{alias: (*needs.get(alias, ()), *new[alias]) for alias in new}}
    if request:
        scope = Scope(None, needs, {}, {}, {}, before, before.modes)
    else:
        rest, entry = (before.writes, before.seen, before.outages), Entry(None, _place())
        scope = Scope(None, needs, *rest, before, before.modes, entry=entry)
    _scope.set(scope)
    return scope


@contextmanager
def within(scope: Scope) -> Iterator[None]:
    """A context manager: in the block, reads follow the rules of ``scope``."""
    before = _scope.get()
    _scope.set(scope)
    try:
        yield
    finally:
        _scope.set(before)


def end(scope: Scope) -> None:
    """End a block. Tasks and threads that were started in it keep its rules.

    A request or a task ends with all that was entered within it and not left. Within any other
    block, that is what a generator has entered which goes on behind it: that stays. Where one has
    left the block that has not entered it, it is over for all.
    """
    if scope.entry is not None and scope.entry.place != _place():
        scope.entry.over = True
    top = current() if _some_inherit else _scope.get()
    rules = scope.outer if top is scope else _without(scope, top)
    if rules is not None:
        _scope.set(rules if rules.entry is None else _not_over(rules))


def _without(block: Scope, top: Scope) -> Scope | None:
    """Returns the rules of ``top`` without those of ``block``; None if it is not in that block."""
    if top is block or top.owner is block or top.outer is None:
        return top.outer
    rules = _without(block, top.outer)
    if rules is None or block.is_request:
        return rules
    modes = rules.modes or top.mode is not None
    return replace(top, outer=rules, modes=modes, owner=top.owner or top)


def _not_over(scope: Scope) -> Scope:
    """Returns the innermost rules that nobody has ended from somewhere else."""
    while scope.entry is not None and scope.entry.over and scope.outer is not None:
        scope = scope.outer
    return scope
