"""Which parts of Django's suite are run: those that touch the database."""

from __future__ import annotations

from pathlib import Path

#: As directories of Django's ``tests``; a star stands for all that match.
LABELS = (
    "backends", "basic", "bulk_create", "custom_managers", "delete", "expressions", "fixtures",
    "force_insert_update", "foreign_object", "generic_relations", "get_or_create", "lookup",
    "m2m_*", "many_to_many", "many_to_one", "migrations", "model_forms", "model_inheritance",
    "multiple_database", "one_to_one", "prefetch_related", "queries", "raw_query", "schema",
    "select_for_update", "select_related", "sessions_tests", "auth_tests", "admin_views",
    "servers", "test_runner", "test_utils", "transaction_hooks", "transactions", "update",
    "update_only_fields",
    "aggregation", "annotations", "composite_pk", "constraints", "contenttypes_tests",
    "custom_pk", "db_functions", "db_utils", "defer", "delete_regress", "fixtures_regress",
    "handlers", "indexes", "inspectdb", "introspection", "migrate_signals",
    "migration_test_data_persistence", "model_fields", "proxy_model_inheritance",
    "save_delete_hooks", "serializers", "signals", "test_client",
)  # fmt: skip


def expand_labels(wanted: list[str], tests: Path) -> list[str]:
    """The labels to run: ``wanted``, or all; without those that this Django does not have."""
    patterns = wanted or LABELS
    found = [label for pattern in patterns for label in _matching(pattern, tests)]
    return list(dict.fromkeys(found))


def _matching(pattern: str, tests: Path) -> list[str]:
    if "." in pattern:  # a part of one: queries.tests.Queries1Tests
        return [pattern]
    folders = sorted(tests.glob(pattern.rstrip("/")))
    return [folder.name for folder in folders if (folder / "__init__.py").exists()]
