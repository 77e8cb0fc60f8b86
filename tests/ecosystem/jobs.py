"""Jobs for RQ, and its worker, which has used the database before it forks."""

from __future__ import annotations

import sys

import django
from rq import Queue, Worker

from galera_router import after, galera_atomic


def add(name: str) -> int:
    """Add an author in a transaction that has read before; returns how many there were."""
    from tests.shop.models import Author

    @galera_atomic
    def work() -> int:
        count = Author.objects.count()
        Author.objects.create(name=name)
        return count

    count = work()
    assert Author.objects.filter(name=name).exists()
    return count


def seen(name: str, token: str) -> bool:
    """Whether there is an author of this name, for one who has the sender's token."""
    from tests.shop.models import Author

    with after(token):
        return Author.objects.filter(name=name).exists()


def main(url: str) -> None:
    django.setup()
    import redis

    add("of the worker itself")
    connection = redis.from_url(url)
    Worker([Queue("tests", connection=connection)], connection=connection).work(burst=True)
    add("of the worker afterwards")


if __name__ == "__main__":
    main(sys.argv[1])
