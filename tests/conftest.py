"""What all tests need: the fixtures of galera_router.testing come with the installed package."""

from __future__ import annotations

import os

# What the tests start is not a part of pytest-xdist's run, even where this process is one.
for name in [name for name in os.environ if name.startswith("PYTEST_XDIST_")]:
    del os.environ[name]
