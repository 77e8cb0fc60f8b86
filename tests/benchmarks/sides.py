"""The sides of a comparison, as the lead sees them: processes that do what they are told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from galera_router.testing import GaleraCluster, GaleraNode

ROOT = Path(__file__).parents[2]
DJANGO_GALERA = "django-galera==1.1.3"
MIDDLEWARE = ["galera_router.middleware.GaleraMiddleware"]
ROUTERS = ["galera_router.routers.GaleraRouter"]

#: Failovers are what some of it is about; what fails is raised.
QUIET = {
    "version": 1,
    "handlers": {"none": {"class": "logging.NullHandler"}},
    "loggers": {"galera_router": {"handlers": ["none"], "propagate": False}},
}

#: What a side is to do: the name of a command, its arguments; and its answer.
Answer = dict[str, Any]


class Side:
    """A process of ``tests.benchmarks.side``; a context manager that ends it.

    Args:
        settings: its first line.
        path: a folder of modules that it may import besides.
    """

    def __init__(self, settings: dict[str, Any], path: Path | None = None) -> None:
        environment = {k: v for k, v in os.environ.items() if k != "DJANGO_SETTINGS_MODULE"}
        if path is not None:
            environment["PYTHONPATH"] = str(path)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.side"],
            cwd=ROOT, env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        self._send(settings)

    def __enter__(self) -> Side:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def do(self, command: str, **arguments: Any) -> Answer:
        """Have it obey one command; RuntimeError if it ends instead of answering."""
        self._send([command, arguments])
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"a side has ended at {command} {arguments}")
        answer: Answer = json.loads(line)
        return answer

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _send(self, what: Any) -> None:
        assert self._process.stdin is not None
        print(json.dumps(what), file=self._process.stdin, flush=True)


def _django(kind: str, databases: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The settings of a side that has Django."""
    return {
        "kind": kind,
        "DATABASES": databases,
        "INSTALLED_APPS": ["django.contrib.contenttypes", "tests.shop"],
        "SECRET_KEY": "for benchmarks only",
        "ROOT_URLCONF": "tests.benchmarks.views",
        "ALLOWED_HOSTS": ["*"],
        "DEFAULT_AUTO_FIELD": "django.db.models.BigAutoField",
        "USE_TZ": True,
        "LOGGING": QUIET,
        **more,
    }


def _databases(cluster: GaleraCluster, **overrides: Any) -> dict[str, Any]:
    return cluster.databases(**{"ATOMIC_REQUESTS": True, "CONN_MAX_AGE": None, **overrides})


def ours(
    cluster: GaleraCluster, middleware: list[str] = MIDDLEWARE, **overrides: Any
) -> dict[str, Any]:
    """galera_router on all nodes."""
    found = _django("galera_router", _databases(cluster, **overrides))
    found["INSTALLED_APPS"] += ["galera_router"]
    return {**found, "MIDDLEWARE": middleware, "DATABASE_ROUTERS": ROUTERS}


def watched(cluster: GaleraCluster, name: str) -> dict[str, Any]:
    """galera_router with one instrumentation."""
    return {**ours(cluster), "GALERA_INSTRUMENTATION": [f"galera_router.instrumentation.{name}"]}


def stock(cluster: GaleraCluster, node: int = 0, **overrides: Any) -> dict[str, Any]:
    """Stock Django on one node."""
    databases = _databases(cluster, **overrides)
    nodes = databases["default"].pop("NODES")
    databases["default"] |= list(nodes.values())[node]
    return _django("stock", databases)


def seed(cluster: GaleraCluster, **overrides: Any) -> dict[str, Any]:
    """django-galera on all nodes; its documentation asks for no more than this."""
    engine = "galera.backends.readwritesplit"
    return _django("django-galera", _databases(cluster, ENGINE=engine, **overrides))


def bare(cluster: GaleraCluster) -> dict[str, Any]:
    """mysqlclient on the node that stock Django is on."""
    node = cluster.nodes[0]
    return {
        "login": {
            "host": node.host, "port": node.port, "user": cluster.user,
            "password": cluster.password, "database": cluster.database, "charset": "utf8mb4",
        }
    }  # fmt: skip


def seed_folder() -> Path:
    """Where django-galera is installed for the benchmarks alone; it is brought there if need be.

    Raises CalledProcessError if pip cannot.
    """
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    folder = Path(cache) / "galera_router" / DJANGO_GALERA.replace("==", "-")
    if not folder.is_dir():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        part = folder.with_name(f"part-{os.getpid()}")
        subprocess.run([*pip, "--no-deps", "--target", str(part), DJANGO_GALERA], check=True)
        part.rename(folder)
    return folder


KINDS: dict[str, Callable[[GaleraCluster], dict[str, Any]]] = {
    "ours": ours,
    "ours, optimistic": lambda c: ours(c, OPTIONS={"optimistic_transactions": True}),
    "ours, no middleware": lambda c: ours(c, middleware=[]),
    "ours, connections closed": lambda c: ours(c, CONN_MAX_AGE=0),
    "ours, another": ours,
    "ours, Prometheus": lambda c: watched(c, "prometheus.Prometheus"),
    "ours, OpenTelemetry": lambda c: watched(c, "opentelemetry.OpenTelemetry"),
    "stock": stock,
    "stock, connections closed": lambda c: stock(c, CONN_MAX_AGE=0),
    "django-galera": seed,
    "django-galera, connections closed": lambda c: seed(c, CONN_MAX_AGE=0),
    "mysqlclient": bare,
}


class Sides:
    """The sides on one cluster by their names in KINDS; each is started when it is first needed.

    Args:
        cluster: a running one with the tables of ``tests.shop``; see :func:`fill`.
    """

    def __init__(self, cluster: GaleraCluster) -> None:
        self.cluster = cluster
        self._running: dict[str, Side] = {}

    def __getitem__(self, name: str) -> Side:
        if name not in self._running:
            self._running[name] = self.fresh(name)
        return self._running[name]

    def fresh(self, name: str, **arguments: Any) -> Side:
        """Another process of that kind, which the caller has to close."""
        path = seed_folder() if name.startswith("django-galera") else None
        side = Side(KINDS[name](self.cluster, **arguments), path)
        if name != "mysqlclient" and (loaded := side.do("modules")["test"]):
            side.close()
            raise RuntimeError(f"no server has {loaded}")
        return side

    def versions(self) -> dict[str, str]:
        """Of what takes part."""
        found = self["ours"].do("modules")
        ((server,),) = self.cluster.nodes[0].query("SELECT VERSION()")
        return {"Django": found["django"], "mysqlclient": found["mysqlclient"], "MariaDB": server}

    def close(self) -> None:
        """End all."""
        while self._running:
            self._running.popitem()[1].close()


@contextmanager
def sides(cluster: GaleraCluster) -> Iterator[Sides]:
    """The sides on ``cluster`` for the time of the block."""
    found = Sides(cluster)
    try:
        yield found
    finally:
        found.close()


def migrate(cluster: GaleraCluster) -> None:
    """Make the tables."""
    with Side(ours(cluster)) as side:
        side.do("migrate")


def fill(cluster: GaleraCluster, many: int = 0) -> None:
    """Have 1,000 authors, one book and ``many`` tags on all nodes, and the first as the primary.

    The rows go there in SQL: so the tests can use this as well, whatever their settings are.
    """
    node = cluster.nodes[0]
    tables = "book_tags", "book", "author", "tag"
    for table in tables:
        node.query(f"DELETE FROM galera_router.shop_{table}")
    for table in ("slot", "epoch"):  # which node is the primary is agreed upon anew
        unchecked = "SET STATEMENT foreign_key_checks=0 FOR"
        node.query(f"{unchecked} DELETE FROM galera_router.galera_router_{table}")
    insert(node, "author (name)", "CONCAT('a', seq)", 1000)
    if many:
        insert(node, "tag (name)", "CONCAT('t', seq)", many)
    node.query(
        "INSERT INTO galera_router.shop_book (author_id, title, stock, blurb)"
        " SELECT MIN(id), 't', 1, '' FROM galera_router.shop_author"
    )
    for each in cluster.nodes:
        each.wait_applied()


def insert(node: GaleraNode, into: str, values: str, count: int) -> None:
    """Insert ``count`` rows, with ``seq`` from 1 on."""
    node.query(
        f"INSERT INTO galera_router.shop_{into} SELECT {values} FROM galera_router.seq_1_to_{count}"
    )


def recorded(cluster: GaleraCluster, side: Side, view: str) -> list[list[str]]:
    """What the first node was sent for two requests of ``side``, after one that is left out."""
    side.do("ask", view=view)
    requests = []
    for _ in range(2):
        with cluster.nodes[0].statements() as sent:
            side.do("ask", view=view)
        # The connection of ``side`` is kept; one that opens meanwhile is a watchdog's.
        others = {one.connection_id for one in sent if one.command == "Connect"}
        requests.append(
            [one.sql for one in sent if one.command == "Query" and one.connection_id not in others]
        )
    return requests
