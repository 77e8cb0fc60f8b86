"""One side of a comparison, in a process of its own: ``python -m tests.benchmarks.side``.

The first line that it reads are its settings, each further one is a command; it answers each with
a line of JSON. Nothing here imports ``django.test``, and ``galera_router`` only where that is what
is measured: so it is in a server.
"""

from __future__ import annotations

import gc
import io
import json
import re
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import django
import MySQLdb
from django.conf import settings

Answer = dict[str, Any]
WARM = 30  # requests ahead of those whose calls are counted: what is learned is learned by then
COUNTED = 5
WARM_CROWD = 5  # requests of each thread ahead of the time that is measured


@contextmanager
def measured(answer: Answer) -> Iterator[None]:
    """Add the seconds of this process's CPU and of the clock that the block takes."""
    began, cpu = time.perf_counter(), time.process_time()
    yield
    answer["cpu"] = answer.get("cpu", 0.0) + time.process_time() - cpu
    answer["elapsed"] = answer.get("elapsed", 0.0) + time.perf_counter() - began


def repeated(work: Callable[[], Any], seconds: float) -> Answer:
    """CPU and elapsed seconds of one run of ``work``, which is run for so long, or once."""
    work()
    gc.collect()
    total: Answer = {}
    runs, until = 0, time.perf_counter() + seconds
    with measured(total):
        while not runs or time.perf_counter() < until:
            work()
            runs += 1
    return {key: value / runs for key, value in total.items()}


class Client:
    """Sends requests through the WSGI handler, as a server does."""

    def __init__(self) -> None:
        from django.core.handlers.wsgi import WSGIHandler

        self._handler: Any = WSGIHandler()

    def ask(self, view: str, cookie: str = "") -> str:
        """One request, its response read and closed; returns the cookies that it has set.

        Raises RuntimeError if it fails.
        """
        environment = {
            "REQUEST_METHOD": "GET", "PATH_INFO": f"/{view}/", "SERVER_NAME": "x",
            "SERVER_PORT": "80", "wsgi.input": io.BytesIO(), "wsgi.url_scheme": "http",
        }  # fmt: skip
        if cookie:
            environment["HTTP_COOKIE"] = cookie
        answered: list[Any] = []
        response = self._handler(environment, lambda *given: answered.extend(given))
        list(response)
        response.close()
        if answered[0] != "200 OK":
            raise RuntimeError(f"{view}: {answered[0]}")
        set_now = [value for name, value in answered[1] if name == "Set-Cookie"]
        return "; ".join(value.partition(";")[0] for value in set_now)


def counted(work: Callable[[], Any]) -> int:
    """The Python and C calls of ``work``, in this thread."""
    calls = [0]

    def profile(frame: Any, event: str, argument: Any) -> None:
        calls[0] += event in ("call", "c_call")

    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(None)
    return calls[0]


class Commands:
    """What the lead may ask for; a command is the name of a method and its arguments."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._client = Client()

    def migrate(self) -> Answer:
        """Make the tables."""
        from django.core.management import call_command

        call_command("migrate", verbosity=0, run_syncdb=True)
        return {}

    def modules(self) -> Answer:
        """Which of the modules are loaded that have no place in a server, and the versions."""
        return {
            "test": sorted(name for name in sys.modules if name.startswith("django.test")),
            "django": django.__version__,
            "mysqlclient": ".".join(map(str, MySQLdb.version_info[:3])),
        }

    def round(self, view: str, seconds: float) -> Answer:
        """One round of a view."""
        return repeated(lambda: self._client.ask(view), seconds)

    def ask(self, view: str, cookie: str = "") -> Answer:
        """One request, and the cookies of its response."""
        answer: Answer = {}
        with measured(answer):
            answer["cookie"] = self._client.ask(view, cookie)
        return answer

    def calls(self, view: str, warm: int = WARM) -> Answer:
        """The fewest calls of some requests of a view, in a worker that has read and written."""
        for each, times in (("one_read", warm), ("one_write", WARM_CROWD), (view, WARM)):
            for _ in range(times):
                self._client.ask(each)
        return {"calls": min(counted(lambda: self._client.ask(view)) for _ in range(COUNTED))}

    def threads(self, view: str, threads: int, seconds: float) -> Answer:
        """Threads that send requests, or call a function if the view's name is ``galera_atomic``.

        The answer has CPU and elapsed seconds per request that came to its end in that time, how
        many did so at all, errors, and the mean calls of one more request in each thread.
        """
        work = self._function() if view == "galera_atomic" else lambda: self._client.ask(view)
        return Crowd(work, threads, seconds).result

    def memory(self, view: str) -> Answer:
        """The most bytes that this process has had until the end of one request."""
        before = peak()
        self._client.ask(view)
        return {"before": before, "peak": peak()}

    def open(
        self, statements: int = 0, rows: int = 0, writes: bool = False, trace: bool = False
    ) -> Answer:
        """Begin a transaction that does so much, and leave it open.

        Args:
            statements: so many, each of which reads one row.
            rows: so many, read by one statement more.
            writes: the transaction is on the primary from its beginning.
            trace: the answer has the bytes that are kept of it, and is slow.
        """
        self._open = Open(trace)
        with self._open.measured() as answer:
            self._open.read(statements, rows, writes)
        return answer

    def proceed(self) -> Answer:
        """Read once more in the open transaction, and commit it; only the read is measured."""
        with self._open.measured() as answer:
            self._open.read(1, 0, False)
        self._open.close()
        return answer

    def _function(self) -> Callable[[], Any]:
        from tests.benchmarks.views import raise_stock

        if self._kind == "galera_router":
            from galera_router import galera_atomic

            return galera_atomic(raise_stock)
        from django.db import transaction

        return transaction.atomic(raise_stock)


class Open:
    """An open transaction of galera_router's."""

    def __init__(self, trace: bool) -> None:
        from django.db import transaction

        from galera_router.transactions.sessions import begin_anew

        begin_anew()  # as in a new request, which has read nothing elsewhere
        self._atomic = transaction.atomic()
        self._atomic.__enter__()
        self._trace = trace
        if trace:
            tracemalloc.start()

    @contextmanager
    def measured(self) -> Iterator[Answer]:
        """An answer with what the block takes, the node, and the bytes if they are traced."""
        answer: Answer = {}
        with measured(answer):
            yield answer
        answer |= self.nodes()
        if self._trace:
            kept, most = tracemalloc.get_traced_memory()
            answer |= {"bytes": kept, "most": most}

    def nodes(self) -> Answer:
        """The names of the node that the transaction is on, and of the primary."""
        from galera_router.transactions.sessions import session_of

        session = session_of("default")
        assert session is not None
        link, primary = session.snapshot or session.primary, session.cluster.primary()
        assert link is not None
        return {"node": link.node.name, "primary": primary and primary.name}

    def read(self, statements: int, rows: int, writes: bool) -> None:
        """See Commands.open."""
        from django.db import connection

        from tests.benchmarks.views import write

        if writes:
            write()
        with connection.cursor() as cursor:
            for number in range(statements):
                sql = "SELECT name FROM shop_author WHERE id = %s"
                cursor.execute(sql, [number % 3000])
                cursor.fetchall()
            if rows:
                cursor.execute(f"SELECT id, name FROM shop_tag ORDER BY id LIMIT {rows}")
                cursor.fetchall()

    def close(self) -> None:
        """Commit."""
        self._atomic.__exit__(None, None, None)
        if self._trace:
            tracemalloc.stop()


class Crowd:
    """Threads that all do the same for a while; ``result`` says what came of it."""

    def __init__(self, work: Callable[[], Any], threads: int, seconds: float) -> None:
        self._work, self._seconds = work, seconds
        self._done, self._begun = [0] * threads, [0] * threads
        self._errors: list[str] = []
        self._calls: list[int] = []
        self._lock = threading.Lock()
        self._start, self._end, self._last = (threading.Barrier(threads + 1) for _ in range(3))
        crew = [threading.Thread(target=self._run, args=(n,)) for n in range(threads)]
        for thread in crew:
            thread.start()
        self._start.wait(60)
        total: Answer = {}
        with measured(total):
            self._end.wait(60 + seconds)
        self._in_time = sum(self._done)
        self._last.wait(60)
        for thread in crew:
            thread.join()
        done = max(self._in_time - sum(self._begun), 1)
        self.result: Answer = {key: value / done for key, value in total.items()}
        self.result |= {"done": sum(self._done), "errors": self._errors}
        self.result["calls"] = sum(self._calls) / threads

    def _run(self, number: int) -> None:
        from django.db import connections

        for _ in range(WARM_CROWD):
            self._once(number)
        self._begun[number] = self._done[number]
        self._start.wait(60)
        until = time.perf_counter() + self._seconds
        while time.perf_counter() < until:
            self._once(number)
        self._end.wait(60)
        self._last.wait(60)
        with self._lock:
            self._calls.append(counted(lambda: self._once(number)))
        connections.close_all()

    def _once(self, number: int) -> None:
        try:
            self._work()
        except Exception as error:
            self._errors.append(f"{type(error).__name__}: {error}")
        else:
            self._done[number] += 1


class Bare:
    """No Django: the statements themselves, sent by mysqlclient, each answer fetched whole."""

    def __init__(self, login: dict[str, Any]) -> None:
        self._connection = MySQLdb.connect(**login, autocommit=True)  # as Django begins

    def round(self, requests: list[list[str]], seconds: float) -> Answer:
        """One round of requests that take turns."""
        turn = 0

        def send() -> None:
            nonlocal turn
            turn = (turn + 1) % len(requests)
            for statement in requests[turn]:
                cursor = self._connection.cursor()
                cursor.execute(statement)
                cursor.fetchall()
                cursor.close()

        return repeated(send, seconds)


def peak() -> int:
    """The most memory, in bytes, that this process has had."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    if found is None:
        raise RuntimeError("/proc/self/status has no VmHWM")
    return int(found[1]) * 1024


def configure(given: dict[str, Any]) -> Any:
    """Set Django up as the first line says; returns what obeys the commands."""
    if "login" in given:
        return Bare(given["login"])
    kind = given.pop("kind")
    if kind == "galera_router":
        from galera_router import expand

        given["DATABASES"] = expand(given["DATABASES"])
    if any("opentelemetry" in name for name in given.get("GALERA_INSTRUMENTATION", ())):
        record()
    settings.configure(**given)
    django.setup()
    return Commands(kind)


def record() -> None:
    """Have OpenTelemetry's own SDK take what is told, with one span around all requests."""
    from opentelemetry import context, metrics, trace
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace import TracerProvider

    metrics.set_meter_provider(MeterProvider(metric_readers=[InMemoryMetricReader()]))
    trace.set_tracer_provider(TracerProvider())
    span = trace.get_tracer(__name__).start_span("all requests")
    context.attach(trace.set_span_in_context(span))


def main() -> None:
    """Obey until the input ends."""
    commands = configure(json.loads(sys.stdin.readline()))
    for line in sys.stdin:
        name, arguments = json.loads(line)
        print(json.dumps(getattr(commands, name)(**arguments)), flush=True)


if __name__ == "__main__":
    main()
