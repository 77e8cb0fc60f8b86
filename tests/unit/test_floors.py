"""Modules import only from the floors below their own, never sideways."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "galera_router"

FLOORS: tuple[tuple[str, ...], ...] = (
    ("exceptions", "verdict", "internals", "generic", "statements"),
    ("options", "signals", "journal", "positions"),
    ("urls", "nodes", "keys", "tokens", "installation"),
    ("conf",),
    ("cluster",),
    ("wire", "pings", "markers", "scope"),
    ("identity", "packets"),
    ("context", "primary", "vigil", "responses"),
    ("links", "attempts", "candidates", "watchdog"),
    ("replay", "leases", "waits"),
    ("failover", "calls"),
    ("readers", "outcome"),
    ("writes",),
    ("session", "autocommit"),
    ("secondary",),
    ("recorder",),
    ("adoption",),
    ("causality",),
    ("cookies",),
    ("routers", "transaction", "middleware", "modes", "celery"),
    ("checks",),
    ("apps",),
)
FLOOR_OF = {module: floor for floor, modules in enumerate(FLOORS) for module in modules}
FACES = FLOOR_OF["routers"]  # from here on, what Django itself meets
# These stand beside the house: they may import anything, and only the faces may import them.
BESIDE = ("models", "migrations", "management", "testing")
ROOT = "__init__"


def part_of(path: Path) -> str:
    """The module, or the first folder, below the package that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def parts_imported(source: str, package: tuple[str, ...] = ()) -> set[str]:
    """What a module imports of this package: under TYPE_CHECKING and in functions too.

    ``package`` is the folder of the module, below the package. A name imported from the package
    itself counts as the module of that name, or as ``__init__`` where there is none.
    """
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        for target in targets(node, ("galera_router", *package)):
            if target[0] == "galera_router":
                found.add(target[1] if len(target) > 1 else ROOT)
    return {name if known(name) else ROOT for name in found}


def targets(node: ast.AST, package: tuple[str, ...]) -> list[tuple[str, ...]]:
    """The dotted names that one statement or call imports, absolute."""
    if isinstance(node, ast.Import):
        return [tuple(alias.name.split(".")) for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        above = package[: len(package) - node.level + 1] if node.level else ()
        module = (*above, *(node.module.split(".") if node.module else ()))
        return [(*module, alias.name) for alias in node.names]
    return called(node)


def called(node: ast.AST) -> list[tuple[str, ...]]:
    """The same for ``import_module("...")`` and ``import_string("...")``."""
    if not (isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant)):
        return []
    name = getattr(node.func, "attr", getattr(node.func, "id", ""))
    importing = name in ("import_module", "import_string", "__import__")
    return [tuple(str(node.args[0].value).split("."))] if importing else []


def known(name: str) -> bool:
    """Whether there is a module or a folder of this name."""
    return (PACKAGE / f"{name}.py").exists() or (PACKAGE / name).is_dir()


def allowed(importer: str, imported: str) -> bool:
    """Whether ``importer`` may import ``imported``; both are parts of the package."""
    if importer in BESIDE:
        return True
    if importer == ROOT:
        return imported not in BESIDE
    if imported in BESIDE:
        return FLOOR_OF[importer] >= FACES
    return FLOOR_OF.get(imported, len(FLOORS)) < FLOOR_OF[importer]


MODULES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_module_lives_on_a_floor(path: Path) -> None:
    """A new module has to be given its floor."""
    part = part_of(path)
    assert part in FLOOR_OF or part in (*BESIDE, ROOT), (
        f"galera_router.{part} is on no floor: give it one in {Path(__file__).name}"
    )


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_come_from_below(path: Path) -> None:
    """No import goes up or sideways."""
    part = part_of(path)
    if part not in FLOOR_OF and part not in (*BESIDE, ROOT):
        pytest.fail(f"galera_router.{part} is on no floor")
    imported = parts_imported(path.read_text("utf-8"), path.relative_to(PACKAGE).parts[:-1])
    wrong = {name for name in imported - {part} if not allowed(part, name)}
    assert not wrong, f"galera_router.{part} must not import {', '.join(sorted(wrong))}"


def test_every_import_is_seen() -> None:
    """Each way to import is counted, wherever it is written."""
    source = """
import galera_router.conf
from galera_router import exceptions as e, expand
from .signals import x
if TYPE_CHECKING:
    from .journal import y
def f():
    from . import cluster
    import_module("galera_router.context")
from .. import elsewhere
import django.db.models
"""
    seen = {"conf", "exceptions", ROOT, "signals", "journal", "cluster", "context"}
    assert parts_imported(source) == seen


def test_relative_imports_of_a_folder_are_its_own() -> None:
    """One dot in ``testing/`` is ``testing``, two dots are the package."""
    assert parts_imported("from .node import N", ("testing",)) == {"testing"}
    assert parts_imported("from ..conf import expand", ("testing",)) == {"conf"}


@pytest.mark.parametrize(
    ("importer", "imported", "fine"),
    [
        ("journal", "exceptions", True),
        ("journal", "signals", False),
        ("journal", "cluster", False),
        ("journal", "models", False),
        ("journal", ROOT, False),
        ("apps", "models", True),
        ("middleware", "routers", False),
        ("testing", "apps", True),
        (ROOT, "transaction", True),
        (ROOT, "testing", False),
    ],
)
def test_the_rule(importer: str, imported: str, fine: bool) -> None:
    """Down is fine; sideways, up, and out of the house are not."""
    assert allowed(importer, imported) is fine
