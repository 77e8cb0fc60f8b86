"""The places where transactions are opened, and what is remembered of them."""

from __future__ import annotations

import functools
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ContextDecorator, ExitStack, contextmanager
from typing import Any

import pytest

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")

from django.core.handlers.base import BaseHandler
from django.db import connections, transaction
from django.db.backends.dummy.base import DatabaseWrapper
from django.test import RequestFactory
from django.views import View

from galera_router.transactions import places
from galera_router.transactions.places import (
    NOWHERE,
    READS,
    Place,
    Places,
    current_place,
    function_place,
)


class Opened(DatabaseWrapper):
    """A database that only notes where transactions are opened."""

    def __init__(self) -> None:
        super().__init__({"OPTIONS": {}, "TIME_ZONE": None}, alias="default")
        self.autocommit = True
        self.places: list[Place] = []

    def ensure_connection(self) -> None: ...

    def _set_autocommit(self, autocommit: bool) -> None:
        if not autocommit:
            self._note()

    def _note(self) -> None:
        self.places.append(current_place())

    def _commit(self) -> None: ...

    def _savepoint(self, sid: str) -> None: ...

    _savepoint_commit = _savepoint

    def _rollback(self) -> None: ...

    def close_if_unusable_or_obsolete(self) -> None: ...


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Place]:
    """The places of the test's transactions, as they are opened."""
    wrapper = Opened()
    monkeypatch.setattr(transaction, "get_connection", lambda using=None: wrapper)
    return wrapper.places


def next_line() -> Place:
    frame = sys._getframe(1)
    return frame.f_code.co_filename, frame.f_lineno + 1


def of(function: Callable[..., Any]) -> Place:
    return function.__code__.co_filename, function.__code__.co_firstlineno


def read() -> None:
    """What is decorated."""


# --- with statements ----------------------------------------------------------------------


def test_a_with_statement_is_a_line(opened: list[Place]) -> None:
    expected = next_line()
    with transaction.atomic():
        pass
    assert opened == [expected]


def test_two_blocks_of_one_function_are_two_places(opened: list[Place]) -> None:
    with transaction.atomic():
        pass
    with transaction.atomic():
        pass
    assert len(set(opened)) == 2


def test_the_same_line_is_the_same_place(opened: list[Place]) -> None:
    for _ in range(3):
        with transaction.atomic():
            pass
    assert len(opened) == 3
    assert len(set(opened)) == 1


def test_a_nested_block_opens_nothing(opened: list[Place]) -> None:
    expected = next_line()
    with transaction.atomic():
        with transaction.atomic():
            pass
        transaction.atomic(read)()
    assert opened == [expected]


def test_autocommit_is_turned_off_by_hand(opened: list[Place]) -> None:
    expected = next_line()
    transaction.set_autocommit(False)
    transaction.set_autocommit(True)
    assert opened == [expected]


def test_several_managers_in_one_statement(opened: list[Place]) -> None:
    expected = next_line()
    with ExitStack(), transaction.atomic():
        pass
    assert opened == [expected]


def test_an_exit_stack_is_looked_through(opened: list[Place]) -> None:
    with ExitStack() as stack:
        expected = next_line()
        stack.enter_context(transaction.atomic())
    assert opened == [expected]


def test_a_generator_opens_where_its_statement_is(opened: list[Place]) -> None:
    expected: list[Place] = []

    def rows() -> Iterator[int]:
        expected.append(next_line())
        with transaction.atomic():
            yield 1

    assert list(rows()) == [1]
    assert next(iter(rows())) == 1
    assert opened == expected


def test_a_caller_that_opens_nothing_is_its_own_place() -> None:
    expected = next_line()
    assert current_place() == expected


def test_frames_of_this_package_are_looked_through(opened: list[Place]) -> None:
    """Wherever they come in between."""
    words: dict[str, Any] = {"transaction": transaction}
    code = "def run():\n    with transaction.atomic():\n        pass\n"
    exec(compile(code, os.path.join(os.path.dirname(places.__file__), "x.py"), "exec"), words)
    expected = next_line()
    words["run"]()
    assert opened == [expected]


# --- helpers of the application -----------------------------------------------------------


def in_a_transaction(work: Callable[[], Any]) -> Any:
    with transaction.atomic():
        return work()


@contextmanager
def unit_of_work() -> Iterator[None]:
    with transaction.atomic():
        yield


class Unit(ContextDecorator):
    """A context manager around Django's."""

    def __enter__(self) -> None:
        self._atomic = transaction.atomic()
        self._atomic.__enter__()

    def __exit__(self, *args: Any) -> None:
        self._atomic.__exit__(*args)


def test_a_function_that_opens_for_others_is_one_place(opened: list[Place]) -> None:
    in_a_transaction(read)
    in_a_transaction(lambda: 1)
    file, line = of(in_a_transaction)
    assert opened == [(file, line + 1)] * 2


@pytest.mark.parametrize("manager", [unit_of_work, Unit])
def test_a_context_manager_is_looked_through(
    opened: list[Place], manager: Callable[[], Any]
) -> None:
    expected = next_line()
    with manager():
        pass
    assert opened == [expected]


def test_managers_in_a_stack_are_looked_through(opened: list[Place]) -> None:
    with ExitStack() as stack:
        expected = next_line()
        stack.enter_context(unit_of_work())
    assert opened == [expected]


@pytest.mark.parametrize("manager", [unit_of_work, Unit])
def test_a_function_decorated_with_a_context_manager(
    opened: list[Place], manager: Callable[[], Any]
) -> None:
    manager()(read)()
    assert opened == [of(read)]


# --- decorated functions ------------------------------------------------------------------


@pytest.mark.parametrize("decorator", [transaction.atomic, transaction.atomic(durable=True)])
def test_a_decorated_function_is_the_place(opened: list[Place], decorator: Any) -> None:
    @decorator  # type: ignore[untyped-decorator]
    def work() -> None: ...

    work()
    (lambda: work())()
    assert opened == [of(work.__wrapped__)] * 2


def test_lambdas_are_places_of_their_own(opened: list[Place]) -> None:
    first: Callable[[], int] = lambda: 1  # noqa: E731
    second: Callable[[], int] = lambda: 2  # noqa: E731
    for function in (first, second):
        transaction.atomic(function)()
    assert opened == [of(first), of(second)]


def test_a_method_that_is_decorated(opened: list[Place]) -> None:
    class Service:
        @transaction.atomic
        def work(self) -> None: ...

        def plain(self) -> None: ...

    Service().work()
    transaction.atomic(Service().plain)()
    assert opened == [of(Service.work.__wrapped__), of(Service.plain)]  # type: ignore[attr-defined]


def test_a_partial_function_is_looked_through(opened: list[Place]) -> None:
    transaction.atomic(functools.partial(functools.partial(read)))()
    assert opened == [of(read)]


def test_other_decorators_are_looked_through(opened: list[Place]) -> None:
    def traced(function: Callable[[], Any]) -> Callable[[], Any]:
        @functools.wraps(function)
        def wrapper() -> Any:
            return function()

        return wrapper

    transaction.atomic(traced(traced(read)))()
    traced(transaction.atomic(read))()
    assert opened == [of(read)] * 2


def test_an_object_that_is_called(opened: list[Place]) -> None:
    class Work:
        def __call__(self) -> None: ...

    transaction.atomic(Work())()
    assert opened == [of(Work.__call__)]


def test_a_function_that_is_not_written_in_python(opened: list[Place]) -> None:
    transaction.atomic(len)("abc")
    assert opened == [("builtins.builtin_function_or_method", 0)]


def test_an_object_that_raises_when_it_is_asked(opened: list[Place]) -> None:
    class Proxy:
        def __getattr__(self, name: str) -> Any:
            raise RuntimeError(name)

        def __call__(self) -> None: ...

    class Endless:
        def __getattr__(self, name: str) -> Endless:
            return self

        def __call__(self) -> None: ...

    assert function_place(Proxy()) == of(Proxy.__call__)
    assert function_place(Endless()) != NOWHERE
    assert opened == []


# --- frameworks ---------------------------------------------------------------------------


class Task:
    """As in Celery: an object with the function in ``run``, called by a worker."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.run = function
        self.__wrapped__ = function

    def __call__(self, *args: Any) -> Any:
        return self.run(*args)


def test_a_task_of_a_decorated_function(opened: list[Place]) -> None:
    Task(transaction.atomic(read))()
    assert opened == [of(read)]


def test_a_decorated_task(opened: list[Place]) -> None:
    transaction.atomic(Task(read))()
    assert opened == [of(read)]


class Listing(View):
    """One view of a class."""


class Detail(View):
    """Another: both are run by the same function of Django's."""


def test_a_view_that_atomic_requests_decorates(
    opened: list[Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)
    for view in (lambda request: request, Listing.as_view()):
        BaseHandler().make_view_atomic(view)(RequestFactory().get("/"))
        assert opened.pop() == function_place(view)


def test_views_of_classes_are_told_apart() -> None:
    assert function_place(Listing.as_view()) != function_place(Detail.as_view())
    view = functools.wraps(Listing.as_view())(lambda request: None)
    assert function_place(view) == function_place(Listing.as_view())


def test_views_of_functions_of_django_rest_framework() -> None:
    """It makes a class for each, in the module of the function."""

    def made(name: str) -> Callable[..., Any]:
        class WrappedAPIView(View): ...

        WrappedAPIView.__name__ = name
        return WrappedAPIView.as_view()

    assert function_place(made("first")) != function_place(made("second"))


def test_a_method_of_a_view(opened: list[Place]) -> None:
    class ViewSet:
        def dispatch(self, action: str) -> None:
            getattr(self, action)()

        @transaction.atomic
        def create(self) -> None: ...

        def list(self) -> None:
            with transaction.atomic():
                pass

    ViewSet().dispatch("create")
    ViewSet().dispatch("list")
    file, line = of(ViewSet.list)
    assert opened == [of(ViewSet.create.__wrapped__), (file, line + 1)]  # type: ignore[attr-defined]


# --- what is remembered -------------------------------------------------------------------

HERE: Place = ("shop.py", 12)
THERE: Place = ("shop.py", 30)


def test_a_new_place_begins_on_the_primary() -> None:
    assert Places().begins_on_primary(HERE)


def test_a_place_that_only_reads_leaves_the_primary() -> None:
    known = Places()
    for _ in range(READS):
        assert known.begins_on_primary(HERE)
        known.note(HERE, wrote=False)
    assert not known.begins_on_primary(HERE)
    assert known.begins_on_primary(THERE)


@pytest.mark.parametrize("reads", [0, 1, READS, READS + 1])
def test_a_place_that_has_written_stays_on_the_primary(reads: int) -> None:
    known = Places()
    for _ in range(reads):
        known.note(HERE, wrote=False)
    known.note(HERE, wrote=True)
    for _ in range(READS + 1):
        known.note(HERE, wrote=False)
    assert known.begins_on_primary(HERE)


@pytest.mark.parametrize("wrote", [False, True])
def test_the_oldest_places_are_forgotten(wrote: bool) -> None:
    known = Places(limit=100, reads=1)
    for line in range(1000):
        known.note(("shop.py", line), wrote)
    assert len(known._reads) + len(known._wrote) <= 100
    assert known.begins_on_primary(("shop.py", 0)), "as a new one"
    assert known.begins_on_primary(("shop.py", 999)) == wrote


def test_a_write_is_not_forgotten_for_new_places_that_read() -> None:
    known = Places(limit=100, reads=1)
    known.note(HERE, wrote=True)
    for line in range(1000, 2000):
        known.note(("shop.py", line), wrote=False)
    known.note(HERE, wrote=False)
    assert known.begins_on_primary(HERE)


def test_a_write_that_is_noted_in_the_middle_of_a_read() -> None:
    known = Places(reads=1)

    class Crossing(dict[Place, int]):
        def get(self, place: Place, default: Any = None) -> Any:
            count = super().get(place, default)
            known._wrote[place] = True  # as another thread's ``note``
            return count

    known._reads = Crossing()
    known.note(HERE, wrote=False)
    known._reads = dict(known._reads)
    assert known.begins_on_primary(HERE)


def test_threads_never_lose_a_write() -> None:
    """However their notes of reads and writes cross, and while places are forgotten."""
    lines = range(400)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(5):
            known = Places(limit=500)
            noters = [
                functools.partial(note_all, known, lines, wrote) for wrote in (False, True, False)
            ]
            run_at_once(*noters, functools.partial(note_all, Places(limit=10), lines, False))
            assert all(known.begins_on_primary(("shop.py", line)) for line in lines)
    finally:
        sys.setswitchinterval(before)


def note_all(known: Places, lines: range, wrote: bool) -> None:
    for line in lines:
        for _ in range(1 if wrote else READS + 1):
            known.note(("shop.py", line), wrote)


def run_at_once(*functions: Callable[[], Any]) -> None:
    failures: list[Exception] = []

    def run(function: Callable[[], Any]) -> None:
        try:
            function()
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=[function]) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert failures == []


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_goes_on_with_what_is_known() -> None:
    known = Places(reads=1)
    known.note(HERE, wrote=True)
    child = os.fork()
    if child == 0:
        known.note(THERE, wrote=False)
        good = known.begins_on_primary(HERE) and not known.begins_on_primary(THERE)
        os._exit(0 if good else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert known.begins_on_primary(THERE), "the parent has not seen it"
