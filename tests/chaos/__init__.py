"""A real cluster under load while faults strike, and what was promised checked afterwards."""

from __future__ import annotations
