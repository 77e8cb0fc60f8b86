"""Management commands in processes of their own, and the development server's reloads."""

from __future__ import annotations

import functools
import json
import os
from contextlib import closing, suppress
from pathlib import Path

import pytest

from tests.ecosystem.servers import Visitor, serving
from tests.ecosystem.support import environment, run
from tests.integration.support import Shop, wait_until
from tests.shop.models import Author

COMMANDS = [
    ("check", "--database", "default", "--deploy"),
    ("showmigrations",),
    ("migrate", "--check"),
    ("migrate", "--database", "default_db2"),
    ("sqlmigrate", "galera_router", "0001"),
    ("inspectdb", "shop_author"),
    ("inspectdb", "--database", "default_db2", "shop_author"),
    ("sqlflush",),
    ("clearsessions",),
    ("dbshell", "--", "-e", "SELECT 'through the shell'"),
    ("dbshell", "--database", "default_db3", "--", "-e", "SELECT 'through the shell'"),
]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_commands_end_well(shop: Shop, words: tuple[str, ...]) -> None:
    output = run(environment(shop), "django", *words)
    if words[0] == "dbshell":
        assert "through the shell" in output
    if words[0] == "inspectdb":
        assert "name = models.CharField(unique=True, max_length=100)" in output


def test_data_are_dumped_flushed_and_loaded(shop: Shop, tmp_path: Path) -> None:
    author = Author.objects.create(name="Ann")
    shop.settle()
    around, file = environment(shop), tmp_path / "data.json"
    run(around, "django", "dumpdata", "shop", "--output", str(file))
    assert [entry["pk"] for entry in json.loads(file.read_text())] == [author.pk]
    run(around, "django", "flush", "--noinput")
    assert shop.everywhere("SELECT * FROM galera_router.shop_author") == []
    run(around, "django", "loaddata", str(file))
    rows = shop.everywhere("SELECT id, name FROM galera_router.shop_author")
    assert rows == [(author.pk, "Ann")]


def test_a_command_while_the_primary_is_away(shop: Shop) -> None:
    shop.galera["db1"].kill()
    around = environment(shop) | {"DJANGO_SUPERUSER_PASSWORD": "secret"}
    words = ("--noinput", "--username", "ann", "--email", "ann@localhost")
    assert "Superuser created" in run(around, "django", "createsuperuser", *words)
    rows = shop.everywhere("SELECT username FROM galera_router.auth_user")
    assert rows == [("ann",)]


def urls(version: int) -> str:
    return f"""
from django.http import HttpResponse
from django.urls import include, path

urlpatterns = [
    path("version/", lambda request: HttpResponse("{version}")),
    path("", include("tests.shop.urls")),
]
"""


def test_the_development_server_reloads(shop: Shop, tmp_path: Path) -> None:
    module = tmp_path / "reloaded.py"
    module.write_text(urls(1))
    around = environment(shop, ROOT_URLCONF="reloaded", DEBUG=True)
    around["PYTHONPATH"] = os.pathsep.join([str(tmp_path), str(Path.cwd())])
    around["PYTHONDONTWRITEBYTECODE"] = "1"
    with serving(around, tmp_path / "log", "django", "runserver", "127.0.0.1:{port}") as server:
        assert visit(server.port) == "1"
        for version in (2, 3):
            module.write_text(urls(version))
            wait_until(functools.partial(reloaded, server.port, module, str(version)), 30)
            assert len(server.members()) == 2, "the one that reloads, and the one that serves"
            wait_until(lambda: clients(shop) <= 4)
        assert "Traceback" not in server.log
    wait_until(lambda: clients(shop) == 0)


def reloaded(port: int, module: Path, version: str) -> bool:
    """Whether ``version`` answers; a change ahead of the reloader's first look goes unnoticed."""
    later = os.stat(module).st_mtime + 10
    os.utime(module, (later, later))
    with suppress(AssertionError):
        wait_until(lambda: visit(port) == version, 4)
        return True
    return False


def visit(port: int) -> str:
    """Which version answers, after a write and a read; nothing while none is up."""
    with closing(Visitor(port)) as visitor:
        try:
            name = f"n{os.urandom(4).hex()}"
            visitor.ask("/add/", {"name": name})
            assert name in visitor.ask("/read/").split(",")
            return visitor.ask("/version/")
        except OSError:
            return ""


def clients(shop: Shop) -> int:
    sql = "SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'galera'"
    return sum(int(node.query(sql)[0][0]) for node in shop.galera.nodes)
