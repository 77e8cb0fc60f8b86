"""Tests of Django's suite that may fail with the router, each with its reason.

docs/differences.md says more of each.
"""

from __future__ import annotations

ALIASES = "there are as many more aliases as there are nodes"
ANY_ROUTER = "Django looks at every alias once there is a router"
REPLAYED = "a deadlock is replayed and not told"
OTHER_THREAD = "another thread has written it just now, and the secondary may not have it yet"

_MAKE = "migrations.test_commands.MakeMigrationsTests."

#: By the test's id.
KNOWN: dict[str, str] = {
    f"{_MAKE}test_makemigrations_consistency_checks_respect_routers": ANY_ROUTER,
    "select_for_update.tests.SelectForUpdateTests.test_block": OTHER_THREAD,
    "test_runner.test_discover_runner.DiscoverRunnerGetDatabasesTests.test_mixed": ALIASES,
    "transactions.tests.AtomicMySQLTests.test_implicit_savepoint_rollback": REPLAYED,
}
