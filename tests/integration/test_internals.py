"""Every private thing of Django and mysqlclient that is relied on, tried on this Django."""

from __future__ import annotations

import contextlib
import gc
import os
import socket
import unittest
import weakref
from typing import Any
from unittest import mock

import MySQLdb
import pytest
from django.contrib.auth.models import User
from django.db import connection, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test import SimpleTestCase, TestCase

from galera_router.compat import internals
from galera_router.transactions.connection import Connection
from tests.integration.support import Shop, elsewhere
from tests.shop import views
from tests.shop.models import Author


def run(case: unittest.TestCase) -> unittest.TestResult:
    """``case`` as a runner runs it, its class's set-up included."""
    result = unittest.TestResult()
    unittest.TestSuite([case]).run(result)
    return result


def test_every_threads_wrappers_are_adopted(shop: Shop) -> None:
    def adopted() -> list[bool]:
        return ["galera_installed" in vars(connections[alias]) for alias in connections]

    assert elsewhere(adopted) == [True] * 4


def test_other_databases_are_left_alone(shop: Shop) -> None:
    copied = connection.copy()
    assert "galera_installed" not in vars(copied)
    copied.close()


def test_a_lazy_open_leaves_what_a_connect_leaves(shop: Shop) -> None:
    """The attributes that ``open_lazily`` sets are those that stock ``connect`` sets."""
    stock = connection.copy()
    stock.connect()
    connection.close()
    connection.ensure_connection()
    ours = vars(connections["default"])
    ignored = {
        "connection", "alias", "settings_dict", "close_at", "connect", "execute_wrappers",
        "temporary_connection", "queries_log", "isolation_level",
    }  # fmt: skip
    simple = (bool, int, float, str, list, type(None))
    for name, value in vars(stock).items():
        if name not in ignored and not name.startswith("_") and isinstance(value, simple):
            assert ours.get(name) == value, name
    assert isinstance(connections["default"].connection, Connection)
    stock.close()


def test_a_connection_that_the_server_has_closed_is_found_stale(shop: Shop) -> None:
    Author.objects.create(name="Ann")
    assert shop.session.primary is not None
    driver = shop.session.primary.connection
    poll = internals.poll_of(driver)
    assert not internals.is_stale(driver, poll)
    shop.galera["db1"].query(f"KILL {driver.thread_id()}")
    assert internals.is_stale(driver, poll)


def test_the_statement_sent_is_known(shop: Shop) -> None:
    """What travelled with it is no business of the application's."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT %s", ["it's"])
        assert cursor.cursor.cursor._executed == b"SELECT 'it\\'s'"


def test_a_testcases_block_is_recognised(shop: Shop) -> None:
    class Case(TestCase):
        databases = {"default"}  # noqa: RUF012

        def runTest(self) -> None:
            assert internals.in_testcase(connections["default"])
            assert internals.forbidden_to_test(connections["default_db2"])
            assert not internals.forbidden_to_test(connections["default"])

    result = run(Case())
    assert result.wasSuccessful(), result.errors + result.failures
    with transaction.atomic():
        assert not internals.in_testcase(connections["default"])
    assert not internals.forbidden_to_test(connections["default_db2"])


def test_a_replaced_ensure_connection_forbids_nothing(shop: Shop) -> None:
    """A test may have put a mock in its place, which has no name."""
    with mock.patch.object(BaseDatabaseWrapper, "ensure_connection"):
        assert not internals.forbidden_to_test(connections["default_db2"])


def test_a_simple_testcase_may_use_no_database(shop: Shop) -> None:
    class Case(SimpleTestCase):
        def runTest(self) -> None:
            Author.objects.count()

    result = run(Case())
    assert "are not allowed in SimpleTestCase" in (result.failures + result.errors)[0][1]


def test_non_atomic_views_are_recognised() -> None:
    assert internals.non_atomic_aliases(views.conflict_non_atomic) == {"default"}
    assert internals.non_atomic_aliases(views.conflict) == set()


def test_the_server_is_asked_once_per_process(shop: Shop) -> None:
    def ask() -> Any:
        return connection.mysql_server_data, connections["default_db3"].mysql_server_data  # type: ignore[attr-defined]

    ask()
    with shop.traffic() as sent:
        assert elsewhere(ask) == ask()
    assert not [s for log in sent.values() for s in log if "CONVERT_TZ" in s]


def test_the_question_to_the_server_does_not_promote(shop: Shop) -> None:
    with transaction.atomic():
        assert connection.features.has_zoneinfo_database in {True, False}
        assert User.objects.filter(username__regex="x").count() == 0
        assert not shop.session.transaction_begun


def test_an_inherited_connection_is_harmless_to_the_parent() -> None:
    ours, theirs = socket.socketpair()
    inherited = os.dup(ours.fileno())

    class Driver:
        def fileno(self) -> int:
            return inherited

    internals.point_elsewhere(Driver())
    os.write(inherited, b"COM_QUIT")
    ours.sendall(b"still here")
    assert theirs.recv(100) == b"still here"
    os.close(inherited)


@pytest.mark.parametrize("within", [True, False])
def test_cursors_are_freed_at_once_by_their_own_thread(shop: Shop, within: bool) -> None:
    gc.disable()
    try:
        with transaction.atomic() if within else contextlib.nullcontext():
            for sql in ("SELECT 1", "INSERT INTO shop_tag (name) VALUES ('x')", "SELECT 2"):
                with connection.cursor() as cursor:
                    cursor.execute(sql)
                    driver = weakref.ref(cursor.cursor.cursor)
                del cursor
                assert driver() is None, sql
    finally:
        gc.enable()


def test_the_driver_says_whether_packets_may_carry_several_statements(shop: Shop) -> None:
    from galera_router.connections.packet import several_statements

    node = shop.galera["db1"]
    login = {"host": node.host, "port": node.port, "user": "galera", "password": "galera"}
    for flag in (True, False):
        driver = MySQLdb.connect(**login, multi_statements=flag)
        assert several_statements(driver) is flag
        driver.close()
