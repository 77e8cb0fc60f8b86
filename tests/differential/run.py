"""One run of a programme: what it has in hand, and the account of what it saw."""

from __future__ import annotations

import datetime
import decimal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal
from unittest import mock

from django.apps import apps
from django.db import (
    DEFAULT_DB_ALIAS,
    OperationalError,
    connection,
    connections,
    models,
    router,
    transaction,
)

from tests.differential.language import OPS, Programme, Step
from tests.differential.seeds import key_name

Event = list[Any]  # where, what, the outcome, in_atomic_block


@dataclass(frozen=True)
class Loss:
    """The connection is lost at a step.

    Attributes:
        step: its number, counted from 1 as they begin.
        error: the name of the exception that tells of it.
        when: "before" the step, "after" it, or in its first "commit", which the server carries out.
    """

    step: int
    error: str
    when: Literal["before", "commit", "after"]

    def make(self) -> Exception:
        """The exception that tells of it."""
        lost: Exception = type(self.error, (OperationalError,), {})("lost")
        return lost


class Run:
    """Carries out the steps of a programme and writes down what each has given.

    Args:
        number: of the programme; all keys of its rows are derived from it.
        loss: a step at which the connection is lost.

    Attributes:
        started: how many steps and hooks have begun.
        failed_at: number and exception of each that has raised, in the order of raising.
    """

    def __init__(self, number: int, loss: Loss | None = None) -> None:
        self.number = number
        self._loss = loss
        self.started = 0
        self.failed_at: list[list[Any]] = []
        self.events: list[Event] = []
        self.hooks = 0
        self.author: Any = None
        self.book: Any = None
        self.half: Iterator[Any] = iter(())
        self.cursors: dict[int, Any] = {}
        self.unread: int | None = None  # the cursor that may have answers left
        self.savepoints: list[Any] = []
        self._place: tuple[int, ...] = ()
        for model in apps.get_app_config("shop").get_models():
            setattr(self, model.__name__, model)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)  # the models are set above, for mypy they are Any

    def programme(self, programme: Programme) -> None:
        """Do all its steps; an exception of one does not keep the next from being done."""
        check_ops(programme.steps)
        for place, step in enumerate(programme.steps):
            try:
                self._step(step, (place,))
            except Exception:
                self.state("after the exception")

    def steps(self, steps: Sequence[Step]) -> None:
        """Do the steps; an exception ends them and is raised."""
        check_ops(steps)
        self._steps(steps, ())

    def warm(self) -> None:
        """Connect, as in a worker that has been running for a while, and read once."""
        with connection.cursor() as cursor:
            cursor.execute("DO 0")
        self.Author.objects.count()

    def afterwards(self) -> None:
        """What an application does next: a row of its own, and reads in and outside a block."""
        self.events.clear()
        self._place = ()
        acts: tuple[tuple[str, Callable[[], Any]], ...] = (
            ("state", self.seen_state),
            ("write", lambda: self.Shelf.objects.create(code="after", room=9).code),
            ("read", self._everything),
            ("read in a block", self._everything_in_a_block),
        )
        for what, act in acts:
            try:
                self.note(what, act())
            except Exception as error:
                self.note(what, {"raised": describe(error)})

    def _everything_in_a_block(self) -> Any:
        with transaction.atomic():
            return self._everything()

    def _everything(self) -> Any:
        models = (self.Author, self.Book, self.Tag, self.Shelf)
        return [sorted(model.objects.values_list()) for model in models]

    def finish(self) -> None:
        """Let go of what is still open, and say what state the connection is in."""
        self.half = iter(())
        for cursor in self.cursors.values():
            try:
                cursor.close()
            except Exception as error:
                self.note("closed at the end", {"raised": describe(error)})
        self.cursors.clear()
        self.state("at the end")

    def _steps(self, steps: Sequence[Step], place: tuple[int, ...]) -> None:
        for number, step in enumerate(steps):
            self._step(step, (*place, number))

    def _step(self, step: Step, place: tuple[int, ...]) -> None:
        op = OPS[step.op]
        args: list[Any] = list(step.args)
        if op.is_block:
            args.append(lambda: self._steps(step.body, place))
        seen = self.counted(step.op, lambda: op.act(self, *args), place)
        self.note(step.op, seen)

    def counted(
        self, what: str, act: Callable[[], Any], place: tuple[int, ...] | None = None
    ) -> Any:
        """Do ``act`` as one of the things at which the connection may be lost.

        Args:
            what: the name of its failure among the events.
            place: where it stands; without, where the run is.
        """
        place = self._place if place is None else place
        self._place = place
        self.started += 1
        number = self.started
        try:
            return self._act(number, act)
        except Exception as error:
            self._place = place
            self.failed_at.append([number, describe(error)[0]])
            self.note(what, {"raised": describe(error)})
            raise
        finally:
            self._place = place

    def _act(self, number: int, act: Callable[[], Any]) -> Any:
        loss = self._loss
        if loss is None or loss.step != number:
            return act()
        try:
            if loss.when == "after":
                self._untold(act)
            elif loss.when == "commit":
                with _losing_a_commit(loss):
                    act()
        finally:
            connection.close()
            self.cursors.clear()  # the router's outlive their connection
        raise loss.make()

    def _untold(self, act: Callable[[], Any]) -> None:
        """Do ``act``; what it gives is not taken in hand."""
        author, book = self.author, self.book
        made = act()
        self.author = author if made is self.author else self.author
        self.book = book if made is self.book else self.book

    def note(self, what: str, seen: Any) -> None:
        """Write down ``seen`` as the outcome of the step at hand."""
        place = ".".join(map(str, self._place))
        self.events.append([place, what, self.plain(seen), connection.in_atomic_block])

    def state(self, when: str) -> None:
        """Write down the state of the connection."""
        try:
            self.note(f"state {when}", self.seen_state())
        except Exception as error:
            self.note(f"state {when}", {"raised": describe(error)})

    def seen_state(self) -> Any:
        inside = connection.in_atomic_block
        return [inside, transaction.get_autocommit(), inside and transaction.get_rollback()]

    def model(self, name: str) -> Any:
        return getattr(self, name)

    def an_author(self) -> Any:
        """The one in hand, or else the first."""
        if self.author is None or self.author.pk is None:
            self.author = self.Author.objects.order_by("pk").first()
        if self.author is None:
            raise LookupError("no author")
        return self.author

    def a_book(self) -> Any:
        """The one in hand, or else the first."""
        if self.book is None or self.book.pk is None:
            self.book = self.Book.objects.order_by("pk").first()
        if self.book is None:
            raise LookupError("no book")
        return self.book

    def cursor(self, slot: int) -> Any:
        """The cursor that stays open there."""
        if slot not in self.cursors:
            self.cursors[slot] = connection.cursor()
        return self.cursors[slot]

    def alias(self, name: str) -> str:
        """The database that Django names for it."""
        asked: dict[str, Callable[[], Any]] = {
            "default": lambda: "default",
            "queryset": lambda: self.Author.objects.all().db,
            "manager": lambda: self.Author.objects.db,
            "instance": lambda: self.an_author()._state.db,
            "for_read": lambda: router.db_for_read(self.Author),
            "for_write": lambda: router.db_for_write(self.Author),
        }
        return str(asked[name]())

    def tied(self, rows: list[Any], key: int) -> Any:
        """Rows in the order of a column, and those that tie in it in any."""
        return [[value, sorted(same)] for value, same in groupby(rows, lambda row: row[key])]

    def plain(self, value: Any) -> Any:
        """``value`` as JSON has it, with keys by their names."""
        if isinstance(value, models.Model):
            fields = [getattr(value, field.attname) for field in value._meta.concrete_fields]
            return [type(value).__name__, *map(self.plain, fields)]
        if isinstance(value, bool) or value is None:
            return value
        if isinstance(value, int):
            return key_name(self.number, value)
        if isinstance(value, (list, tuple)):
            return [self.plain(each) for each in value]
        if isinstance(value, dict):
            return {str(name): self.plain(each) for name, each in value.items()}
        if isinstance(value, decimal.Decimal):
            return key_name(self.number, int(value)) if value == int(value) else str(value)
        if isinstance(value, (datetime.date, float)):
            return str(value)
        return value.decode("latin-1") if isinstance(value, bytes) else str(value)


@contextmanager
def _losing_a_commit(loss: Loss) -> Iterator[None]:
    """Have each COMMIT in the block be done, and fail."""
    wrapper: Any = connections[DEFAULT_DB_ALIAS]
    commit = wrapper._commit

    def lost() -> None:
        commit()
        raise loss.make()

    with mock.patch.object(wrapper, "_commit", lost):
        yield


def check_ops(steps: Sequence[Step]) -> None:
    """Raise ValueError for an op that is not declared: it would fail alike on both sides."""
    for step, _ in Programme(tuple(steps)).walk():
        if step.op not in OPS:
            raise ValueError(f"no such op: {step.op}")


def describe(error: BaseException) -> list[Any]:
    """The exception's class, and the server's number if it has one."""
    number = error.args[0] if error.args and isinstance(error.args[0], int) else None
    return [type(error).__name__, number]
