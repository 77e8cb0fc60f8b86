"""The classifier on random input: no disguise of a statement changes what it is."""

from __future__ import annotations

import re
import string

from hypothesis import assume, example, given
from hypothesis import strategies as st

from galera_router.transactions.statements import Statement, classify
from tests.unit.test_statements import DOUBTFUL, READABLE

SAMPLES = [
    *(sql for sql in READABLE + DOUBTFUL if "'" not in sql and ";" not in sql and "--" not in sql),
    "INSERT INTO t ( a ) VALUES ( 1 )",
    "UPDATE t SET a = 1 ORDER BY a",
    "SAVEPOINT x",
    "ROLLBACK TO SAVEPOINT x",
    "ROLLBACK",
    "SET foreign_key_checks = 0",
    "SET autocommit = 0",
    "CREATE TEMPORARY TABLE t",
    "SELECT NOW ( )",
]
SPACED = sorted(
    {sql for sql in SAMPLES if sql and re.fullmatch(r"[\w$ ,.()*=@]+", sql) and " " in sql}
)
INNOCENT = st.text(alphabet=string.ascii_letters + " ;@`()=", max_size=12)
GAPS = st.one_of(
    st.text(alphabet=" \t\n\r\f\v", min_size=1, max_size=3),
    INNOCENT.map(lambda text: f"/*{text}*/"),
    INNOCENT.map(lambda text: f" -- {text}\n"),
    INNOCENT.map(lambda text: f" #{text}\n"),
)
MARKERS = [
    "FOR UPDATE",
    "LOCK IN SHARE MODE",
    "GET_LOCK(1, 1)",
    "LAST_INSERT_ID()",
    "INTO OUTFILE",
    "@x",
    "; COMMIT",
    "NOW()",
    "NEXT VALUE FOR s",
    "ORDER BY",
    "mysql.user",
    "/*! x */",
    "-- ",
    "#",
]


def cases(sql: str) -> st.SearchStrategy[str]:
    return st.tuples(*(st.sampled_from((c.lower(), c.upper())) for c in sql)).map("".join)


@st.composite
def disguised(draw: st.DrawFn) -> tuple[str, str]:
    """A statement, and the same with other white space, comments and case."""
    plain = draw(st.sampled_from(SPACED))
    pieces = [draw(cases(piece)) for piece in plain.split(" ")]
    gaps = [draw(GAPS) for _ in pieces]
    body = pieces[0] + "".join(gap + piece for gap, piece in zip(gaps, pieces[1:], strict=False))
    return plain, draw(st.sampled_from(("", gaps[-1]))) + body + draw(GAPS)


@given(disguised())
def test_a_disguise_changes_nothing(pair: tuple[str, str]) -> None:
    plain, other = pair
    assert classify(other) == classify(plain)


@given(st.sampled_from(READABLE), st.integers(1, 5), GAPS)
def test_parentheses_around_a_read_change_nothing(sql: str, depth: int, gap: str) -> None:
    assume(";" not in sql and "--" not in sql and "#" not in sql)
    wrapped = "(" * depth + gap + sql + gap + ")" * depth
    assert classify(wrapped) == classify(sql)


QUOTED = st.lists(st.sampled_from(MARKERS) | INNOCENT, max_size=4).map(" ".join)


@given(QUOTED, st.sampled_from("'\"`"))
def test_what_is_quoted_does_not_matter(text: str, quote: str) -> None:
    inside = text.replace(quote, quote * 2).replace("\\", "")
    sql = f"SELECT {quote}{inside}{quote} FROM t"
    assert classify(sql) == classify("SELECT a FROM t")


@given(QUOTED)
def test_what_is_in_a_comment_does_not_matter(text: str) -> None:
    inside = text.replace("*/", "").replace("/*", "").lstrip("!")
    expected = classify("UPDATE t SET a = 1")
    assert classify(f"UPDATE t /* {inside} */ SET a = 1") == expected
    assert classify(f"UPDATE t -- {inside}\n SET a = 1 # {inside}") == expected


@given(st.sampled_from([m for m in MARKERS if m not in ("-- ", "#")]), QUOTED, st.booleans())
def test_a_marker_behind_literals_is_seen(marker: str, text: str, double: bool) -> None:
    quote = '"' if double else "'"
    inside = text.replace(quote, quote * 2).replace("\\", "")
    statement = classify(f"SELECT {quote}{inside}{quote}, `{inside.replace('`', '``')}` {marker}")
    assert not statement.repeatable or statement.ordered


def skip_quoted(sql: str, at: int) -> int:
    """Where the literal or name that begins at ``at`` ends; -1 if nowhere."""
    quote, at = sql[at], at + 1
    while at < len(sql):
        if sql[at] == "\\" and quote != "`":
            at += 1
        elif sql[at] == quote:
            return at + 1
        at += 1
    return -1


def code_of(sql: str) -> str | None:
    """What the server sees, one character after the other; None where something is not closed."""
    code, at = "", 0
    while at < len(sql):
        if sql[at] in "'\"`":
            code, at = code + "?", skip_quoted(sql, at)
        elif sql.startswith("/*", at):
            code, at = code + " ", sql.find("*/", at + 2) + 2
            at = -1 if at == 1 else at
        elif sql[at] == "#" or re.match(r"--(?:[\x00-\x20\x7f]|\Z)", sql[at:]):
            code, at = code + " ", (sql + "\n").find("\n", at)
        else:
            code, at = code + sql[at], at + 1
        if at == -1:
            return None
    return code


READ = re.compile(r"[\s(]*(?:SELECT|WITH|VALUES|EXPLAIN|DESCRIBE|DESC)\b", re.ASCII)
DANGER = re.compile(r"\b(?:FOR\s+UPDATE|INTO)\b|@|;.*\S|GET_LOCK\s*\(", re.ASCII | re.DOTALL)
WORDS = st.sampled_from(
    [
        "SELECT",
        "INSERT",
        "INTO",
        "FOR",
        "UPDATE",
        "COMMIT",
        "GET_LOCK",
        "NOW()",
        "%s",
        "1",
        "a",
        "x y",
        ",",
        "'",
        '"',
        "`",
        "/*",
        "*/",
        "/*!",
        "--",
        "#",
        "(",
        ")",
        "@",
        ";",
        "\n",
        "\\",
        "!",
    ]
)
SOUP = st.lists(WORDS, max_size=25).flatmap(
    lambda words: st.sampled_from((" ".join(words), "".join(words)))
)


@given(st.text() | SOUP | SOUP.map("SELECT ".__add__))
@example("\x00SELECT 1")
@example("\ud800")
@example("`x`SELECT 1")
@example("SELECT\x01 1")
def test_whatever_is_readable_is_a_read_and_nothing_else(sql: str) -> None:
    statement = classify(sql)
    if statement.readable:
        code = code_of(sql.upper())
        assert code is not None
        assert READ.match(code)
        assert not DANGER.search(code)
        assert not statement.write
        assert not statement.may_end_transaction
    assert statement.readable or not statement.repeatable


@given(GAPS, st.sampled_from(("COMMIT", "SELECT 1", "x", "'x'", "`x`", ";", "(")), GAPS)
def test_a_second_statement_may_do_anything(gap: str, second: str, end: str) -> None:
    statement = classify(f"SELECT 1{gap};{gap}{second}{end}")
    assert statement.may_end_transaction
    assert not statement.readable
    assert classify(f"SELECT 1{gap};{end}") == classify("SELECT 1")


@given(st.text().filter(lambda text: text.isascii() or text.isprintable()))
def test_bytes_and_text_are_the_same(sql: str) -> None:
    assert classify(sql.encode()) == classify(sql)


@given(st.binary())
def test_bytes_never_raise(sql: bytes) -> None:
    assert isinstance(classify(sql), Statement)
