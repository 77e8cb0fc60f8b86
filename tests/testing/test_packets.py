"""Packets are found whole however they arrive, and the end of an answer where it is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from galera_router.testing.packets import (
    DEPRECATE_EOF,
    LONGEST,
    Answer,
    Packets,
    capabilities,
    payload,
    statement,
)

MORE = 0x0008
AUTOCOMMIT = 0x0002


def packet(content: bytes, sequence: int = 0) -> bytes:
    return len(content).to_bytes(3, "little") + bytes([sequence]) + content


def ok(status: int = AUTOCOMMIT, *, head: int = 0, rows: int = 1) -> bytes:
    affected = bytes([rows]) if rows < 0xFB else b"\xfc" + rows.to_bytes(2, "little")
    return packet(bytes([head]) + affected + b"\x00" + status.to_bytes(2, "little") + b"\x00\x00")


def eof(status: int = AUTOCOMMIT) -> bytes:
    return packet(b"\xfe\x00\x00" + status.to_bytes(2, "little"))


ERROR = packet(b"\xff\x16\x04#40001Deadlock found")
PROGRESS = packet(b"\xff\xff\xff\x01\x01\x02\x00\x00\x00\x00")
LOCAL_FILE = packet(b"\xfbnumbers.csv")
COLUMN = packet(b"\x03def")
ROW = packet(b"\x01a")


def rows(*, status: int = AUTOCOMMIT, short: bool) -> bytes:
    """A result of two columns and one row, as a client sees it with or without the newer end."""
    if short:
        return packet(b"\x02") + COLUMN * 2 + ROW + ok(status, head=0xFE)
    return packet(b"\x02") + COLUMN * 2 + eof() + ROW + eof(status)


@given(st.lists(st.binary(max_size=40)), st.lists(st.integers(1, 60), min_size=1))
def test_packets_are_whole_however_they_are_split(contents: list[bytes], steps: list[int]) -> None:
    sent = [packet(content) for content in contents]
    stream, packets, found = b"".join(sent), Packets(), list[bytes]()
    while stream:
        step = steps[len(stream) % len(steps)]
        found += packets.feed(stream[:step])
        stream = stream[step:]
    assert found == sent
    assert packets.rest() == b""


@pytest.mark.parametrize("size", [LONGEST - 1, LONGEST, LONGEST + 1, 2 * LONGEST, 2 * LONGEST + 7])
def test_the_parts_of_a_long_packet_are_one(size: int) -> None:
    content = b"\x03" + b"\xff" * (size - 1)
    parts = [content[at : at + LONGEST] for at in range(0, size + 1, LONGEST)]
    sent = b"".join(packet(part, number) for number, part in enumerate(parts))
    packets = Packets()
    assert packets.feed(sent[:-1]) == []
    assert packets.feed(sent[-1:] + packet(b"next")) == [sent, packet(b"next")]
    assert payload(sent) == content


def test_an_unfinished_packet_can_be_had_back() -> None:
    packets = Packets()
    assert packets.feed(packet(b"one") + b"\x05\x00\x00\x00tw") == [packet(b"one")]
    assert packets.rest() == b"\x05\x00\x00\x00tw"
    assert packets.rest() == b""


@pytest.mark.parametrize(
    ("sent", "sql"),
    [
        (packet(b"\x03COMMIT"), "COMMIT"),
        (packet("\x03SELECT 'ü'".encode()), "SELECT 'ü'"),
        (packet(b"\x03SELECT '\xff'"), "SELECT '\N{REPLACEMENT CHARACTER}'"),
        (packet(b"\x03"), ""),
        (packet(b"\x0e"), None),
        (packet(b"\x03a login's answer", sequence=1), None),
        (packet(b"", sequence=3), None),
    ],
)
def test_the_text_of_a_statement(sent: bytes, sql: str | None) -> None:
    assert statement(sent) == sql


def test_capabilities_are_those_of_the_login() -> None:
    assert capabilities(packet(b"\x85\xa6\xff\x01" + b"\x00" * 28, sequence=1)) == 0x01FFA685


@pytest.mark.parametrize("short", [True, False], ids=["newer ending", "classic ending"])
@pytest.mark.parametrize(
    "kind", ["ok", "error", "rows", "row error", "local file", "several", "progress"]
)
def test_an_answer_is_whole_with_its_last_byte(kind: str, short: bool) -> None:
    columns = packet(b"\x02") + COLUMN * 2 + (b"" if short else eof())
    last = ok(head=0xFE) if short else eof()
    answer = {
        "ok": ok(rows=70_00),
        "error": ERROR,
        "rows": rows(short=short),
        "row error": columns + ROW + ERROR,
        "local file": LOCAL_FILE,
        "several": ok(AUTOCOMMIT | MORE) + rows(status=MORE, short=short) + ok(MORE) + ok(),
        "progress": PROGRESS * 2 + columns + PROGRESS + ROW + last,
    }[kind]
    reader = Answer(DEPRECATE_EOF if short else 0)
    for at in range(len(answer)):
        assert not reader.whole
        reader.feed(answer[at : at + 1])
    assert reader.whole
    assert Answer(DEPRECATE_EOF if short else 0).feed(answer)


@pytest.mark.parametrize("short", [True, False], ids=["newer ending", "classic ending"])
def test_a_long_row_is_not_an_ending(short: bool) -> None:
    """It begins with the same byte, and is told from an ending by its length alone."""
    content = b"\xfe" + LONGEST.to_bytes(8, "little") + b"x" * LONGEST
    long_row = packet(content[:LONGEST]) + packet(content[LONGEST:], sequence=1)
    before, after = rows(short=short).split(ROW)
    reader = Answer(DEPRECATE_EOF if short else 0)
    assert not reader.feed(before + long_row)
    assert reader.feed(after)


def test_an_error_ends_several_statements() -> None:
    reader = Answer(0)
    assert not reader.feed(ok(MORE))
    assert reader.feed(ERROR)
    assert reader.whole
