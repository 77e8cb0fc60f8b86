"""The shop of the integration tests, for what is proven on real nodes."""

from __future__ import annotations

from tests.integration.conftest import migrated, shop

__all__ = ["migrated", "shop"]
