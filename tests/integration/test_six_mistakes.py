"""What a new user writes wrong: each a message with the setting and what to write, within 3 s.

Each is met as a person meets it: in a process of its own that runs ``manage.py``. What counts is
the time of the processor: on a busy machine, other tests take the rest. Whoever waited for a node
would wait for longer than the process may live.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from galera_router.testing import GaleraCluster

ROOT = Path(__file__).parents[2]
WITHIN = 3.0
PATIENCE = {"reconnect_wait_time": 300}
SETTINGS = """
import ast, os
import galera_router

SECRET_KEY = "for this test"
ROOT_URLCONF = __name__
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "galera_router"]
MIDDLEWARE = ["galera_router.middleware.GaleraMiddleware"]
DATABASE_ROUTERS = ["galera_router.routers.GaleraRouter"]
DATABASES = galera_router.expand({"default": ast.literal_eval(os.environ["WRITTEN"])})
urlpatterns = []
"""
PROGRAMME = """
import atexit, sys, time
atexit.register(lambda: print("seconds", time.process_time(), file=sys.stderr))
from django.core.management import execute_from_command_line
execute_from_command_line(["manage.py", *sys.argv[1:]])
"""


def settings(galera: GaleraCluster, **changes: Any) -> Any:
    own: dict[str, Any] = {**galera.databases()["default"], "PASSWORD": galera.password, **changes}
    return {key: value for key, value in own.items() if value is not None}


def with_options(**options: object) -> Any:
    return lambda galera: settings(galera, OPTIONS=PATIENCE | options)


def url(text: str) -> Any:
    return lambda galera: text.format(
        nodes=",".join(f"{node.host}:{node.port}" for node in galera.nodes)
    )


def username(galera: GaleraCluster) -> Any:
    return settings(galera, USER=None, USERNAME="galera")


def host(galera: GaleraCluster) -> Any:
    return settings(galera, HOST="db_1")


def no_nodes(galera: GaleraCluster) -> Any:
    node = galera.nodes[0]
    changes = {"HOST": node.host, "PORT": node.port, "OPTIONS": {"failover_enable": True}}
    return settings(galera, NODES=None, **changes)


def password(galera: GaleraCluster) -> Any:
    return settings(galera, PASSWORD="s3cret", OPTIONS=PATIENCE)


#: What is written, and what the message must name: the setting, and what to write.
MISTAKES: dict[str, tuple[Any, tuple[str, ...]]] = {
    "a raw slash in a URL's password": (
        url("mysql://galera:/s3cret@{nodes}/app"),
        ("['URL']", "Percent-encode", "%2F for /"),
    ),
    "semicolons between hosts": (
        url("mysql://galera:s3cret@h1;h2/app"),
        ("['URL']", "Write db1,db2,db3."),
    ),
    "NODES forgotten": (no_nodes, ("'failover_enable'", "NODES is missing. Write NODES: {'db1'")),
    "USERNAME": (username, ("['USERNAME']", "Did you mean 'USER'?")),
    "a HOST that is nearly a node's name": (host, ("['HOST']", "Did you mean 'db1'?")),
    "text for a switch of the driver": (
        with_options(compress="false"),
        ("['compress']", "must be True or False"),
    ),
    "an init_command with an error": (
        with_options(init_command="SET nonsense = 1"),
        ("Unknown system variable 'nonsense'", "Correct init_command"),
    ),
    "the wrong password": (password, ("refuses the user", "Correct USER, PASSWORD")),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_it_is_told_what_to_write(galera: GaleraCluster, tmp_path: Path, mistake: str) -> None:
    written, named = MISTAKES[mistake]
    (tmp_path / "wrong_settings.py").write_text(SETTINGS, "utf-8")
    environment = {
        **os.environ,
        "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}",
        "DJANGO_SETTINGS_MODULE": "wrong_settings",
        "WRITTEN": repr(written(galera)),
    }
    command = [sys.executable, "-c", PROGRAMME, "check", "--database", "default"]
    run = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    message = run.stderr
    assert run.returncode != 0
    for text in named:
        assert text in message
    assert "s3cret" not in message
    assert _seconds(run.stderr) < WITHIN


def _seconds(text: str) -> float:
    """How long the programme says that it has computed."""
    return float(text.rpartition("seconds ")[2].split()[0])
