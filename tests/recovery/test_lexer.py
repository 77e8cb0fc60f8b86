"""The tokens of a statement."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from galera_router.recovery.lexer import Kind, column, source, split, table_of, tokens, trimmed


def texts(statement: bytes) -> list[bytes]:
    return [token.text for token in tokens(statement)]


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        (b"a.b = 'x''y' -- c\n", [b"a", b".", b"b", b"=", b"'x''y'"]),
        (b'\'it\\\'s\', "a ""b", c', [b"'it\\'s'", b",", b'"a ""b"', b",", b"c"]),
        (b"`a``b`.`c`", [b"`a``b`", b".", b"`c`"]),
        (b"1.5e-3 + .5, 1a, t.1", [b"1.5e-3", b"+", b".5", b",", b"1a", b",", b"t", b".", b"1"]),
        (b"a /* ' */ b # \"\n c", [b"a", b"b", b"c"]),
        (b"a--1", [b"a", b"-", b"-", b"1"]),
        (b"@@session.x @y", [b"@@session", b".", b"x", b"@y"]),
    ],
)
def test_what_a_token_is(statement: bytes, expected: list[bytes]) -> None:
    assert texts(statement) == expected


@pytest.mark.parametrize(
    "statement", [b"'a", b'"a', b"`a", b"/* a", b"/*! a */", b"/*M! a */", b"(a", b"a)", b"'a\\'"]
)
def test_what_cannot_be_read_for_certain_has_none(statement: bytes) -> None:
    assert tokens(statement) == ()


def test_a_backslash_that_does_not_escape() -> None:
    assert [t.text for t in tokens(rb"'a\', 'b'", backslashes=False)] == [rb"'a\'", b",", b"'b'"]


@given(st.lists(st.sampled_from(["(?)", "(?, f(?))", "((?), g(h()))"]), min_size=1))
def test_a_list_is_split_at_its_own_commas(parts: list[str]) -> None:
    statement = ", ".join(parts).encode()
    assert [source(statement, part).decode() for part in split(tokens(statement))] == parts


@given(st.text())
def test_a_literal_is_one_token(text: str) -> None:
    literal = b"'%s'" % (
        text.replace("\\", "\\\\").replace("'", "\\'").encode("utf-8", "surrogatepass")
    )
    (token,) = tokens(literal)
    assert (token.kind, token.text) == (Kind.STRING, literal)
    plain = b"'%s'" % text.replace("'", "''").encode("utf-8", "surrogatepass")
    assert [token.text for token in tokens(plain, backslashes=False)] == [plain]


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        (b"a; \n", b"a"),
        (b"a; -- b;", b"a"),
        (b"a ';' -- b", b"a ';'"),
        (b"a ';' ;/* b */", b"a ';'"),
        (b"a /*! b */ ; -- c", b"a /*! b */ ; -- c"),
    ],
)
def test_what_ends_a_statement(statement: bytes, expected: bytes) -> None:
    assert trimmed(statement) == expected


def test_names() -> None:
    assert column(tokens(b"`T`.c")) == (b"t", b"c")
    assert column(tokens(b"f(c)")) == ()
    assert column(tokens(b"a.'b'")) == ()


@pytest.mark.parametrize(
    ("statement", "table"),
    [
        (b"SELECT a, EXTRACT(YEAR FROM b) FROM `shop_book` INNER JOIN x", "shop_book"),
        (b"SELECT a FROM `db`.`Shop_book`", "Shop_book"),
        (b"SELECT * FROM (SELECT 1 FROM t) q", "t"),
        (b"INSERT IGNORE INTO `t` (`a`) SELECT 1 FROM u", "t"),
        (b"INSERT t VALUES (1)", "t"),
        (b"UPDATE LOW_PRIORITY t SET a = 1", "t"),
        (b"DELETE FROM t WHERE a", "t"),
        (b"SELECT 1", ""),
        (b"SELECT 'a", ""),
        (b"", ""),
    ],
)
def test_the_table_that_a_statement_is_about(statement: bytes, table: str) -> None:
    assert table_of(statement) == table
