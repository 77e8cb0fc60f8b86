"""The tokens of one SQL statement, as its final bytes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from itertools import pairwise


class Kind(Enum):
    """What a token is."""

    WORD = auto()  # a keyword, or a name without backticks
    QUOTED = auto()  # a name in backticks
    STRING = auto()
    NUMBER = auto()
    MARK = auto()  # an operator, a comma, a parenthesis


@dataclass(frozen=True, slots=True)
class Token:
    """One token.

    Attributes:
        kind: what it is.
        text: as it is written.
        start: its first byte in the statement.
        depth: the number of open parentheses around it; a parenthesis is outside of itself.
    """

    kind: Kind
    text: bytes
    start: int
    depth: int

    @property
    def end(self) -> int:
        """The byte behind it."""
        return self.start + len(self.text)

    @property
    def word(self) -> bytes:
        """A keyword in upper case; empty for all that cannot be one."""
        return self.text.upper() if self.kind is Kind.WORD else b""

    @property
    def is_name(self) -> bool:
        """Returns True if it can be a name."""
        return self.kind in (Kind.WORD, Kind.QUOTED)

    @property
    def plain(self) -> bytes:
        """Its text such that two ways to write the same name are equal."""
        if self.kind is Kind.QUOTED:
            return self.text[1:-1].replace(b"``", b"`").lower()
        return self.text.lower() if self.kind is Kind.WORD else self.text


_LETTER = rb"[\w$@\x80-\xff]"
_PARTS = rb"""
    (?P<gap>\s+ | --(?=[\x00-\x20\x7f]|\Z)[^\n]* | \#[^\n]* | /\*(?!M?!).*?\*/)
  | (?P<quoted>`(?:[^`]|``)*`)
  | (?P<string>%s)
  | (?P<number>(?:\d+(?:\.\d*)?|(?<![\w$`\x80-\xff])\.\d+)(?:[eE][+-]?\d+)?(?!%s))
  | (?P<word>%s+)
  | (?P<mark>.)
"""
_BACKSLASHES = rb"""'(?:[^'\\]|\\.|'')*' | "(?:[^"\\]|\\.|"")*" """
_NO_BACKSLASHES = rb"""'(?:[^']|'')*' | "(?:[^"]|"")*" """


def _compiled(string: bytes) -> re.Pattern[bytes]:
    return re.compile(_PARTS % (string, _LETTER, _LETTER), re.VERBOSE | re.DOTALL)


_TOKENS = {True: _compiled(_BACKSLASHES), False: _compiled(_NO_BACKSLASHES)}
_KINDS = {
    "quoted": Kind.QUOTED,
    "string": Kind.STRING,
    "number": Kind.NUMBER,
    "word": Kind.WORD,
    "mark": Kind.MARK,
}


def tokens(statement: bytes, *, backslashes: bool = True) -> tuple[Token, ...]:
    """The tokens of ``statement`` without comments; none where it cannot be read for certain.

    That is so where a quote, a comment or a parenthesis is not closed, and where a comment is
    code to the server.

    Args:
        statement: one statement.
        backslashes: a backslash escapes; not so under NO_BACKSLASH_ESCAPES.
    """
    try:
        return tuple(_read(statement, _TOKENS[backslashes]))
    except ValueError:
        return ()


def _read(statement: bytes, pattern: re.Pattern[bytes]) -> Iterator[Token]:
    depth = 0
    for match in pattern.finditer(statement):
        name, text = match.lastgroup, match[0]
        if name == "gap" or name is None:
            continue
        if name == "mark" and (text in b"'\"`" or statement.startswith(b"/*", match.start())):
            raise ValueError
        depth -= text == b")"
        if depth < 0:
            raise ValueError
        yield Token(_KINDS[name], text, match.start(), depth)
        depth += text == b"("
    if depth:
        raise ValueError


def trimmed(statement: bytes, *, backslashes: bool = True) -> bytes:
    """``statement`` without the semicolons, and the comments behind them, that end it."""
    statement = statement.rstrip(b"; \t\r\n")
    if b";" not in statement:
        return statement
    found = tokens(statement, backslashes=backslashes)
    while found and found[-1].text == b";":
        found = found[:-1]
    return statement[: found[-1].end] if found else statement


def split(found: Sequence[Token]) -> list[tuple[Token, ...]]:
    """``found`` at the commas that are not within parentheses of their own."""
    parts: list[tuple[Token, ...]] = []
    begin = 0
    depth = min((token.depth for token in found), default=0)
    for position, token in enumerate(found):
        if token.text == b"," and token.depth == depth:
            parts.append(tuple(found[begin:position]))
            begin = position + 1
    return [*parts, tuple(found[begin:])]


def column(found: Sequence[Token]) -> tuple[bytes, ...]:
    """The parts of a name such as ``t.c``, the last one the column's; empty if it is none."""
    names, dots = found[::2], found[1::2]
    if len(names) != len(dots) + 1 or any(dot.text != b"." for dot in dots):
        return ()
    return tuple(name.plain for name in names) if all(name.is_name for name in names) else ()


def plain(found: Iterable[Token]) -> tuple[bytes, ...]:
    """What ``found`` says, however its names are written."""
    return tuple(token.plain for token in found)


def source(statement: bytes, found: Sequence[Token]) -> bytes:
    """``found`` as it is written in ``statement``."""
    return statement[found[0].start : found[-1].end] if found else b""


_NO_TABLE = frozenset(b"LOW_PRIORITY DELAYED HIGH_PRIORITY QUICK IGNORE INTO".split())
_NO_NAME = frozenset({b"SELECT", b"LATERAL"})


def table_of(statement: bytes) -> str:
    """The table that ``statement`` is about, its first one if there are several; or ""."""
    found = tokens(statement) or tokens(statement, backslashes=False)
    if not found:
        return ""
    if found[0].word in (b"INSERT", b"REPLACE", b"UPDATE"):
        begin = next((i for i, t in enumerate(found) if i and t.word not in _NO_TABLE), 0)
        return _last_part(found[begin:]).decode("utf-8", "replace")
    pairs = enumerate(pairwise(found), 1)
    named = [i for i, (a, b) in pairs if a.word == b"FROM" and b.is_name and b.word not in _NO_NAME]
    begin = min(named, key=lambda i: (found[i].depth, i), default=0)
    return _last_part(found[begin:]).decode("utf-8", "replace") if begin else ""


def _last_part(found: Sequence[Token]) -> bytes:
    """The last part of the name that ``found`` begins with."""
    parts = found[:3] if len(found) > 2 and found[1].text == b"." else found[:1]
    if not column(parts):
        return b""
    last = parts[-1]
    return last.text[1:-1].replace(b"``", b"`") if last.kind is Kind.QUOTED else last.text
