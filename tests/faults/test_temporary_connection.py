"""``temporary_connection()`` is a cursor on the very connection, in the block that is open.

Only the backend's own question, for the server's version and modes, goes another way.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from django.db import connection, connections, transaction

from galera_router.exceptions import ReadOnlyNode
from galera_router.transactions.sessions import session_of
from tests.faults.known import both
from tests.faults.server import secondaries_held, tags
from tests.faults.support import EitherShop
from tests.integration.support import elsewhere
from tests.shop.models import Tag

INSERT = "INSERT INTO shop_tag (name) VALUES ('two')"
LOCK = "SELECT GET_LOCK('shop', 0)"


def ask(sql: str) -> Any:
    with connection.temporary_connection() as cursor:
        cursor.execute(sql)
        return cursor.fetchall() if cursor.description else None


def forget_server_data() -> None:
    """As in a new process, whose backend has not asked for version and modes."""
    for wrapper in connections.all():
        vars(wrapper).pop("mysql_server_data", None)


@both()
def test_it_is_in_the_block_that_moves_to_another_node(shop: EitherShop) -> None:
    shop.stock()
    shop.warm()
    with transaction.atomic():
        Tag.objects.create(name="one")
        ask(INSERT)
        shop.lose_primary()
        Tag.objects.create(name="three")
    assert tags(shop) == ["one", "three", "two"]


@both()
@pytest.mark.parametrize("wrote", [False, True])
def test_it_is_undone_with_the_block(shop: EitherShop, *, wrote: bool) -> None:
    shop.stock()
    shop.warm()
    with suppress(ZeroDivisionError), transaction.atomic():
        if wrote:
            Tag.objects.create(name="one")
        ask(INSERT)
        1 / 0  # noqa: B018
    assert tags(shop) == []


@both()
def test_it_sees_what_was_written_before(shop: EitherShop) -> None:
    shop.stock()
    shop.warm()
    with secondaries_held(shop):
        Tag.objects.create(name="x")
        assert ask("SELECT COUNT(*) FROM shop_tag") == ((1,),)


@both()
def test_a_lock_is_one_of_the_whole_cluster(shop: EitherShop) -> None:
    shop.stock()
    shop.warm()
    assert ask(LOCK) == ((1,),)
    assert elsewhere(lambda: ask(LOCK)) == ((0,),)


@both()
def test_the_first_use_in_a_process(shop: EitherShop) -> None:
    """The backend has asked nothing yet, and the connection is closed again."""
    shop.stock()

    def use() -> None:
        forget_server_data()
        ask(INSERT)
        assert connection.connection is None

    elsewhere(use)
    assert tags(shop) == ["two"]


@both(stock=False)
def test_the_alias_of_a_node(shop: EitherShop) -> None:
    """It only reads, whether the backend has asked before or not."""
    forget_server_data()
    with (
        pytest.raises(ReadOnlyNode),
        connections["default_db2"].temporary_connection() as cursor,
    ):
        cursor.execute(INSERT)


@both(stock=False)
def test_the_backends_own_question_moves_nothing(shop: EitherShop) -> None:
    """It is no statement of the block, which stays where it reads."""
    shop.stock()
    shop.warm()
    with transaction.atomic():
        assert Tag.objects.count() == 0
        forget_server_data()
        assert "version" in connection.mysql_server_data  # type: ignore[attr-defined]
        session = session_of("default")
        assert session is not None
        assert session.snapshot is not None
        assert session.transaction is not None
        assert len(session.transaction.journal) == 1
