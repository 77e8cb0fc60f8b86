"""What was told of a row, written into the insert that is replayed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from galera_router.recovery import keys
from galera_router.recovery.inserts import parse
from galera_router.recovery.journal import Answer, Entry
from galera_router.recovery.keys import Kept, Table, key_matters, key_returned, pinned_key

TABLE = Table(
    (b"id", b"a", b"b", b"at", b"g", b"no"),
    b"id",
    {b"at": "current_timestamp(6)", b"no": "nextval(`d`.`s`)"},
    frozenset({b"g"}),
)


HIDDEN = Table(
    (b"secret", b"id", b"a", b"at"),
    b"id",
    {b"at": "uuid()"},
    invisible=frozenset({b"secret", b"at"}),
)


def literal(value: Any) -> bytes:
    return b"NULL" if value is None else repr(value).encode()


def insert(
    sql: str, rows: Sequence[Any] | None = None, rowcount: int = 1, lastrowid: int = 0
) -> Entry:
    return Entry(sql.encode(), Answer(rows, rowcount, lastrowid), insert=True)


def kept(entry: Entry, there: Sequence[int] = ()) -> Kept | None:
    found = keys.told(entry)
    return keys.with_keys(entry, found, TABLE, literal, there) if found else None


def rewritten(entry: Entry, there: Sequence[int] = ()) -> str | None:
    found = kept(entry, there)
    return found.statement.decode() if found is not None else None


def test_the_keys_are_put_first() -> None:
    sql = "INSERT INTO `t` (`a`, `b`) VALUES (1, UPPER('x')), (2, '), (') RETURNING `t`.`id`"
    assert rewritten(insert(sql, ((5,), (8,)), 2)) == (
        "INSERT INTO `t` (`id`, `a`, `b`) VALUES (5, 1, UPPER('x')), (8, 2, '), (')"
        " RETURNING `t`.`id`"
    )


@pytest.mark.parametrize("value", ["NULL", "DEFAULT", "0", "'0'"])
def test_a_key_that_is_left_to_the_server(value: str) -> None:
    sql = f"INSERT INTO `t` (`id`) VALUES ({value}), ({value}) RETURNING `t`.`id`"
    assert rewritten(insert(sql, ((5,), (8,)), 2)) == (
        "INSERT INTO `t` (`id`) VALUES (5), (8) RETURNING `t`.`id`"
    )


def test_without_a_list_of_columns_they_are_the_tables() -> None:
    sql = "INSERT INTO t VALUES (NULL, 'x''), (', 2, NOW(6), DEFAULT, 7) RETURNING *"
    assert rewritten(insert(sql, ((5, "x'), (", 2, "T", 3, 7),))) == (
        "INSERT INTO t VALUES (5, 'x''), (', 2, 'T', DEFAULT, 7) RETURNING *"
    )


def test_without_any_column() -> None:
    assert rewritten(insert("INSERT INTO t () VALUES () RETURNING id", ((5,),))) == (
        "INSERT INTO t (`id`) VALUES (5) RETURNING id"
    )


def test_defaults_that_are_told_are_kept_and_generated_columns_left_alone() -> None:
    sql = "INSERT INTO t (a) VALUES (1) RETURNING id, at, b, g, no"
    found = kept(insert(sql, ((5, "T", None, 3, 900),)))
    assert found == Kept(
        b"INSERT INTO t (`id`, `at`, `no`, a) VALUES (5, 'T', 900, 1) RETURNING id, at, b, g, no",
        5,
        (("`d`.`s`", 900),),
    )


def test_what_an_expression_gave_is_kept_and_a_literal_is_left_alone() -> None:
    sql = "INSERT INTO t (id, a, b) VALUES (1, UUID(), 'y') RETURNING a, b AS c, id"
    assert rewritten(insert(sql, (("u", "z", 1),))) == (
        "INSERT INTO t (id, a, b) VALUES (1, 'u', 'y') RETURNING a, b AS c, id"
    )


def test_the_first_of_several_keys_is_the_one_that_was_told() -> None:
    found = kept(insert("INSERT INTO t (a) VALUES (1), (2)", None, 2, 7))
    assert found == Kept(b"INSERT INTO t (`id`, a) VALUES (7, 1), (NULL, 2)", 7)
    mixed = insert("INSERT INTO t (id, a) VALUES (3, 1), (NULL, 2), (NULL, 3)", None, 3, 7)
    assert rewritten(mixed) == "INSERT INTO t (id, a) VALUES (3, 1), (7, 2), (NULL, 3)"


@pytest.mark.parametrize(
    ("sql", "rowcount"),
    [
        ("INSERT IGNORE INTO t (a) VALUES (1), (2)", 1),  # which one is not known
        ("INSERT INTO t (a) VALUES (1), (2) ON DUPLICATE KEY UPDATE a = 1", 2),
        ("REPLACE INTO t (a) VALUES (1), (2)", 2),
        ("INSERT INTO t (id, a) VALUES (7, 1)", 1),  # the application's own
        ("INSERT INTO t (a) SELECT 1", 1),
        ("INSERT INTO t (a) VALUES (1", 1),
    ],
)
def test_where_no_key_can_be_written(sql: str, rowcount: int) -> None:
    assert rewritten(insert(sql, None, rowcount, 7)) is None


def test_a_statement_that_assigns() -> None:
    sql = "INSERT INTO t SET `a` = 'x, b = 1', b := 2 RETURNING id, at"
    assert rewritten(insert(sql, ((5, "T"),))) == (
        "INSERT INTO t SET `id` = 5, `at` = 'T', `a` = 'x, b = 1', b := 2 RETURNING id, at"
    )
    assert rewritten(insert("INSERT INTO t SET id = NULL", None, 1, 7)) == (
        "INSERT INTO t SET id = 7"
    )


def test_a_row_that_is_there_needs_no_key() -> None:
    sql = "INSERT INTO t (a) VALUES (1), (2) ON DUPLICATE KEY UPDATE a = 1 RETURNING id"
    assert rewritten(insert(sql, ((5,), (8,)), 2), there=[5]) == (
        "INSERT INTO t (`id`, a) VALUES (NULL, 1), (8, 2) ON DUPLICATE KEY UPDATE a = 1"
        " RETURNING id"
    )


def test_fewer_rows_than_values() -> None:
    assert (
        rewritten(insert("INSERT IGNORE INTO t (a) VALUES (1), (2) RETURNING id", ((5,),))) is None
    )


def test_no_answer_no_keys() -> None:
    entry = Entry(b"SAVEPOINT x")
    assert kept(entry) is None
    assert pinned_key(entry) is None


@pytest.mark.parametrize(
    ("sql", "rowcount", "key"),
    [
        ("INSERT INTO t SET a = 1", 1, 7),
        ("INSERT INTO t SELECT 1", 1, 7),
        ("INSERT INTO t SELECT 1", 3, 7),  # the first one's
        ("INSERT /*! hidden */ INTO t VALUES (1)", 1, 7),
        ("INSERT /*! hidden */ INTO t VALUES (1)", 2, None),
        ("INSERT IGNORE INTO t SELECT 1", 1, None),
        ("INSERT IGNORE INTO t (a) VALUES (1), (2)", 1, None),
        ("INSERT INTO t (a) VALUES (1), (2) ON DUPLICATE KEY UPDATE a = 1", 2, None),
    ],
)
def test_what_is_pinned_instead(sql: str, rowcount: int, key: int | None) -> None:
    entry = insert(sql, None, rowcount, 7)
    assert pinned_key(entry) == key
    assert pinned_key(insert(sql, None, rowcount, 0)) is None
    assert key_matters(entry) is (key is not None)


def test_defaults_as_the_server_describes_them() -> None:
    rows = [
        ("ID", None, "auto_increment", "NEVER"),
        ("a", "NULL", "", "NEVER"),
        ("b", "'uuid()'", "", "NEVER"),
        ("c", "7", "", "NEVER"),
        ("d", "-1.5e-3", "", "NEVER"),
        ("at", "current_timestamp(6)", "on update current_timestamp(6)", "NEVER"),
        ("g", "NULL", "STORED GENERATED", "ALWAYS"),
    ]
    table = Table.of(rows)
    assert table.columns == (b"id", b"a", b"b", b"c", b"d", b"at", b"g")
    assert table.auto == b"id"
    assert table.computed == {b"at": "current_timestamp(6)"}
    assert table.generated == {b"g"}


def test_where_a_table_is_looked_for() -> None:
    for name, where in [
        ("`t``x`", b"TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 't`x'"),
        ("d.`t`", b"TABLE_SCHEMA = 'd' AND TABLE_NAME = 't'"),
    ]:
        found = parse(f"INSERT INTO {name} (a) VALUES (1)".encode())
        assert found is not None
        assert where in keys.describe(found, literal)


# --- the key of a single row ----------------------------------------------------------------


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """The models' automatic keys are called ``id`` here."""
    monkeypatch.setattr(keys, "is_drawn", lambda table, column: column == b"id")
    key_returned.cache_clear()


@pytest.mark.usefixtures("drawn")
@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO `t` (`a`, `b`) VALUES (%s, UPPER(%s)) RETURNING `t`.`id`",
        "INSERT INTO `t` (`a`) VALUES (((%s) + (1))) RETURNING `t`.`id`",
        "INSERT INTO `t` (`a`) VALUES (DEFAULT) RETURNING `t`.`id`\n",
        "INSERT INTO `t` (`a`) VALUES ('), (') RETURNING `t`.`id`",
        b"INSERT INTO t (a) VALUES (%s) RETURNING id",
    ],
)
def test_one_row_and_its_key(sql: str | bytes) -> None:
    assert key_returned(sql)


@pytest.mark.usefixtures("drawn")
@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO `t` (`a`) VALUES (%s), (%s) RETURNING `t`.`id`",  # two rows
        "INSERT INTO `t` (`a`) VALUES (%s) RETURNING `t`.`id`, `t`.`b`",  # more than the key
        "INSERT INTO `t` (`id`, `a`) VALUES (%s, %s) RETURNING `t`.`id`",  # the caller's key
        "INSERT INTO `t` (`a`, `ID`) VALUES (%s, %s) RETURNING `t`.`id`",
        "INSERT INTO `t` VALUES (%s, %s) RETURNING `t`.`id`",
        "INSERT INTO `t` (`a`) VALUES (%s) RETURNING `t`.`b`",
        "INSERT INTO `t` (`a`) VALUES (%s)",  # nothing
        "INSERT INTO `t` (`a`) VALUES (%s) ON DUPLICATE KEY UPDATE `a` = 1 RETURNING `t`.`id`",
        "INSERT INTO `t` (`a`) VALUES ('\\') RETURNING `t`.`id`",
        "INSERT INTO `t` (`a`) VALUES ('\\\\') RETURNING `t`.`id`",
        "INSERT INTO `t` (`a`) SELECT %s RETURNING `t`.`id`",
        "INSERT IGNORE INTO `t` (`a`) VALUES (%s) RETURNING `t`.`id`",
        "REPLACE INTO `t` (`a`) VALUES (%s) RETURNING `t`.`id`",
        "UPDATE `t` SET `a` = 1",
        "",
    ],
)
def test_not_just_one_row_and_its_key(sql: str | bytes) -> None:
    assert not key_returned(sql)


@pytest.mark.parametrize(
    ("sql", "rows", "expected"),
    [
        ("INSERT INTO t VALUES (NULL, 1)", None, "INSERT INTO t VALUES (7, 1)"),
        ("INSERT INTO t VALUES (NULL, 1) RETURNING id", ((7,),), "(7, 1) RETURNING id"),
        ("INSERT INTO t VALUES (NULL, 1) RETURNING *", ((7, 1),), "(7, 1) RETURNING *"),
        ("INSERT INTO t VALUES (NULL, 1) RETURNING id, at", ((7, "u"),), "(7, 1) RETURNING id, at"),
        ("INSERT INTO t VALUES (7, 1) RETURNING at", (("u",),), None),
        ("INSERT INTO t (a) VALUES (1) RETURNING at", (("u",),), "(`at`, a) VALUES ('u', 1)"),
    ],
)
def test_an_invisible_column_has_no_place_without_its_name(
    sql: str, rows: Any, expected: str | None
) -> None:
    entry = insert(sql, rows, lastrowid=7)
    parts = keys.told(entry)
    assert parts is not None
    found = keys.with_keys(entry, parts, HIDDEN, literal)
    assert (found is None) == (expected is None)
    assert found is None or (expected or "") in found.statement.decode()


@pytest.mark.parametrize(
    "value",
    ["UUID()", "now(6)", "REPLACE(UUID(), '-', '')", "a + 1", "DATE_ADD(NOW(), INTERVAL 1 DAY)"],
)
def test_what_is_made_anew_each_time_is_written_into_it(value: str) -> None:
    sql = f"INSERT INTO `t` (`id`, `b`) VALUES (7, {value}) RETURNING `b`"
    assert rewritten(insert(sql, ((5,),))) == (
        "INSERT INTO `t` (`id`, `b`) VALUES (7, 5) RETURNING `b`"
    )


@pytest.mark.parametrize(
    "value",
    [
        "(SELECT MAX(b) FROM t)", "next_no()", "db.uuid()", "`uuid`()", "1 + next_no( 'a' )",
        "COALESCE(NULL, next_no())", "straße()",
    ],
)  # fmt: skip
def test_what_depends_on_data_or_may_write_stays(value: str) -> None:
    assert (
        rewritten(insert(f"INSERT INTO `t` (`id`, `b`) VALUES (7, {value}) RETURNING `b`", ((5,),)))
        is None
    )
    assert (
        rewritten(insert(f"INSERT INTO `t` (`id`, `b`) VALUES ({value}, 1)", lastrowid=5)) is None
    )
