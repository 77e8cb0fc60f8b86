"""The known faults, and how a difference is recognised as one of them."""

from __future__ import annotations

from tests.differential.allowed import Rule

KNOWN: tuple[Rule, ...] = ()
