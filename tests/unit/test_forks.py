"""A child of a fork waits for no lock that another thread of its parent has held."""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys
import threading
from contextlib import ExitStack
from types import ModuleType
from typing import Any

from django.core.exceptions import AppRegistryNotReady, ImproperlyConfigured

import galera_router

#: The test cluster and what only runs in a process of its own.
APART = ("galera_router.testing", "galera_router.management")
LOCKS = (type(threading.Lock()), type(threading.RLock()))


def modules() -> list[ModuleType]:
    """All modules of the package that a server may have loaded."""
    for found in pkgutil.walk_packages(galera_router.__path__, "galera_router."):
        if not found.name.startswith(APART) and not found.name.endswith("__main__"):
            try:
                importlib.import_module(found.name)
            except (ImportError, ImproperlyConfigured, AppRegistryNotReady):
                continue  # an extra that is not installed, or what needs a project's settings
    names = [name for name in sys.modules if name.split(".")[0] == "galera_router"]
    return [sys.modules[name] for name in names if not name.startswith(APART)]


def locks() -> dict[str, Any]:
    """The locks of all modules, by the module and the name."""
    return {
        f"{module.__name__}.{name}": value
        for module in modules()
        for name, value in vars(module).items()
        if type(value) in LOCKS
    }


def test_each_lock_of_a_module_is_free_in_the_child() -> None:
    held = locks()
    assert len(held) > 10
    reader, writer = os.pipe()
    with ExitStack() as stack:
        for lock in held.values():
            stack.enter_context(lock)
        child = os.fork()
        if child == 0:
            stuck = [name for name, lock in locks().items() if not lock.acquire(blocking=False)]
            os.write(writer, ",".join(stuck).encode())
            os._exit(0)
        os.close(writer)
        os.waitpid(child, 0)
    with os.fdopen(reader) as told:
        assert told.read() == ""
