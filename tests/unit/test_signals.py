"""Events: what they are, and the one place that sends them."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from galera_router import events, signals
from galera_router.events import (
    Event,
    Failover,
    NodeDown,
    NoTurn,
    PrimaryChanged,
    Promotion,
    TokenIgnored,
)
from galera_router.instrumentation.logging import JsonFormatter
from galera_router.signals import SIGNALS

KINDS = sorted(SIGNALS, key=lambda kind: kind.__name__)


@pytest.fixture(autouse=True)
def untold() -> None:
    signals.forget_told()


@contextmanager
def received(kind: type[Event]) -> Iterator[list[Any]]:
    """The events of ``kind`` that are sent in the block."""
    found: list[Any] = []

    def receive(event: Any, **kwargs: Any) -> None:
        found.append(event)

    SIGNALS[kind].connect(receive)
    try:
        yield found
    finally:
        SIGNALS[kind].disconnect(receive)


def test_each_event_has_a_signal_of_its_name() -> None:
    made = {
        found
        for found in vars(events).values()
        if inspect.isclass(found) and issubclass(found, Event) and found is not Event
    }
    assert made == set(SIGNALS)
    names = {id(value): name for name, value in vars(signals).items()}
    for kind, signal in SIGNALS.items():
        assert names[id(signal)].replace("_", "") == kind.__name__.lower()


@pytest.mark.parametrize("kind", KINDS)
def test_events_are_frozen_and_slotted_and_their_fields_have_a_text(kind: type[Event]) -> None:
    values: dict[str, Any] = {field.name: 1 for field in dataclasses.fields(kind)}
    event = kind(**values)
    assert not hasattr(event, "__dict__")
    with pytest.raises(dataclasses.FrozenInstanceError):
        event.alias = "other"  # type: ignore[misc]
    (node,) = ast.parse(inspect.getsource(kind)).body
    assert isinstance(node, ast.ClassDef)
    assert ast.get_docstring(node)
    for position, item in enumerate(node.body):
        public = isinstance(item, ast.AnnAssign) and "ClassVar" not in ast.dump(item.annotation)
        if public:
            following = node.body[position + 1]
            assert isinstance(following, ast.Expr), ast.unparse(item)
            assert isinstance(following.value, ast.Constant), ast.unparse(item)


def down() -> None:
    signals.send(NodeDown, "default", "db1", "lost", 2013)


def test_nothing_is_made_if_nobody_listens(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def make(self: NodeDown, *args: Any, **fields: Any) -> None:
        raise AssertionError("an event was made")

    monkeypatch.setattr(NodeDown, "__init__", make)
    monkeypatch.setattr(Promotion, "__init__", make)
    caplog.set_level(logging.ERROR, "galera_router")
    down()
    caplog.set_level(logging.DEBUG, "galera_router")
    signals.send(Promotion, "default", "db1", 1, 0.1)  # the log has no line for it
    with pytest.raises(AssertionError):
        down()


def test_a_receiver_gets_the_event_even_if_the_log_has_no_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.ERROR, "galera_router")
    with received(NodeDown) as found:
        down()
    assert found == [NodeDown("default", "db1", "lost", 2013)]
    assert not caplog.messages


def test_one_event_is_one_line_with_its_fields(caplog: pytest.LogCaptureFixture) -> None:
    down()
    (record,) = caplog.records
    assert record.getMessage() == "default: node db1 is down: lost"
    assert record.levelno == logging.WARNING
    told = {name: value for name, value in vars(record).items() if name.startswith("galera_")}
    assert told == {
        "galera_event": "NodeDown",
        "galera_alias": "default",
        "galera_node": "db1",
        "galera_reason": "lost",
        "galera_error": 2013,
    }
    line = json.loads(JsonFormatter().format(record))
    assert line.items() >= told.items()
    assert (line["level"], line["logger"]) == ("WARNING", "galera_router")
    assert line["message"] == record.getMessage()


def test_a_receiver_that_raises_breaks_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def fail(**kwargs: Any) -> None:
        raise ZeroDivisionError

    signals.node_down.connect(fail)
    try:
        with received(NodeDown) as found:
            down()
    finally:
        signals.node_down.disconnect(fail)
    assert len(found) == 1
    failures = [record for record in caplog.records if record.exc_info]
    assert len(failures) == 1, "one thing, one line"


def test_what_comes_often_is_told_once_a_minute(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, "galera_router")
    with received(NoTurn) as found:
        for n in range(45):
            signals.send(NoTurn, "default", f"error {n}")
            signals.send(NoTurn, "other", f"error {n}")
    assert len(found) == 90, "the signal is sent each time"
    assert caplog.messages == ["default: no turn: error 0", "other: no turn: error 0"]
    monkeypatch.setattr(NoTurn, "PAUSE", 1e-9)
    signals.send(NoTurn, "default", "error 45")
    assert caplog.messages[-1] == (
        "default: no turn: error 45 (and 44 more since that was last told)"
    )


def test_tokens_are_told_of_by_their_reason(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "galera_router")
    for _ in range(3):
        signals.send(TokenIgnored, "", "it was not signed here")
        signals.send(TokenIgnored, "", "it has expired", usual=True)
    assert [record.levelno for record in caplog.records] == [logging.WARNING, logging.INFO]


def test_what_is_learned_first_is_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "galera_router")
    for before in ("", "db2"):
        signals.send(PrimaryChanged, "default", "db1", before, "x", "host:1", False, 7)
    assert [record.levelno for record in caplog.records] == [logging.INFO, logging.WARNING]


@pytest.mark.parametrize("usual", [True, False])
def test_a_line_of_a_lower_level_is_left_out_alone(
    caplog: pytest.LogCaptureFixture, usual: bool
) -> None:
    caplog.set_level(logging.WARNING, "galera_router")
    signals.send(TokenIgnored, "", "why", usual=usual)
    signals.send(PrimaryChanged, "default", "db1", "" if usual else "db2", "x", "", False, 7)
    assert len(caplog.messages) == (0 if usual else 2)


def test_the_public_names_of_before_are_there() -> None:
    assert signals.Failover is Failover
    assert SIGNALS[Failover] is signals.failover
