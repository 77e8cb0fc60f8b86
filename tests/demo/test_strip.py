"""The demo in a browser: the strip on the bank's pages, and the bank while its nodes are lost."""

from __future__ import annotations

import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from demo.site import Site
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select

from galera_router.testing import GaleraCluster
from tests.browser import complaints_of, wait
from tests.demo.running import demo, new_bank, read_until

pytestmark = pytest.mark.alone

SOON = 2.0  # seconds in which the strip shows what has happened to a node


@dataclass(frozen=True)
class Demo:
    """Where the site is, and who may enter its admin."""

    address: str
    user: str
    password: str


@pytest.fixture(scope="module")
def served() -> Iterator[Demo]:
    """The demo after its storm, with its visitors; it ends as by Ctrl-C."""
    with demo("--serve", "--seconds=0") as process:
        output = read_until(process, "Its admin")
        found = re.search(r"up at (\S+/) until.*user (\w+), password (\S+)\)", output, re.DOTALL)
        assert found, output
        yield Demo(*found.groups())


#: What the strip shows, in one call, so that it is of one moment.
SHOWN = """
const strip = document.getElementById("strip");
const figure = (name) => strip.querySelector(`[data-figure="${name}"]`).textContent;
return {
  lost: strip.dataset.lost || "",
  said: strip.querySelector(".strip-said").textContent,
  roles: Object.fromEntries([...strip.querySelectorAll("[data-node]")].map((node) =>
    [node.dataset.node, node.dataset.role])),
  states: Object.fromEntries([...strip.querySelectorAll("[data-node]")].map((node) =>
    [node.dataset.node, node.dataset.state])),
  answered: [...strip.querySelectorAll("[data-answered-here]")].map((node) => node.dataset.node),
  requests: Number(figure("requests").replaceAll(",", "")),
  errors: figure("errors"), failover: figure("failover"),
};
"""

#: Pushes a button, and notes in the tab's own store how long the strip took to show it.
PUSH = """
const [node, action, form] = arguments;
const card = document.querySelector(`[data-node="${node}"]`);
const began = performance.now();
new MutationObserver(() => {
  if (card.dataset.level === "2" && !sessionStorage.shown)
    sessionStorage.shown = String((performance.now() - began) / 1000);
}).observe(card, { attributes: true });
delete sessionStorage.shown;
if (form) new MutationObserver(() => {
  if (form.dataset.sent || !document.querySelector(".strip-said").textContent.includes("dead")) return;
  form.dataset.sent = "yes";
  form.requestSubmit();
}).observe(document.querySelector(".strip-said"), { childList: true, subtree: true, characterData: true });
card.querySelector(`[data-action="${action}"]`).click();
"""  # noqa: E501


def shown(browser: Chrome) -> dict[str, Any]:
    """All that is on the strip."""
    found: dict[str, Any] = browser.execute_script(SHOWN)
    return found


def seconds_until_shown(browser: Chrome) -> float:
    """How long the strip took to show what was pushed last."""
    wait(lambda: browser.execute_script("return sessionStorage.shown"), 10)
    return float(browser.execute_script("return sessionStorage.shown"))


def open_page(browser: Chrome, served: Demo, page: str = "") -> dict[str, Any]:
    """Open a page of a cluster that is well."""
    browser.get(served.address + page)
    wait(lambda: set(shown(browser)["states"].values()) == {"Synced"}, 90)
    wait(lambda: "primary" in shown(browser)["roles"].values())
    wait(lambda: shown(browser)["answered"])
    return shown(browser)


def push(browser: Chrome, node: str, action: str, form: object = None) -> None:
    """Push a button of a node; then send ``form``, once the node is dead."""
    browser.execute_script(PUSH, node, action, form)


def node_with(browser: Chrome, role: str) -> str:
    """The name of a node that has this role."""
    return next(str(name) for name, found in shown(browser)["roles"].items() if found == role)


def sign_in(browser: Chrome, served: Demo, page: str) -> None:
    """Log in, and go to this page."""
    browser.get(f"{served.address}admin/login/?next=/{page}")
    browser.find_element(By.NAME, "username").send_keys(served.user)
    browser.find_element(By.NAME, "password").send_keys(served.password)
    browser.find_element(By.CSS_SELECTOR, "[type=submit]").click()
    wait(lambda: browser.current_url == served.address + page)


def fill_in(browser: Chrome, amount: str) -> tuple[str, str, object]:
    """Fill in the amount: the form begins with the first and the last account."""
    form = browser.find_element(By.CSS_SELECTOR, "main form")
    source, target = (Select(form.find_element(By.NAME, name)) for name in ("source", "target"))
    form.find_element(By.NAME, "amount").send_keys(amount)
    return source.first_selected_option.text, target.first_selected_option.text, form


def test_money_is_transferred_while_the_primary_is_killed(served: Demo, browser: Chrome) -> None:
    """The receipt comes, the strip shows the kill at once, and nobody has met an error."""
    sign_in(browser, served, "transfer/")
    before = open_page(browser, served, "transfer/")
    source, target, form = fill_in(browser, "12.34")
    victim = node_with(browser, "primary")
    push(browser, victim, "kill", form)
    wait(lambda: "/transfers/" in browser.current_url, 30)
    receipt = browser.find_element(By.TAG_NAME, "main").text
    for text in ("Receipt", source, target, "12.34"):
        assert text in receipt
    took = seconds_until_shown(browser)
    print(f"shown after {took:.2f} s")
    assert took < SOON
    wait(lambda: shown(browser)["states"][victim] == "killed")
    wait(lambda: "primary" in shown(browser)["roles"].values())
    wait(lambda: re.fullmatch(rf"{victim} → db\d in \d+\.\d\d s", shown(browser)["failover"]))
    print(shown(browser))
    assert shown(browser)["answered"] != [victim]
    assert shown(browser)["requests"] > before["requests"]
    push(browser, victim, "start")
    assert open_page(browser, served)["errors"] == "0"


def test_a_frozen_node_holds_nothing_up(served: Demo, browser: Chrome) -> None:
    """It is shown at once, the strip goes on, and so do the pages."""
    open_page(browser, served)
    victim = node_with(browser, "secondary")
    push(browser, victim, "freeze")
    took = seconds_until_shown(browser)
    print(f"shown after {took:.2f} s")
    assert took < SOON
    assert shown(browser)["states"][victim] == "frozen"
    longest = browser.execute_async_script(ASK, shown_from(browser))
    print(f"the strip's longest answer took {longest:.2f} s")
    assert longest < 1.0
    assert shown(browser)["lost"] == ""
    requests = shown(browser)["requests"]
    wait(lambda: shown(browser)["requests"] > requests + 10)
    push(browser, victim, "thaw")
    assert open_page(browser, served)["errors"] == "0"


#: Asks what the strip asks, ten times; the longest answer, in seconds.
ASK = """
const [url, done] = arguments;
(async () => {
  let longest = 0;
  for (let turn = 0; turn < 10; turn++) {
    const began = performance.now();
    await (await fetch(url)).json();
    longest = Math.max(longest, (performance.now() - began) / 1000);
    await new Promise((wait) => setTimeout(wait, 250));
  }
  done(longest);
})();
"""


def shown_from(browser: Chrome) -> str:
    """Where the strip asks."""
    return str(browser.execute_script("return document.getElementById('strip').dataset.state"))


def test_the_primary_is_moved_by_a_button(served: Demo, browser: Chrome) -> None:
    """Each push makes the next node the primary; it says for how long writes have paused."""
    open_page(browser, served)
    seen = [node_with(browser, "primary")]
    for _ in range(3):
        browser.find_element(By.CSS_SELECTOR, '[data-action="switchover"]').click()
        wait(lambda: shown(browser)["roles"][seen[-1]] == "secondary")
        wait(lambda: "primary" in shown(browser)["roles"].values())
        seen.append(node_with(browser, "primary"))
    assert seen[0] == seen[3]
    assert len(set(seen)) == 3
    assert "is the primary now. Writes have paused for" in shown(browser)["said"]


@pytest.mark.parametrize("page", ["", "transfer/", "books/", "transfers/nothing/"])
def test_each_page_says_who_has_answered(served: Demo, browser: Chrome, page: str) -> None:
    """It is one of the nodes; a page that only reads is not answered by the primary.

    That has been moved just now: a worker may hear of it some seconds later than another.
    """

    def is_answered_by_a_secondary() -> bool:
        (node,) = open_page(browser, served, page)["answered"]
        complaints_of(browser)  # one page is a 404
        return bool(node != node_with(browser, "primary"))

    wait(is_answered_by_a_secondary)


def test_on_a_phone_nothing_is_cut_off(served: Demo, browser: Chrome) -> None:
    """Down to 360 pixels."""
    metrics = {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        open_page(browser, served)
        script = "return [document.documentElement.scrollWidth, window.innerWidth]"
        width, seen = browser.execute_script(script)
        assert width <= seen == 360
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


# --- without a browser ----------------------------------------------------------------------


def post(address: str, **headers: str) -> tuple[int, str]:
    """Send what the button for a kill sends; status and text of the answer."""
    data = urllib.parse.urlencode({"action": "kill", "node": "db1"}).encode()
    return answer_to(urllib.request.Request(f"{address}cluster/operate/", data, headers))


def answer_to(request: urllib.request.Request) -> tuple[int, str]:
    """Status and text of the answer."""
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_another_site_cannot_push_buttons(served: Demo, browser: Chrome) -> None:
    """It takes a POST with the token of the page."""
    assert "CSRF" in post(served.address)[1]
    assert answer_to(urllib.request.Request(f"{served.address}cluster/operate/"))[0] == 405
    assert open_page(browser, served)["states"]["db1"] == "Synced"


TOKEN = "a" * 32


def test_there_are_no_buttons_without_the_demo(galera: GaleraCluster, tmp_path: Path) -> None:
    """A bank that is run by hand shows the cluster, and does nothing to it."""
    own = {"DJANGO_SETTINGS_MODULE": "bank_site.settings"}
    with new_bank(galera, "test_strip") as url, Site(url, tmp_path / "log", **own) as site:
        site.manage("migrate", "--verbosity=0")
        site.start()
        status, told = answer_to(urllib.request.Request(f"{site.address}cluster/state/"))
        assert status == 200
        assert '"buttons": false' in told
        assert '"process": ""' in told
        headers = {"Cookie": f"csrftoken={TOKEN}", "X-CSRFToken": TOKEN}
        assert post(site.address, **headers) == (403, "There are no buttons here.")
        assert galera["db1"].running
