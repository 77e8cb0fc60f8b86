"""Between the registry of system checks and each of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.core.checks.registry import registry

Check = Callable[..., Any]


def guard_checks(new_run: Callable[[], Callable[[Check], Check]]) -> None:
    """Have each run of the system checks call them through what ``new_run`` has returned for it.

    Why private: the order of checks is that of a set, so none can come first and tell that there
    is no server to ask; and what one of them raises ends the run with a traceback.

    Args:
        new_run: called at the beginning of each run; returns what is to be called instead of a
            check.
    """
    original = registry.get_checks
    if getattr(original, "guards", False):
        return

    def get_checks(include_deployment_checks: bool = False) -> list[Any]:
        guard = new_run()
        return [wraps(one)(guard(one)) for one in original(include_deployment_checks)]

    get_checks.guards = True  # type: ignore[attr-defined]
    registry.get_checks = get_checks  # type: ignore[method-assign]
