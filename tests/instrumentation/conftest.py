"""Django on the running cluster, as in the integration tests."""

from __future__ import annotations

from tests.integration.conftest import configured, migrated, shop

__all__ = ["configured", "migrated", "shop"]
