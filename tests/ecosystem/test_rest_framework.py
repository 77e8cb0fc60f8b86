"""Django REST framework under ATOMIC_REQUESTS: what it answers itself is undone all the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connections
from django.test import Client, override_settings

from tests.integration.support import Shop
from tests.shop import views
from tests.shop.models import Author


@pytest.fixture
def atomic(shop: Shop) -> Iterator[Shop]:
    shop.configure(ATOMIC_REQUESTS=True)
    shop.stock()
    with override_settings(ROOT_URLCONF="tests.ecosystem.site"):
        yield shop
    views.meanwhile.clear()


def names(shop: Shop) -> list[Any]:
    return shop.everywhere("SELECT name FROM galera_router.shop_author ORDER BY name")


def test_a_viewset(atomic: Shop) -> None:
    client = Client()
    made = client.post("/api/authors/", {"name": "Bea"})
    assert made.status_code == 201
    url = f"/api/authors/{made.json()['id']}/"
    atomic.settle()
    assert client.get(url).json()["name"] == "Bea"
    changed = client.patch(url, {"name": "Cleo"}, content_type="application/json")
    assert changed.json()["name"] == "Cleo"
    atomic.settle()
    assert [author["name"] for author in client.get("/api/authors/").json()] == ["Ann", "Cleo"]
    assert client.post("/api/authors/", {"name": "Ann"}).status_code == 400, "it is unique"
    assert client.delete(url).status_code == 204
    assert names(atomic) == [("Ann",)]


def test_an_exception_in_a_transaction_that_has_only_read(atomic: Shop) -> None:
    with atomic.traffic() as sent:
        response = Client().get("/api/refusal/")
    assert response.status_code == 500
    assert response.json() == {"detail": "1 authors"}
    assert sent["db1"] == []
    assert not connections["default"].in_atomic_block
    assert Author.objects.count() == 1


@pytest.mark.parametrize("loss", [False, True])
def test_an_exception_in_a_transaction_that_has_written(atomic: Shop, loss: bool) -> None:
    for _ in range(2):
        response = Client().post("/api/refusal/")
        assert response.json() == {"detail": "2 authors"}
        assert names(atomic) == [("Ann",)]
        if loss:
            atomic.galera["db1"].kill_connections()
    assert Client().post("/api/authors/", {"name": "Bea"}).status_code == 201
    assert names(atomic) == [("Ann",), ("Bea",)]


@pytest.mark.parametrize("kind", ["application/json", "multipart/form-data"])
def test_a_request_is_run_again_with_its_body(atomic: Shop, kind: str) -> None:
    change = "UPDATE galera_router.shop_book SET stock = 5"
    views.meanwhile.append(lambda request: atomic.galera["db1"].query(change))
    words: dict[str, Any] = {} if kind.startswith("multi") else {"content_type": kind}
    response = Client().post("/api/sale/", {"count": 2}, **words)
    assert response.json() == {"stock": 3}
    assert atomic.everywhere("SELECT stock FROM galera_router.shop_book") == [(3,)]
