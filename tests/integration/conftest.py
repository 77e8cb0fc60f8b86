"""Django on the running cluster: one database, migrated once, emptied before each test."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from typing import Any

import django
import pytest

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
django.setup()

from django.conf import settings  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connections  # noqa: E402
from django.test.utils import setup_test_environment, teardown_test_environment  # noqa: E402

from galera_router import expand  # noqa: E402
from galera_router.cluster import membership as identity  # noqa: E402
from galera_router.cluster import monitor, registry  # noqa: E402
from galera_router.testing import GaleraCluster  # noqa: E402
from tests.integration.support import Shop, use_databases  # noqa: E402

_ready: list[GaleraCluster] = []


@pytest.fixture(scope="session")
def migrated(galera_cluster: GaleraCluster) -> Iterator[GaleraCluster]:
    """The cluster with the tables of the test project.

    The watchdog does not ask nodes that are well how they are, nor the first connection the other
    nodes who they are, unless a test wants them to. Each folder that takes this fixture over has
    it set up for itself: what another one has done is enough.
    """
    if _ready:
        yield galera_cluster
        return
    before, monitor.ASK_WELL = monitor.ASK_WELL, math.inf
    asked, identity.ASK = identity.ASK, False
    setup_test_environment()
    use_databases(expand(galera_cluster.databases()))
    call_command("migrate", verbosity=0, run_syncdb=True)
    _ready.append(galera_cluster)
    yield galera_cluster
    connections.close_all()
    teardown_test_environment()
    monitor.ASK_WELL = before
    identity.ASK = asked


@pytest.fixture
def shop(migrated: GaleraCluster, galera: GaleraCluster) -> Iterator[Shop]:
    """The healed cluster, emptied, with fresh connections and nothing known of its nodes."""
    shop = Shop(galera)
    shop.configure()
    shop.empty()
    yield shop
    connections.close_all()


@pytest.fixture
def configured(shop: Shop) -> Any:
    """``configured(OPTIONS={...})``: the same cluster with other settings."""
    return shop.configure


__all__ = ["registry", "settings"]
