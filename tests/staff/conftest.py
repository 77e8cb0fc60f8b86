"""The site as a process of its own, and a browser that looks at it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome

from tests.browser import chromium, complaints_of
from tests.integration.conftest import migrated, shop
from tests.integration.support import Shop
from tests.shop.models import Tag

__all__ = ["migrated", "shop"]


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


@pytest.fixture(scope="session")
def browser_of_the_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """The browser, started once."""
    browser = chromium(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.quit()


@pytest.fixture
def browser(browser_of_the_session: Chrome) -> Iterator[Chrome]:
    """A browser that knows nothing of the last test; what it complains of fails this one."""
    used = browser_of_the_session
    used.delete_all_cookies()
    complaints_of(used)
    yield used
    complaints = complaints_of(used)
    used.get("about:blank")
    assert complaints == []
