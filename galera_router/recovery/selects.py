"""The parts of a SELECT that say which of its possible answers a server gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

from galera_router.recovery.lexer import Kind, Token, column, plain, source, split, tokens


@dataclass(frozen=True, slots=True)
class Item:
    """An item of the select list, or a term of ORDER BY with ``tail`` for its direction."""

    tokens: tuple[Token, ...]
    alias: bytes = b""
    tail: bytes = b""

    @property
    def is_star(self) -> bool:
        """Returns True if it stands for all columns."""
        return bool(self.tokens) and self.tokens[-1].text == b"*"


@dataclass(frozen=True, slots=True)
class Select:
    """A SELECT.

    Attributes:
        statement: the bytes.
        items: its select list; empty for what is combined from several SELECTs.
        items_end: the byte behind the select list.
        terms: those of its ORDER BY, without the ones that are random.
        body_end: the byte behind all that comes before ORDER BY, LIMIT and locks.
        limit: the rows that it gives at most; None without LIMIT.
        offset: the rows that it leaves out.
        locking: it locks what it reads.
        distinct: it is a SELECT DISTINCT.
        derived: it may read from another SELECT's answer.
    """

    statement: bytes
    items: tuple[Item, ...]
    items_end: int
    terms: tuple[Item, ...]
    body_end: int
    limit: int | None
    offset: int
    locking: bool
    distinct: bool
    derived: bool


_COMBINED = frozenset({b"UNION", b"EXCEPT", b"INTERSECT"})
_AHEAD_OF_LIST = frozenset(
    b"ALL DISTINCT DISTINCTROW HIGH_PRIORITY STRAIGHT_JOIN SQL_SMALL_RESULT SQL_BIG_RESULT"
    b" SQL_BUFFER_RESULT SQL_CACHE SQL_NO_CACHE SQL_CALC_FOUND_ROWS".split()
)
_RANDOM = frozenset({b"rand", b"uuid", b"uuid_short", b"sys_guid", b"random_bytes", b"nextval"})
#: Calls whose answer is another one each time, and no client's doing.
_OF_THE_MOMENT = frozenset(
    b"NOW CURDATE CURTIME SYSDATE UNIX_TIMESTAMP CURRENT_TIMESTAMP CURRENT_DATE CURRENT_TIME"
    b" LOCALTIME LOCALTIMESTAMP UTC_DATE UTC_TIME UTC_TIMESTAMP RAND UUID".split()
)
_NOT_READ = frozenset({b"INTO", b"PROCEDURE", b"FETCH", b"EXAMINED"})
_MARKS = frozenset({b"(", b")", b",", b";"})
_TAIL = frozenset({b"ORDER", b"LIMIT", b"FOR", b"LOCK"})


def parse(statement: bytes, *, backslashes: bool = True) -> Select | None:
    """The parts of ``statement``; None if it is no SELECT, or in a form not known here."""
    found = tokens(statement, backslashes=backslashes)
    while found and found[-1].text == b";":
        found = found[:-1]
    if not found or (found[0].word not in (b"SELECT", b"WITH") and found[0].text != b"("):
        return None
    try:
        return _parse(statement, found)
    except (IndexError, ValueError):
        return None


def is_of_the_moment(statement: bytes, *, backslashes: bool = True) -> bool:
    """Returns True if ``statement`` asks for the time or for chance, and for nothing else.

    No data is in its answer, which tells nothing of what others have changed.
    """
    found = tokens(statement, backslashes=backslashes)
    words = [token.word for token in found if token.kind is Kind.WORD]
    others = {token.text for token in found if token.kind not in (Kind.WORD, Kind.NUMBER)}
    return words[:1] == [b"SELECT"] and _OF_THE_MOMENT.issuperset(words[1:]) and others <= _MARKS


def _parse(statement: bytes, found: tuple[Token, ...]) -> Select:
    top = [i for i, token in enumerate(found) if token.depth == 0]
    words = {found[i].word for i in top}
    if not words.isdisjoint(_NOT_READ):
        raise ValueError
    combined = found[0].text == b"(" or not words.isdisjoint(_COMBINED)
    if combined and found[0].word == b"WITH":
        raise ValueError
    begin = 0 if combined else next(i for i in top if found[i].word == b"SELECT")
    end = next((i for i in top if i > begin and _ends_body(found, i)), len(found))
    tail = found[end:]
    items, items_end = ((), 0) if combined else _list(found[begin + 1 : end])
    limit, offset = _limit(tail)
    return Select(
        statement,
        items,
        items_end,
        tuple(takewhile(lambda term: not _random(term), _terms(tail))),
        found[end - 1].end,
        limit,
        offset,
        any(_locks(tail, i) for i in range(len(tail))),
        not combined and found[begin + 1].word in (b"DISTINCT", b"DISTINCTROW"),
        begin > 0 or _derived([token for token in found if token.start >= items_end]),
    )


_AHEAD_OF_DERIVED = frozenset({b"FROM", b"JOIN", b"LATERAL", b",", b"("})


def _derived(found: Sequence[Token]) -> bool:
    """Returns True if there may be a SELECT in the place of a table."""
    return any(
        opening.text == b"(" and before.text.upper() in _AHEAD_OF_DERIVED
        for before, opening, inner in zip(found, found[1:], found[2:], strict=False)
        if inner.word in (b"SELECT", b"WITH", b"VALUES")
    )


def stored(select: Select, width: int) -> frozenset[int]:
    """The columns of an answer that are columns of tables as they are; none where in doubt.

    Args:
        select: the statement.
        width: the number of columns of its answer.
    """
    items = select.items
    places: set[int] = set()
    stars = sum(item.is_star for item in items)
    if select.derived or not items or stars > 1 or (not stars and width != len(items)):
        return frozenset()
    at = 0
    for item in items:
        count = width - len(items) + 1 if item.is_star else 1
        if item.is_star or column(item.tokens):
            places.update(range(at, at + count))
        at += count
    return frozenset(places)


def _ends_body(found: Sequence[Token], at: int) -> bool:
    word = found[at].word
    if word not in _TAIL or found[at - 1].text == b".":
        return False
    if word == b"ORDER":
        return found[at + 1].word == b"BY" and found[at - 1].word != b"FOR"
    # FOR and LOCK end it where they lock; USE INDEX FOR JOIN does not.
    return word == b"LIMIT" or _locks(found, at)


def _locks(found: Sequence[Token], at: int) -> bool:
    following = found[at + 1].word if at + 1 < len(found) else b""
    return (found[at].word, following) in (
        (b"FOR", b"UPDATE"),
        (b"FOR", b"SHARE"),
        (b"LOCK", b"IN"),
    )


def _list(found: tuple[Token, ...]) -> tuple[tuple[Item, ...], int]:
    begin = 0
    while found[begin].word in _AHEAD_OF_LIST:
        begin += 1
    depth = found[begin].depth
    end = begin
    while end < len(found) and not (found[end].word == b"FROM" and found[end].depth == depth):
        end += 1
    return tuple(_item(part) for part in split(found[begin:end])), found[end - 1].end


_NO_ALIAS = frozenset({b"END", b"NULL", b"TRUE", b"FALSE", b"UNKNOWN"})


def _item(part: tuple[Token, ...]) -> Item:
    if len(part) > 2 and part[-2].word == b"AS":
        return Item(part[:-2], part[-1].plain.strip(b"'\"").lower())
    if len(part) > 1 and part[-1].is_name and part[-1].word not in _NO_ALIAS:
        before = part[-2]
        if before.kind is not Kind.MARK or before.text == b")":
            return Item(part[:-1], part[-1].plain)
    return Item(part)


def _terms(tail: Sequence[Token]) -> list[Item]:
    if not tail or tail[0].word != b"ORDER":
        return []
    rest = tail[2:]
    end = next((i for i, t in enumerate(rest) if t.depth == 0 and t.word in _TAIL), len(rest))
    return [_term(part) for part in split(rest[:end])]


def _term(part: tuple[Token, ...]) -> Item:
    tail = b""
    if part[-1].word in (b"ASC", b"DESC"):
        part, tail = part[:-1], b" " + part[-1].word
    while len(part) > 2 and part[0].text == b"(" and part[-1].text == b")":
        if any(token.depth == part[0].depth for token in part[1:-1]):
            break
        part = part[1:-1]
    return Item(part, tail=tail)


def _random(term: Item) -> bool:
    calls = zip(term.tokens, term.tokens[1:], strict=False)
    return any(name.plain in _RANDOM and mark.text == b"(" for name, mark in calls)


def _limit(tail: Sequence[Token]) -> tuple[int | None, int]:
    at = next((i for i, t in enumerate(tail) if t.depth == 0 and t.word == b"LIMIT"), None)
    if at is None:
        return None, 0
    rest = [t for t in tail[at + 1 :] if t.depth == 0]
    numbers = [int(t.text) for t in rest[:3:2] if t.kind is Kind.NUMBER]
    between = rest[1].text.upper() if len(rest) > 1 else b""
    if between == b",":
        return numbers[1], numbers[0]
    return numbers[0], numbers[1] if between == b"OFFSET" else 0


def sort_columns(select: Select, names: Sequence[str]) -> list[int] | None:
    """The columns of the answer that the terms of ORDER BY are; None if one is not among them.

    Args:
        select: the statement.
        names: those of the columns of its answer; empty if not known.
    """
    found = [_column(select, term, names) for term in select.terms]
    return [at for at in found if at is not None] if None not in found else None


def _column(select: Select, term: Item, names: Sequence[str]) -> int | None:
    if len(term.tokens) == 1 and term.tokens[0].kind is Kind.NUMBER:
        return int(term.tokens[0].text) - 1
    parts = column(term.tokens)
    items = select.items
    if not items or any(item.is_star for item in items):
        return _by_name(parts, names) if not items or len(items) == 1 else None
    aliased = [i for i, item in enumerate(items) if len(parts) == 1 and item.alias == parts[0]]
    same = [i for i, item in enumerate(items) if _is(item, term.tokens, parts)]
    return next(iter([*aliased, *same]), None)


def _is(item: Item, term: tuple[Token, ...], parts: tuple[bytes, ...]) -> bool:
    if plain(item.tokens) == plain(term):
        return True
    own = column(item.tokens)
    return len(parts) == 1 < len(own) and own[-1] == parts[0] and not item.alias


def _by_name(parts: tuple[bytes, ...], names: Sequence[str]) -> int | None:
    lower = [name.encode().lower() for name in names]
    return lower.index(parts[-1]) if parts and lower.count(parts[-1]) == 1 else None


def ranked(select: Select, width: int, names: Sequence[str], bound: int) -> bytes | None:
    """A statement that asks for ``bound`` rows, from the first on, each with its rank.

    Rows that tie have the same rank, which is the last column.

    Args:
        select: the statement.
        width: the number of columns of its answer.
        names: their names; empty if not known.
        bound: how many rows to give at most.

    Returns:
        None where it cannot be put like that.
    """
    if select.distinct and sort_columns(select, names) is None:
        return None
    keys = [_ranked_by(select, term, names) for term in select.terms]
    if None in keys:
        return None
    rank = b"DENSE_RANK() OVER (ORDER BY %s)" % (b", ".join(filter(None, keys)) or b"NULL")
    order = b" ORDER BY %d LIMIT %d" % (width + 1, bound)
    text, end = select.statement, select.body_end
    if not select.items:
        return b"SELECT q.*, %s FROM (%s\n) AS q%s" % (rank, text[:end], order)
    return b"%s, %s%s%s" % (text[: select.items_end], rank, text[select.items_end : end], order)


def _ranked_by(select: Select, term: Item, names: Sequence[str]) -> bytes | None:
    """A term as it has to be written in OVER, which knows no positions, and no aliases first."""
    at = _column(select, term, names)
    position = len(term.tokens) == 1 and term.tokens[0].kind is Kind.NUMBER
    name = column(term.tokens)
    if select.items and at is not None and not any(item.is_star for item in select.items):
        return source(select.statement, select.items[at].tokens) + term.tail
    if position:
        if at is None or not 0 <= at < len(names) or list(names).count(names[at]) > 1:
            return None
        return b"`%s`%s" % (names[at].encode().replace(b"`", b"``"), term.tail)
    if not select.items and len(name) != 1:
        return None
    return source(select.statement, term.tokens) + term.tail
