"""A real Galera cluster on the loopback."""

from __future__ import annotations

import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from . import healing
from .account import Account, new_folder, server_account
from .errors import ClusterError
from .node import POLL_SECONDS, GaleraNode
from .packages import Binaries, find_binaries
from .place import Place
from .ports import HOST, Ports, reserve_ports
from .proxy import Proxy
from .reaper import Reaper
from .state import save_memberships, save_position
from .template import template

START_SECONDS = 60.0
HEAL_SECONDS = 60.0


class GaleraCluster:
    """A cluster of ``size`` MariaDB servers with one database and one user.

    Use it as a context manager, or call start() and stop(). The servers listen on 127.0.0.1 alone,
    run as an unprivileged account in a folder of their own, and both go away with the program that
    started them, however that ends.
    """

    def __init__(
        self,
        size: int = 3,
        database: str = "galera_router",
        user: str = "galera",
        password: str = "galera",
        options: Sequence[str] = (),
        provider: Mapping[str, str] | None = None,
    ) -> None:
        """Take the number of nodes and the names; nothing is started yet.

        The user may do everything in ``database`` and in all whose names begin with ``test_``.
        options: more of every server's command line, such as ``--ssl-ca=/a/file``.
        provider: options of Galera's own, such as ``{"evs.suspect_timeout": "PT5S"}``.
        Raises ValueError if ``size`` is below 1, or if ``database`` is more than letters, digits
        and underscores.
        """
        if size < 1:
            raise ValueError(f"a cluster has at least one node, not {size}")
        if not re.fullmatch(r"\w+", database, re.ASCII):
            raise ValueError(f"not a plain name for a database: {database!r}")
        self.size = size
        self.database = database
        self.user = user
        self.password = password
        self.options = tuple(options)
        self.provider = dict(provider or {})
        self.nodes: list[GaleraNode] = []
        self._ports: list[Ports] = []
        self._reaper: Reaper | None = None
        self._owner = 0

    def __enter__(self) -> GaleraCluster:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def __getitem__(self, name: str) -> GaleraNode:
        """Returns a node by its name, "db1" and so on; KeyError if there is none."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise KeyError(name)

    @property
    def folder(self) -> Path:
        """Where the servers keep everything; ClusterError if the cluster is not started."""
        if self._reaper is None:
            raise ClusterError("the cluster is not started")
        return self._reaper.folder

    def start(self, timeout: float = START_SECONDS) -> None:
        """Start all nodes and wait, at most ``timeout`` seconds, until they are Synced.

        Raises MissingPackages if something is not installed, ClusterError if a server does not
        come up or the cluster is started already.
        """
        if self._reaper is not None:
            raise ClusterError("the cluster is started already")
        binaries, account = find_binaries(), server_account()
        initial = template(binaries, account)
        self._owner = os.getpid()
        self._reaper = Reaper(new_folder(account))
        try:
            account.make(self.folder)
            self._make_nodes(binaries, account, initial)
            self._start_nodes(timeout)
            self._create_user()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End all servers at once and remove their folder; harmless if that is done already."""
        if self._reaper is None or self._owner != os.getpid():
            return
        for node in self.nodes:
            node.kill()
        reaper, self._reaper = self._reaper, None
        self.nodes = []
        for ports in self._ports:
            ports.release()
        self._ports = []
        reaper.close()

    @contextmanager
    def proxies(self) -> Iterator[dict[str, Proxy]]:
        """Run a proxy in front of each node for the time of a ``with`` block.

        Gives them by the names of their nodes. Each stays in front of its node when that is
        stopped and started again.
        """
        with ExitStack() as stack:
            started = [stack.enter_context(Proxy(node.host, node.port)) for node in self.nodes]
            yield {node.name: proxy for node, proxy in zip(self.nodes, started, strict=True)}

    def databases(
        self, *, proxies: Mapping[str, Proxy] | None = None, **overrides: Any
    ) -> dict[str, dict[str, Any]]:
        """Returns Django's DATABASES for this cluster, to be given to galera_router.expand().

        proxies: those of proxies(); the nodes named there are reached through them alone.
        overrides: further settings of the ``default`` alias, or other values for these.
        """
        ways: dict[str, GaleraNode | Proxy] = {node.name: node for node in self.nodes}
        ways.update(proxies or {})
        default = {
            "ENGINE": "django.db.backends.mysql",
            "NAME": self.database,
            "USER": self.user,
            "PASSWORD": self.password,
            "NODES": {name: {"HOST": way.host, "PORT": way.port} for name, way in ways.items()},
        }
        return {"default": {**default, **overrides}}

    def heal(self, timeout: float = HEAL_SECONDS) -> None:
        """Undo every fault, and wait until all nodes are Synced members of one component.

        Nodes are thawed, rejoined, accept queries, apply and log no longer; dead ones are started
        again, from the most advanced one on if nobody is left in the primary component. Raises
        ClusterError that names the state of each node if this takes longer than ``timeout``
        seconds. It takes a few milliseconds if there is nothing to do.
        """
        healing.heal(self.nodes, timeout)

    def wait_synced(self, timeout: float = 30) -> None:
        """Wait until all running nodes are Synced members of one primary component.

        Raises ClusterError if that takes longer than ``timeout`` seconds.
        """
        self._wait_together([node for node in self.nodes if node.running], timeout)

    def _wait_together(self, nodes: list[GaleraNode], timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while not healing.are_together(nodes):
            for node in nodes:
                node.check_running()
            if time.monotonic() > deadline or not nodes:
                raise ClusterError(f"not synced after {timeout} s: {healing.report(self.nodes)}")
            time.sleep(POLL_SECONDS)

    def _make_nodes(self, binaries: Binaries, account: Account, initial: Path) -> None:
        self._ports = [reserve_ports() for _ in range(self.size)]
        addresses = tuple(f"{HOST}:{ports.group}" for ports in self._ports)
        group = f"{uuid.uuid1()}:0"
        for number, ports in enumerate(self._ports, start=1):
            name = f"db{number}"
            place = Place(
                name,
                self.folder / name,
                ports,
                binaries,
                account,
                addresses,
                self.options,
                self.provider,
            )
            place.folder.mkdir()
            shutil.copytree(initial, place.data)
            save_position(place.data, group)
            self.nodes.append(GaleraNode(place))
        save_memberships([node.place.data for node in self.nodes])
        account.own(self.folder)

    def _start_nodes(self, timeout: float) -> None:
        for node in self.nodes:
            node.start_as_member()
        self._wait_together(self.nodes, timeout)

    def _create_user(self) -> None:
        node = self.nodes[0]
        node.query(f"CREATE DATABASE `{self.database}` CHARACTER SET utf8mb4")
        for host in ("%", "localhost"):
            account = [self.user, host]
            node.query("CREATE USER %s@%s IDENTIFIED BY %s", [*account, self.password])
            # In GRANT an underscore stands for any character unless it is escaped.
            for granted in (self.database.replace("_", r"\_"), r"test\_%%"):
                node.query(f"GRANT ALL ON `{granted}`.* TO %s@%s", account)
