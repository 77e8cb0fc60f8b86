"""django-debug-toolbar: each query is shown once, under the cluster's alias."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html import unescape
from urllib.parse import urlencode

import pytest

from tests import settings
from tests.integration.causality.worker import Answer, Worker, pinned
from tests.integration.support import Shop
from tests.shop.models import Author

TOOLBAR = "debug_toolbar.middleware.DebugToolbarMiddleware"
PANEL = "debug_toolbar.panels.sql.SQLPanel"


@pytest.fixture(params=[True, False], ids=["atomic", "autocommit"])
def site(shop: Shop, request: pytest.FixtureRequest) -> Iterator[Worker]:
    Author.objects.create(name="Ann")
    shop.settle()
    ours, *others = settings.MIDDLEWARE
    with Worker(
        pinned(shop.galera, "db2", ATOMIC_REQUESTS=request.param),
        INSTALLED_APPS=[*settings.INSTALLED_APPS, "django.contrib.staticfiles", "debug_toolbar"],
        MIDDLEWARE=[ours, TOOLBAR, *others],
        ROOT_URLCONF="tests.ecosystem.toolbar_urls",
        DEBUG=True,
        INTERNAL_IPS=["127.0.0.1"],
        DEBUG_TOOLBAR_PANELS=[PANEL],
        DEBUG_TOOLBAR_CONFIG={"SHOW_TOOLBAR_CALLBACK": "tests.ecosystem.site.shown"},
    ) as worker:
        yield worker


def panel(site: Worker, path: str) -> str:
    """The SQL panel of the page at ``path``."""
    found = re.search(r'data-request-id="(\w+)"', site.get(path).content)
    assert found is not None
    words = urlencode({"request_id": found[1], "panel_id": "SQLPanel"})
    content: str = json.loads(site.get(f"/__debug__/render_panel/?{words}").content)["content"]
    return content


def queries(content: str) -> list[tuple[str, str]]:
    """The aliases and texts of a panel's queries, in their order."""
    aliases = re.findall(r"Connection:</strong> (\w+)<", content)
    texts = re.findall(r'class="djDebugSql">(.*?)</div>', content, re.DOTALL)
    return [(a, re.sub("<[^>]*>", "", t)) for a, t in zip(aliases, texts, strict=True)]


def explained(site: Worker, content: str, number: int) -> Answer:
    """What the button "Expl" of a query shows."""
    form = re.findall(r"<form method=\"post\">(.*?)</form>", content, re.DOTALL)[number]
    fields = re.findall(r'name="(\w+)" value="([^"]*)"', form)
    return site.post("/__debug__/sql_explain/", data={n: unescape(v) for n, v in fields})


def test_each_query_is_shown_once(site: Worker) -> None:
    site.get("/page/?write")  # what sets a connection up is shown as well, as always
    content = panel(site, "/page/")
    shown = queries(content)
    assert [alias for alias, _ in shown] == ["default"] * 3
    assert "shop_author" in shown[0][1]
    assert "shop_book" in shown[1][1]
    assert "shop_tag" in shown[2][1]
    for number in (0, 1):
        answer = explained(site, content, number)
        assert answer.status == 200
        assert "SIMPLE" in answer.content

    shown = queries(panel(site, "/page/?write"))
    assert [alias for alias, _ in shown] == ["default"] * 4
    assert "INSERT" in shown[2][1]
    assert "marker" not in "".join(text for _, text in shown)
