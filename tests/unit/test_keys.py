"""Keys written into a replayed insert."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from galera_router.recovery import keys
from galera_router.recovery.journal import Answer, Entry, Template
from galera_router.recovery.keys import key_returned, pinned_key, split_groups, with_keys


@pytest.fixture(autouse=True)
def drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """The models' automatic keys are called ``id`` here."""
    monkeypatch.setattr(keys, "is_drawn", lambda table, column: column == "`id`")


def entry(sql: str, params: object, rows: object, rowcount: int = 1, lastrowid: int = 0) -> Entry:
    return Entry(b"", Answer(rows, rowcount, lastrowid), template=Template(sql, params, False))  # type: ignore[arg-type]


def test_the_keys_are_put_first() -> None:
    sql = "INSERT INTO `t` (`a`, `b`) VALUES (%s, UPPER(%s)), (%s, UPPER(%s)) RETURNING `t`.`id`"
    assert with_keys(entry(sql, (1, "x", 2, "y"), ((5,), (8,)))) == (
        "INSERT INTO `t` (`id`, `a`, `b`) VALUES (%s, %s, UPPER(%s)), (%s, %s, UPPER(%s))"
        " RETURNING `t`.`id`",
        [5, 1, "x", 8, 2, "y"],
    )


def test_a_key_that_is_the_only_column() -> None:
    sql = "INSERT INTO `t` (`id`) VALUES (NULL), (NULL) RETURNING `t`.`id`"
    assert with_keys(entry(sql, (), ((5,), (8,)))) == (
        "INSERT INTO `t` (`id`) VALUES (%s), (%s) RETURNING `t`.`id`",
        [5, 8],
    )


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO `t` (`id`, `a`) VALUES (%s, %s) RETURNING `t`.`id`",  # the caller's key
        "INSERT INTO `t` (`a`) VALUES (%s) ON DUPLICATE KEY UPDATE `a` = 1 RETURNING `t`.`id`",
        "INSERT INTO `t` (`a`) VALUES ('(') RETURNING `t`.`id`",
        "INSERT INTO t SELECT * FROM u RETURNING id",
        "INSERT INTO `t` (`a`) VALUES (%s), (%s) RETURNING `t`.`id`",  # more rows than keys
    ],
)
def test_other_inserts_are_left_alone(sql: str) -> None:
    assert with_keys(entry(sql, (1, 2), ((5,),))) is None


def test_no_answer_no_keys() -> None:
    assert with_keys(Entry(b"SAVEPOINT x")) is None
    assert pinned_key(Entry(b"SAVEPOINT x")) is None


def test_one_row_is_pinned_by_its_key() -> None:
    assert pinned_key(entry("INSERT …", (), None, 1, 7)) == 7
    assert pinned_key(entry("INSERT …", (), None, 3, 7)) is None
    assert pinned_key(entry("INSERT …", (), None, 1, 0)) is None


@given(st.lists(st.sampled_from(["(%s)", "(%s, f(%s))", "((%s), g(h()))"]), min_size=1))
def test_groups_are_split_at_their_own_parentheses(groups: list[str]) -> None:
    assert split_groups(", ".join(groups)) == groups


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO `t` (`a`, `b`) VALUES (%s, UPPER(%s)) RETURNING `t`.`id`",
        "INSERT INTO `t` (`a`) VALUES (((%s) + (1))) RETURNING `t`.`id`",
        "INSERT INTO `t` (`a`) VALUES (DEFAULT) RETURNING `t`.`id`\n",
    ],
)
def test_one_row_and_its_key(sql: str) -> None:
    assert key_returned(sql)


@pytest.mark.parametrize(
    "sql",
    [
        b"INSERT INTO `t` (`a`) VALUES (%s) RETURNING `t`.`id`",
        "INSERT INTO `t` (`a`) VALUES (%s), (%s) RETURNING `t`.`id`",  # two rows
        "INSERT INTO `t` (`a`) VALUES (%s) RETURNING `t`.`id`, `t`.`b`",  # more than the key
        "INSERT INTO `t` (`id`, `a`) VALUES (%s, %s) RETURNING `t`.`id`",  # the caller's key
        "INSERT INTO `t` (`a`, `id`) VALUES (%s, %s) RETURNING `t`.`id`",
        "INSERT INTO `t` (`a`) VALUES (%s)",  # nothing
        "INSERT INTO `t` (`a`) VALUES (%s) ON DUPLICATE KEY UPDATE `a` = 1 RETURNING `t`.`id`",
        "INSERT INTO `t` (`a`) VALUES ('), (') RETURNING `t`.`id`",
        'INSERT INTO `t` (`a`) VALUES ("x") RETURNING `t`.`id`',
        "INSERT INTO `t` (`a`) SELECT %s RETURNING `t`.`id`",
        "INSERT IGNORE INTO `t` (`a`) VALUES (%s) RETURNING `t`.`id`",
        "REPLACE INTO `t` (`a`) VALUES (%s) RETURNING `t`.`id`",
        "INSERT INTO t (a) VALUES (%s) RETURNING id",  # not Django's
        "UPDATE `t` SET `a` = 1",
        "",
    ],
)
def test_not_just_one_row_and_its_key(sql: str | bytes) -> None:
    assert not key_returned(sql)
