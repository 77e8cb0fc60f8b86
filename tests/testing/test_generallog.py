"""The general log is read back as it was written."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from galera_router.testing.generallog import GeneralLog, Statement, parse

HEADER = (
    "/usr/sbin/mariadbd, Version: 10.11.6-MariaDB-0+deb12u1 (Debian 12). started with:\n"
    "Tcp port: 26384  Unix socket: /tmp/socket\n"
    "Time\t\t    Id Command\tArgument\n"
)
LOG = (
    HEADER + "261122 17:41:50\t     9 Connect\tgalera@127.0.0.1 on shop using TCP/IP\n"
    "\t\t     9 Query\tSELECT 1\n"
    "\t\t    12 Init DB\tshop\n"
    "261122  7:01:05\t 12345 Query\tSELECT\n1,\n\t2\n"
    "\t\t     9 Quit\t\n"
)

texts = st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=60)
sent = st.builds(
    Statement,
    connection_id=st.integers(1, 2**31),
    command=st.sampled_from(["Query", "Connect", "Init DB", "Quit", "Prepare", "Execute"]),
    # A line that looks like an entry of the log cannot be told from one.
    sql=texts.filter(lambda sql: not list(parse(f"{sql}\n")) and "started with:" not in sql),
)


def written(statements: list[Statement]) -> str:
    return "".join(f"\t\t{s.connection_id:6d} {s.command}\t{s.sql}\n" for s in statements)


def test_entries_with_and_without_a_time_and_over_several_lines() -> None:
    assert list(parse(LOG)) == [
        Statement(9, "Connect", "galera@127.0.0.1 on shop using TCP/IP"),
        Statement(9, "Query", "SELECT 1"),
        Statement(12, "Init DB", "shop"),
        Statement(12345, "Query", "SELECT\n1,\n\t2"),
        Statement(9, "Quit", ""),
    ]


def test_a_header_in_the_middle_belongs_to_no_statement() -> None:
    text = written([Statement(1, "Query", "a")]) + HEADER + written([Statement(2, "Query", "b")])
    assert list(parse(text)) == [Statement(1, "Query", "a"), Statement(2, "Query", "b")]


@given(st.lists(sent, max_size=8))
def test_whatever_is_written_is_read_back(statements: list[Statement]) -> None:
    assert list(parse(written(statements))) == statements


def test_each_run_leaves_out_its_own_administrator(tmp_path: Path) -> None:
    log = GeneralLog(tmp_path)
    first = log.begin_run()
    first.write_text(HEADER + written([Statement(3, "Query", "before")]))
    mark = log.mark()
    log.leave_out(4)
    with first.open("a") as file:
        file.write(written([Statement(3, "Query", "a"), Statement(4, "Query", "ours")]))
    log.begin_run().write_text(HEADER + written([Statement(4, "Query", "b")]))

    assert [entry.sql for entry in log.since(mark)] == ["a", "b"]
