"""The clients' accounts survive what their writers may not."""

from __future__ import annotations

from pathlib import Path

from tests.chaos.ledger import Accounts, Ledger, Operation, read, without_lost


def test_what_was_told_is_read_again(tmp_path: Path) -> None:
    """Everything that was noted, of every client."""
    done = Operation(
        token="0.0.1",
        kind="insert",
        begin=1.5,
        expect=(("entry", "0.0.1/1"),),
        end=2.5,
        told="done",
        keys={"entry 0.0.1/1": 7},
        runs=2,
        may=(("name", "0.0.1"),),
        won=(("name", "0.0.1"),),
        removes=(("entry", "0.0.0/1"),),
        reads=("counter 1",),
        writes=("counter 1", "entry"),
        loose=True,
    )
    raised = Operation("1.0.1", "count", 1.0, end=2.0, told="raised", error="KeyError: 1")
    for one in (done, raised):
        ledger = Ledger(tmp_path / f"client-{one.token[:3]}.jsonl")
        ledger.begin(one)
        ledger.end(one)
        ledger.close()
    assert read(tmp_path) == [done, raised]


def test_an_operation_that_never_came_back(tmp_path: Path) -> None:
    """It is there, and unheard of; half a line is no news."""
    ledger = Ledger(tmp_path / "client-0.0.jsonl")
    ledger.begin(Operation("0.0.1", "count", 1.0, (("change", "0.0.1"),)))
    ledger.close()
    with (tmp_path / "client-0.0.jsonl").open("a") as file:
        file.write('{"token": "0.0.1", "told": "do')
    (one,) = read(tmp_path)
    assert (one.told, one.end, one.seconds) == ("unheard", None, 0.0)


def test_accounts_that_grow(tmp_path: Path) -> None:
    """What is read again has the news as well; half a line is read when it is whole."""
    accounts = Accounts(tmp_path)
    begun = Operation("0.0.1", "count", 1.0, writes=("counter 1",))
    ledger = Ledger(tmp_path / "client-0.0.jsonl")
    ledger.begin(begun)
    assert accounts.read() == [begun]
    with (tmp_path / "client-0.0.jsonl").open("a") as file:
        file.write('{"token": "0.0.1", "told": ')
    assert accounts.read() == [begun]
    with (tmp_path / "client-0.0.jsonl").open("a") as file:
        file.write('"done"}\n')
    assert [one.told for one in accounts.read()] == ["done"]
    ledger.close()


def test_what_a_killed_process_was_at() -> None:
    """Nobody was told, and that is nobody's fault; another's silence is."""
    mine, other, done = (
        Operation("0-1.1.5", "count", 1.0),
        Operation("0.1.5", "count", 1.0),
        Operation("0-1.1.4", "count", 1.0, end=2.0, told="done"),
    )
    told = [one.told for one in without_lost([mine, other, done], {"0-1"})]
    assert told == ["interrupted", "unheard", "done"]
