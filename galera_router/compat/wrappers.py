"""The wrappers of the running thread or async context, found without asking for each alias.

Why private: ``connections`` keeps them in asgiref's ``Local``, which is asked for one name at a
time, at five calls each. Django looks through all aliases three times in every request, and a
cluster has one for each node.
"""

from __future__ import annotations

import threading
import time
from asyncio import _get_running_loop
from collections.abc import Mapping

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

Wrapper = BaseDatabaseWrapper

_all = connections.all  # Django's own


def initialised() -> Mapping[str, Wrapper]:
    """The wrappers that the running thread or async context has, by alias."""
    try:
        threads = connections._connections._storage  # type: ignore[attr-defined]
    except AttributeError:  # another asgiref
        threads = None
    if type(threads) is threading.local and _get_running_loop() is None:
        found: dict[str, Wrapper] = threads.__dict__
        return found
    return {wrapper.alias: wrapper for wrapper in _all(initialized_only=True)}


def find_quickly() -> None:
    """Have ``connections.all()`` find them in one step; may be repeated."""
    connections.all = _find_all  # type: ignore[method-assign]


def _find_all(initialized_only: bool = False) -> list[Wrapper]:
    if not initialized_only:
        return list(_all())
    found = initialised()
    # Neither a comprehension, which is a call before Python 3.12, nor a call for each alias.
    return [*map(found.__getitem__, filter(found.__contains__, connections.settings))]


def keep_quickly(wrapper: Wrapper) -> None:
    """Have ``wrapper`` see in one step that it may be kept, as nearly always.

    Why private: Django asks twice in every request, for each alias, and takes six calls to look
    at attributes. Whatever is unusual is left to its own method.
    """
    if type(wrapper).close_if_unusable_or_obsolete is not _close_if_unusable:
        return  # an ENGINE that has its own

    def close_if_unusable_or_obsolete() -> None:
        if wrapper.connection is None:
            return
        wrapper.health_check_done = False  # type: ignore[attr-defined]
        close_at = wrapper.close_at
        if (
            wrapper.autocommit != wrapper.settings_dict["AUTOCOMMIT"]
            or wrapper.errors_occurred
            or (close_at is not None and time.monotonic() >= close_at)
        ):
            _close_if_unusable(wrapper)

    wrapper.close_if_unusable_or_obsolete = close_if_unusable_or_obsolete  # type: ignore[method-assign]


_close_if_unusable = Wrapper.close_if_unusable_or_obsolete
