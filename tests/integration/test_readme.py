"""The README's function loses no sale, and the README's links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from django.db import connection

from galera_router.exceptions import ClusterError
from tests.integration.support import Shop
from tests.shop.models import Author, Book

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
THREADS, EACH = 4, 10


@pytest.fixture
def example() -> dict[str, Any]:
    """What the README's example defines."""
    blocks = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {"Book": Book}
    exec(next(block for block in blocks if "def sell(" in block), names)
    return names


def test_no_sale_is_lost(shop: Shop, example: dict[str, Any]) -> None:
    """Four threads sell at the same time until nothing is left; nobody sells what is not there."""
    book = Book.objects.create(author=Author.objects.create(name="A"), title="T", stock=30)
    sold: list[bool] = []

    def work() -> None:
        for _ in range(EACH):
            try:
                sold.append(example["sell"](book.pk))
            finally:
                connection.close()

    threads = [Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(sold) == [False] * 10 + [True] * 30
    book.refresh_from_db()
    assert book.stock == 0


def test_its_errors_are_those_of_the_package() -> None:
    """What the README calls an error is one."""
    for name in ("ReplayMismatch", "CommitOutcomeUnknown"):
        assert f"`{name}`" in README
        assert name in {kind.__name__ for kind in ClusterError.__subclasses__()}


def test_its_links_lead_somewhere() -> None:
    """Pages and their headings."""
    for link in re.findall(r"\]\(([^)]+)\)", README):
        page, _, heading = link.partition("#")
        text = (ROOT / page).read_bytes()
        if heading:
            titles = re.findall(r"^#+ (.*)$", text.decode(), re.MULTILINE)
            slugs = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
            assert heading in slugs, link
