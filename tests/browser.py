"""A browser without a window: Debian's own, driven by its own driver."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

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
