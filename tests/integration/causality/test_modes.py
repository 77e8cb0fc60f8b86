"""``reads``: where a block, a function or a view reads."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.test import RequestFactory
from django.utils.decorators import method_decorator
from django.views import View

import galera_router
from galera_router import after, galera_atomic, reads
from galera_router.causality import scope
from galera_router.exceptions import ReplayMismatch
from tests.integration.causality.support import count, write
from tests.integration.support import Shop
from tests.shop.models import Author, Book


def where(shop: Shop, work: Any) -> set[str]:
    """The nodes on which ``work`` has read authors."""
    with shop.traffic() as sent:
        work()
    return {name for name, log in sent.items() if any("`shop_author`" in s for s in log)}


def in_transaction() -> None:
    with transaction.atomic():
        count()


@pytest.mark.parametrize("work", [count, in_transaction])
def test_primary(warm: Shop, work: Any) -> None:
    assert where(warm, reads("primary")(work)) == {"db1"}
    assert where(warm, work) == {"db2"}


@pytest.mark.alone
@pytest.mark.parametrize("work", [count, in_transaction])
def test_any_never_waits(warm: Shop, work: Any) -> None:
    held = warm.galera["db2"].hold_applier(), warm.galera["db3"].hold_applier()
    with held[0], held[1], scope.needing({}, request=True), reads("any"):
        Author.objects.create(name="Bea")
        began = time.monotonic()
        assert where(warm, work) == {"db2"}
        with after(write("Cleo")):
            work()
        assert time.monotonic() - began < 1.0


def test_a_snapshot_that_did_not_wait_is_not_enough_for_a_causal_read(warm: Shop) -> None:
    @galera_atomic
    def work() -> tuple[int, int]:
        with reads("any"):
            loose = Book.objects.count()
        with reads("causal"):
            return loose, count()

    with warm.galera["db2"].hold_applier(), warm.galera["db3"].hold_applier():
        Author.objects.create(name="Bea")
        assert work() == (1, 2)


def test_primary_inside_a_snapshot_promotes(warm: Shop) -> None:
    with transaction.atomic():
        assert count() == 1
        with warm.traffic() as sent, reads("primary"):
            assert Book.objects.count() == 1
    assert any("`shop_book`" in s for s in sent["db1"])


def test_primary_inside_a_snapshot_that_is_old_is_a_mismatch(warm: Shop) -> None:
    with pytest.raises(ReplayMismatch), transaction.atomic():
        assert count() == 1
        write()
        with reads("primary"):
            Book.objects.count()


def test_modes_nest_and_restore(warm: Shop) -> None:
    block = reads("any")
    assert scope.mode("default") is None
    with reads("primary"):
        with block, block:
            assert scope.mode("default") == "any"
            with reads("causal", using="other"):
                assert scope.mode("default") == "any"
                assert scope.mode("other") == "causal"
                with reads("primary"):
                    assert scope.mode("other") == "primary"
        with pytest.raises(ZeroDivisionError), reads("causal"):
            raise ZeroDivisionError
        assert scope.mode("default") == "primary"
    assert scope.mode("default") is None


@contextmanager
def fresh() -> Iterator[None]:
    with reads("primary"):
        yield


@contextmanager
def outer() -> Iterator[None]:
    with reads("any"), fresh():
        yield


@asynccontextmanager
async def afresh() -> AsyncIterator[None]:
    with reads("primary"):
        yield


def mode() -> object:
    return scope.mode("default")


def by_with() -> object:
    with fresh():
        return mode()


def by_stack() -> object:
    with ExitStack() as stack:
        stack.enter_context(fresh())
        return mode()


def within_another() -> object:
    with outer():
        return mode()


async def by_async_with() -> object:
    async with afresh():
        return await sync_to_async(mode, thread_sensitive=False)()


async def by_async_stack() -> object:
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(afresh())
        return mode()


@pytest.mark.parametrize(
    "ask",
    [
        by_with,
        by_stack,
        fresh()(mode),
        within_another,
        async_to_sync(by_async_with),
        async_to_sync(by_async_stack),
    ],
)
def test_a_contextmanagers_mode_is_its_consumers(ask: Callable[[], object]) -> None:
    assert ask() == "primary"
    assert mode() is None


def test_a_generator_within_a_contextmanager_is_still_one() -> None:
    def modes() -> Iterator[object]:
        with reads("any"):
            yield mode()

    @contextmanager
    def helper() -> Iterator[list[object]]:
        generator = modes()
        yield [next(generator), mode()]

    with helper() as found:
        assert [*found, mode()] == ["any", None, None]


def test_an_asynchronous_generator_is_refused() -> None:
    """Nothing tells when it is suspended: the mode would be its consumer's as well."""

    async def parts() -> AsyncIterator[object]:
        with reads("any"):
            yield mode()

    async def ask() -> None:
        async for _ in parts():
            pass

    with pytest.raises(TypeError, match=r"'parts'.*coroutine that reads"):
        async_to_sync(ask)()
    with pytest.raises(TypeError, match=r"parts'.*coroutine that reads"):
        reads("any")(parts)
    assert mode() is None


def test_what_the_refusal_says_works() -> None:
    @reads("any")
    async def part() -> object:
        return await sync_to_async(mode, thread_sensitive=False)()

    async def parts() -> AsyncIterator[object]:
        yield await part()

    async def ask() -> list[object]:
        return [found async for part in parts() for found in (part, mode())]

    assert async_to_sync(ask)() == ["any", None]


def test_the_default_is_an_option(warm: Shop) -> None:
    warm.configure(OPTIONS={"reads": "primary"})
    warm.warm()
    assert where(warm, count) == {"db1"}
    assert where(warm, reads("causal")(count)) <= {"db2", "db3"}
    connection.reads = "any"  # type: ignore[attr-defined]
    assert where(warm, count) <= {"db2", "db3"}


@pytest.mark.parametrize("mode", ["Primary", "", None, 7])
def test_a_wrong_mode_is_an_error(mode: Any) -> None:
    with pytest.raises(ValueError, match="primary, causal, any"):
        reads(mode)


def test_what_cannot_be_decorated_is_an_error() -> None:
    def generator() -> Iterator[int]:
        yield 1

    with pytest.raises(TypeError, match="generator"):
        reads("any")(generator)
    with pytest.raises(TypeError, match="method_decorator"):
        reads("any")(View)


def test_a_class_based_view(warm: Shop) -> None:
    seen: list[object] = []

    @method_decorator(reads("primary"), name="dispatch")
    class Page(View):
        def get(self, request: HttpRequest) -> HttpResponse:
            seen.append(scope.mode("default"))
            return TemplateResponse(request, "authors.txt", {"object_list": Author.objects.all()})

    response = Page.as_view()(RequestFactory().get("/"))
    assert seen == ["primary"]
    assert where(warm, response.render) == {"db1"}  # type: ignore[attr-defined]
    assert "render" not in vars(response)
    assert scope.mode("default") is None


def test_all_names_are_where_they_are_said_to_be() -> None:
    for name in galera_router.__all__:
        assert callable(getattr(galera_router, name))
    with pytest.raises(AttributeError):
        galera_router.nothing  # noqa: B018
