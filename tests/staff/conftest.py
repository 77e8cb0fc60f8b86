"""The site as a process of its own, and a browser that looks at it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser import browser, browser_of_the_session
from tests.integration.conftest import migrated, shop
from tests.integration.support import Shop
from tests.shop.models import Tag

__all__ = ["browser", "browser_of_the_session", "migrated", "shop"]


@pytest.fixture
def site(shop: Shop, tmp_path: Path) -> Iterator[str]:
    """The address of the site; db1 is the primary."""
    shop.configure(OPTIONS={"failback_delay": None})
    Tag.objects.create(name="first")
    settings = shop.galera.databases(
        CONN_MAX_AGE=None, ATOMIC_REQUESTS=True, OPTIONS={"failback_delay": None}
    )
    command = [sys.executable, "-m", "tests.staff.site", json.dumps(settings)]
    with (tmp_path / "log").open("w") as log:
        running = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
        )
        try:
            assert running.stdout is not None
            port = running.stdout.readline().strip()
            assert port, (tmp_path / "log").read_text()
            yield f"http://127.0.0.1:{port}"
        finally:
            running.communicate(timeout=30)
