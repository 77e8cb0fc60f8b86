"""Every message that the package raises or logs, as in the code: ``…`` for what varies."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from galera_router import events

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "galera_router"
#: The cluster for tests is no part of a site; docs/checks.md explains the checks by their IDs.
LEFT_OUT = ("testing", "checks")
LEVELS = ("info", "warning", "error", "exception", "log")
RAISED = {
    "ConfigurationError", "NotCommitted", "NoNodeAvailable", "FailoverImpossible", "ReplayMismatch",
    "CommitOutcomeUnknown", "ReadOnlyNode", "ForeignNode", "CommandError", "ValueError",
    "InterfaceError", "OperationalError", "ProgrammingError", "LagsBehind", "TimeoutError",
}  # fmt: skip
_FIELD = re.compile(r"%\(\w+\)[.\d]*[a-z]")
_PLACE = re.compile(r"%[.\d]*[a-z]")


def of_settings() -> set[str]:
    """What is said of DATABASES, behind the path to the wrong value."""
    return {text for name, text in _all() if name == "wrong"}


def of_the_rest() -> set[str]:
    """What is raised and logged otherwise."""
    return {text for name, text in _all() if name != "wrong"}


@cache
def _all() -> tuple[tuple[str, str], ...]:
    return *_found(), *_of_events()


def _of_events() -> Iterator[tuple[str, str]]:
    """The lines of the log that are made from events."""
    for kind in events.Event.__subclasses__():
        for text in vars(kind).values():
            if isinstance(text, str) and "%(" in text:
                yield "log", _FIELD.sub("…", text)


def _found() -> Iterator[tuple[str, str]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.relative_to(PACKAGE).parts[0] in LEFT_OUT:
            continue
        tree = ast.parse(path.read_text("utf-8"))
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
        constants = _texts(tree.body)
        for function in functions:
            yield from _in_function(function, constants)


def _texts(nodes: Iterable[ast.AST]) -> dict[str, str]:
    """The texts to which one of ``nodes`` gives a name."""
    return {
        target.id: told
        for node in nodes
        if isinstance(node, ast.Assign) and (told := _text(node.value, {}))
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def _in_function(function: ast.FunctionDef, constants: dict[str, str]) -> Iterator[tuple[str, str]]:
    texts = constants | _texts(ast.walk(function))
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and (name := _name(node.func)):
            told = next((t for arg in node.args if (t := _text(arg, texts))), "")
            if told.strip("…: "):
                yield name, _PLACE.sub("…", told).replace("……", "…").strip()


def _name(function: ast.expr) -> str:
    """The name of what raises or logs; empty for other functions."""
    if isinstance(function, ast.Name):
        return function.id if function.id in RAISED or function.id == "wrong" else ""
    if not isinstance(function, ast.Attribute):
        return ""
    owner = function.value.id if isinstance(function.value, ast.Name) else ""
    is_log = owner == "logger" and function.attr in LEVELS
    return function.attr if is_log or function.attr in RAISED else ""


def _text(node: ast.expr, texts: dict[str, str]) -> str:
    """The text of an expression, ``…`` where it varies; empty if it is none."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, ast.JoinedStr):
        parts = [v.value if isinstance(v, ast.Constant) else "…" for v in node.values]
        return "".join(map(str, parts))
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return (_text(node.left, texts) or "…") + (_text(node.right, texts) or "…")
    return texts.get(node.id, "") if isinstance(node, ast.Name) else ""
