"""Pytest fixtures: a real Galera cluster for the session, healed around each test.

``galera_cluster`` is the cluster of the session, started by the first test that asks for it;
``galera`` is the same cluster, for one test, with every fault undone before and after it. Its size
is given by ``--galera-size`` or the ini option ``galera_size`` and is 3 if neither says anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

# The plugin is loaded into every run of pytest: what it needs is imported by who uses it.
if TYPE_CHECKING:
    from galera_router.testing import GaleraCluster

DEFAULT_SIZE = 3


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the size of the cluster, on the command line and in the ini file."""
    text = f"nodes of the Galera cluster that tests are given (default {DEFAULT_SIZE})"
    parser.getgroup("galera").addoption("--galera-size", type=int, default=None, help=text)
    parser.addini("galera_size", text, default=str(DEFAULT_SIZE))


@pytest.fixture(scope="session")
def galera_cluster(request: pytest.FixtureRequest) -> Iterator[GaleraCluster]:
    """A running cluster, the same for all tests. Fails, naming the packages, without a server."""
    from galera_router.testing import GaleraCluster, MissingPackages

    cluster = GaleraCluster(size=_size(request.config))
    try:
        cluster.start()
    except MissingPackages as error:
        pytest.fail(str(error), pytrace=False)
    try:
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture
def galera(galera_cluster: GaleraCluster) -> Iterator[GaleraCluster]:
    """The session's cluster with all nodes well, and made well again after the test."""
    galera_cluster.heal()
    yield galera_cluster
    galera_cluster.heal()


def _size(config: pytest.Config) -> int:
    size = config.getoption("--galera-size")
    if size is None:
        size = config.getini("galera_size")
    try:
        return int(size)
    except ValueError:
        raise pytest.UsageError(f"galera_size is a number, not {size!r}") from None
