"""Read a server's general log: what its clients sent, statement by statement."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

# The commands that the server writes. A line that does not begin like an entry goes on the
# statement before it.
_COMMANDS = (
    "Sleep|Quit|Init DB|Query|Field List|Create DB|Drop DB|Refresh|Shutdown|Statistics|"
    "Processlist|Connect|Kill|Debug|Ping|Time|Delayed insert|Change user|Binlog Dump|"
    "Table Dump|Connect Out|Register Slave|Prepare|Execute|Long Data|Close stmt|Reset stmt|"
    "Set option|Fetch|Daemon|Unimpl get tid|Reset connection|Bulk_execute|Execute_bulk|"
    "Slave_worker|Slave_IO|Slave_SQL|Com_multi|Error"
)
_ENTRY = re.compile(
    rf"^(?:\d{{6}} [ \d]\d:\d\d:\d\d)?\t+ *(\d+) ({_COMMANDS})(?:\t(.*))?$", re.DOTALL
)
_HEADER = re.compile(r"^.*, Version: .* started with:$")


@dataclass(frozen=True)
class Statement:
    """One entry of the log.

    ``command`` is the server's word for it: "Connect", "Query", "Init DB", "Quit" and so on;
    ``sql`` is the text behind it, empty for some, without white space at its end. A packet of
    several statements (``a; b; c``) is one "Query" entry with the whole text. A server-side
    EXECUTE shows as "Query" and again, with its values, as "Execute". What arrives by replication
    is not logged.
    """

    connection_id: int
    command: str
    sql: str


def parse(text: str) -> Iterator[Statement]:
    """Yield the entries in a piece of the log that begins at the start of a line."""
    connection_id, command, lines = 0, "", list[str]()
    in_header = 0
    for line in text.split("\n"):
        if _HEADER.match(line):
            # Two lines follow: the ports, and the names of the columns.
            in_header = 3
        if in_header:
            in_header -= 1
            continue
        entry = _ENTRY.match(line)
        if entry is None:
            lines.append(line)
            continue
        if command:
            yield Statement(connection_id, command, "\n".join(lines))
        connection_id, command, lines = int(entry[1]), entry[2], [entry[3] or ""]
    if command:
        yield Statement(connection_id, command, "\n".join(lines).removesuffix("\n"))


@dataclass(frozen=True)
class LogMark:
    """A place in the log: a run of the server, and how far its log had come in bytes."""

    run: int
    offset: int


class GeneralLog:
    """The logs of a server's runs, one file for each, since each counts connections anew."""

    def __init__(self, folder: Path) -> None:
        self.enabled = False
        self._folder = folder
        self._administrators: list[set[int]] = []

    def begin_run(self) -> Path:
        """Returns the file for the run of the server that is about to begin."""
        self._administrators.append(set())
        return self._file(len(self._administrators) - 1)

    def leave_out(self, connection_id: int) -> None:
        """Note a connection of this run that is not a client's."""
        self._administrators[-1].add(connection_id)

    def is_left_out(self, connection_id: int) -> bool:
        """Returns True if leave_out() named this connection in this run."""
        return connection_id in self._administrators[-1]

    def mark(self) -> LogMark:
        """Returns the present end of the log."""
        run = len(self._administrators) - 1
        file = self._file(run)
        return LogMark(run, file.stat().st_size if file.exists() else 0)

    def since(self, mark: LogMark) -> list[Statement]:
        """Returns what clients sent behind ``mark``, in this run of the server and later ones."""
        sent = []
        for run in range(mark.run, len(self._administrators)):
            start = mark.offset if run == mark.run else 0
            sent += read(self._file(run), start, self._administrators[run])
        return sent

    def _file(self, run: int) -> Path:
        return self._folder / f"general-{run}.log"


def read(file: Path, start: int, without: Collection[int]) -> list[Statement]:
    """Returns the entries behind byte ``start``, less those of the connections ``without``."""
    if not file.exists():
        return []
    with file.open("rb") as log:
        log.seek(start)
        text = log.read().decode("utf-8", errors="replace")
    return [entry for entry in parse(text) if entry.connection_id not in without]
