"""Where one thread's cluster connection stands: outside a transaction, reading, or writing.

A context belongs to the wrapper of a role alias, and so to one thread or async context; it
travels with the connection and is never shared.

::

    IDLE ──first read──▶ SNAPSHOT ──first write──▶ LIVE
      └────────────────first write───────────────▶
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from enum import Enum, auto
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from . import internals
from .cluster import Cluster, Node, cluster_of
from .conf import Options
from .journal import Journal
from .markers import Marking
from .wire import Link


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
        self.pin_failures = 0  # the pin's failures when it was chosen
        self.lagging: set[Node] = set()  # nodes whose applier was waited for in vain, just now
        self.handed: set[Node] = set()  # nodes whose aliases the router has given out
        self.wrote = False  # this request has written: its reads outside a transaction follow
        self.behind: set[Node] = set()  # nodes not waited for since the last write
        self.commits = 0  # changes made final, ever
        self.commits_before = 0  # as many of them before this request
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

    def reads_elsewhere(self) -> bool:
        """Whether a read may now go to a secondary."""
        if self.primary_only or self.broken or self.phase is Phase.LIVE:
            return False
        if self.autocommit:
            return not self.wrote
        optimistic: bool = self.options.optimistic_transactions
        return optimistic and not internals.in_testcase(self.wrapper)

    def pinned(self) -> Node | None:
        """The node to read from, chosen when first asked for; None if none may be used."""
        if self.snapshot is not None:
            return self.snapshot.node
        if self.pin is None or self.pin.failures != self.pin_failures:
            self.pin = self._choose()
        return self.pin

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

    def read_alias(self) -> str:
        """The alias that a read through the router goes to."""
        if self.reads_elsewhere() and (node := self.pinned()) is not None:
            self.handed.add(node)
            return node.alias
        return self.cluster.alias

    # What happened

    def note_write(self) -> None:
        """Something is about to be changed: what this thread reads next must include it."""
        self.wrote = True
        here = self.primary.node if self.primary is not None else None
        self.behind = {node for node in self.cluster.nodes if node is not here}

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

    def note_commit(self) -> None:
        """A change has become final: what led to it cannot be run again."""
        self.commits += 1

    def end_transaction(self) -> None:
        """Forget the transaction; connections are the caller's to end first."""
        self.phase = Phase.IDLE
        self.snapshot = None
        self.begun = self.uncertain = False
        self.marking = Marking()
        self.conflicts = 0
        self.broken = None
        self.silent = False
        self.pin = None
        self.handed.clear()
        self.journal.clear()

    def new_request(self) -> None:
        """A request begins or has ended: its reads may go to any node again."""
        self.unpin()
        self.primary_only = False
        self.commits_before = self.commits

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
