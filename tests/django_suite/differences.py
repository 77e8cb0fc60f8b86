"""Tests of Django's suite that may fail with the router, each with its reason.

docs/differences.md says more of each.
"""

from __future__ import annotations

OWN_WRAPPER = "execute_wrappers has the router's own"
LAZY = "without a statement no server is connected to"
PER_ALIAS = "with DEBUG each alias notes what it is sent itself"
READ_ALIAS = "the alias to read from is a node's"
FEATURES = "the test changes the features of one alias, and the read goes to another"
ALIASES = "there are as many more aliases as there are nodes"
ANY_ROUTER = "Django looks at every alias once there is a router"
REPLAYED = "a deadlock is replayed and not told"
CHECKED = "what the transaction had read was changed before it wrote"
OTHER_THREAD = "another thread has written it just now, and the secondary may not have it yet"
MOCK = "the test has every alias connect the default one"

_MAKE = "migrations.test_commands.MakeMigrationsTests."
_CONNECTION = "test_utils.tests.AssertNumQueriesUponConnectionTests."

#: By the test's id.
KNOWN: dict[str, str] = {
    "backends.base.test_base.ExecuteWrapperTests.test_wrapper_connection_specific": OWN_WRAPPER,
    "backends.tests.ConnectionCreatedSignalTest.test_signal": LAZY,
    "backends.tests.LastExecutedQueryTest.test_debug_sql": PER_ALIAS,
    "delete_regress.tests.DeleteLockingTest.test_concurrent_delete": CHECKED,
    "many_to_many.tests.ManyToManyQueryTests.test_count_join_optimization_disabled": FEATURES,
    "many_to_many.tests.ManyToManyQueryTests.test_exists_join_optimization_disabled": FEATURES,
    f"{_MAKE}test_makemigrations_consistency_checks_respect_routers": ANY_ROUTER,
    "multiple_database.tests.PickleQuerySetTestCase.test_pickling": READ_ALIAS,
    "multiple_database.tests.QueryTestCase.test_db_selection": READ_ALIAS,
    "queries.test_iterator.QuerySetIteratorTests.test_no_chunked_reads": FEATURES,
    "select_for_update.tests.SelectForUpdateTests.test_block": OTHER_THREAD,
    "test_runner.test_discover_runner.DiscoverRunnerGetDatabasesTests.test_mixed": ALIASES,
    f"{_CONNECTION}test_ignores_connection_configuration_queries": MOCK,
    "transactions.tests.AtomicMySQLTests.test_implicit_savepoint_rollback": REPLAYED,
}
