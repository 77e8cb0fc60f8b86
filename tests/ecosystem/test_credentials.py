"""A password that is changed while threads connect anew all the time."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import connections, transaction

from galera_router.cluster import monitor
from tests.ecosystem.rotating.base import secret
from tests.integration.support import Shop
from tests.shop.models import Author, Tag

USER = "rotating@'%'"
THREADS, PAUSE = 4, 1.5


def native(password: str) -> str:
    return f"mysql_native_password USING PASSWORD('{password}')"


@pytest.fixture
def rotating(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    """The site connects as a user of its own, anew for each request; nodes are asked often."""
    monkeypatch.setattr(monitor, "ASK_WELL", 0.3)
    node = shop.galera["db1"]
    node.query(f"CREATE USER {USER} IDENTIFIED VIA {native('first')}")
    node.query(rf"GRANT ALL ON `galera\_router`.* TO {USER}")
    secret["password"] = "first"
    shop.configure(
        ENGINE="tests.ecosystem.rotating", USER="rotating", PASSWORD="not this one", CONN_MAX_AGE=0
    )
    Author.objects.create(name="Ann")
    yield shop
    connections.close_all()
    node.query(f"DROP USER {USER}")


@contextmanager
def requests(errors: list[Exception], done: list[int]) -> Iterator[None]:
    """Threads that read and write, each time on new connections."""
    end = threading.Event()

    def work(number: int) -> None:
        while not end.is_set():
            try:
                with transaction.atomic():
                    assert Author.objects.exists()
                    Tag.objects.create(name=f"of {number}")
                done.append(number)
            except Exception as error:
                errors.append(error)
            connections.close_all()
            time.sleep(0.01)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        end.set()
        for thread in threads:
            thread.join()


def test_nobody_notices_a_new_password(rotating: Shop) -> None:
    node, errors, done = rotating.galera["db2"], list[Exception](), list[int]()
    with requests(errors, done):
        for old, new in (("first", "second"), ("second", "third")):
            time.sleep(PAUSE)
            node.query(f"ALTER USER {USER} IDENTIFIED VIA {native(new)} OR {native(old)}")
            time.sleep(PAUSE)  # both will do; the secret's store is changed
            secret["password"] = new
            time.sleep(PAUSE)
            node.query(f"ALTER USER {USER} IDENTIFIED VIA {native(new)}")
            time.sleep(PAUSE)
    assert errors == []
    assert len(done) > 20
    ((count,),) = rotating.everywhere("SELECT COUNT(*) FROM galera_router.shop_tag")
    assert count == len(done)


def test_without_both_it_would_be_noticed(rotating: Shop) -> None:
    """So the test above can fail."""
    errors, done = list[Exception](), list[int]()
    with requests(errors, done):
        time.sleep(PAUSE)
        rotating.galera["db2"].query(f"ALTER USER {USER} IDENTIFIED VIA {native('second')}")
        time.sleep(PAUSE)
    assert any("1045" in str(error) for error in errors)
    assert not any("first" in str(error) for error in errors)
