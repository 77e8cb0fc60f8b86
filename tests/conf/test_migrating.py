"""The settings of django-galera, as its documentation writes them, with another ENGINE."""

from __future__ import annotations

from typing import Any

import pytest

from galera_router import expand
from galera_router.conf import cluster_config
from galera_router.exceptions import ConfigurationError


def databases(**changes: Any) -> dict[str, Any]:
    return {
        "default": {
            "ATOMIC_REQUESTS": True,
            "ENGINE": "galera.backends.readwritesplit",
            "PORT": 3306,
            "NAME": "db_name",
            "USER": "db_username",
            "PASSWORD": "db_password",
            "OPTIONS": {
                "failover_enable": True,
                "failover_history_limit": 1000,
                "wsrep_sync_after_write": True,
            },
            "NODES": {
                "db1": {"HOST": "10.0.1.2"},
                "db2": {"HOST": "10.0.1.3"},
                "db3": {"HOST": "10.0.1.4"},
            },
            **changes,
        }
    }


def with_another_engine(**changes: Any) -> dict[str, Any]:
    return databases(**{"ENGINE": "django.db.backends.mysql", **changes})


def test_the_engine_is_the_one_thing_to_change() -> None:
    with pytest.raises(ConfigurationError) as caught:
        expand(databases())
    assert str(caught.value).startswith("DATABASES['default']['ENGINE']: 'galera.backends.")
    assert "Write 'django.db.backends.mysql'" in str(caught.value)
    result = expand(with_another_engine())
    assert list(result) == ["default", "default_db1", "default_db2", "default_db3"]
    config = cluster_config(result["default"])
    assert config is not None
    assert config.options.failover_enable is True
    assert config.options.failover_history_limit == 1000
    assert config.options.wsrep_sync_after_write is True
    assert config.preferred is None
    assert result["default"]["ATOMIC_REQUESTS"] is True
    assert [node.role_settings["HOST"] for node in config.nodes] == [
        "10.0.1.2", "10.0.1.3", "10.0.1.4",
    ]  # fmt: skip
    for node in config.nodes:
        assert {**node.role_settings, "HOST": "", "OPTIONS": {}} == {
            "HOST": "", "PORT": 3306, "OPTIONS": {},
            "NAME": "db_name", "USER": "db_username", "PASSWORD": "db_password",
        }  # fmt: skip


@pytest.mark.parametrize("host", ["localhost", "/var/run/mysqld/mysqld.sock"])
def test_what_its_example_has_in_comments(host: str) -> None:
    nodes = databases()["default"]["NODES"] | {"db4": {"HOST": "10.0.1.4", "PORT": 3307}}
    result = expand(with_another_engine(HOST=host, NODES=nodes))
    config = cluster_config(result["default"])
    assert config is not None
    assert config.preferred == "default_host"
    assert result["default_host"]["HOST"] == host
    assert result["default_db4"]["PORT"] == 3307


def test_its_later_options() -> None:
    """With the defaults that they have there."""
    options = {
        "disable_update_can_self_select": True,
        "failover_enable": True,
        "failover_history_limit": 10000,
        "optimistic_transactions": True,
        "reconnect_wait_time": 5.0,
        "wsrep_sync_after_write": True,
        "wsrep_sync_timeout": 5,
        "wsrep_sync_use_gtid": False,
    }
    config = cluster_config(expand(with_another_engine(OPTIONS=options))["default"])
    assert config is not None
    assert {name: getattr(config.options, name) for name in options} == options


def test_host_may_be_the_name_of_a_node() -> None:
    config = cluster_config(expand(with_another_engine(HOST="db2"))["default"])
    assert config is not None
    assert config.preferred == "default_db2"
