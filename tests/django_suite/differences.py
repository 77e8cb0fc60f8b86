"""Tests of Django's suite that may fail with the router, each with its reason."""

from __future__ import annotations

#: By the test's id. docs/differences.md says more of each.
KNOWN: dict[str, str] = {}
