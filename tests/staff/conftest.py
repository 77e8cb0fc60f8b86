"""The site as a process of its own, and a browser that looks at it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome, ChromeOptions, ChromeService

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
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """Debian's own, without a window, and with nothing to say to anybody but the site."""
    options = ChromeOptions()
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    assert binary, "chromium is missing: make setup"
    assert driver, "chromium-driver is missing: make setup"
    options.binary_location = binary
    profile = tmp_path_factory.mktemp("profile")
    for argument in (
        "headless=new", "no-sandbox", "disable-dev-shm-usage", "disable-gpu", "no-first-run",
        "disable-background-networking", "disable-component-update", "disable-sync",
        "disable-default-apps", f"user-data-dir={profile}",
        "host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    ):  # fmt: skip
        options.add_argument(f"--{argument}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = Chrome(options=options, service=ChromeService(driver))
    browser.set_page_load_timeout(60)
    browser.set_script_timeout(30)
    yield browser
    browser.quit()


@pytest.fixture
def browser(chromium: Chrome) -> Iterator[Chrome]:
    """A browser that knows nothing of the last test; what it complains of fails this one."""
    chromium.delete_all_cookies()
    chromium.get_log("browser")  # type: ignore[no-untyped-call]
    yield chromium
    complaints = complaints_of(chromium)
    chromium.get("about:blank")
    assert complaints == []


def complaints_of(browser: Chrome) -> list[dict[str, Any]]:
    """Errors of scripts, breaches of the policy and failed requests."""
    found: list[dict[str, Any]] = browser.get_log("browser")  # type: ignore[no-untyped-call]
    return [entry for entry in found if "favicon" not in entry["message"]]
