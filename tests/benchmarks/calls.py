"""Python and C calls of one request, ours and stock Django's: ``python -m tests.benchmarks.calls``.

Counted with ``sys.setprofile``, through the WSGI handler, with ATOMIC_REQUESTS and connections that
are kept. They are the same at each run, but for a few.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
django.setup()

from django.core.handlers.wsgi import WSGIHandler  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connections  # noqa: E402
from django.http import HttpRequest, HttpResponse  # noqa: E402
from django.test.utils import override_settings  # noqa: E402
from django.urls import path  # noqa: E402

from galera_router import expand  # noqa: E402
from galera_router.testing import GaleraCluster  # noqa: E402
from tests.benchmarks.__main__ import sides  # noqa: E402
from tests.integration.support import use_databases  # noqa: E402
from tests.shop.models import Author, Book  # noqa: E402

ROWS, WARM, TIMES = 1000, 5, 5
OURS = {
    "MIDDLEWARE": ["galera_router.middleware.GaleraMiddleware"],
    "DATABASE_ROUTERS": ["galera_router.routers.GaleraRouter"],
}
STOCK: dict[str, list[str]] = {"MIDDLEWARE": [], "DATABASE_ROUTERS": []}


def no_query() -> None: ...


def ten_reads() -> None:
    for _ in range(10):
        Book.objects.get()


def thousand_rows() -> None:
    list(Author.objects.all())


def five_reads_and_a_save() -> None:
    for _ in range(4):
        Book.objects.get()
    book = Book.objects.get()
    book.stock += 1
    book.save()


CASES: dict[str, Callable[[], None]] = {
    "no query": no_query,
    "10 reads": ten_reads,
    "1,000 rows": thousand_rows,
    "5 reads and a save": five_reads_and_a_save,
}


def view(work: Callable[[], None]) -> Callable[[HttpRequest], HttpResponse]:
    def answer(request: HttpRequest) -> HttpResponse:
        work()
        return HttpResponse()

    return answer


urlpatterns = [path(f"{number}/", view(work)) for number, work in enumerate(CASES.values())]


def ask(handler: Any, number: int) -> None:
    """One request, its response read and closed."""
    environment = {
        "REQUEST_METHOD": "GET", "PATH_INFO": f"/{number}/", "SERVER_NAME": "x",
        "SERVER_PORT": "80", "wsgi.input": io.BytesIO(), "wsgi.url_scheme": "http",
    }  # fmt: skip
    response = handler(environment, lambda *given: None)
    list(response)
    response.close()


def count(handler: Any, number: int) -> int:
    """The calls of one request."""
    calls = [0]

    def profile(frame: Any, event: str, argument: Any) -> None:
        calls[0] += event in ("call", "c_call")

    sys.setprofile(profile)
    try:
        ask(handler, number)
    finally:
        sys.setprofile(None)
    return calls[0]


def counted(databases: dict[str, Any], settings: dict[str, list[str]]) -> list[int]:
    """The fewest calls of each case."""
    use_databases(databases)
    with override_settings(ROOT_URLCONF=__name__, **settings):
        handler = WSGIHandler()
        found = []
        for number in range(len(CASES)):
            for _ in range(WARM):
                ask(handler, number)
            found.append(min(count(handler, number) for _ in range(TIMES)))
        return found


def main() -> None:
    with GaleraCluster() as cluster:
        plain = sides(cluster, ATOMIC_REQUESTS=True)
        use_databases(expand(cluster.databases()))
        call_command("migrate", verbosity=0, run_syncdb=True)
        author = Author.objects.create(name="Ann")
        Book.objects.create(author=author, title="t", stock=1)
        Author.objects.bulk_create(Author(name=f"a{n}") for n in range(ROWS - 1))
        ours = counted(plain["galera_router"], OURS)
        stock = counted(plain["stock"], STOCK)
        print(f"{'calls of a request':24}{'stock':>8}{'ours':>8}{'ratio':>7}")
        for name, one, other in zip(CASES, stock, ours, strict=True):
            print(f"{name:24}{one:8}{other:8}{other / one:7.2f}")
        connections.close_all()


if __name__ == "__main__":
    main()
