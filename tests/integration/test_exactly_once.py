"""Answers are lost, packets are cut: what was told is there once, on every node."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models import F, Func, IntegerField, Value
from MySQLdb.cursors import BaseCursor

from galera_router.exceptions import CommitOutcomeUnknown
from galera_router.testing import Proxy, Rule
from tests.integration.support import Shop, crowd
from tests.shop.models import Author, Book, Tag

TIMES = 20
#: The packets that end in a COMMIT of the application's: alone, or behind its statement.
COMMIT = r"(?s)\ACOMMIT(; END)?\Z|\bshop_\w+\b.*COMMIT(; END)?\Z"
STATEMENT = r"\bshop_\w+\b"

Fault = Callable[[Proxy], Rule]


@pytest.fixture
def proxies(shop: Shop) -> Iterator[dict[str, Proxy]]:
    with shop.proxied() as proxies:
        yield proxies


def the_stock(shop: Shop, where: str = "1=1") -> int:
    """What the node has that the application has just written to."""
    sql = f"SELECT SUM(stock) FROM galera_router.shop_book WHERE {where}"
    return int(shop.writing.query(sql)[0][0])


# --- ways to add 1 ------------------------------------------------------------------------


def plain(pk: int) -> int:
    return Book.objects.filter(pk=pk).update(stock=F("stock") + 1)


def atomic(pk: int) -> int:
    with transaction.atomic():
        return plain(pk)


def nested(pk: int) -> int:
    with transaction.atomic(), transaction.atomic():
        return plain(pk)


def raw(pk: int) -> int:
    with connection.cursor() as cursor:
        told = cursor.execute("UPDATE shop_book SET stock = stock + 1 WHERE id = %s", [pk])
        assert cursor.rowcount == told
        return int(told)


ways = pytest.mark.parametrize("add", [atomic, nested, plain, raw])


# --- ways to lose an answer ---------------------------------------------------------------


def commit_swallowed(proxy: Proxy) -> Rule:
    return proxy.swallow(COMMIT, cut=True)


def commit_dropped(proxy: Proxy) -> Rule:
    return proxy.drop(COMMIT, cut=True)


def statement_swallowed(proxy: Proxy) -> Rule:
    return proxy.swallow(STATEMENT, cut=True)


def statement_dropped(proxy: Proxy) -> Rule:
    return proxy.drop(STATEMENT, cut=True)


FAULTS = [commit_swallowed, commit_dropped, statement_swallowed, statement_dropped]
faults = pytest.mark.parametrize("fault", FAULTS)


# --- cut connections ----------------------------------------------------------------------


@faults
@ways
def test_one_is_added_once(
    shop: Shop, proxies: dict[str, Proxy], add: Callable[[int], int], fault: Fault
) -> None:
    pk = shop.stock().pk
    assert add(pk) == 1
    for n in range(TIMES):
        rule = fault(proxies[shop.writing.name])
        assert add(pk) == 1
        assert rule.fired == 1
        assert the_stock(shop) == 12 + n
    assert shop.everywhere("SELECT stock FROM galera_router.shop_book") == [(11 + TIMES,)]


@ways
def test_the_connection_is_cut_at_any_packet(
    shop: Shop, proxies: dict[str, Proxy], add: Callable[[int], int]
) -> None:
    """Those of the connection's beginning included: each time a worker has just started."""
    pk = shop.stock().pk
    fired = 0
    for n in range(TIMES):
        shop.configure(proxies=proxies)
        rule = proxies["db1"].cut_at(n % 10 + 1)
        assert add(pk) == 1
        rule.cancel()
        fired += rule.fired
        assert the_stock(shop) == 11 + n
    assert fired >= TIMES // 2
    assert shop.everywhere("SELECT stock FROM galera_router.shop_book") == [(10 + TIMES,)]


@ways
def test_connection_after_connection_is_cut(
    shop: Shop, proxies: dict[str, Proxy], add: Callable[[int], int]
) -> None:
    """The replays, and the questions what has become of a COMMIT, are cut as well."""
    pk = shop.stock().pk
    rng = random.Random(7)
    fired = 0
    for n in range(TIMES):
        shop.configure(proxies=proxies)
        assert add(pk) == 1
        rules = [commit_swallowed(proxies["db1"])]
        rules += [p.cut_at(rng.randint(2, 9)) for p in proxies.values() for _ in range(2)]
        assert add(pk) == 1
        for rule in rules:
            rule.cancel()
            fired += rule.fired
        assert the_stock(shop) == 12 + 2 * n
    assert fired >= 2 * TIMES
    assert shop.everywhere("SELECT stock FROM galera_router.shop_book") == [(10 + 2 * TIMES,)]


@pytest.mark.parametrize("within", [True, False])
@pytest.mark.parametrize("lost", [True, False])
def test_rows_that_are_found_are_counted_whether_or_not_they_change(
    shop: Shop, proxies: dict[str, Proxy], lost: bool, within: bool
) -> None:
    keys = shop.shelf(5)
    assert plain(keys[0]) == 1
    cases: list[tuple[Any, dict[str, Any], int]] = [
        (Book.objects.all(), {"stock": F("stock")}, 5),
        (Book.objects.filter(pk=keys[1]), {"title": "t1"}, 1),
        (Book.objects.filter(pk__in=keys[:2]), {"stock": 11}, 2),
        (Book.objects.filter(title="none such"), {"stock": 0}, 0),
    ]
    for books, values, count in cases:
        rule = commit_swallowed(proxies["db1"]) if lost else None
        with transaction.atomic() if within else nullcontext():
            assert books.update(**values) == count
        assert rule is None or rule.fired == 1
    assert shop.everywhere("SELECT SUM(stock) FROM galera_router.shop_book") == [(52,)]


# --- other writes -------------------------------------------------------------------------

Told = list[tuple[int | None, str]]


def save(n: int) -> Told:
    tag = Tag.objects.create(name=f"t{n}")
    return [(tag.pk, tag.name)]


def save_twice(n: int) -> Told:
    """An own key: Django tries an UPDATE, then an INSERT."""
    tag = Tag(pk=1_000_000 + n, name=f"t{n}")
    tag.save()
    return [(tag.pk, tag.name)]


def bulk(n: int) -> Told:
    tags = Tag.objects.bulk_create([Tag(name=f"t{n}"), Tag(name=f"u{n}"), Tag(name=f"v{n}")])
    return [(tag.pk, tag.name) for tag in tags]


def raw_insert(n: int) -> Told:
    with connection.cursor() as cursor:
        assert cursor.execute("INSERT INTO shop_tag (name) VALUES (%s)", [f"t{n}"]) == 1
        return [(cursor.lastrowid, f"t{n}")]


def raw_rows(n: int) -> Told:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO shop_tag (name) VALUES (%s), (%s)", [f"t{n}", f"u{n}"])
        assert cursor.rowcount == 2
        return [(cursor.lastrowid, f"t{n}"), (None, f"u{n}")]


def returning(n: int) -> Told:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO shop_tag (name) VALUES (%s) RETURNING id, name", [f"t{n}"])
        return list(cursor.fetchall())


def from_select(n: int) -> Told:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO shop_tag (name) SELECT %s FROM shop_author", [f"t{n}"])
        assert cursor.rowcount == 1
    return [(None, f"t{n}")]


def many(n: int) -> Told:
    names = [f"t{n}", f"u{n}", f"v{n}"]
    with connection.cursor() as cursor:
        cursor.executemany("INSERT INTO shop_tag (name) VALUES (%s)", [[name] for name in names])
        assert cursor.rowcount == 3
    return [(None, name) for name in names]


def hidden(n: int) -> Told:
    """It looks like a read, and goes to a secondary first, which refuses it."""
    call = Func(Value(f"t{n}"), function="shop_tagged", output_field=IntegerField())
    (key,) = Author.objects.values_list(call, flat=True)
    return [(key, f"t{n}")]


@faults
@pytest.mark.parametrize(
    "insert",
    [save, save_twice, bulk, raw_insert, raw_rows, returning, from_select, many, hidden],
)
def test_a_row_is_there_once_and_has_the_key_that_was_told(
    shop: Shop, proxies: dict[str, Proxy], insert: Callable[[int], Told], fault: Fault
) -> None:
    shop.galera["db1"].query(
        "CREATE OR REPLACE FUNCTION galera_router.shop_tagged(v TEXT) RETURNS INT BEGIN"
        " INSERT INTO galera_router.shop_tag (name) VALUES (v); RETURN LAST_INSERT_ID(); END"
    )
    shop.stock()
    told = insert(999)
    for n in range(TIMES):
        shop.forget()
        rule = fault(proxies["db1"])
        told += insert(n)
        assert rule.fired == 1
    rows = shop.everywhere("SELECT id, name FROM galera_router.shop_tag ORDER BY name")
    assert [name for _, name in rows] == sorted(name for _, name in told)
    assert {key for key, _ in told if key is not None} <= {key for key, _ in rows}
    there = {name: key for key, name in rows}
    assert all(key is None or there[name] == key for key, name in told)


@pytest.mark.parametrize("within", [True, False])
@faults
def test_a_column_that_the_server_computes_is_told_as_it_is(
    shop: Shop, proxies: dict[str, Proxy], fault: Fault, within: bool
) -> None:
    """Django 6 asks for it in this form, whether or not the table has an automatic key."""
    shop.galera["db1"].query(
        "CREATE OR REPLACE TABLE galera_router.shop_sized"
        " (code VARCHAR(10) PRIMARY KEY, size INT AS (CHAR_LENGTH(code)) STORED)"
    )
    Tag.objects.create(name="x")
    sql = "INSERT INTO `shop_sized` (`code`) VALUES (%s) RETURNING `shop_sized`.`size`"
    for n in range(TIMES):
        rule = fault(proxies["db1"])
        with transaction.atomic() if within else nullcontext(), connection.cursor() as cursor:
            cursor.execute(sql, ["x" * (n % 9) + chr(65 + n)])
            assert cursor.fetchall() == ((n % 9 + 1,),)
        assert rule.fired == 1
    assert shop.everywhere("SELECT COUNT(*) FROM galera_router.shop_sized") == [(TIMES,)]
    shop.galera["db1"].query("DROP TABLE galera_router.shop_sized")


@faults
def test_deletes_and_upserts_tell_how_many(
    shop: Shop, proxies: dict[str, Proxy], fault: Fault
) -> None:
    author = Author.objects.create(name="Ann")
    Book.objects.bulk_create([Book(author=author, title=f"t{n}") for n in range(TIMES)])
    upsert = "INSERT INTO shop_shelf (code, room) VALUES ('a', 1) ON DUPLICATE KEY UPDATE room ="
    with connection.cursor() as cursor:
        cursor.execute(f"{upsert} room + 1")
        for n in range(TIMES):
            rule = fault(proxies["db1"])
            if n % 2:
                assert cursor.execute("DELETE FROM shop_book WHERE title = %s", [f"t{n}"]) == 1
            else:
                assert cursor.execute(f"{upsert} room + 1") == 2
            assert rule.fired == 1
    assert shop.everywhere("SELECT room FROM galera_router.shop_shelf") == [(1 + TIMES // 2,)]
    left = shop.everywhere("SELECT COUNT(*) FROM galera_router.shop_book")
    assert left == [(TIMES - TIMES // 2,)]


@faults
def test_a_refused_insert_is_refused_and_leaves_nothing(
    shop: Shop, proxies: dict[str, Proxy], fault: Fault
) -> None:
    shop.stock()
    Author.objects.create(name="Bea")
    for _ in range(TIMES):
        rule = fault(proxies["db1"])
        with pytest.raises(IntegrityError, match="Duplicate entry"):
            Author.objects.create(name="Ann")
        rule.cancel()
    assert shop.everywhere("SELECT COUNT(*) FROM galera_router.shop_author") == [(2,)]


# --- without the marker -------------------------------------------------------------------


@pytest.fixture(params=["no table", "turned off"])
def unmarked(
    request: pytest.FixtureRequest, shop: Shop, proxies: dict[str, Proxy]
) -> Iterator[dict[str, Proxy]]:
    """Proxies to a cluster without markers."""
    if request.param == "turned off":
        shop.configure(proxies=proxies, OPTIONS={"commit_marker": False})
        yield proxies
        return
    with shop.without_marker_table():
        shop.configure(proxies=proxies)
        yield proxies


@pytest.mark.parametrize(
    ("add", "fault", "known"),
    [(add, fault, fault in FAULTS[2:]) for add in (atomic, nested) for fault in FAULTS]
    + [(add, fault, False) for add in (plain, raw) for fault in FAULTS[2:]],
)
def test_without_a_marker_it_is_a_success_or_said_to_be_unknown(
    shop: Shop, unmarked: dict[str, Proxy], add: Callable[[int], int], fault: Fault, known: bool
) -> None:
    pk = shop.stock().pk
    unknown: list[CommitOutcomeUnknown] = []
    lost: list[int] = []
    stock = 10
    for _ in range(TIMES):
        with connection.cursor() as cursor:
            cursor.execute("DO 0")
        link = shop.session.primary
        assert link is not None
        rule = fault(unmarked["db1"])
        try:
            assert add(pk) == 1
        except CommitOutcomeUnknown as error:
            unknown.append(error)
            lost.append(link.thread_id)
            added = fault in (commit_swallowed, statement_swallowed)
        else:
            added = True
        assert rule.fired == 1
        stock += added
        assert shop.galera["db1"].query("SELECT stock FROM galera_router.shop_book") == [(stock,)]
    assert len(unknown) == (0 if known else TIMES)
    told = "UPDATE shop_book" if add in (atomic, nested) else "UPDATE"
    for one, number in zip(unknown, lost, strict=True):
        assert (one.node, one.connection_id, one.writes) == ("db1", number, (told,))
        assert str(number) in str(one)


def test_what_is_unknown_is_named_without_its_values(
    shop: Shop, unmarked: dict[str, Proxy]
) -> None:
    author = shop.stock().author
    for n in range(3):
        commit_swallowed(unmarked["db1"])
        with pytest.raises(CommitOutcomeUnknown) as caught, transaction.atomic():
            book = Book.objects.create(author=author, title=f"secret {n}", blurb="4711")
            Author.objects.filter(name="Ann").update(name=F("name"))
            book.delete()
        assert caught.value.writes == (
            "INSERT shop_book", "UPDATE shop_author", "DELETE shop_book_tags", "DELETE shop_book",
        )  # fmt: skip
        for value in ("secret", "4711", "Ann"):
            assert value not in str(caught.value)
            assert value not in str(caught.value.__cause__)
        Tag.objects.create(name="all is well afterwards")


# --- connections that fall silent ---------------------------------------------------------


def silent_commit_swallowed(proxy: Proxy, times: int) -> Rule:
    return proxy.swallow(COMMIT, times)


def silent_commit_dropped(proxy: Proxy, times: int) -> Rule:
    return proxy.drop(COMMIT, times)


def silent_statement_dropped(proxy: Proxy, times: int) -> Rule:
    return proxy.drop(STATEMENT, times)


@pytest.mark.parametrize(
    "fault", [silent_commit_swallowed, silent_commit_dropped, silent_statement_dropped]
)
@pytest.mark.parametrize("add", [atomic, plain])
def test_connections_that_fall_silent(
    shop: Shop,
    proxies: dict[str, Proxy],
    add: Callable[[int], int],
    fault: Callable[[Proxy, int], Rule],
) -> None:
    """Twenty at once: the watchdog frees each of them."""
    pks = shop.shelf(TIMES)
    rules: list[Rule] = []

    def work(number: int, hold: Callable[[], None]) -> int:
        assert add(pks[number]) == 1
        hold()
        return add(pks[number])

    assert crowd(TIMES, work, lambda: rules.append(fault(proxies["db1"], TIMES))) == [1] * TIMES
    assert rules[0].fired == TIMES
    assert shop.everywhere("SELECT DISTINCT stock FROM galera_router.shop_book") == [(12,)]


@pytest.mark.skipif(
    not hasattr(BaseCursor, "executemany_fallback"),
    reason="mysqlclient before 2.3 has no such option",
)
@pytest.mark.parametrize("atomic", [True, False])
def test_executemany_sends_one_statement_after_the_other(shop: Shop, atomic: bool) -> None:
    """The driver would put several into one text, which would be taken for the first of them."""
    shop.configure(OPTIONS={"executemany_fallback": "multi"})
    for name in "abc":
        Tag.objects.create(name=name)
    block = transaction.atomic() if atomic else nullcontext()
    with shop.traffic() as sent, block, connection.cursor() as cursor:
        cursor.executemany("UPDATE shop_tag SET name = CONCAT(name, 'x') WHERE name = %s", [*"abc"])
        assert cursor.rowcount == 3
    assert sum("CONCAT(name, 'x')" in sql for sql in sent["db1"]) == 3
    rows = shop.everywhere("SELECT name FROM galera_router.shop_tag ORDER BY name")
    assert rows == [("ax",), ("bx",), ("cx",)]
