"""The page for the staff, as a browser shows it and as its permissions allow."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from http.cookiejar import CookieJar
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from tests.browser import complaints_of, wait
from tests.integration.support import Shop
from tests.shop.models import Author, Tag

PAGE = "/admin/galera_router_staff/cluster/"


def user(name: str, *codenames: str, **fields: Any) -> None:
    made = User.objects.create_user(name, password=name, is_staff=True, **fields)
    made.user_permissions.set(Permission.objects.filter(codename__in=codenames))


@pytest.fixture
def staff(site: str, shop: Shop) -> str:
    """Who may do what."""
    user("operator", "view_cluster", "operate_cluster")
    user("viewer", "view_cluster")
    user("other")
    shop.settle()
    return site


def sign_in(browser: Chrome, site: str, name: str, page: str = PAGE) -> None:
    browser.get(f"{site}/admin/login/?next={page}")
    browser.find_element(By.NAME, "username").send_keys(name)
    browser.find_element(By.NAME, "password").send_keys(name)
    browser.find_element(By.CSS_SELECTOR, "[type=submit]").click()
    wait(lambda: browser.current_url == f"{site}{page}" and is_loaded(browser))


def is_loaded(browser: Chrome) -> bool:
    return bool(browser.execute_script("return document.readyState") == "complete")


#: What the page shows, in one call, so that it is of one moment.
SHOWN = """
return {
  verdict: document.querySelector(".galera-verdict").textContent,
  said: document.getElementById("galera-said").textContent,
  lost: document.getElementById("galera").dataset.lost || "",
  nodes: Object.fromEntries([...document.querySelectorAll("[data-node]")].map((node) => [
    node.dataset.node, [node.dataset.role, node.dataset.level, node.innerText]])),
  events: [...document.querySelectorAll(".galera-events li")].map((one) => one.innerText),
};
"""


def shown(browser: Chrome) -> dict[str, Any]:
    found: dict[str, Any] = browser.execute_script(SHOWN)
    return found


def roles(browser: Chrome) -> dict[str, str]:
    return {name: role for name, (role, _, _) in shown(browser)["nodes"].items()}


def open_page(browser: Chrome, site: str, name: str = "operator") -> None:
    sign_in(browser, site, name)
    wait(lambda: shown(browser)["verdict"] == "all is well")


def press(browser: Chrome, node: str, action: str) -> None:
    """Push a button, and say yes."""
    button = f'[data-node="{node}"] [data-action="{action}"]'
    browser.execute_script(
        "window.confirm = () => true; document.querySelector(arguments[0]).click()", button
    )


def test_it_shows_the_cluster(staff: str, browser: Chrome) -> None:
    open_page(browser, staff)
    assert roles(browser) == {"db1": "primary", "db2": "secondary", "db3": "secondary"}
    text = shown(browser)["nodes"]["db2"][2]
    assert "Synced" in text
    assert "lag" in text
    assert any("db1 became the primary: it is the first." in e for e in shown(browser)["events"])
    wait(lambda: "%" in shown(browser)["nodes"]["db2"][2])  # its share of the reads


@pytest.mark.parametrize("victim", ["db1", "db3"])
def test_a_node_that_dies_while_it_is_open_is_shown_within_two_seconds(
    staff: str, browser: Chrome, shop: Shop, victim: str
) -> None:
    open_page(browser, staff)
    shop.galera[victim].kill()
    took = wait(lambda: shown(browser)["nodes"][victim][1] == "2", 10)
    told = shown(browser)
    assert told["nodes"][victim][0] == "none"
    assert "unreachable" in told["nodes"][victim][2]
    assert told["lost"] == ""
    if victim == "db1":
        assert told["verdict"] == "no node is the primary"
        Tag.objects.create(name="second")
        wait(lambda: "primary" in roles(browser).values())
        wait(lambda: any("has left the cluster" in e for e in shown(browser)["events"]))
    print(f"shown after {took:.2f} s")
    shop.galera[victim].start()
    wait(lambda: roles(browser)[victim] == "secondary")
    wait(lambda: shown(browser)["verdict"] == "all is well")


@pytest.mark.alone
@pytest.mark.parametrize("victim", ["db1", "db3"])
def test_within_two_seconds(staff: str, browser: Chrome, shop: Shop, victim: str) -> None:
    open_page(browser, staff)
    shop.galera[victim].kill()
    assert wait(lambda: shown(browser)["nodes"][victim][1] == "2", 10) < 2.0


def test_a_frozen_node_never_blocks_it(staff: str, browser: Chrome, shop: Shop) -> None:
    open_page(browser, staff)
    shop.galera["db2"].freeze()
    wait(lambda: "no answer" in browser.page_source)
    until = time.monotonic() + 5
    while time.monotonic() < until:
        assert shown(browser)["nodes"]["db2"][1] == "2"
        assert shown(browser)["lost"] == ""
        time.sleep(0.1)
    shop.galera["db2"].thaw()
    wait(lambda: shown(browser)["verdict"] == "all is well")


def test_the_primary_is_moved_by_a_button(staff: str, browser: Chrome) -> None:
    open_page(browser, staff)
    press(browser, "db2", "switchover")
    wait(lambda: roles(browser)["db2"] == "primary")
    wait(lambda: "db2 is the primary now. Writes have paused for" in shown(browser)["said"])
    wait(lambda: any("by operator. Pause: " in e for e in shown(browser)["events"]))


def test_a_node_is_drained_and_put_back(staff: str, browser: Chrome) -> None:
    open_page(browser, staff)
    press(browser, "db1", "drain")
    wait(lambda: roles(browser) == {"db1": "drained", "db2": "primary", "db3": "secondary"})
    wait(lambda: "db2 is the primary now." in shown(browser)["said"])
    press(browser, "db1", "undrain")
    wait(lambda: roles(browser)["db1"] == "secondary")


def test_what_cannot_be_done_is_said(staff: str, browser: Chrome) -> None:
    open_page(browser, staff)
    for name in ("db2", "db3"):
        press(browser, name, "drain")
        wait(lambda name=name: roles(browser)[name] == "drained")  # type: ignore[misc]
        wait(lambda name=name: name in shown(browser)["said"])  # type: ignore[misc]
    press(browser, "db1", "drain")
    wait(lambda: "the only server that could do the work" in shown(browser)["said"])
    complaints_of(browser)  # it notes the status 409


def test_who_may_only_look_has_no_buttons(staff: str, browser: Chrome) -> None:
    open_page(browser, staff, "viewer")
    assert browser.find_elements(By.CSS_SELECTOR, "#galera button") == []


def test_on_a_phone_nothing_is_cut_off(staff: str, browser: Chrome) -> None:
    size = browser.get_window_size()
    metrics = {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        open_page(browser, staff)
        widths = browser.execute_script(
            "return [document.documentElement.scrollWidth, window.innerWidth,"
            " ...[...document.querySelectorAll('#galera button')].map((b) => b.offsetHeight)]"
        )
        assert widths[0] <= widths[1] == 360
        assert min(widths[2:]) >= 32  # a finger meets it
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert size == browser.get_window_size()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark(staff: str, browser: Chrome, scheme: str) -> None:
    feature = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": feature})
    try:
        open_page(browser, staff)
        for back, front in browser.execute_script(CONTRAST):
            assert contrast(back, front) >= 4.5, (back, front)
        (back, _), *_ = browser.execute_script(CONTRAST)
        assert (luminance(back) > 0.5) == (scheme == "light")
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


#: The colours of what is written on each card: behind it, and its own.
CONTRAST = """
const numbers = (text) => text.match(/[0-9.]+/g).slice(0, 3).map(Number);
return [...document.querySelectorAll("[data-node]")].flatMap((card) =>
  [card, ...card.querySelectorAll("p, span, dt, dd")].map((one) => [
    numbers(getComputedStyle(card).backgroundColor), numbers(getComputedStyle(one).color)]));
"""


def luminance(colour: list[float]) -> float:
    parts = [c / 255 for c in colour]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return float(0.2126 * red + 0.7152 * green + 0.0722 * blue)


def contrast(one: list[float], other: list[float]) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


# --- permissions, without a browser -------------------------------------------------------


class Visitor:
    """Somebody with a cookie jar."""

    def __init__(self, site: str, name: str) -> None:
        self._site = site
        self._jar = CookieJar()
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self._jar))
        self.get("/admin/login/")
        self.post("/admin/login/", username=name, password=name, next="/admin/")

    def get(self, where: str) -> tuple[int, str]:
        return self._open(urllib.request.Request(self._site + where))

    def post(self, where: str, token: bool = True, /, **fields: str) -> tuple[int, str]:
        if token:
            fields["csrfmiddlewaretoken"] = next(
                str(c.value) for c in self._jar if c.name == "csrftoken"
            )
        data = urllib.parse.urlencode(fields).encode()
        return self._open(urllib.request.Request(self._site + where, data=data))

    def _open(self, request: urllib.request.Request) -> tuple[int, str]:
        try:
            with self._opener.open(request, timeout=60) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()


DRAIN = {"cluster": "default", "node": "db3", "action": "drain"}


def test_only_who_may_operates(staff: str, shop: Shop) -> None:
    operate, state = f"{PAGE}operate/", f"{PAGE}state/"
    viewer, other, operator = (Visitor(staff, name) for name in ("viewer", "other", "operator"))
    assert viewer.post(operate, **DRAIN)[0] == 403
    assert other.post(operate, **DRAIN)[0] == 403
    assert [other.get(where)[0] for where in (PAGE, state)] == [403, 403]
    assert operator.get(operate)[0] == 405  # POST only
    assert operator.post(operate, False, **DRAIN)[0] == 403  # another site's form
    told = json.loads(viewer.get(state)[1])["clusters"][0]
    assert [node["drained"] for node in told["nodes"]] == [False, False, False]
    assert operator.post(operate, **DRAIN)[0] == 200
    told = json.loads(viewer.get(state)[1])["clusters"][0]
    assert [node["drained"] for node in told["nodes"]] == [False, False, True]


def test_nonsense_is_refused(staff: str) -> None:
    operator = Visitor(staff, "operator")
    for wrong in ({"node": "db9"}, {"cluster": "nothing"}, {"action": "destroy"}, {"action": ""}):
        assert operator.post(f"{PAGE}operate/", **{**DRAIN, **wrong})[0] == 400
    assert PAGE in Visitor(staff, "viewer").get("/admin/")[1]
    assert PAGE not in Visitor(staff, "other").get("/admin/")[1]


def test_failovers_of_the_site_are_on_the_time_line(staff: str, shop: Shop) -> None:
    operator = Visitor(staff, "operator")
    shop.galera["db1"].kill()
    # A new session is a write: the site meets the loss itself, on a connection that it has kept.
    Visitor(staff, "viewer")
    told = json.loads(operator.get(f"{PAGE}state/")[1])["clusters"][0]
    kinds = {event["kind"] for event in told["events"]}
    assert "primary" in kinds
    assert told["primary"] in {"db2", "db3"}
    assert Author.objects.count() == 0
