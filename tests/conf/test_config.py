"""What ``expand`` leaves of a cluster in the settings, and the objects that are built from it."""

from __future__ import annotations

import ast
import copy
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from django.conf import UserSettingsHolder, global_settings
from django.db.utils import ConnectionHandler
from django.views import debug

from galera_router.cluster import registry
from galera_router.cluster.nodes import Cluster
from galera_router.cluster.registry import cluster_of
from galera_router.conf import ClusterConfig, cluster_config, config, expand, node_role
from tests.conf.support import expanded, found, settings

PLAIN = (str, bool, int, float, type(None))


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_is_plain(item) for pair in value.items() for item in pair)
    if isinstance(value, list):
        return all(map(_is_plain, value))
    return type(value) in PLAIN


@pytest.fixture
def unbuilt(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process that has not used a cluster yet."""
    monkeypatch.setattr(config, "_built", {})
    monkeypatch.setattr(registry, "_clusters", {})


@pytest.fixture
def databases(monkeypatch: pytest.MonkeyPatch, unbuilt: None) -> dict[str, Any]:
    """A cluster ``conf`` that Django knows."""
    made = expand({"default": {}, "conf": settings()})
    monkeypatch.setattr(registry, "connections", ConnectionHandler(made))
    return made


def test_it_is_plain_data() -> None:
    result = expanded(HOST="localhost", OPTIONS={"ssl": {"ca": "x"}, "reconnect_wait_time": 3})
    assert _is_plain(result)
    assert ast.literal_eval(repr(result)) == result
    assert result["default"]["GALERA"]["preferred"] == "default_host"
    assert result["default"]["GALERA"]["options"] == {"reconnect_wait_time": 3.0}


def test_it_can_be_copied_pickled_and_written_out(unbuilt: None) -> None:
    result = expanded(HOST="localhost")
    first = found(result["default"])
    for again in (
        copy.deepcopy(result),
        pickle.loads(pickle.dumps(result)),
        ast.literal_eval(repr(result)),
        expand(result),
    ):
        assert again == result
        assert found(again["default"]) is first, "equal settings are the same cluster"
    assert found(result["default"]) is first


def test_other_settings_are_another_cluster(unbuilt: None) -> None:
    first, second = expanded(), expanded(OPTIONS={"failover_enable": False})
    assert found(first["default"]).options.failover_enable is True
    assert found(second["default"]).options.failover_enable is False
    assert found(first["default"]).options.failover_enable is True
    assert found(first["default"]) == found(expanded()["default"]) != found(second["default"])
    assert len({found(expanded()["default"]), found(expanded()["default"])}) == 1


def test_no_password_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    result = expanded(HOST="localhost", OPTIONS={"passwd": "s3cret"})
    built = found(result["default"])
    assert "s3cret" not in repr(built) + str(built)
    # Django's page about an error shows the settings.
    monkeypatch.setattr(debug, "settings", UserSettingsHolder(global_settings))
    shown = debug.SafeExceptionReporterFilter().cleanse_setting("DATABASES", result)
    assert "10.0.1.3" in repr(shown)
    assert "s3cret" not in repr(shown)


def test_what_is_built_shares_nothing_with_the_settings(unbuilt: None) -> None:
    result = expanded(OPTIONS={"ssl": {"ca": "x"}})
    built = found(result["default"])
    result["default"]["OPTIONS"]["ssl"]["ca"] = "changed"
    result["default"]["GALERA"]["nodes"][0]["role_settings"]["OPTIONS"]["ssl"]["ca"] = "changed"
    assert built.nodes[0].role_settings["OPTIONS"]["ssl"] == {"ca": "x"}
    assert found(result["default"]) is built


def test_changed_settings_lead_to_the_same_cluster(databases: dict[str, Any]) -> None:
    """A test runner changes NAME in place; other changes have no effect and are E004."""
    cluster = cluster_of("conf")
    assert cluster is not None
    databases["conf"]["NAME"] = "test_shop"
    databases["conf"]["HOST"] = "elsewhere"
    databases["conf"]["OPTIONS"]["failover_enable"] = False
    assert cluster_of("conf") is cluster is cluster_of("conf_db1")
    made = cluster.config.nodes[0].role_settings
    assert (made["NAME"], made["HOST"]) == ("shop", "10.0.1.2")
    assert cluster.config.options.failover_enable is True


def test_copies_of_the_settings_lead_to_the_same_cluster(databases: dict[str, Any]) -> None:
    """A spawned process of a test runner updates its own settings with copies."""
    cluster = cluster_of("conf")
    for alias, copied in pickle.loads(pickle.dumps(databases)).items():
        databases[alias].update(copied)
    assert cluster_of("conf") is cluster is cluster_of("conf_db3")
    assert cluster is not None
    assert cluster.config is cluster_config(databases["conf"])


def test_all_threads_have_one_cluster(databases: dict[str, Any]) -> None:
    seen: list[Cluster | None] = []
    start = threading.Barrier(8)

    def look() -> None:
        start.wait()
        seen.append(cluster_of("conf"))

    threads = [threading.Thread(target=look) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, seen))) == 1
    assert seen[0] is not None
    assert seen[0].config is cluster_config(databases["conf"])


def test_a_fork_has_what_its_parent_had(databases: dict[str, Any]) -> None:
    cluster = cluster_of("conf")
    child = os.fork()
    if child == 0:
        os._exit(0 if cluster_of("conf") is cluster else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_cluster_that_is_known_is_found_without_a_lock(
    databases: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked for with every query: nothing is compared or built either."""
    known = cluster_of("conf")
    monkeypatch.setattr(registry, "_lock", None)
    monkeypatch.setattr(config, "_build", None)
    assert cluster_of("conf") is known is cluster_of("conf_db2")


def test_accessors() -> None:
    result = expand({"default": settings(), "other": {}})
    assert isinstance(cluster_config(result["default"]), ClusterConfig)
    assert [cluster_config(result[alias]) for alias in ("default_db1", "other")] == [None, None]
    assert node_role(result["default_db1"]) == "default"
    assert [node_role(result[alias]) for alias in ("default", "other")] == [None, None]
    with pytest.raises(KeyError):
        found(result["default"]).node("default")


@pytest.mark.parametrize("value", [None, "x", 5, [], {}, {"alias": "default"}, {"alias": []}])
def test_somebody_elses_setting_of_that_name(value: Any, unbuilt: None) -> None:
    assert cluster_config({"GALERA": value}) is None
    assert cluster_config(expanded()["default"]) is not None


PROGRAMME = """
import django
django.setup()
from django.core.checks import run_checks
from galera_router.cluster.registry import cluster_of
cluster = cluster_of("default_db2")
print([node.config.role_settings["HOST"] for node in cluster.nodes], cluster.config.options)
assert not (messages := run_checks(tags=["galera_router"])), messages
"""


def test_a_settings_module_written_with_repr(tmp_path: Path) -> None:
    """Some tests of Django's own make their settings in this way."""
    made = expanded(OPTIONS={"conflict_retries": 7})
    (tmp_path / "written.py").write_text(
        f"DATABASES = {made!r}\n"
        "DATABASE_ROUTERS = ['galera_router.routers.GaleraRouter']\n"
        "INSTALLED_APPS = ['galera_router']\n"
        "SECRET_KEY = 'x'\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAMME],
        env={
            **os.environ,
            "PYTHONPATH": f"{tmp_path}{os.pathsep}{root}",
            "DJANGO_SETTINGS_MODULE": "written",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "['10.0.1.2', '10.0.1.3', '10.0.1.4']" in done.stdout
    assert "conflict_retries=7" in done.stdout
