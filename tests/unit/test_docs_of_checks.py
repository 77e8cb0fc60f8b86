"""docs/checks.md has every ID, once, and no other."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def given_out() -> set[str]:
    """The IDs in the package: calls of error() and warning(), and what is written in full."""
    found: set[str] = set()
    for path in (ROOT / "galera_router" / "checks").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            found |= numbered(node)
    text = (ROOT / "galera_router" / "conf" / "expand.py").read_text("utf-8")
    return found | set(re.findall(r"galera_router\.([EW]\d{3})", text))


def numbered(node: ast.AST) -> set[str]:
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
        return set()
    letter = {"error": "E", "warning": "W"}.get(node.func.id)
    if letter is None or not isinstance(node.args[0], ast.Constant):
        return set()
    return {f"{letter}{int(str(node.args[0].value)):03}"}


def test_every_id_is_explained_once() -> None:
    text = (ROOT / "docs" / "checks.md").read_text("utf-8")
    rows = re.findall(r"^\| ([EW]\d{3}) \|", text, re.MULTILINE)
    assert len(rows) == len(set(rows))
    assert set(rows) == given_out()
    assert {"E001", "W001", "W002"} <= set(rows)
