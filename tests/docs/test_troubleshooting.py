"""docs/troubleshooting.md has every message that is raised or logged, and no other."""

from __future__ import annotations

import re
import textwrap

from tests.docs.messages import ROOT, of_settings, of_the_rest

PAGE = (ROOT / "docs" / "troubleshooting.md").read_text("utf-8")
#: All of it varies: the page says in words what it is.
NO_TEXT = {"DATABASES…: …", "…: …."}
#: Of the checks, which have IDs; this one is logged by them.
OF_CHECKS = {
    "…: no node can be used yet; the system checks wait for up to … s (reconnect_wait_time)"
}


def _rows() -> list[tuple[str, ...]]:
    found = re.findall(r"^\| `(.*)$", PAGE, re.MULTILINE)
    return [tuple(part.strip(" `") for part in re.split(r" \| ", row[:-1])) for row in found]


def test_every_message_has_its_row() -> None:
    assert {row[0] for row in _rows()} == of_the_rest() - NO_TEXT | OF_CHECKS


def test_every_row_says_the_cause_and_what_to_do() -> None:
    rows = _rows()
    assert len({row[0] for row in rows}) == len(rows)
    assert [row for row in rows if len(row) < 3 or not all(row)] == []


def test_every_message_about_databases_is_listed() -> None:
    (block,) = re.findall(r"^## Errors in DATABASES$.*?^```\n(.*?)^```", PAGE, re.M | re.S)
    assert block.splitlines() == sorted(of_settings())


def test_what_is_looked_for_is_found() -> None:
    """The check itself: a message of each kind."""
    assert "…: node … is down: …" in of_the_rest()
    assert "No node of … can serve (…): …" in of_the_rest()
    assert "is not an option. Move it out of OPTIONS." in of_settings()
    assert textwrap.dedent(PAGE) == PAGE
