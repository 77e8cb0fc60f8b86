"""The fixtures of the integration tests: Django on the running cluster."""

from __future__ import annotations

from tests.integration.conftest import configured, migrated, shop

__all__ = ["configured", "migrated", "shop"]
