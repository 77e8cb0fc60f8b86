"""What is to be seen, played by a browser on the demo's site."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from typing import Any

from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from tests.browser import wait
from tests.screenshots.pictures import Frame

WIDTH = 920
#: Milliseconds between two frames.
TICK = 250

#: What the strip says of the nodes.
ROLES = """
return Object.fromEntries([...document.querySelectorAll("#strip [data-node]")].map((node) =>
  [node.dataset.node, node.dataset.role || node.dataset.state]));
"""
#: The page as it would be now, without loading it again.
RENEW = """
const done = arguments[0];
fetch(location.href).then((page) => page.text()).then((text) => {
  const made = new DOMParser().parseFromString(text, "text/html");
  document.querySelector("main").replaceWith(made.querySelector("main"));
  done();
});
"""
PRESS = """
const button = document.querySelector(`[data-node="${arguments[0]}"] [data-action]`);
button.style.cssText = "background: #b3261e; border-color: #b3261e; color: #fff";
setTimeout(() => { button.style.cssText = ""; }, 350);
button.click();
"""


class Stage:
    """A browser that looks at the site, in light colours and at double resolution."""

    def __init__(self, browser: Chrome, address: str) -> None:
        self.browser = browser
        self.address = address
        light = [{"name": "prefers-color-scheme", "value": "light"}]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": light})

    def open(self, page: str, height: int, *, width: int = WIDTH, scale: float = 2) -> None:
        """Open a page in a window of this height."""
        metrics = {
            "width": width, "height": height, "deviceScaleFactor": scale, "mobile": False,
        }  # fmt: skip
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        self.browser.execute_cdp_cmd("Emulation.setScrollbarsHidden", {"hidden": True})
        self.browser.get(self.address + page)

    def shot(self) -> bytes:
        """The window as a PNG."""
        taken = self.browser.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})
        return base64.b64decode(taken["data"])

    def roles(self) -> dict[str, str]:
        """What the strip says of each node: its role, or what has become of it."""
        found: dict[str, str] = self.browser.execute_script(ROLES)
        return found

    def all_well(self) -> None:
        """Wait until the first node is the primary and all are there."""
        well = {"db1": "primary", "db2": "secondary", "db3": "secondary"}
        wait(lambda: self.roles() == well, 60)

    def press(self, node: str) -> None:
        """Push the first button of a node."""
        self.browser.execute_script(PRESS, node)

    def film(self, until: Callable[[], Any], least: float = 0.0) -> list[Frame]:
        """Frames until something has happened, and for so many seconds at least."""
        frames: list[Frame] = []
        began = time.monotonic()
        while not until() or time.monotonic() - began < least:
            assert time.monotonic() - began < 60, "it has not come to that"
            start = time.monotonic()
            self.browser.execute_async_script(RENEW)
            frames.append((self.shot(), TICK))
            time.sleep(max(0.0, TICK / 1000 - (time.monotonic() - start)))
        return frames


def sign_in(stage: Stage, user: str, password: str) -> None:
    """Log in to the admin."""
    stage.open("admin/login/?next=/", 600)
    stage.browser.find_element(By.NAME, "username").send_keys(user)
    stage.browser.find_element(By.NAME, "password").send_keys(password)
    stage.browser.find_element(By.CSS_SELECTOR, "[type=submit]").click()
    wait(lambda: stage.browser.current_url == stage.address)


def bank(stage: Stage) -> bytes:
    """The bank, when all is well."""
    stage.open("", 512)
    stage.all_well()
    return stage.shot()


def death_of_the_primary(stage: Stage) -> list[Frame]:
    """The primary is killed, another node takes over, and it comes back."""
    stage.open("", 506, scale=1.25)
    stage.all_well()
    frames = stage.film(lambda: True, 2.0)
    stage.press("db1")
    frames += stage.film(lambda: "primary" in stage.roles().values(), 1.0)
    frames += stage.film(lambda: True, 3.0)
    stage.press("db1")
    coming = stage.film(lambda: stage.roles()["db1"] == "secondary")
    return frames + coming[::2] + stage.film(lambda: True, 1.0)


def receipt(stage: Stage) -> bytes:
    """A transfer that was asked for while the primary was dead."""
    stage.open("transfer/", 512)
    stage.all_well()
    stage.browser.find_element(By.NAME, "amount").send_keys("12.50")
    stage.press("db1")
    wait(lambda: stage.roles()["db1"] == "killed")
    stage.browser.find_element(By.CSS_SELECTOR, "main form button").click()
    wait(lambda: "/transfers/" in stage.browser.current_url)
    wait(lambda: "primary" in stage.roles().values())
    shot = stage.shot()
    stage.press("db1")
    stage.all_well()
    return shot


def staff(stage: Stage) -> bytes:
    """The page for the staff."""
    stage.browser.execute_script("localStorage.setItem('django.admin.navSidebarIsOpen', 'false')")
    stage.open("admin/galera_router_staff/cluster/", 700, width=1040)
    percent = ".galera-nodes progress"
    wait(lambda: len(stage.browser.find_elements(By.CSS_SELECTOR, percent)) == 3)
    return stage.shot()
