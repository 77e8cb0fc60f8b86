"""What the documentation says of the operations."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent
KIND = re.compile(r'^@kind\(\s*"([^"]+)"(.*)', re.MULTILINE)
DOCS = (HERE.parents[1] / "docs" / "chaos.md").read_text()


def kinds() -> dict[str, str]:
    """Each kind, and why it runs only if it is asked for; "" if it runs anyway."""
    found = {}
    for path in (HERE / "workloads.py", *(HERE / "operations").glob("*.py")):
        for name, more in KIND.findall(path.read_text()):
            why_not = re.search(r'why_not="([^"]+)"', more)
            found[name] = why_not[1] if why_not else ""
    return found


def section(heading: str) -> str:
    """The text below a heading of the page."""
    return DOCS.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def test_every_operation_is_documented() -> None:
    """In the table of what the clients do."""
    rows = section("What the clients do")
    assert len(kinds()) > 50
    assert [name for name in kinds() if f"`{name}`" not in rows] == []


def test_what_runs_only_if_it_is_asked_for_is_documented() -> None:
    """With the reason, in a table of its own; and no other operation is in it."""
    text = section("What runs only if it is asked for")
    rows = text.partition("| operations |")[2].partition("\n\n")[0]
    hard = {name: why_not for name, why_not in kinds().items() if why_not}
    listed = {
        name: line.split("|")[2].strip()
        for line in rows.splitlines()
        if line.startswith("| `")
        for name in re.findall(r"`([^`]+)`", line.split("|")[1])
    }
    assert listed == hard
