"""What Django brings along and keeps in the database: sessions, the cache, the admin."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.core.cache import caches
from django.core.management import call_command
from django.db import connections, transaction
from django.test import Client, override_settings

from tests.integration.support import Shop, elsewhere
from tests.shop.models import Author

TABLE = "cached"
DATABASE_CACHE = {
    "default": {
        "BACKEND": "django.core.cache.backends.db.DatabaseCache",
        "LOCATION": TABLE,
        "OPTIONS": {"MAX_ENTRIES": 20},
    }
}


@pytest.fixture(params=[True, False], ids=["atomic", "autocommit"])
def atomic(shop: Shop, request: pytest.FixtureRequest) -> Shop:
    shop.configure(ATOMIC_REQUESTS=request.param)
    return shop


@pytest.fixture
def cached(shop: Shop) -> Iterator[Shop]:
    with override_settings(CACHES=DATABASE_CACHE):
        call_command("createcachetable", verbosity=0)
        call_command("createcachetable", verbosity=0)
        shop.settle()
        yield shop
        connections.close_all()
        shop.galera.heal()
        shop.galera["db1"].query(f"DROP TABLE galera_router.{TABLE}")


@pytest.mark.parametrize("engine", ["db", "cached_db"])
def test_sessions_in_the_database(atomic: Shop, engine: str) -> None:
    User.objects.create_superuser("ann", password="secret")
    client = Client()
    name = f"django.contrib.sessions.backends.{engine}"
    with override_settings(SESSION_ENGINE=name, ROOT_URLCONF="tests.ecosystem.site"):
        assert client.post("/sign-in/", {"name": "ann"}).content == b"welcome"
        for visits in (1, 2, 3):
            assert client.get("/visit/").json() == {"visits": visits}
            atomic.galera["db1"].kill_connections()
        with atomic.traffic() as sent:
            assert client.get("/who/").content == b"ann"
        assert sent["db1"] == [], "who only looks needs no primary"
    assert Session.objects.get().get_decoded()["visits"] == 3


def read(key: str) -> Any:
    """From the cache, in another thread."""
    return elsewhere(lambda: caches["default"].get(key))


def test_the_cache_in_the_database(cached: Shop) -> None:
    cache = caches["default"]
    assert cache.get("a") is None
    cache.set("a", 1)
    assert cache.get("a") == 1
    assert not cache.add("a", 2)
    assert cache.add("b", 2)
    assert cache.incr("a") == 2
    cached.settle()
    assert read("a") == 2
    assert cache.get_many(["a", "b", "c"]) == {"a": 2, "b": 2}
    assert cache.touch("a", 60)
    assert cache.delete("b")
    assert "b" not in cache
    cache.set("c", 1, timeout=-1)
    assert cache.get("c") is None
    cache.set_many({f"n{number}": number for number in range(30)})
    ((count,),) = cached.everywhere(f"SELECT COUNT(*) FROM galera_router.{TABLE}")
    assert 0 < count <= 21, "it is culled"
    cache.clear()
    assert cached.everywhere(f"SELECT COUNT(*) FROM galera_router.{TABLE}") == [(0,)]


def test_the_cache_reads_on_a_secondary(cached: Shop) -> None:
    caches["default"].set("a", 1)
    cached.settle()
    cached.forget()
    with cached.traffic() as sent:
        assert caches["default"].get("a") == 1
        with transaction.atomic():
            assert caches["default"].get("a") == 1
    assert sent["db1"] == []


@pytest.mark.parametrize("lose", ["kill_connections", "kill"])
def test_the_cache_in_a_transaction_that_moves(cached: Shop, lose: str) -> None:
    with transaction.atomic():
        assert caches["default"].get("a") is None
        caches["default"].set("a", 1)
        Author.objects.create(name="Ann")
        getattr(cached.galera["db1"], lose)()
        assert caches["default"].get("a") == 1
        caches["default"].set("b", 2)
    assert caches["default"].get_many(["a", "b"]) == {"a": 1, "b": 2}
    assert Author.objects.count() == 1


def test_the_admin_from_the_log_in_to_the_history(atomic: Shop) -> None:
    User.objects.create_superuser("root", password="secret")
    client = Client()
    form: Callable[[str, dict[str, Any]], Any] = client.post
    log_in = form("/admin/login/?next=/admin/", {"username": "root", "password": "secret"})
    assert log_in.status_code == 302
    assert b"Site administration" in client.get("/admin/").content
    assert form("/admin/shop/author/add/", {"name": "Ann"}).status_code == 302
    atomic.galera["db1"].kill_connections()
    author = Author.objects.get()
    place = f"/admin/shop/author/{author.pk}"
    assert form(f"{place}/change/", {"name": "Bea"}).status_code == 302
    assert b"Bea" in client.get("/admin/shop/author/?q=").content
    history = client.get(f"{place}/history/").content
    assert b"Added" in history
    assert b"Changed Name" in history
    assert b"Are you sure" in client.get(f"{place}/delete/").content
    assert form(f"{place}/delete/", {"post": "yes"}).status_code == 302
    assert atomic.everywhere("SELECT * FROM galera_router.shop_author") == []
    logged = atomic.everywhere("SELECT action_flag FROM galera_router.django_admin_log ORDER BY id")
    assert logged == [(1,), (2,), (3,)]


def test_an_action_on_several_objects_of_the_admin(atomic: Shop) -> None:
    User.objects.create_superuser("root", password="secret")
    keys = [Author.objects.create(name=name).pk for name in ("Ann", "Bea")]
    client = Client()
    assert client.login(username="root", password="secret")
    words = {"action": "delete_selected", "_selected_action": keys, "post": "yes"}
    assert client.post("/admin/shop/author/", words).status_code == 302
    assert atomic.everywhere("SELECT * FROM galera_router.shop_author") == []
