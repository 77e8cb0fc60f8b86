"""What the documentation says of the operations."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent
KIND = re.compile(r'^@kind\(\s*"([^"]+)"(.*)', re.MULTILINE)
DOCS = (HERE.parents[1] / "docs" / "chaos.md").read_text()


def kinds() -> dict[str, str]:
    """Each kind, and the fault of today's router that it fails with; "" if it does not."""
    found = {}
    for path in (HERE / "workloads.py", *(HERE / "operations").glob("*.py")):
        for name, more in KIND.findall(path.read_text()):
            fault = re.search(r'fault="([^"]+)"', more)
            found[name] = fault[1] if fault else ""
    return found


def section(heading: str) -> str:
    """The text below a heading of the page."""
    return DOCS.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def test_every_operation_is_documented() -> None:
    """In the table of what the clients do."""
    rows = section("What the clients do")
    assert len(kinds()) > 50
    assert [name for name in kinds() if f"`{name}`" not in rows] == []


def test_what_fails_today_is_documented() -> None:
    """With the fault, in a table of its own; and no other operation is in it."""
    rows = section("What today's router fails").partition("| operations |")[2].partition("\n\n")[0]
    hard = {name: fault for name, fault in kinds().items() if fault}
    listed = {
        name: line.split("|")[2].strip()
        for line in rows.splitlines()
        if line.startswith("| `")
        for name in re.findall(r"`([^`]+)`", line.split("|")[1])
    }
    assert listed == hard
