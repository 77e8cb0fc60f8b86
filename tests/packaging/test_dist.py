"""What is published: built, checked, installed in a fresh environment, used as the README says."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

from galera_router import __version__
from galera_router.testing import GaleraCluster

pytest.importorskip("build", reason="comes with the extra dev alone")
pytest.importorskip("twine")
pytest.importorskip("check_wheel_contents")

ROOT = Path(__file__).parents[2]
FOLDERS = ("galera_router", "docs", "example_project", "scripts", "tests")


def run(
    *command: str | Path, folder: Path, more: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run ``command``, which must succeed."""
    done = subprocess.run(
        list(map(str, command)), cwd=folder, env={**os.environ, **(more or {})},
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with sdist and wheel, as ``make dist`` builds and checks them."""
    source = tmp_path_factory.mktemp("source")
    for folder in FOLDERS:
        ignored = shutil.ignore_patterns("__pycache__", ".*")
        shutil.copytree(ROOT / folder, source / folder, ignore=ignored)
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy2(path, source)
    run(source / "scripts" / "dist", sys.executable, "dist", folder=source)
    return source / "dist"


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Path:
    (found,) = dist.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def fresh(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a new environment that has the wheel, and what it requires, alone."""
    folder = tmp_path_factory.mktemp("fresh")
    run(sys.executable, "-m", "venv", "venv", folder=folder)
    python = folder / "venv" / "bin" / "python"
    run(python, "-m", "pip", "install", "--disable-pip-version-check", wheel, folder=folder)
    return python


def _metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith("dist-info/METADATA")]
        return Parser().parsestr(archive.read(name).decode())


def test_the_metadata_are_complete(wheel: Path) -> None:
    told = _metadata(wheel)
    assert (told["Name"], told["Version"]) == ("galera-router", __version__)
    assert told["Requires-Python"] == ">=3.10"
    assert told["License"] == "MIT"
    assert set(told.get_all("Provides-Extra", [])) >= {"url", "celery"}
    required = [line for line in told.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert {re.split(r"[<>=]", line)[0] for line in required} == {"Django", "mysqlclient"}
    classifiers = told.get_all("Classifier", [])
    for version in (sys.version_info.minor, 10):
        assert f"Programming Language :: Python :: 3.{version}" in classifiers
    assert "Typing :: Typed" in classifiers


LINK = re.compile(r"\]\(([^)]+)\)")


def test_the_description_has_no_link_that_leads_nowhere(wheel: Path) -> None:
    told = str(_metadata(wheel).get_payload())
    assert told.startswith("# galera_router")
    assert [link for link in LINK.findall(told) if not link.startswith(("https://", "#"))] == []


def test_the_links_of_what_is_published_are_absolute(wheel: Path, tmp_path: Path) -> None:
    """As the workflow builds it. Each leads to a file that there is."""
    more = {"PROJECT_URL": "https://example.org/project", "PROJECT_REF": "v9"}
    build = (sys.executable, "-m", "build", "--sdist", "--outdir", tmp_path)
    run(*build, folder=wheel.parents[1], more=more)
    (sdist,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        (name,) = [n for n in archive.getnames() if re.fullmatch(r"[^/]+/PKG-INFO", n)]
        file = archive.extractfile(name)
        assert file is not None
        told = Parser().parsestr(file.read().decode())
    links = LINK.findall(str(told.get_payload()))
    found = [re.match(r"https://example.org/project/(blob|raw)/v9/([^#]+)", one) for one in links]
    assert len(found) > 20
    assert None not in found
    for match in found:
        assert match is not None
        kind, name = match.groups()
        assert (ROOT / name).is_file()
        assert (kind == "raw") == name.startswith("docs/images/")
    assert "Source, https://example.org/project" in told.get_all("Project-URL", [])


def test_the_wheel_has_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"galera_router"}
    here = ROOT / "galera_router"
    expected = {
        str(path.relative_to(ROOT))
        for path in here.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {name for name in names if ".dist-info/" not in name} == expected
    assert "galera_router/py.typed" in names


def test_the_sdist_has_what_a_distribution_needs(dist: Path) -> None:
    (sdist,) = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert names >= {
        "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "README.md", "SECURITY.md", "setup.cfg",
        "docs/settings.md", "tests/settings.py", "example_project/manage.py", "Makefile",
    }  # fmt: skip
    assert not [name for name in names if "__pycache__" in name or name.endswith(".env")]


def test_the_type_of_what_is_installed_is_known(fresh: Path) -> None:
    places = run(
        fresh, "-c", "import galera_router; print(galera_router.__file__)", folder=fresh.parent
    )
    assert (Path(places.stdout.strip()).parent / "py.typed").is_file()
    assert str(ROOT) not in places.stdout


# The README's lines


def _first_settings() -> str:
    """The first of the README's examples that makes a cluster."""
    text = (ROOT / "README.md").read_text("utf-8")
    examples: list[str] = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return next(example for example in examples if "galera_router.expand(" in example)


#: The README's lines stand as they are between these; its servers are those of this machine.
BEFORE = """
import galera_router, json, os

DATABASES = {"default": {"ENGINE": "django.db.backends.mysql", "NAME": "app", "USER": "app"}}
SECRET_KEY = "for this test"
ROOT_URLCONF = __name__
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = []
MIDDLEWARE = []
urlpatterns = []
os.environ.setdefault("DATABASE_URL", "mysql://app:secret@10.0.1.2,10.0.1.3,10.0.1.4/app")
_expand = galera_router.expand


def _here(databases):
    galera_router.expand = _expand
    written = databases["default"]
    more = {"URL": written} if isinstance(written, str) else dict(written)
    if "URL" in more:
        raise SystemExit("the README's first example is a URL, which needs an extra")
    return _expand({"default": more | json.loads(os.environ["SERVERS"])})


galera_router.expand = _here
"""
AFTER = """
INSTALLED_APPS = ["django.contrib.contenttypes", *INSTALLED_APPS]
SILENCED_SYSTEM_CHECKS = ["galera_router.W008"]  # the servers of the tests are set to be quick
"""
USE = """
import django
django.setup()
from django.contrib.contenttypes.models import ContentType
from django.db import connection
from galera_router import galera_atomic

@galera_atomic
def add():
    before = ContentType.objects.count()  # on a secondary
    ContentType.objects.create(app_label="readme", model="line")
    return before + 1

after = add()
assert ContentType.objects.count() == after
row = ContentType.objects.get(app_label="readme")
print(row.pk, connection.vendor, *sorted(django.db.connections))
"""


@pytest.fixture
def empty(galera: GaleraCluster) -> Iterator[str]:
    """The name of a new database."""
    name, node = "test_readme", galera.nodes[0]
    node.query(f"CREATE DATABASE {name}")
    yield name
    node.query(f"DROP DATABASE {name}")


def test_the_lines_of_the_readme(
    fresh: Path, galera: GaleraCluster, empty: str, tmp_path: Path
) -> None:
    (tmp_path / "readme_settings.py").write_text(BEFORE + _first_settings() + AFTER, "utf-8")
    servers = galera.databases(NAME=empty)["default"]
    own = repr(servers).replace("'", '"')
    more = {
        "PYTHONPATH": str(tmp_path),
        "DJANGO_SETTINGS_MODULE": "readme_settings",
        "SERVERS": own,
    }
    run(fresh, "-m", "django", "migrate", "--verbosity=0", folder=tmp_path, more=more)
    check = ("check", "--database=default", "--fail-level=WARNING")
    run(fresh, "-m", "django", *check, folder=tmp_path, more=more)
    used = run(fresh, "-c", USE, folder=tmp_path, more=more)
    key, vendor, *aliases = used.stdout.split()
    assert (vendor, aliases[0]) == ("mysql", "default")
    assert len(aliases) == 1 + len(galera.nodes)
    for node in galera.nodes:
        node.wait_applied()
        row = node.query(f"SELECT id FROM {empty}.django_content_type WHERE app_label = 'readme'")
        assert row == [(int(key),)]
