"""When something may be run again."""

from __future__ import annotations

import logging

import pytest
from django.db import IntegrityError, OperationalError, ProgrammingError

from galera_router.connections.errors import Verdict, errno, is_conflict, is_permanent, verdict
from galera_router.exceptions import CommitOutcomeUnknown, FailoverImpossible, ReplayMismatch
from galera_router.recovery.retry import LONGEST, PAUSE, Attempts, pause, tell_not


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (ReplayMismatch("x"), True),
        (OperationalError(1213, "Deadlock"), True),
        (OperationalError(1205, "Lock wait"), True),
        (OperationalError(1020, "Record has changed"), True),
        (OperationalError(1412, "Table definition has changed"), True),
        (FailoverImpossible("x", again=True), True),
        (OperationalError(2013, "Lost"), False),
        (CommitOutcomeUnknown("x"), False),
        (FailoverImpossible("x"), False),
        (IntegrityError(1062, "Duplicate"), False),
        (ValueError("x"), False),
    ],
)
def test_only_what_undid_everything_is_run_again(error: Exception, again: bool) -> None:
    assert Attempts().may_repeat(error) is again


def test_runs_are_bounded() -> None:
    attempts = Attempts(limit=3)
    assert [attempts.may_repeat(ReplayMismatch("x")) for _ in range(3)] == [True, True, False]
    assert attempts.run == 3


@pytest.mark.parametrize("number", [1054, 1146])
def test_what_a_secondary_does_not_know_is_asked_of_the_primary_once(number: int) -> None:
    error = ProgrammingError(number, "Unknown column")
    attempts = Attempts()
    assert not attempts.may_repeat(error)
    assert [attempts.may_repeat(error, on_secondary=True) for _ in range(2)] == [True, False]
    assert attempts.may_repeat(ReplayMismatch("x"))


def test_each_run_is_logged_with_its_reason(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "galera_router")
    attempts, error = Attempts(limit=3), OperationalError(1213, "Deadlock found")
    assert attempts.may_repeat(error)
    attempts.tell("default", "GET /", error)
    tell_not("default", "GET /", error, "something was committed on 'plain'")
    assert caplog.messages == [
        "running GET / again (run 2 of at most 3): OperationalError: (1213, 'Deadlock found')",
        "not running GET / again after OperationalError, because something was committed on"
        " 'plain': (1213, 'Deadlock found')",
    ]


def test_pauses_grow() -> None:
    for run in range(2, 6):
        assert PAUSE * 2 ** (run - 1) * 0.5 <= pause(run) <= PAUSE * 2 ** (run - 1) * 1.5


def test_verdicts() -> None:
    assert verdict(OperationalError(2006, "gone")) is Verdict.LOST
    assert verdict(OperationalError(1047, "WSREP")) is Verdict.OUT
    assert verdict(OperationalError("no number")) is Verdict.STATEMENT
    during_commit = 'Got error 3 "x" during COMMIT'
    assert verdict(OperationalError(1180, during_commit)) is Verdict.ROLLED_BACK
    assert verdict(OperationalError(1180, "Not connected to Primary Component")) is Verdict.OUT
    assert errno(Exception()) == -1
    assert is_permanent(OperationalError(1045, "denied"))
    assert not is_permanent(OperationalError(2003, "refused"))
    assert is_permanent(OperationalError(2026, "TLS/SSL error: certificate verify failed"))
    assert not is_permanent(OperationalError(2026, "TLS/SSL error: unexpected eof while reading"))


def test_what_tls_meets_is_a_lost_connection() -> None:
    error = OperationalError(2026, "TLS/SSL error: unexpected eof while reading")
    assert verdict(error) is Verdict.LOST
    assert is_conflict(OperationalError(1213, "x"))


def test_pauses_end_growing() -> None:
    assert 0.5 * LONGEST <= pause(10_000) <= 1.5 * LONGEST
