"""What the clients note of lists and registers becomes a history again."""

from __future__ import annotations

from pathlib import Path

from tests.chaos.books import COLUMNS, Books
from tests.chaos.histories import Account, Token, read, wrong
from tests.chaos.ledger import Operation, Told
from tests.history.history import Append, Op, ReadList, ReadValue, Transaction, Write
from tests.history.levels import Level

PLAN: list[Op] = [Append("list 1", "a"), Write("register 2", "b")]
READ: list[Op] = [ReadList("list 1", ()), *PLAN, ReadValue("register 2", "b")]


def operation(told: Told) -> Operation:
    return Operation("0.1.5", "both", 1.0, end=2.0, told=told)


def books(body: str = "", noted: tuple[tuple[int, int, str, int], ...] = ()) -> Books:
    tables: dict[str, tuple[tuple[object, ...], ...]] = dict.fromkeys(COLUMNS, ())
    value = noted[-1][2] if noted else ""
    tables |= {"series": ((1, body),), "register": ((2, value),), "noted": noted}
    return Books(tables)


def account(folder: Path, *, ended: bool) -> None:
    mine = Account(folder, "0.1")
    mine.begin("0.1.5", "0.1, part 0", Level.GUARDED, READ, Token("0.0.1", "text", "series 1"))
    if ended:
        mine.end("0.1.5", READ, None, 1)


def only(folder: Path, told: Told) -> Transaction:
    (one,) = read(folder, [operation(told)])
    return one


def test_what_has_ended_is_committed(tmp_path: Path) -> None:
    """With what it has read, and whose token it had."""
    account(tmp_path, ended=True)
    one = only(tmp_path, "done")
    assert (one.outcome, one.level, one.session) == ("committed", Level.GUARDED, "0.1, part 0")
    assert (one.ops, one.after, one.ahead) == (tuple(READ), ("0.0.1",), 1)


def test_what_was_not_told_is_unknown(tmp_path: Path) -> None:
    """Of what has not ended it is known only what it was to write."""
    account(tmp_path, ended=False)
    outcomes = {told: only(tmp_path, told).outcome for told in ("doubt", "unheard", "raised")}
    assert outcomes == {"doubt": "unknown", "unheard": "unknown", "raised": "aborted"}
    assert only(tmp_path, "doubt").ops == tuple(PLAN)


def test_a_committed_transaction_must_be_there(tmp_path: Path) -> None:
    account(tmp_path, ended=True)
    assert wrong(tmp_path, books(",a", ((1, 2, "b", 1),)), [operation("done")]) == []
    found = wrong(tmp_path, books(), [operation("done")])
    assert sorted(one.partition(":")[0] for one in found) == ["lost write", "lost write"]


def test_what_raised_must_not_be_there(tmp_path: Path) -> None:
    account(tmp_path, ended=False)
    assert wrong(tmp_path, books(), [operation("raised")]) == []
    found = wrong(tmp_path, books(",a"), [operation("raised")])
    assert [one.partition(":")[0] for one in found] == ["G1a"]


def test_a_token_is_handed_over(tmp_path: Path) -> None:
    """The last one that was left; none if none was."""
    one, other = Account(tmp_path, "0.0"), Account(tmp_path, "1.0")
    assert other.take() is None
    for number in (1, 2):
        one.publish(Token(f"0.0.{number}", "text", "series 1"))
    assert other.take() == other.await_token() == one.own == Token("0.0.2", "text", "series 1")
