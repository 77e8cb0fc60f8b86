"""Django, set up, without a server."""

from __future__ import annotations

from tests.integration.conftest import configured, migrated, shop

__all__ = ["configured", "migrated", "shop"]
