"""The docs as a site: strict, with every page, the API and a search, and nothing from elsewhere."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import galera_router
from galera_router import exceptions
from tests.docs.messages import ROOT

pytest.importorskip("mkdocs", reason="comes with the extras docs and dev alone")

PARTS = ("docs", "galera_router", "scripts", "mkdocs.yml", "CHANGELOG.md")


def build(source: Path, site: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)],
        cwd=source, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = build(ROOT, folder)
    assert done.returncode == 0, done.stderr
    return folder


def test_every_page_is_there_and_in_the_search(site: Path) -> None:
    index = json.loads((site / "search" / "search_index.json").read_text("utf-8"))
    found = {entry["location"].partition("#")[0] for entry in index["docs"]}
    assert found >= {f"{path.stem}.html" for path in (ROOT / "docs").glob("*.md")} - {"index.html"}


def test_the_api_has_all_public_names(site: Path) -> None:
    api = (site / "api.html").read_text("utf-8")
    names = {name for name in vars(exceptions) if isinstance(getattr(exceptions, name), type)}
    own = {n for n in names if getattr(exceptions, n).__module__ == exceptions.__name__}
    for name in {*galera_router.__all__, *own, "GaleraRouter", "GaleraMiddleware"}:
        assert re.search(rf'id="galera_router\.[\w.]*{name}"', api), name


def test_the_changelog_is_a_page(site: Path) -> None:
    text = (site / "changelog.html").read_text("utf-8")
    assert f">[{galera_router.__version__}]" in text
    assert 'href="faults.html"' in text


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    """The site can be read without a network, and tells nobody that it is."""
    for page in site.glob("*.html"):
        text = page.read_text("utf-8")
        fetched = re.findall(r'<(?:script|img|iframe)[^>]*\bsrc="([^"]+)"', text)
        fetched += re.findall(
            r'<link[^>]*\brel="(?:stylesheet|preconnect)"[^>]*href="([^"]+)"', text
        )
        assert [url for url in fetched if "//" in url] == [], page.name


LINKS = ("nowhere.md", "settings.md#nowhere", "../README.md", "/absolute")


def test_links_that_lead_nowhere_are_errors(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for part in PARTS:
        if (ROOT / part).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / part, source / part, ignore=ignored)
        else:
            shutil.copy(ROOT / part, source)
    with (source / "docs" / "faq.md").open("a", encoding="utf-8") as page:
        page.writelines(f"\n[x]({link})\n" for link in LINKS)
    done = build(source, tmp_path / "site")
    assert done.returncode != 0
    told = done.stdout + done.stderr
    for link in LINKS:
        assert re.search(rf"'faq.md'.*'{link}'", told), link
