"""Django's test runner, which notes what becomes of each test and lets secondaries be read."""

from __future__ import annotations

import os
import unittest
from pathlib import Path
from typing import Any

from django.db import connections
from django.test import TestCase, TransactionTestCase
from django.test.runner import DiscoverRunner

from galera_router.conf import ClusterConfig, cluster_config

from .outcomes import FAILED, PASSED, SKIPPED, Outcomes
from .sides import ROUTER

Test = unittest.TestCase


class Recording(unittest.TextTestResult):
    """Notes the outcome of each test, and its traceback if it fails."""

    outcomes: Outcomes

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.outcomes = Outcomes()

    def addSuccess(self, test: Test) -> None:
        super().addSuccess(test)
        self._note(test, PASSED)

    def addError(self, test: Test, err: Any) -> None:
        super().addError(test, err)
        self._failed(test, err)

    def addFailure(self, test: Test, err: Any) -> None:
        super().addFailure(test, err)
        self._failed(test, err)

    def addSkip(self, test: Test, reason: str) -> None:
        super().addSkip(test, reason)
        self._note(test, SKIPPED)

    def addExpectedFailure(self, test: Test, err: Any) -> None:
        super().addExpectedFailure(test, err)
        self._note(test, PASSED)

    def addUnexpectedSuccess(self, test: Test) -> None:
        super().addUnexpectedSuccess(test)
        self._note(test, FAILED)

    def addSubTest(self, test: Test, subtest: Test, err: Any) -> None:
        super().addSubTest(test, subtest, err)
        if err is not None:
            self._failed(test, err)

    def _failed(self, test: Test, err: Any) -> None:
        self._note(test, FAILED)
        told = self._exc_info_to_string(err, test)  # type: ignore[attr-defined]
        self.outcomes.details[test.id()] = f"{self.outcomes.details.get(test.id(), '')}{told}"

    def _note(self, test: Test, outcome: str) -> None:
        if self.outcomes.of(test.id()) != FAILED:
            self.outcomes.tests[test.id()] = outcome


class Runner(DiscoverRunner):
    """For TEST_RUNNER of either side."""

    def get_resultclass(self) -> Any:
        return Recording

    def run_suite(self, suite: Any, **kwargs: Any) -> Any:
        if committing():
            commit_every_test()
        if os.environ["SUITE_SIDE"] == ROUTER:
            read_on_secondaries()
        return super().run_suite(suite, **kwargs)

    def suite_result(self, suite: Any, result: Any, **kwargs: Any) -> int:
        result.outcomes.save(Path(os.environ["SUITE_OUTCOMES"]))
        return super().suite_result(suite, result, **kwargs)


def committing() -> bool:
    """Whether every test commits, so that what it reads can be on a secondary."""
    return os.environ["SUITE_COMMITTING"] == "1"


def commit_every_test() -> None:
    """Run each TestCase as Django does where a database has no transactions: it is flushed."""
    unsupported = classmethod(lambda cls: False)
    TestCase._databases_support_transactions = unsupported  # type: ignore[attr-defined]


class Databases(frozenset[str]):
    """The aliases that a test names, to go through; those of their nodes are allowed besides.

    Some tests do something on each alias of ``databases``, and nodes are read-only.
    """

    def __contains__(self, alias: object) -> bool:
        return super().__contains__(alias) or any(
            alias in config.node_aliases for config in map(_config, self) if config
        )


def _config(alias: str) -> ClusterConfig | None:
    return cluster_config(connections.settings[alias])


def read_on_secondaries() -> None:
    """Let each TransactionTestCase that may use a cluster use its nodes' aliases as well.

    As if its ``databases`` named them; without that everything is read on the primary. A TestCase
    stays as it is: its data exist on one connection only.
    """
    original = TransactionTestCase._validate_databases.__func__  # type: ignore[attr-defined]

    def _validate_databases(cls: type[TransactionTestCase]) -> frozenset[str]:
        named: frozenset[str] = original(cls)
        rolled_back = issubclass(cls, TestCase) and not committing()
        return named if rolled_back else Databases(named)

    TransactionTestCase._validate_databases = classmethod(  # type: ignore[attr-defined]
        _validate_databases
    )
