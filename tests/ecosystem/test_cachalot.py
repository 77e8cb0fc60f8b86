"""django-cachalot beside a secondary that is behind.

``tests/faults/test_s28_cachalot.py`` has what it must do beside one that is not.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from django.conf import settings

from tests.faults.children import Child
from tests.integration.support import Shop, elsewhere
from tests.shop.models import Author

pytest.importorskip("cachalot", reason="django-cachalot 2.9 is not for Django 6.1")


def create() -> None:
    Author.objects.create(name="Ann")


def update() -> None:
    Author.objects.update(name="Bob")


def names() -> list[str]:
    """What this thread reads, and what another one does."""
    return [Author.objects.get().name, elsewhere(lambda: Author.objects.get().name)]


def name_elsewhere() -> str:
    name: str = elsewhere(lambda: Author.objects.get().name)
    return name


too_old = pytest.mark.xfail(
    strict=True, raises=AssertionError, reason="the package keeps what a secondary lags behind with"
)


@pytest.fixture(params=[pytest.param("causal", marks=too_old), "primary"])
def cached(request: pytest.FixtureRequest, shop: Shop) -> Iterator[Child]:
    """A process whose threads all read on db2, or all on the primary."""
    second = shop.galera["db2"]
    databases = shop.galera.databases(
        HOST=second.host, PORT=second.port, OPTIONS={"reads": request.param}
    )
    with Child(
        databases,
        INSTALLED_APPS=[*settings.INSTALLED_APPS, "cachalot"],
        CACHES={"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}},
    ) as child:
        yield child


def test_a_read_of_another_thread_is_not_kept_for_ever(shop: Shop, cached: Child) -> None:
    """It may be old; once the secondary has the write, nobody reads the old value again.

    The package takes an answer for as new as the moment it came, so it keeps what a secondary
    that is behind has said, until the table is written to again. With ``reads="primary"`` no
    answer is behind.
    """
    cached.call(create)
    shop.settle()
    assert cached.call(names) == ["Ann", "Ann"]
    with ExitStack() as held:
        held.enter_context(shop.galera["db2"].hold_applier())
        cached.call(update)
        cached.call(name_elsewhere)
    shop.settle()
    assert cached.call(names) == ["Bob", "Bob"]
