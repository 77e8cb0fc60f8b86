"""A browser without a window: Debian's own, driven by its own driver."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome, ChromeOptions, ChromeService


def chromium(profile: Path) -> Chrome:
    """Start one that has nothing to say to anybody but this machine; ``quit()`` ends it."""
    options = ChromeOptions()
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    assert binary, "chromium is missing: make setup"
    assert driver, "chromium-driver is missing: make setup"
    options.binary_location = binary
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
    return browser


def complaints_of(browser: Chrome) -> list[dict[str, Any]]:
    """Errors of scripts, breaches of the policy and failed requests."""
    found: list[dict[str, Any]] = browser.get_log("browser")  # type: ignore[no-untyped-call]
    return [entry for entry in found if "favicon" not in entry["message"]]


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


def wait(condition: Callable[[], Any], seconds: float = 30.0) -> float:
    """Wait until ``condition()``; returns the seconds that it took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, "it has not come to that"
        time.sleep(0.02)
    return time.monotonic() - began
