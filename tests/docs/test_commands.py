"""Each command in the docs, in the Makefile and of the long runs has options that there are."""

from __future__ import annotations

import functools
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.proof.steps import steps

ROOT = Path(__file__).parents[2]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
#: A module of the tests and what follows it, to the end of the command.
MODULE = re.compile(r"-m (tests(?:\.\w+)+)((?:\\\n|[^\n`|;)])*)")
TARGET = re.compile(r"make ([\w-]+)[^\n`|]*?ARGS=(\"[^\"]*\"|\S+)")
RECIPE = re.compile(r"^([\w-]+):.*\n(?:\t.*\n)*?\t.*-m (tests(?:\.\w+)+)", re.MULTILINE)
OPTION = re.compile(r"(?<![\w-])--[a-z][\w-]*")


def recipes() -> dict[str, str]:
    """The module that each target of the Makefile runs."""
    return dict(RECIPE.findall((ROOT / "Makefile").read_text()))


def commands() -> Iterator[tuple[str, str, str]]:
    """Where it stands, the module, and the rest of the command."""
    for page in [*PAGES, ROOT / "Makefile"]:
        for module, rest in MODULE.findall(page.read_text()):
            yield page.name, module, rest
    for page in PAGES:
        for target, arguments in TARGET.findall(page.read_text()):
            if target in recipes():
                yield page.name, recipes()[target], arguments
    for step in steps(1):
        yield step.name, step.words[0], " ".join(step.words[1:])


def asked() -> dict[tuple[str, str], set[str]]:
    """The places in which a module is given an option."""
    found: dict[tuple[str, str], set[str]] = {}
    for place, module, rest in commands():
        for option in OPTION.findall(rest):
            found.setdefault((module, option), set()).add(place)
    return found


@functools.cache
def known(module: str) -> frozenset[str]:
    """The options of ``module``."""
    command = [sys.executable, "-m", module, "--help"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return frozenset(OPTION.findall(said.stdout))


def test_some_are_found() -> None:
    assert ("tests.history", "--histories") in asked()
    assert recipes()["histories"] == "tests.history"
    assert len(asked()) > 20


def test_each_module_is_there() -> None:
    assert not {module for _, module, _ in commands() if find_spec(module) is None}


@pytest.mark.parametrize(("module", "option"), sorted(asked()))
def test_each_option_is_there(module: str, option: str) -> None:
    assert option in known(module), asked()[module, option]
