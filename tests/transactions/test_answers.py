"""LAST_INSERT_ID() and ROW_COUNT() where a connection is lost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import pytest
from django.db import connection, transaction

from galera_router.exceptions import FailoverImpossible
from galera_router.transactions.answers import INSERTS, LONG
from tests.integration.support import Shop
from tests.shop.models import Author, Book, Tag

INSERT = "INSERT INTO shop_tag (name) VALUES ('raw')"


def execute(sql: str) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone() if cursor.description is not None else cursor.lastrowid


def test_the_key_is_asked_for_again(shop: Shop) -> None:
    """The new connection, which knows nothing of it, is told."""
    with shop.proxied() as proxies:
        key = execute(INSERT)
        rule = proxies[shop.writing.name].drop("SELECT LAST_INSERT_ID", cut=True)
        assert execute("SELECT LAST_INSERT_ID()") == (key,)
        assert rule.fired
        assert execute("SELECT LAST_INSERT_ID()") == (key,)


def test_the_rows_are_those_of_the_question_that_was_repeated(shop: Shop) -> None:
    """Of a statement that gives rows there are -1."""
    with shop.proxied() as proxies:
        execute(INSERT)
        rule = proxies[shop.writing.name].drop("SELECT LAST_INSERT_ID", cut=True)
        execute("SELECT LAST_INSERT_ID()")
        assert rule.fired
        assert execute("SELECT ROW_COUNT()") == (-1,)


def test_a_write_that_uses_the_key(shop: Shop) -> None:
    """On another connection than that which has drawn it."""
    shop.stock()
    key = execute(INSERT)
    shop.writing.kill_connections()
    execute("UPDATE shop_book SET stock = LAST_INSERT_ID()")
    assert Book.objects.get().stock == key


def test_an_insert_that_uses_the_key(shop: Shop) -> None:
    """It is not sent with what hides the key from it."""
    key = execute(INSERT)
    execute("INSERT INTO shop_tag (name) VALUES (LAST_INSERT_ID()) RETURNING id")
    assert Tag.objects.filter(name=str(key)).count() == 1


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO shop_tag (id, name) VALUES (50000, 'given')",
        "INSERT INTO shop_tag SET id = 50000, name = 'given'",
        "INSERT INTO shop_tag (id, name) VALUES (NULL, 'drawn'), (DEFAULT, 'drawn')",
        "INSERT INTO shop_tag (name) VALUES ('it''s \\'drawn')",
        "INSERT INTO shop_tag (name) SELECT name FROM shop_author",
        "INSERT INTO shop_tag (id, name) VALUES (50000, 'given') RETURNING id",
        "INSERT INTO shop_tag (name) VALUES ('drawn') RETURNING name, id",
        "INSERT INTO shop_tag (name) VALUES ('drawn') RETURNING *",
        "INSERT INTO shop_shelf (code, room) VALUES ('a', 77) RETURNING room",
        "INSERT INTO shop_shelf (code, room) VALUES ('a', 77)",
        "INSERT IGNORE INTO shop_author (name) VALUES ('Ann')",
        "INSERT IGNORE INTO shop_author (name) VALUES ('Ann') RETURNING id",
        "INSERT INTO shop_author (name) VALUES ('Ann') ON DUPLICATE KEY UPDATE name = 'Bea'",
        "REPLACE INTO shop_author (name) VALUES ('Ann')",
        "REPLACE INTO shop_author (name) VALUES ('Bea')",
        "REPLACE INTO shop_author (id, name) VALUES (50000, 'Bea')",
    ],
)
@pytest.mark.parametrize("atomic", [True, False])
def test_the_key_is_the_servers(shop: Shop, sql: str, atomic: bool) -> None:
    """Not one that was given, or that of a row that was only updated."""
    Author.objects.create(name="Ann")
    with transaction.atomic() if atomic else nullcontext():
        execute(INSERT)
        execute(sql)
        link = shop.session.primary
        assert link is not None
        link.query(b"SELECT LAST_INSERT_ID()")
        rows = link.rows()
        shop.writing.kill_connections()
        assert execute("SELECT LAST_INSERT_ID()") == rows[0]


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO shop_tag (id, name) VALUES (50000 + 1, 'given')",
        "INSERT INTO shop_tag VALUES (50000, 'given')",
        "INSERT INTO shop_tag (id, name) SELECT 50000, 'given'",
    ],
)
def test_a_key_that_cannot_be_told_is_none(shop: Shop, sql: str) -> None:
    """Given or drawn: the text leaves it open."""
    with transaction.atomic():
        execute(INSERT)
        execute(sql)
        shop.writing.kill_connections()
        assert execute("SELECT LAST_INSERT_ID()") == (0,)


@pytest.mark.parametrize("more", [0, 3, INSERTS + 1])
@pytest.mark.parametrize("lose", [True, False])
def test_the_key_is_that_of_the_last_insert_that_drew_one(
    shop: Shop, more: int, lose: bool
) -> None:
    key = execute(INSERT)
    for number in range(more):
        execute(f"INSERT INTO shop_tag (id, name) VALUES ({50000 + number}, 'given')")
    if lose:
        shop.writing.kill_connections()
    assert execute("SELECT LAST_INSERT_ID()") == (0 if lose and more > INSERTS else key,)


def test_a_long_insert_is_not_kept(shop: Shop) -> None:
    """A thread would hold its bytes for as long as it inserts nothing else."""
    key = execute(f"{INSERT} /* {'x' * LONG} */")
    assert max(len(sql) for sql, *_ in shop.session.answers._inserts) < LONG
    assert execute("SELECT LAST_INSERT_ID()") == (key,), "the server knows it"
    shop.writing.kill_connections()
    assert execute("SELECT LAST_INSERT_ID()") == (0,), "nobody knows it any more"


def test_of_a_write_whose_answer_was_lost(shop: Shop) -> None:
    """The marker has kept it."""
    shop.stock(3)
    with shop.proxied() as proxies:
        shop.warm()
        rule = proxies[shop.writing.name].swallow("UPDATE `shop_book`", cut=True)
        assert Book.objects.update(stock=7) == 3
        assert rule.fired
        assert execute("SELECT ROW_COUNT()") == (3,)
        rule = proxies[shop.writing.name].swallow("INSERT INTO `shop_tag`", cut=True)
        key = Tag.objects.create(name="one").pk
        assert rule.fired
        assert execute("SELECT LAST_INSERT_ID()") == (key,)


# --- used in a transaction, but drawn before it


def names(shop: Shop) -> list[Any]:
    rows = shop.everywhere("SELECT name FROM galera_router.shop_room ORDER BY id")
    return [name for (name,) in rows]


def use_key() -> None:
    execute("INSERT INTO shop_room (name) SELECT LAST_INSERT_ID()")


@pytest.mark.parametrize("between", [0, INSERTS + 1])
def test_a_replay_uses_the_key_from_before_it(shop: Shop, between: int) -> None:
    """On a connection that has not drawn it; after many inserts the server is asked for it."""
    key = execute(INSERT)
    for number in range(between):
        execute(f"INSERT INTO shop_tag (id, name) VALUES ({50000 + number}, 'given')")
    with transaction.atomic():
        execute("INSERT INTO shop_tag (id, name) VALUES (60000, 'given')")
        use_key()
        shop.writing.kill_connections()
        Author.objects.create(name="Ann")
    assert names(shop) == [str(key)]


def test_a_replay_gives_the_key_from_before_it(shop: Shop) -> None:
    key = execute(INSERT)
    with transaction.atomic():
        assert execute("SELECT LAST_INSERT_ID()") == (key,)
        shop.writing.kill_connections()
        Author.objects.create(name="Ann")
        assert execute("SELECT LAST_INSERT_ID()") != (key,), "another one was drawn"


def test_a_replay_uses_the_key_that_it_draws(shop: Shop) -> None:
    execute(INSERT)
    with transaction.atomic():
        key = execute(INSERT)
        use_key()
        shop.writing.kill_connections()
        Author.objects.create(name="Ann")
    assert names(shop) == [str(key)]


@pytest.mark.parametrize(
    ("sql", "drawn"),
    [
        ("INSERT INTO shop_tag (id, name) VALUES (50000 + 1, 'given')", False),
        ("INSERT INTO shop_tag (id, name) SELECT 50000, 'given'", False),
        ("INSERT INTO shop_tag (id, name) SELECT NULL, 'drawn'", True),
    ],
)
def test_a_replay_uses_a_key_that_was_drawn_or_given(shop: Shop, sql: str, drawn: bool) -> None:
    """The server is asked which."""
    before = execute(INSERT)
    with transaction.atomic():
        key = execute(sql)
        use_key()
        shop.writing.kill_connections()
        Author.objects.create(name="Ann")
    assert names(shop) == [str(key if drawn else before)]


def test_no_replay_where_it_is_not_known_who_has_drawn_it(shop: Shop) -> None:
    execute(INSERT)
    with pytest.raises(FailoverImpossible, match="whose key is not known"), transaction.atomic():
        execute("INSERT INTO shop_tag (id, name) VALUES (NULL, 'a'), (50001, 'b') RETURNING name")
        use_key()
        shop.writing.kill_connections()
        Author.objects.create(name="Ann")
    assert names(shop) == []


@pytest.mark.parametrize("atomic", [True, False])
def test_no_write_uses_a_key_that_nobody_knows(shop: Shop, atomic: bool) -> None:
    """0 in its place would be told as success."""
    execute("INSERT INTO shop_tag (id, name) VALUES (50000 + 1, 'given')")
    shop.writing.kill_connections()
    block = transaction.atomic() if atomic else nullcontext()
    with pytest.raises(FailoverImpossible, match="not known any more"), block:
        use_key()
    assert names(shop) == []
    execute("INSERT INTO shop_room (name) SELECT ROW_COUNT() + 40")
    execute(INSERT)
    use_key()
    assert len(names(shop)) == 2


@pytest.mark.parametrize("atomic", [True, False])
def test_a_commit_that_is_lost(shop: Shop, atomic: bool) -> None:
    with shop.proxied() as proxies:
        shop.warm()
        key = execute(INSERT)
        rule = proxies[shop.writing.name].drop("^COMMIT", cut=True)
        with transaction.atomic() if atomic else nullcontext():
            use_key()
        assert rule.fired
        assert names(shop) == [str(key)]


# --- set in another way


@pytest.fixture
def procedure(shop: Shop) -> Iterator[None]:
    node = shop.galera.nodes[0]
    node.query(
        "CREATE PROCEDURE galera_router.open_room()"
        " INSERT INTO shop_room (name) VALUES (LAST_INSERT_ID())"
    )
    shop.settle()
    yield
    node.query("DROP PROCEDURE galera_router.open_room")


OTHER_WAYS = [
    "UPDATE shop_book SET stock = LAST_INSERT_ID(stock + 70000)",
    "INSERT INTO shop_author (name) VALUES ('Ann')"
    " ON DUPLICATE KEY UPDATE name = CONCAT('Ann ', LAST_INSERT_ID(70010))",
    "SELECT LAST_INSERT_ID(stock + 70000) FROM shop_book",
    "SET LAST_INSERT_ID = 70010",
    "SET @@session.identity = 70010",
    "DO 1; UPDATE shop_book SET stock = LAST_INSERT_ID(stock + 70000)",
]


@pytest.mark.parametrize("statement", OTHER_WAYS)
@pytest.mark.parametrize("atomic", [True, False])
def test_the_key_that_was_set_last(shop: Shop, statement: str, atomic: bool) -> None:
    """Not the one that was drawn before, on a connection that is lost."""
    shop.stock()
    execute(INSERT)
    shop.writing.kill_connections()
    with transaction.atomic() if atomic else nullcontext():
        execute(statement)
        assert execute("SELECT LAST_INSERT_ID()") == (70010,)
        assert execute("SELECT @@identity") == (70010,)


@pytest.mark.parametrize(
    "call",
    [
        "CALL open_room()",
        "EXECUTE IMMEDIATE 'CALL open_room()'",
        "BEGIN NOT ATOMIC CALL open_room(); END",
        "SET STATEMENT max_statement_time = 5 FOR"
        " INSERT INTO shop_room (name) SELECT LAST_INSERT_ID()",
    ],
)
@pytest.mark.usefixtures("procedure")
def test_a_procedure_knows_the_key_and_draws_one(shop: Shop, call: str) -> None:
    key = execute(INSERT)
    shop.writing.kill_connections()
    execute(call)
    assert names(shop) == [str(key)]
    ((room,),) = shop.everywhere("SELECT id FROM galera_router.shop_room")
    assert execute("SELECT LAST_INSERT_ID()") == (room,)


@pytest.mark.parametrize("name", ["@@identity", "@@last_insert_id", "@@session.last_insert_id"])
def test_the_key_by_its_other_names(shop: Shop, name: str) -> None:
    key = execute(INSERT)
    shop.writing.kill_connections()
    assert execute(f"SELECT {name}") == (key,)
