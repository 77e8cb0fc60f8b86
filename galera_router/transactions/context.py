"""Where one thread's cluster connection stands: outside a transaction, reading, or writing.

A context belongs to the wrapper of a role alias, and so to one thread or async context; it
travels with the connection and is never shared.

::

    IDLE ──first read──▶ SNAPSHOT ──first write──▶ LIVE
      └────────────────first write───────────────▶
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from enum import Enum, auto
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from galera_router.causality import scope
from galera_router.causality.scope import Need
from galera_router.cluster.nodes import Cluster, Node, cluster_of
from galera_router.cluster.position import Position
from galera_router.compat import internals
from galera_router.conf.expand import Options
from galera_router.connections.connection import Link
from galera_router.recovery import runs
from galera_router.recovery.journal import Journal
from galera_router.recovery.marker import Marking

#: Seconds after which a thread that has no requests chooses anew where to read.
PINNED = 10.0


class Phase(Enum):
    """How far the open transaction has come."""

    IDLE = auto()  # no server has heard of it
    SNAPSHOT = auto()  # a read-only transaction is open on a secondary
    LIVE = auto()  # it runs on the primary


class Context:
    """The state of one role wrapper.

    Args:
        wrapper: the wrapper of the role alias.
        cluster: its nodes.
    """

    def __init__(self, wrapper: BaseDatabaseWrapper, cluster: Cluster) -> None:
        self.wrapper = wrapper
        self.cluster = cluster
        self.autocommit = True
        self.phase = Phase.IDLE
        self.journal = Journal()
        self.primary: Link | None = None  # kept between transactions
        self.forgotten: str | None = None  # state lost with a connection: to be told
        self.left: Link | None = None  # lost: its transaction may still be open there
        self.snapshot: Link | None = None  # open on a secondary
        self.begun = False  # the primary has a transaction open
        self.uncertain = False  # the last statement may have ended it
        self.marking = Marking()  # how it can be told whether it was committed
        self.conflicts = 0  # times that it was replayed after a conflict
        self.broken: Exception | None = None  # what every further statement is answered with
        self.silent = False  # Django has swallowed the error that broke it
        self.pin: Node | None = None  # the node to read from
        self.pinned_until = 0.0  # by the clock
        self.pin_failures = 0  # the pin's failures when it was chosen
        self.lagging: set[Node] = set()  # nodes whose applier was waited for in vain, just now
        self.handed: set[Node] = set()  # nodes whose aliases the router has given out
        self.wrote = False  # it has written: its reads outside a transaction follow
        self.behind: set[Node] = set()  # nodes not waited for since the last write
        self.seen: Node | None = None  # the node that it has last read from: never back in time
        self.unsynced = False  # the snapshot was begun without a wait that was due
        self.begun_with: tuple[Need, ...] = ()  # what the snapshot was begun to include
        self.sync_until = 0.0  # when the waits of the statement at hand end (monotonic seconds)
        self._record: tuple[Counter[str] | None, int] = (None, 0)  # writes of all its threads
        self.commits = 0  # changes made final, ever
        self.commits_before = 0  # as many of them before this request
        self.writes = 0  # those that may have changed something
        self.writes_before = 0
        self.told: tuple[object, Position] | None = None  # where the last was, once asked for
        self.promoted = False  # the open transaction, else the last, has come to the primary
        self.primary_only = False  # a second attempt runs on the primary from the start
        self.passive = False  # statements of our own: neither routed nor recorded
        self.reset_options()

    # Options, as attributes of the wrapper so that ``connection.<option>`` overrides them.

    def reset_options(self) -> None:
        """Give the wrapper the options of the settings again."""
        options = self.cluster.config.options
        for option in fields(options):
            setattr(self.wrapper, option.name, getattr(options, option.name))

    @property
    def options(self) -> Options:
        """The options as attributes, overrides of this connection included."""
        return self.wrapper  # type: ignore[return-value]

    # Where to read

    @property
    def mode(self) -> str:
        """Where the running block wants its reads from; see ``galera_router.reads``."""
        return scope.mode(self.cluster.alias) or self.options.reads

    def reads_elsewhere(self) -> bool:
        """Whether a read may now go to a secondary."""
        if self.primary_only or self.broken or self.phase is Phase.LIVE:
            return False
        mode = self.mode
        if mode == "primary" or (mode != "any" and self._is_too_old()):
            return False
        if self.autocommit:
            return mode == "any" or not (self.wrote and scope.in_request())
        optimistic: bool = self.options.optimistic_transactions
        return optimistic and not internals.in_testcase(self.wrapper)

    def _is_too_old(self) -> bool:
        """Whether the open snapshot may lack what a read must now include."""
        if self.snapshot is None:
            return False
        needs = scope.needs(self.cluster.alias)
        if needs is self.begun_with:  # nearly always
            return self.unsynced
        return self.unsynced or any(not need.void for need in needs if need not in self.begun_with)

    def pinned(self) -> Node | None:
        """The node to read from, chosen when first asked for; None if none may be used."""
        if self.snapshot is not None:
            return self.snapshot.node
        pin = self.pin
        if (
            pin is None
            or pin.failures != self.pin_failures
            or (self.phase is Phase.IDLE and time.monotonic() > self.pinned_until)
            or (internals.testing() and not self._may_read(connections[pin.alias], pin))
        ):
            self.pinned_until = time.monotonic() + PINNED
            self.pin = self._choose()
        return self.pin

    def reads_on(self, node: Node) -> bool:
        """Whether the open transaction has its snapshot on ``node``."""
        return self.snapshot is not None and self.snapshot.node is node

    def _choose(self) -> Node | None:
        node = self.cluster.reader(self.lagging)
        if node is None and self.lagging:
            self.lagging.clear()
            node = self.cluster.reader()
        if node is None or not self._may_read(connections[node.alias], node):
            return None
        self.pin_failures = node.failures
        return node

    def _may_read(self, wrapper: BaseDatabaseWrapper, node: Node) -> bool:
        """Not where a test forbids the alias, nor while only the role is on a test database."""
        if internals.forbidden_to_test(wrapper):
            return False
        moved = self.database_now(node).get("NAME")
        return moved is None or wrapper.settings_dict["NAME"] == moved

    def database_now(self, node: Node) -> dict[str, Any]:
        """The database's name in the place of the configured one, where it was changed since.

        The test runner does so, on the role's settings first: nothing may then be sent to
        the database that the settings once named.
        """
        configured = self.cluster.config.nodes[0].role_settings["NAME"]
        return {} if self.database == configured else {"NAME": self.database}

    def unmet(self, node: Node) -> list[Need]:
        """What reads must include and ``node`` is not known to have."""
        needs = scope.needs(self.cluster.alias)
        if not needs or not self.options.wsrep_sync_after_write:
            return []
        return [need for need in needs if not need.is_met(node)]

    def read_alias(self) -> str:
        """The alias that a read through the router goes to.

        Raises DatabaseError in a thread that the role's wrapper has not been shared with.
        """
        self.wrapper.validate_thread_sharing()
        if self.reads_elsewhere() and (node := self.pinned()) is not None:
            self.handed.add(node)
            return node.alias
        return self.cluster.alias

    # What happened

    def note_write(self) -> None:
        """Something is about to be changed: what this thread reads next must include it."""
        self.wrote = True
        self.seen = self.primary.node if self.primary is not None else None
        self.behind = {node for node in self.cluster.nodes if node is not self.seen}

    def note_synced(self, node: Node) -> None:
        """``node`` has all that had been committed anywhere when it was asked."""
        self.behind.discard(node)
        for need in self.unmet(node):
            need.note_met(node)

    def follow(self) -> None:
        """What another thread of this request has written must be waited for like our own."""
        record = scope.current().writes
        if record is None:
            return
        known, followed = self._record
        if known is not record:
            followed = 0
        written = record[self.cluster.alias]
        if written != followed:
            self.behind = set(self.cluster.nodes)
        self._record = record, written

    def lose_primary(self, *, idle: bool = False) -> None:
        """The connection to the primary is of no more use.

        Args:
            idle: nothing was under way on it.
        """
        link, self.primary = self.primary, None
        self.begun = self.marking.done = False
        if link is not None:
            self.left = None if idle else link
            link.drop()

    @property
    def database(self) -> str:
        """The name of the database that the role alias stands for now."""
        name: str = self.wrapper.settings_dict["NAME"]
        return name

    def note_commit(self, *, wrote: bool = True) -> None:
        """A transaction has become final: what led to it cannot be run again.

        Args:
            wrote: it has come to a statement that may write.
        """
        self.commits += 1
        runs.note_commit(self.cluster.alias)
        if not wrote:
            return
        self.follow()
        self.writes += 1
        scope.note_write(self.cluster.alias)
        record, followed = self._record
        self._record = record, followed + 1

    def end_transaction(self) -> None:
        """Forget the transaction; connections are the caller's to end first."""
        if self.phase is Phase.LIVE and self.primary is not None:
            self.seen = self.primary.node
        self.phase = Phase.IDLE
        self.snapshot = None
        self.begun = self.uncertain = False
        self.marking = Marking()
        self.conflicts = 0
        self.broken = None
        self.silent = False
        self.unsynced = False
        self.sync_until = 0.0
        self.handed.clear()
        self.journal.clear()

    def new_request(self) -> None:
        """A request or a task begins or has ended: its reads may go to any node again."""
        self.unpin()
        self.seen = None
        self.primary_only = False
        self.commits_before = self.commits
        self.writes_before = self.writes

    def unpin(self) -> None:
        """Let reads outside a transaction choose their node anew."""
        if self.autocommit and self.phase is Phase.IDLE:
            self.pin = None
            self.handed.clear()
            self.wrote = False

    @contextmanager
    def passively(self) -> Iterator[None]:
        """Let statements pass as they are while a connection is being set up."""
        before, self.passive = self.passive, True
        try:
            yield
        finally:
            self.passive = before

    @contextmanager
    def on_primary(self, wanted: bool = True) -> Iterator[None]:
        """Keep everything on the primary, as a second attempt does."""
        before, self.primary_only = self.primary_only, wanted
        try:
            yield
        finally:
            self.primary_only = before


_ATTRIBUTE = "galera_context"


def attach(wrapper: BaseDatabaseWrapper, cluster: Cluster) -> Context:
    """Give ``wrapper`` its context, once."""
    context = vars(wrapper).get(_ATTRIBUTE)
    if context is None:
        context = Context(wrapper, cluster)
        setattr(wrapper, _ATTRIBUTE, context)
    assert isinstance(context, Context)
    return context


def context_of(alias: str) -> Context | None:
    """This thread's context of the cluster with the role or node alias ``alias``."""
    cluster = cluster_of(alias)
    if cluster is None:
        return None
    context = vars(connections[cluster.alias]).get(_ATTRIBUTE)
    return context if isinstance(context, Context) else None


def contexts() -> list[Context]:
    """This thread's contexts of all clusters whose wrappers exist already."""
    wrappers = connections.all(initialized_only=True)
    found = [vars(wrapper).get(_ATTRIBUTE) for wrapper in wrappers]
    return [context for context in found if isinstance(context, Context)]
