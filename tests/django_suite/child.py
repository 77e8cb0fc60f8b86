"""One label on one side, in a process of its own whose folder is Django's ``tests``."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
import tempfile
from typing import Any

from tests.django_suite.sides import ROUTER

#: What ``runtests`` is told; its other parameters are None.
OPTIONS: dict[str, Any] = {
    "verbosity": 1,
    "interactive": False,
    "failfast": False,
    "keepdb": False,
    "reverse": False,
    "debug_sql": False,
    "parallel": 1,
    "pdb": False,
    "buffer": False,
    "timing": False,
    "shuffle": False,
}


def main() -> None:
    sys.path.insert(0, os.getcwd())
    runtests = importlib.import_module("runtests")
    if os.environ["SUITE_SIDE"] == ROUTER:
        runtests.ALWAYS_INSTALLED_APPS.insert(0, "galera_router")
        runtests.ALWAYS_MIDDLEWARE.insert(0, "galera_router.middleware.GaleraMiddleware")
    with tempfile.TemporaryDirectory(prefix="django_") as folder:
        tempfile.tempdir = os.environ["TMPDIR"] = folder
        names = inspect.signature(runtests.django_tests).parameters
        runtests.django_tests(**{**dict.fromkeys(names), **OPTIONS, "test_labels": sys.argv[1:]})


if __name__ == "__main__":
    main()
