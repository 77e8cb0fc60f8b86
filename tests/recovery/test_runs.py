"""What one run has done, wherever: in its thread, in those it starts, in the jobs it gives."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any
from weakref import WeakSet

import pytest
from asgiref.sync import async_to_sync, sync_to_async

from galera_router.recovery import runs
from galera_router.recovery.runs import Run

COMMITTED = "something was committed on 'plain'"


def commit() -> None:
    runs.note_commit("plain")


def in_thread(work: Callable[[], Any]) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def in_job(work: Callable[[], Any]) -> None:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(work).result()


def in_a_timer(work: Callable[[], Any]) -> None:
    timer = threading.Timer(0, work)
    timer.start()
    timer.join()


def by_asgiref(work: Callable[[], Any]) -> None:
    async_to_sync(sync_to_async(work, thread_sensitive=False))()


def in_the_loops_executor(work: Callable[[], Any]) -> None:
    async def run() -> None:
        await asyncio.get_running_loop().run_in_executor(None, work)

    asyncio.run(run())


WAYS: dict[str, Callable[[Callable[[], Any]], None]] = {
    "here": lambda work: work(),
    "thread": in_thread,
    "thread of a thread": lambda work: in_thread(lambda: in_thread(work)),
    "thread of a job": lambda work: in_job(lambda: in_thread(work)),
    "job of a thread": lambda work: in_thread(lambda: in_job(work)),
    "job": in_job,
    "timer": in_a_timer,
    "asgiref": by_asgiref,
    "executor of a loop": in_the_loops_executor,
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_commit_is_noted(way: Callable[[Callable[[], Any]], None]) -> None:
    with Run() as run:
        assert run.obstacle() is None
        way(commit)
    assert run.obstacle() == COMMITTED


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_what_an_inner_run_has_done_the_outer_has_done(
    way: Callable[[Callable[[], Any]], None],
) -> None:
    def inner() -> None:
        with Run() as inner:
            commit()
        assert inner.obstacle() == COMMITTED

    with Run() as run:
        way(inner)
    assert run.obstacle() == COMMITTED


def test_an_inner_run_has_not_done_what_the_outer_has() -> None:
    with Run() as outer:
        commit()
        with Run() as inner:
            pass
    assert inner.obstacle() is None
    assert outer.obstacle() == COMMITTED


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_reading_anywhere_is_nothing(way: Callable[[Callable[[], Any]], None]) -> None:
    with Run() as run:
        way(lambda: None)
    assert run.obstacle() is None


def test_what_others_do_is_none_of_ours() -> None:
    """Another run, or a thread that was there before and has no run at all."""
    begin, done = threading.Event(), threading.Event()

    def work() -> None:
        begin.wait(10)
        commit()
        with Run():
            commit()
        done.set()

    thread = threading.Thread(target=work)
    thread.start()
    with Run() as run:
        begin.set()
        done.wait(10)
    thread.join()
    assert run.obstacle() is None


def test_a_pools_thread_belongs_to_no_run() -> None:
    """One that an earlier run has made, for a job of nobody's."""
    with ThreadPoolExecutor(1) as pool:
        with Run() as run:
            pool.submit(lambda: None).result()
        pool.submit(commit).result()
        assert run.obstacle() is None
        with Run() as other:
            pool.submit(commit).result()
        assert (run.obstacle(), other.obstacle()) == (None, COMMITTED)


def test_a_thread_that_still_runs_may_yet_commit() -> None:
    end = threading.Event()
    with Run() as outer, Run() as run:
        thread = threading.Thread(target=end.wait, args=(10,))
        thread.start()
    assert run.obstacle() == outer.obstacle() == "a thread that it started is still running"
    end.set()
    thread.join()
    assert run.obstacle() is outer.obstacle() is None


def test_a_job_that_is_not_done_may_yet_commit() -> None:
    end = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        with Run() as run:
            first = pool.submit(end.wait, 10)
            second = pool.submit(commit)
        assert run.obstacle() == "a job that it gave to an executor is not done"
        assert second.cancel()
        end.set()
        assert first.result()
        assert run.obstacle() is None


@pytest.mark.parametrize("done", [False, True])
def test_much_that_it_has_begun_takes_no_longer(done: bool) -> None:
    """To look through all of it each time would take 5,000 times 5,000 looks."""
    looks: list[None] = []

    class Job(Future[None]):
        def done(self) -> bool:
            looks.append(None)
            return super().done()

    run, jobs = Run(), WeakSet[Job]()
    for _ in range(5000):
        jobs.add(job := Job())
        if done:
            job.set_result(None)
        run.note_job(job)
    assert len(looks) < 20_000
    assert (len(jobs) < 100) is done, "it does not keep what is done"
    last = Job()
    run.note_job(last)
    assert run.obstacle() == "a job that it gave to an executor is not done"
    if done:
        last.set_result(None)
        assert run.obstacle() is None


TASK = "an asyncio task that it started is not done"
tells_context = pytest.mark.skipif(
    sys.version_info < (3, 12), reason="a task does not tell its context"
)


@tells_context
def test_a_task_that_is_not_done_may_yet_commit() -> None:
    async def work() -> None:
        end = asyncio.Event()
        others = asyncio.create_task(end.wait())
        with Run() as outer:
            with Run() as run:
                task = asyncio.create_task(end.wait())
            with Run() as other:
                pass
        assert (run.obstacle(), outer.obstacle(), other.obstacle()) == (TASK, TASK, None)
        await asyncio.sleep(0)
        assert not others.done()
        end.set()
        await task
        assert run.obstacle() is outer.obstacle() is None

    asyncio.run(work())


@tells_context
def test_a_task_that_a_thread_has_the_loop_start() -> None:
    """The run is in a thread that asgiref has called; its coroutines run in the loop."""
    tasks: list[asyncio.Task[bool]] = []

    def sync(end: asyncio.Event) -> None:
        async def start() -> None:
            tasks.append(asyncio.create_task(end.wait()))

        with Run() as run:
            async_to_sync(start)()
        assert run.obstacle() == TASK

    async def work() -> None:
        end = asyncio.Event()
        await sync_to_async(sync)(end)
        end.set()
        await tasks[0]

    asyncio.run(work())


def test_without_a_loop_there_are_no_tasks() -> None:
    with Run() as run:
        asyncio.run(asyncio.sleep(0))
    assert run.obstacle() is None


def test_a_thread_of_our_own_may_still_run() -> None:
    end = threading.Event()
    with Run() as run:
        thread = threading.Thread(target=end.wait, args=(10,), name="galera_router: watchdog")
        thread.start()
    assert run.obstacle() is None
    end.set()
    thread.join()


def test_hooks_count_and_are_told_of() -> None:
    told: list[str] = []
    with Run(lambda: told.append("hooks")) as run:
        runs.note_hooks("plain")
    assert run.obstacle() == "on_commit hooks of 'plain' were run"
    assert told == ["hooks"]
