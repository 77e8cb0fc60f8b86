"""Jobs for RQ, and its worker, which has used the database before it forks."""

from __future__ import annotations

import sys

import django
from rq import Queue, Worker

from galera_router import after as after_token
from galera_router import galera_atomic


def add(name: str) -> tuple[int, int]:
    """Add an author in a transaction that has read before.

    Returns how many there were, and the server's number of the connection to the primary.
    """
    from django.db import connection

    from tests.shop.models import Author

    @galera_atomic
    def work() -> int:
        count = Author.objects.count()
        Author.objects.create(name=name)
        return count

    count = work()
    assert Author.objects.filter(name=name).exists()
    with connection.cursor() as cursor:
        cursor.execute("SELECT CONNECTION_ID()")
        return count, cursor.fetchone()[0]


def seen(name: str, token: str) -> bool:
    """Whether there is an author of this name, for one who has the sender's token."""
    from tests.shop.models import Author

    with after_token(token):
        return Author.objects.filter(name=name).exists()


def main(url: str) -> None:
    django.setup()
    import redis

    from galera_router.cluster import nodes as cluster

    cluster.STARTED = 0.0  # the primary is not to change under us because a test has started it

    _, before = add("of the worker itself")
    connection = redis.from_url(url)
    Worker([Queue("tests", connection=connection)], connection=connection).work(burst=True)
    _, after = add("of the worker afterwards")
    assert before == after, "a job has ended the worker's connection"


if __name__ == "__main__":
    main(sys.argv[1])
