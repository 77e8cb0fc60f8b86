"""What the tests of the instrumentations share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from galera_router import instrumentation
from galera_router.events import Event
from galera_router.instrumentation import Instrumentation

E = TypeVar("E", bound=Event)


class Recorder:
    """Keeps all events, in the order in which they were sent."""

    def __init__(self) -> None:
        self.found: list[Event] = []

    def event(self, event: Event) -> None:
        self.found.append(event)

    def of(self, kind: type[E]) -> list[E]:
        return [event for event in self.found if isinstance(event, kind)]


@contextmanager
def installed(*listeners: Instrumentation) -> Iterator[None]:
    instrumentation.install(*listeners)
    try:
        yield
    finally:
        instrumentation.uninstall(*listeners)


@contextmanager
def recorded() -> Iterator[Recorder]:
    recorder = Recorder()
    with installed(recorder):
        yield recorder
