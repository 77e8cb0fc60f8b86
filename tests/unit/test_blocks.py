"""Blocks of ``reads`` and of needs that are not left in the order in which they were entered."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import threading
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import ExitStack
from typing import Any

import pytest

from galera_router import reads
from galera_router.causality import scope
from galera_router.causality.scope import Need, needing
from galera_router.cluster.position import EVERYTHING


def mode() -> str | None:
    return scope.mode("default")


def needs() -> int:
    return len(scope.needs("default"))


def new() -> dict[str, tuple[Need, ...]]:
    return {"default": (Need(EVERYTHING),)}


def modes() -> Generator[str | None, None, None]:
    with reads("any"):
        while True:
            yield mode()


def needing_parts() -> Generator[int, None, None]:
    with needing(new()):
        while True:
            yield needs()


@pytest.fixture(autouse=True)
def nothing_is_left() -> Generator[None, None, None]:
    yield
    assert (mode(), needs(), scope.in_request()) == (None, 0, False)


# --- generators ---------------------------------------------------------------------------


def test_a_generator_that_is_closed_late_ends_its_own_block() -> None:
    parts = modes()
    assert next(parts) == "any"
    with reads("primary"):
        parts.close()
        assert mode() == "primary"
    assert scope.raw() is scope._NOTHING


def test_two_generators_are_closed_in_the_order_in_which_they_began() -> None:
    one, other = modes(), needing_parts()
    assert (next(one), next(other)) == ("any", 1)
    one.close()
    assert (next(other), mode()) == (1, None)
    assert not scope.current().modes
    other.close()
    assert scope.raw() is scope._NOTHING


@pytest.mark.parametrize("outer", [lambda: reads("primary"), lambda: needing({})])
def test_a_generator_outlives_the_block_that_it_was_begun_in(outer: Callable[[], Any]) -> None:
    with outer():
        some, others = modes(), needing_parts()
        assert (next(some), next(others)) == ("any", 1)
    assert (next(some), next(others), mode()) == ("any", 1, None)
    some.close()
    others.close()
    assert scope.raw() is scope._NOTHING


def test_a_request_ends_with_what_was_begun_in_it() -> None:
    with needing({}, request=True):
        some, others = modes(), needing_parts()
        assert (next(some), next(others)) == ("any", 1)
        with ExitStack() as stack:
            stack.enter_context(reads("primary"))
            stack.pop_all()
    assert scope.raw() is scope._NOTHING
    others.close()


def test_a_request_ends_though_what_was_around_it_has_ended_before() -> None:
    parts = needing_parts()
    next(parts)
    with needing({}, request=True):
        parts.close()
        assert (needs(), scope.in_request()) == (1, True)
    assert scope.raw() is scope._NOTHING


# --- what was started in a block ----------------------------------------------------------


def test_a_copy_of_the_context_keeps_the_blocks_that_it_was_made_in() -> None:
    with reads("primary"), needing(new()):
        context = contextvars.copy_context()

    def later() -> tuple[str | None, int]:
        with reads("any"):
            assert mode() == "any"
        return mode(), needs()

    assert context.run(later) == ("primary", 1)


def in_thread(rules: scope.Scope) -> str | None:
    found: list[str | None] = []

    def work() -> None:
        with scope.within(rules):
            found.append(mode())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return found[0]


def test_what_a_generator_has_started_keeps_its_mode_while_it_is_suspended() -> None:
    def starts() -> Generator[scope.Scope, None, None]:
        with reads("primary"), needing({}):
            yield scope.lasting()

    parts = starts()
    assert (in_thread(next(parts)), mode()) == ("primary", None)
    parts.close()


def test_what_its_consumer_starts_does_not_have_it() -> None:
    parts = modes()
    next(parts)
    assert in_thread(scope.lasting()) is None
    parts.close()


# --- left by another task or thread -------------------------------------------------------


def test_a_task_leaves_the_block_of_its_starter() -> None:
    """As ``asyncio.shield`` and ``wait_for`` do it with ``AsyncExitStack.aclose()``."""

    async def work() -> None:
        with ExitStack() as stack:
            stack.enter_context(reads("any"))
            closing = stack.pop_all()

        async def close() -> None:
            closing.close()
            assert mode() is None

        assert mode() == "any"
        await asyncio.create_task(close())
        assert mode() is None
        with reads("primary"):
            assert mode() == "primary"
        assert scope.raw() is scope._NOTHING

    asyncio.run(work())


@pytest.mark.parametrize("copied", [True, False], ids=["as to_thread", "a plain thread"])
def test_a_thread_leaves_the_block_of_its_starter(copied: bool) -> None:
    stack = ExitStack()
    stack.enter_context(reads("any"))
    run = contextvars.copy_context().run if copied else contextvars.Context().run
    thread = threading.Thread(target=run, args=(stack.close,))
    scope.inherit(thread)
    thread.start()
    thread.join()
    assert mode() is None
    with reads("primary"):
        assert mode() == "primary"
    assert scope.raw() is scope._NOTHING


def test_a_block_is_left_where_nobody_knows_it() -> None:
    block = reads("any")
    contextvars.Context().run(block.__enter__)
    block.__exit__()
    assert scope.raw() is scope._NOTHING


def test_asynchronous_generators_that_are_given_up_do_not_add_up() -> None:
    """Their loop closes them in tasks of its own."""

    async def parts() -> AsyncIterator[int]:
        with needing(new()):
            yield needs()

    async def work() -> list[int]:
        found = []
        for _ in range(5):
            async for part in parts():
                found.append(part)
                break
            gc.collect()
            await asyncio.sleep(0.01)
        return found

    assert set(asyncio.run(work())) == {1}
