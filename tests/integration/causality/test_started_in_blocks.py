"""What was started in a block keeps its rules, though the block is left before it reads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager

import pytest
from asgiref.sync import sync_to_async
from django.db import connections

from galera_router import after, carry_scope, reads
from galera_router.causality import scope
from tests.integration.causality.support import late
from tests.integration.causality.test_modes import where
from tests.integration.support import Shop, elsewhere
from tests.shop.models import Author

Block = Callable[[], AbstractContextManager[None]]


def count() -> int:
    try:
        return Author.objects.count()
    finally:
        connections.close_all()


def with_a_block_of_its_own() -> int:
    with reads("causal"):
        pass
    return count()


def in_a_task(block: Block, work: Callable[[], int]) -> int:
    async def child(go: asyncio.Event) -> int:
        await go.wait()
        if work is with_a_block_of_its_own:  # in the coroutine as well
            with reads("causal"):
                pass
        return await sync_to_async(work)()

    async def parent() -> int:
        go = asyncio.Event()
        with block():
            task = asyncio.create_task(child(go))
        go.set()
        return await task

    return asyncio.run(parent())


def in_a_thread(block: Block, work: Callable[[], int]) -> int:
    go, found = threading.Event(), list[int]()

    def child() -> None:
        go.wait(10)
        found.append(work())

    with block():
        thread = threading.Thread(target=child)
        thread.start()
    go.set()
    thread.join()
    return found[0]


def in_a_job(block: Block, work: Callable[[], int]) -> int:
    go = threading.Event()

    def child() -> int:
        go.wait(10)
        return work()

    with ThreadPoolExecutor(1) as pool:
        with block():
            job = pool.submit(child)
        go.set()
        return job.result()


def carried(block: Block, work: Callable[[], int]) -> int:
    with block():
        function = carry_scope(work)
    found: int = elsewhere(function)
    return found


ways = pytest.mark.parametrize("way", [in_a_task, in_a_thread, in_a_job, carried])
works = pytest.mark.parametrize("work", [count, with_a_block_of_its_own])
Way = Callable[[Block, Callable[[], int]], int]


def primary() -> AbstractContextManager[None]:
    return reads("primary")


@contextmanager
def around_another() -> Iterator[None]:
    """The mode is that of an outer block, and both are left."""
    with reads("primary"), after(""):
        yield


@ways
@works
@pytest.mark.parametrize("block", [primary, around_another])
def test_a_mode_is_kept(warm: Shop, way: Way, block: Block, work: Callable[[], int]) -> None:
    assert where(warm, lambda: way(block, work)) == {"db1"}
    assert scope.mode("default") is None


@ways
@works
def test_a_token_is_kept(warm: Shop, way: Way, work: Callable[[], int]) -> None:
    with late(warm) as token:
        assert elsewhere(lambda: way(lambda: after(token), work)) == 2
        assert scope.needs("default") == ()


@pytest.mark.parametrize("submits", [False, True], ids=["a thread", "a job"])
def test_a_generators_mode_is_kept_while_it_is_suspended(warm: Shop, submits: bool) -> None:
    go = threading.Event()

    def child() -> int:
        go.wait(10)
        return count()

    def starts(pool: ThreadPoolExecutor) -> Iterator[Callable[[], object]]:
        with reads("primary"), after(""):
            thread = threading.Thread(target=child)
            wait = pool.submit(child).result if submits else thread.join
            if not submits:
                thread.start()
            yield wait

    def work() -> None:
        with ThreadPoolExecutor(1) as pool:
            parts = starts(pool)
            wait = next(parts)
            go.set()
            wait()
            assert list(parts) == []

    assert where(warm, work) == {"db1"}
    assert scope.mode("default") is None
