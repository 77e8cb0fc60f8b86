"""The framing of MySQL's protocol: packets in a stream, statements in packets, ends of answers."""

from __future__ import annotations

from enum import Enum, auto

HEADER = 4
LONGEST = 0xFFFFFF
COM_QUERY = 0x03

COMPRESS = 0x20
TLS = 0x800
DEPRECATE_EOF = 0x1000000
MORE_RESULTS = 0x0008

OK = 0x00
LOCAL_FILE = 0xFB
EOF = 0xFE
ERROR = 0xFF
LONGEST_EOF = 9
PROGRESS = 0xFFFF


class Packets:
    """Cuts a stream into whole packets, however TCP has split or joined them."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Take what has arrived, and return the packets that are whole now, with their headers.

        A packet of 16 MiB or more comes in several parts; they are returned as one.
        """
        self._buffer += data
        found = []
        while end := self._end():
            found.append(bytes(memoryview(self._buffer)[:end]))
            del self._buffer[:end]
        return found

    def rest(self) -> bytes:
        """Return, and forget, the beginning of a packet that is not whole yet."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        return rest

    def _end(self) -> int:
        start = 0
        while len(self._buffer) >= start + HEADER:
            length = int.from_bytes(self._buffer[start : start + 3], "little")
            start += HEADER + length
            if length < LONGEST:
                return start if start <= len(self._buffer) else 0
        return 0


def payload(packet: bytes) -> bytes:
    """Returns what a packet carries, its parts joined."""
    if len(packet) < HEADER + LONGEST:
        return packet[HEADER:]
    step = HEADER + LONGEST
    return b"".join(packet[at + HEADER : at + step] for at in range(0, len(packet), step))


def statement(packet: bytes) -> str | None:
    """Returns the text of a client's COM_QUERY, None if the packet is something else."""
    # A command starts a new sequence; other packets that a client sends go on with one.
    if len(packet) <= HEADER or packet[3] != 0 or packet[HEADER] != COM_QUERY:
        return None
    return payload(packet)[1:].decode("utf-8", "replace")


def capabilities(login: bytes) -> int:
    """Returns the flags of a client's first packet, be that its login or its wish for TLS."""
    return int.from_bytes(login[HEADER : HEADER + 4], "little")


class _Expect(Enum):
    RESULT = auto()
    COLUMN = auto()
    ROW = auto()
    NOTHING = auto()


class Answer:
    """Reads what a server says to one COM_QUERY, to know when it has said all.

    Several statements in one packet have an answer of several results, of which each but the last
    announces another.
    """

    def __init__(self, flags: int) -> None:
        """Take the capabilities() of the client."""
        self._short = bool(flags & DEPRECATE_EOF)
        self._packets = Packets()
        self._expect = _Expect.RESULT
        self._columns = 0

    @property
    def whole(self) -> bool:
        """Returns True if the last result has arrived to its end."""
        return self._expect is _Expect.NOTHING

    def feed(self, data: bytes) -> bool:
        """Take what has arrived, and return whether the answer is whole now."""
        for packet in self._packets.feed(data):
            content = payload(packet)
            if not content or _is_progress(content):
                continue
            if self._expect is _Expect.RESULT:
                self._result(content)
            elif self._expect is _Expect.COLUMN:
                self._column()
            elif self._expect is _Expect.ROW:
                self._row(content)
        return self.whole

    def _result(self, content: bytes) -> None:
        kind = content[0]
        if kind == OK:
            self._result_ends(_status_of_ok(content))
        elif kind in (ERROR, LOCAL_FILE):
            self._expect = _Expect.NOTHING
        else:
            # Without the newer ending, an EOF packet separates the columns from the rows.
            self._columns = _number(content, 0)[0] + (not self._short)
            self._expect = _Expect.COLUMN

    def _column(self) -> None:
        self._columns -= 1
        if self._columns == 0:
            self._expect = _Expect.ROW

    def _row(self, content: bytes) -> None:
        if content[0] == ERROR:
            self._expect = _Expect.NOTHING
        elif content[0] == EOF and len(content) < (LONGEST if self._short else LONGEST_EOF):
            is_ok = self._short
            status = _status_of_ok(content) if is_ok else int.from_bytes(content[3:5], "little")
            self._result_ends(status)

    def _result_ends(self, status: int) -> None:
        self._expect = _Expect.RESULT if status & MORE_RESULTS else _Expect.NOTHING


def _is_progress(content: bytes) -> bool:
    # MariaDB reports progress in what looks like an error with this number.
    return content[0] == ERROR and int.from_bytes(content[1:3], "little") == PROGRESS


def _status_of_ok(content: bytes) -> int:
    _affected, at = _number(content, 1)
    _inserted, at = _number(content, at)
    return int.from_bytes(content[at : at + 2], "little")


def _number(content: bytes, at: int) -> tuple[int, int]:
    """Returns the length-encoded number at ``at``, and where the next field begins."""
    first = content[at]
    size = {0xFC: 2, 0xFD: 3, 0xFE: 8}.get(first, 0)
    if not size:
        return first, at + 1
    return int.from_bytes(content[at + 1 : at + 1 + size], "little"), at + 1 + size
