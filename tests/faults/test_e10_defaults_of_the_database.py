"""Defaults of the database that are another value each time: a replay is never the same.

What the application was told is what must be in the row, as with a key that the server makes.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator

import pytest
from django.apps.registry import Apps
from django.db import connection, models, transaction
from django.db.models.functions import Now, Random

from tests.faults.known import both
from tests.faults.support import EitherShop

TABLE = "galera_router.faults_stamp"
CREATE = (
    f"CREATE TABLE {TABLE} (id BIGINT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(100) NOT NULL,"
    " at DATETIME(6) NOT NULL DEFAULT NOW(6), chance DOUBLE NOT NULL DEFAULT RAND(),"
    " uuid CHAR(36) NOT NULL DEFAULT UUID())"
)


class Stamp(models.Model):
    """When it was made, says the server."""

    name = models.CharField(max_length=100)
    at = models.DateTimeField(db_default=Now())
    chance = models.FloatField(db_default=Random())

    objects: models.Manager[Stamp] = models.Manager()

    class Meta:
        apps = Apps()  # no other test is to know of it
        app_label = "shop"
        db_table = "faults_stamp"
        managed = False

    def __str__(self) -> str:
        return self.name


@pytest.fixture
def stamps(shop: EitherShop) -> Iterator[EitherShop]:
    node = shop.galera["db1"]
    node.query(f"DROP TABLE IF EXISTS {TABLE}")
    node.query(CREATE)
    shop.settle()
    yield shop
    node.query(f"DROP TABLE IF EXISTS {TABLE}")
    shop.settle()


def _lose(shop: EitherShop) -> None:
    if not shop.is_stock:
        shop.writing.kill_connections()


def _told(returning: str) -> object:
    with connection.cursor() as cursor:
        cursor.execute(f"INSERT INTO faults_stamp (name) VALUES ('a') RETURNING {returning}")
        ((value,),) = cursor.fetchall()
    return value


@both()
def test_a_field_of_the_model(stamps: EitherShop) -> None:
    with transaction.atomic():
        told = Stamp.objects.create(name="a")
        _lose(stamps)
        Stamp.objects.filter(pk=told.pk).update(name="b")
    assert isinstance(told.at, datetime.datetime)
    found = Stamp.objects.get()
    assert (found.name, found.at, found.chance) == ("b", told.at, told.chance)


@both()
def test_several_rows(stamps: EitherShop) -> None:
    with transaction.atomic():
        told = Stamp.objects.bulk_create([Stamp(name="a"), Stamp(name="b")])
        _lose(stamps)
        Stamp.objects.update(name="c")
    found = list(Stamp.objects.order_by("pk").values_list("pk", "at", "chance"))
    assert found == [(stamp.pk, stamp.at, stamp.chance) for stamp in told]


@both()
@pytest.mark.parametrize("returning", ["at", "chance", "uuid"])
def test_returning(stamps: EitherShop, returning: str) -> None:
    with transaction.atomic():
        told = _told(returning)
        _lose(stamps)
        Stamp.objects.update(name="b")
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT name, {returning} FROM faults_stamp")
        assert cursor.fetchall() == (("b", told),)


@both()
def test_by_the_statement_itself(stamps: EitherShop) -> None:
    """It is no default, but the same to whoever replays it."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO faults_stamp (name, uuid) VALUES ('a', UUID()) RETURNING uuid"
            )
            told = cursor.fetchall()
        _lose(stamps)
        Stamp.objects.update(name="b")
    with connection.cursor() as cursor:
        cursor.execute("SELECT uuid FROM faults_stamp")
        assert cursor.fetchall() == told
