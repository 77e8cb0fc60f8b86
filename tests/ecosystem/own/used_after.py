"""A program that makes and keeps test databases, and then goes on with its own."""

from __future__ import annotations

import django

from galera_router import reads

if __name__ == "__main__":
    django.setup()
    from django.test.runner import DiscoverRunner

    from tests.ecosystem.own.cases import NODES, current
    from tests.shop.models import Author

    runner = DiscoverRunner(interactive=False, keepdb=True, verbosity=0)
    kept = runner.setup_databases(aliases={"default", *NODES})
    assert Author.objects.count() == 0
    assert {current(alias) for alias in NODES} == {"test_galera_router"}
    runner.teardown_databases(kept)
    with reads("primary"):
        assert Author.objects.count() == 1
    assert Author.objects.count() == 1
    assert current("default") == "galera_router"
