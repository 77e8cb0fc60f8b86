"""``expand``: what a user writes, what Django gets, and what is refused."""

from __future__ import annotations

import ast
import copy
import pickle
import subprocess
import sys
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db.utils import ConnectionHandler
from hypothesis import given
from hypothesis import strategies as st

from galera_router import expand
from galera_router.conf import DEFAULTS, ClusterConfig, Options
from galera_router.exceptions import ConfigurationError
from tests.conf.support import ENGINE, NODES, expanded, found, settings

OURS = "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"


def cluster(**changes: Any) -> ClusterConfig:
    return found(expanded(**changes)["default"])


def refused(databases: Any, *expected: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        expand(databases)
    assert isinstance(caught.value, ImproperlyConfigured)
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None
    for text in expected:
        assert text in str(caught.value)


# What comes out


def test_the_example() -> None:
    result = expanded(
        ATOMIC_REQUESTS=True,
        PORT=3306,
        CONN_MAX_AGE=60,
        TEST={"NAME": "test_shop"},
        OPTIONS={"failover_history_limit": 5, "charset": "latin1"},
    )
    assert list(result) == ["default", "default_db1", "default_db2", "default_db3"]
    role = result["default"]
    config = found(role)
    del role["GALERA"]
    connection = {"PORT": 3306, "USER": "app", "PASSWORD": "s3cret", "NAME": "shop"}
    assert role == {
        "ENGINE": ENGINE,
        "ATOMIC_REQUESTS": True,
        "CONN_MAX_AGE": 60,
        "TEST": {"NAME": "test_shop"},
        "HOST": "10.0.1.2",
        "OPTIONS": {"charset": "latin1", "connect_timeout": 2, "autocommit": True},
        **connection,
    }
    assert result["default_db2"] == {
        "ENGINE": ENGINE,
        "ATOMIC_REQUESTS": False,
        "AUTOCOMMIT": True,
        "CONN_MAX_AGE": 60,
        "TEST": {"MIRROR": "default"},
        "GALERA_ROLE": "default",
        "HOST": "10.0.1.3",
        "OPTIONS": {
            "charset": "latin1",
            "connect_timeout": 2,
            "autocommit": True,
            "isolation_level": None,
            "init_command": OURS,
        },
        **connection,
    }
    assert config.alias == "default"
    assert config.node_aliases == ("default_db1", "default_db2", "default_db3")
    assert config.preferred is None
    assert config.options == Options(failover_history_limit=5)
    assert config.node("default_db3") is config.nodes[2]
    assert [node.name for node in config.nodes] == ["db1", "db2", "db3"]
    assert all(node.electable for node in config.nodes)
    assert config.nodes[1].role_settings == {
        "HOST": "10.0.1.3",
        "OPTIONS": {"charset": "latin1", "connect_timeout": 2, "autocommit": True},
        **connection,
    }


def test_role_settings_name_every_key_so_that_one_node_leaves_nothing_to_the_next() -> None:
    nodes = {"db1": {"HOST": "a"}, "db2": {"HOST": "b", "USER": "other", "PORT": "3307"}}
    first, second = found(expand({"x": {"ENGINE": ENGINE, "NODES": nodes}})["x"]).nodes
    assert first.role_settings.keys() == second.role_settings.keys()
    assert first.role_settings | {"OPTIONS": None} == {
        "HOST": "a",
        "PORT": "",
        "USER": "",
        "PASSWORD": "",
        "NAME": "",
        "OPTIONS": None,
    }
    assert second.role_settings["PORT"] == "3307"


def test_nodes_override() -> None:
    result = expanded(
        OPTIONS={"connect_timeout": 9, "isolation_level": "serializable", "ssl": {"ca": "x"}},
        NODES={
            "db1": {
                "HOST": "/run/db.sock",
                "OPTIONS": {"connect_timeout": 1, "ssl_mode": "DISABLED"},
            },
            "db2": {"HOST": "b", "USER": "u2", "PASSWORD": "p2", "NAME": Path("n2"), "PORT": None},
        },
        AUTOCOMMIT=True,
        TIME_ZONE="UTC",
    )
    assert result["default"]["OPTIONS"] == {
        "autocommit": True,
        "connect_timeout": 1,
        "isolation_level": "serializable",
        "ssl": {"ca": "x"},
        "ssl_mode": "DISABLED",
    }
    assert result["default_db2"]["OPTIONS"]["connect_timeout"] == 9
    assert result["default_db2"]["OPTIONS"]["isolation_level"] is None
    assert [result["default_db2"][key] for key in ("USER", "PASSWORD", "NAME", "PORT")] == [
        "u2",
        "p2",
        Path("n2"),
        "",
    ]
    assert result["default_db2"]["TIME_ZONE"] == "UTC"


def test_autocommit_is_the_users_where_he_set_it() -> None:
    assert "autocommit" not in expanded(AUTOCOMMIT=False)["default"]["OPTIONS"]
    node = expanded(AUTOCOMMIT=False)["default_db1"]
    assert (node["AUTOCOMMIT"], node["OPTIONS"]["autocommit"]) == (True, True)
    result = expanded(OPTIONS={"autocommit": None})
    assert result["default"]["OPTIONS"]["autocommit"] is None
    assert result["default_db1"]["OPTIONS"]["autocommit"] is True


@pytest.mark.parametrize(
    ("command", "whole"),
    [
        ("", OURS),
        (" ; ", OURS),
        (None, OURS),
        ("SET sql_mode='ANSI'", f"SET sql_mode='ANSI'\n; {OURS}"),
        ("SET sql_mode='ANSI' ;; ", f"SET sql_mode='ANSI'\n; {OURS}"),
        ("SET sql_mode='ANSI' -- x", f"SET sql_mode='ANSI' -- x\n; {OURS}"),
        # Of several statements one may fail unnoticed, and then none behind it runs.
        ("SELECT 1; SET a=1;", f"{OURS}; SELECT 1; SET a=1\n; {OURS}"),
    ],
)
def test_init_command(command: str | None, whole: str) -> None:
    options = {} if command is None else {"init_command": command}
    result = expanded(OPTIONS=options)
    assert result["default_db1"]["OPTIONS"]["init_command"] == whole
    assert result["default"]["OPTIONS"].get("init_command") == command


def test_init_command_needs_several_statements() -> None:
    assert expanded(OPTIONS={"multi_statements": False})["default_db1"]
    options = {"multi_statements": False, "init_command": "SELECT 1"}
    refused({"default": settings(OPTIONS=options)}, "['default']['OPTIONS']['multi_statements']")
    nodes = {**NODES, "db1": {"HOST": "a", "OPTIONS": {"init_command": 5}}}
    refused({"default": settings(NODES=nodes)}, "['init_command']", "must be text")


@pytest.mark.parametrize(
    ("host", "port", "nodes", "preferred"),
    [
        (None, None, NODES, None),
        ("", None, NODES, None),
        ("10.0.1.3", None, NODES, "db2"),
        ("10.0.1.3", 3306, NODES, "db2"),
        ("10.0.1.3", "3307", NODES, "db2"),  # the nodes inherit it
        ("DB-B", None, {"a": {"HOST": "db-a"}, "b": {"HOST": "db-b", "PORT": 3307}}, "b"),
        ("h", 3308, {"a": {"HOST": "h", "PORT": 3307}, "b": {"HOST": "h", "PORT": 3308}}, "b"),
        ("h", None, {"a": {"HOST": "h", "PORT": 3307}, "b": {"HOST": "h"}}, "b"),
        ("/run/b", 1, {"a": {"HOST": "a"}, "b": {"HOST": "/run/b", "PORT": 2}}, "b"),
        ("h", None, {"host": {"HOST": "h"}}, "host"),
        ("db3", 3306, NODES, "db3"),  # its name
        ("b", None, {"b": {"HOST": "a"}, "c": {"HOST": "b"}}, "c"),
    ],
)
def test_host_is_one_of_the_nodes(
    host: Any, port: Any, nodes: dict[str, Any], preferred: str | None
) -> None:
    config = cluster(HOST=host, PORT=port, NODES=nodes)
    assert config.preferred == (preferred and f"default_{preferred}")
    assert [node.name for node in config.nodes] == list(nodes)


@pytest.mark.parametrize(
    ("host", "port"), [("localhost", None), ("/run/x", None), ("10.0.1.3", 3308), ("::1", 3306)]
)
def test_host_beside_the_nodes(host: str, port: int | None) -> None:
    nodes = {name: {**node, "PORT": 3306} for name, node in NODES.items()}
    result = expanded(HOST=host, PORT=port, NODES=nodes)
    config = found(result["default"])
    assert config.preferred == "default_host"
    assert config.node_aliases[-1] == "default_host"
    assert [node.electable for node in config.nodes] == [True, True, True, False]
    assert (result["default_host"]["HOST"], result["default"]["HOST"]) == (host, "10.0.1.2")
    assert result["default_host"]["PORT"] == (port or "")
    assert result["default_host"]["OPTIONS"]["init_command"] == OURS


# What is left alone


@pytest.mark.parametrize(
    "other",
    [
        {},
        {"ENGINE": "django.db.backends.sqlite3", "NAME": Path("db"), "OPTIONS": {"timeout": 5}},
        {"ENGINE": "django.db.backends.postgresql", "HOST": "a,b", "PORT": "1,2"},
        {"ENGINE": ENGINE, "HOST": "a", "OPTIONS": {"anything": [1]}, "TEST": {"NAME": "t"}},
    ],
)
def test_ordinary_databases_pass(other: dict[str, Any]) -> None:
    given = {"other": other, "default": settings(), "more": other}
    result = expand(given)
    assert result["other"] == other
    assert result["other"] is not other
    assert [alias for alias in result if not alias.startswith("default")] == ["other", "more"]


def test_several_clusters() -> None:
    result = expand({"default": settings(), "stock": settings(OPTIONS={"failover_enable": False})})
    assert found(result["stock"]).options.failover_enable is False
    assert found(result["default"]).options.failover_enable is True
    assert result["stock_db1"]["TEST"] == {"MIRROR": "stock"}
    assert len(result) == 8


def test_expanding_twice_changes_nothing() -> None:
    once = expand({"default": settings(HOST="localhost"), "lite": {"NAME": "x"}})
    assert expand(once) == once
    assert expand({**once, "more": settings()}).keys() >= {*once, "more_db1"}


def test_a_mapping_of_any_kind_will_do() -> None:
    frozen = MappingProxyType(
        {"default": MappingProxyType(settings(NODES=MappingProxyType(NODES)))}
    )
    assert expand(frozen) == expanded()


def test_the_argument_is_neither_changed_nor_shared() -> None:
    options = {"ssl": {"ca": "x"}, "failover_enable": False, "list": [[1]]}
    engine = "some.pool.mysql"
    databases = {
        "default": settings(ENGINE=engine, OPTIONS=options, TEST={"X": {}}, HOST="h"),
        "other": {"OPTIONS": {"a": {"b": 1}}},
    }
    before = copy.deepcopy(databases)
    result = expand(databases)
    for alias in result:
        result[alias]["OPTIONS"].get("ssl", {})["ca"] = "changed"
        result[alias]["OPTIONS"].get("list", [[]])[0].append(2)
        result[alias]["OPTIONS"].get("a", {})["b"] = 2
        result[alias].get("TEST", {})["Y"] = 1
        result[alias]["OPTIONS"]["new"] = 1
    assert databases == before
    again = found(expand(databases)["default"]).nodes[0].role_settings["OPTIONS"]
    assert (again["ssl"], again["list"]) == ({"ca": "x"}, [[1]])


def test_aliases_share_nothing_with_each_other() -> None:
    result = expanded(OPTIONS={"ssl": {"ca": "x"}})
    result["default"]["OPTIONS"]["ssl"]["ca"] = "changed"
    assert result["default_db1"]["OPTIONS"]["ssl"] == {"ca": "x"}
    assert result["default_db2"]["OPTIONS"]["ssl"] == {"ca": "x"}
    for node in found(result["default"]).nodes:
        assert node.role_settings["OPTIONS"]["ssl"] == {"ca": "x"}


def test_django_takes_it() -> None:
    handler = ConnectionHandler(expanded(HOST="localhost", OPTIONS={"failover_enable": False}))
    for alias in handler:
        wrapper: Any = handler[alias]
        assert "failover_enable" not in wrapper.get_connection_params()
    assert handler["default_db1"].settings_dict["TEST"]["MIRROR"] == "default"


def test_settings_modules_can_import_it_before_there_are_settings() -> None:
    code = (
        "import sys, galera_router\n"
        f"galera_router.expand({{'default': {settings()!r}}})\n"
        "assert 'environ' not in sys.modules\n"
        "assert 'MySQLdb' not in sys.modules\n"
        "from django.conf import settings\n"
        "assert not settings.configured\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


# What is refused


@pytest.mark.parametrize("databases", [None, [], "mysql://a,b/c", 5])
def test_databases_is_a_mapping(databases: Any) -> None:
    refused(databases, "DATABASES: must be a mapping")


@pytest.mark.parametrize("value", [None, [], 5, b"mysql://a,b/c"])
def test_a_database_is_a_mapping(value: Any) -> None:
    refused({"main": value}, "DATABASES['main']: must be a mapping or a URL")


@pytest.mark.parametrize(
    ("nodes", "where", "why"),
    [
        ({}, "", "is empty. Write {'db1': {'HOST': "),
        (None, "", "must be a mapping of names to nodes, not NoneType"),
        (["10.0.1.2"], "", "not list. Write {'db1': {'HOST': "),
        ("a,b", "", "not str"),
        ({"db1": "10.0.1.2"}, "['db1']", "must be a mapping such as {'HOST': '10.0.1.2'}"),
        ({"db-1": {"HOST": "a"}}, "['db-1']", "Use letters, digits and _"),
        ({"": {"HOST": "a"}}, "['']", "is not a valid name"),
        ({"dbé": {"HOST": "a"}}, "['dbé']", "is not a valid name"),
        ({"db1\n": {"HOST": "a"}}, "['db1\\n']", "is not a valid name"),
        ({1: {"HOST": "a"}}, "[1]", "is not a valid name"),
        ({"db1": {}}, "['db1']['HOST']", "is missing"),
        ({"db1": {"HOST": ""}}, "['db1']['HOST']", "is missing"),
        ({"db1": {"HOST": " "}}, "['db1']['HOST']", "is missing"),
        ({"db1": {"HOST": None}}, "['db1']['HOST']", "is missing"),
        ({"db1": {"HOST": 5}}, "['db1']['HOST']", "must be text, not int"),
        ({"db1": {"HOST": "a,b"}}, "['db1']['HOST']", "must be one host"),
        ({"db1": {"HOST": "a", "USER": 5}}, "['db1']['USER']", "must be text"),
        ({"db1": {"HOST": "a", "PASSWORD": b"s3cret"}}, "['db1']['PASSWORD']", "not bytes"),
        ({"db1": {"HOST": "a", "NAME": 5}}, "['db1']['NAME']", "must be text"),
        ({"db1": {"HOST": "a", "OPTIONS": 5}}, "['db1']['OPTIONS']", "must be a mapping"),
        ({"db1": {"HOST": "a", "host": "b"}}, "['db1']['host']", "Did you mean 'HOST'?"),
        ({"db1": {"HOST": "a", "PASWORD": "s3cret"}}, "['PASWORD']", "Did you mean 'PASSWORD'?"),
        ({"db1": {"HOST": "a", "COLOUR": 1}}, "['COLOUR']", "A node has HOST, PORT, USER,"),
        ({"db1": {"HOST": "a", 5: 1}}, "['db1'][5]", "is not a setting of a node"),
        ({"db1": {"HOST": "a", "ATOMIC_REQUESTS": True}}, "['ATOMIC_REQUESTS']", "whole cluster"),
        ({"db1": {"HOST": "a", "ENGINE": ENGINE}}, "['db1']['ENGINE']", "Move it beside NODES"),
        ({"db1": {"HOST": "a", "TEST": {}}}, "['db1']['TEST']", "Move it beside NODES"),
        (
            {"db1": {"HOST": "a", "OPTIONS": {"failover_enable": True}}},
            "['db1']['OPTIONS']['failover_enable']",
            "Move it to the cluster's OPTIONS",
        ),
        (
            {"db1": {"HOST": "a", "OPTIONS": {"chars": 1}}},
            "['db1']['OPTIONS']['chars']",
            "Did you mean 'charset'?",
        ),
        (
            {"db1": {"HOST": "a"}, "db2": {"HOST": "A"}},
            "['HOST']",
            "is the same server as node 'db1'",
        ),
        (
            {"db1": {"HOST": "a"}, "db2": {"HOST": "a", "PORT": "3306"}},
            "['db2']['HOST']",
            "same server",
        ),
        (
            {"db1": {"HOST": "/a", "PORT": 1}, "db2": {"HOST": "/a", "PORT": 2}},
            "['db2']['HOST']",
            "same server",
        ),
    ],
)
def test_nodes_refused(nodes: Any, where: str, why: str) -> None:
    refused({"main": settings(NODES=nodes)}, "DATABASES['main']['NODES']", where + ": ", why)


@pytest.mark.parametrize(
    "port", [0, -1, 65536, "0", "65536", "9" * 5000, "x", "33 06", "٣", 3306.0, True, []]
)
def test_ports_refused(port: Any) -> None:
    refused({"main": settings(PORT=port)}, "DATABASES['main']['PORT']: ")
    nodes = {"db1": {"HOST": "a", "PORT": port}}
    refused({"main": settings(NODES=nodes)}, "DATABASES['main']['NODES']['db1']['PORT']: ")


@pytest.mark.parametrize("port", [1, 65535, "1", "65535", "03306", None, ""])
def test_ports_kept_as_given(port: Any) -> None:
    assert expanded(PORT=port)["default_db1"]["PORT"] == ("" if port is None else port)


def test_servers_that_differ_only_in_port_or_socket() -> None:
    nodes = {
        "a": {"HOST": "h", "PORT": 3306},
        "b": {"HOST": "h", "PORT": 3307},
        "c": {"HOST": "localhost", "OPTIONS": {"unix_socket": "/c"}},
        "d": {"HOST": "localhost", "OPTIONS": {"unix_socket": "/d"}},
    }
    assert len(expanded(NODES=nodes)) == 5


@pytest.mark.parametrize(
    ("engine", "why"),
    [
        (None, "is missing"),
        ("", "is missing"),
        (5, "must be text"),
        ("galera.backends.readwritesplit", "use Django's own engine"),
        ("django.db.backends.sqlite3", "does not connect to MariaDB"),
        ("django.db.backends.postgresql", "does not connect to MariaDB"),
        ("django.db.backends.oracle", "does not connect to MariaDB"),
        ("django_prometheus.db.backends.postgis", "does not connect to MariaDB"),
        ("mysql.connector.django", "with mysqlclient"),
        ("galera_router", "use Django's own engine"),
        ("mysql", "is not one of Django's engines"),
        ("django.db.backend.mysql", "is not one of Django's engines"),
        ("django.db.backends.mysql.base", "is not one of Django's engines"),
    ],
)
def test_engines_refused(engine: Any, why: str) -> None:
    refused(
        {"main": settings(ENGINE=engine)},
        "DATABASES['main']['ENGINE']: ",
        why,
        "Write 'django.db.backends.mysql'",
    )


def test_an_engine_must_be_there() -> None:
    refused({"main": {"NODES": NODES}}, "DATABASES['main']['ENGINE']: is missing")


@pytest.mark.parametrize("engine", ["django_prometheus.db.backends.mysql", "shop.db.observed"])
def test_engines_built_on_djangos(engine: str) -> None:
    options = {"pool_size": 5}
    assert expanded(ENGINE=engine, OPTIONS=options)["default_db1"]["OPTIONS"]["pool_size"] == 5


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"USER": 5}, "['USER']: must be text, not int"),
        ({"PASSWORD": b"s3cret"}, "['PASSWORD']: must be text, not bytes"),
        ({"NAME": 5}, "['NAME']: must be text"),
        ({"HOST": 5}, "['HOST']: must be text"),
        ({"HOST": "a,b"}, "['HOST']: must be one host"),
        ({"OPTIONS": []}, "['OPTIONS']: must be a mapping, not list"),
        (
            {"OPTIONS": {"failover_enable": "s3cret"}},
            "['OPTIONS']['failover_enable']: must be True",
        ),
        ({"OPTIONS": {"failover_enabled": True}}, "Did you mean 'failover_enable'?"),
        ({"URL": 5}, "['URL']: must be text"),
    ],
)
def test_settings_refused(changes: dict[str, Any], expected: str) -> None:
    refused({"main": settings(**changes)}, "DATABASES['main']", expected)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"failover_enable": True}, "['failover_enable']: is an option. Move it into OPTIONS"),
        ({"FAILOVER_ENABLE": True}, "Move it into OPTIONS: 'failover_enable'"),
        ({"name": "x"}, "['name']: is not a setting. Did you mean 'NAME'?"),
        ({"ATOMIC_REQUEST": True}, "Did you mean 'ATOMIC_REQUESTS'?"),
        ({"ATOMIC_REQUESTS": "False"}, "['ATOMIC_REQUESTS']: must be True or False, not text"),
        ({"AUTOCOMMIT": "True"}, "['AUTOCOMMIT']: must be True or False"),
        ({"CONN_HEALTH_CHECKS": "on"}, "['CONN_HEALTH_CHECKS']: must be True or False"),
        ({"CONN_MAX_AGE": "60"}, "['CONN_MAX_AGE']: must be a number or None, not the text '60'"),
        ({"TEST": "test_shop"}, "['TEST']: must be a mapping, not str"),
        ({"NODES": {**NODES, "failover_enable": True}}, "is not a node. Move it into OPTIONS"),
        ({"NODES": {**NODES, "OPTIONS": {}}}, "['NODES']['OPTIONS']: is not a node"),
        ({"NODES": {"HOST": "a"}}, "['NODES']['HOST']: is not a node. Move it beside NODES"),
        ({"OPTIONS": {"isolation_level": "snapshot"}}, "must be one of read uncommitted, read"),
        ({"OPTIONS": {"connect_timeout": "2"}}, "['connect_timeout']: must be a whole number of"),
        ({"OPTIONS": {"read_timeout": 2.5}}, "seconds, not float"),
        ({"OPTIONS": {"write_timeout": True}}, "seconds, not bool"),
    ],
)
def test_what_would_be_ignored_or_misunderstood(changes: dict[str, Any], expected: str) -> None:
    refused({"main": settings(**changes)}, "DATABASES['main']", expected)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("10.0.1.4:3307", "Write what follows the colon as PORT"),
        ("db1:", "Write what follows the colon as PORT"),
        ("[fd00::1]", "without brackets"),
        ("[fd00::1]:3307", "without brackets. Write the port as PORT"),
        (" 10.0.1.4", "contains white space"),
        ("10.0.1.4\n", "contains white space"),
        ("mysql://app:s3cret@10.0.1.4", "Write a URL as URL"),
        ("app@10.0.1.4", "a user as USER"),
    ],
)
def test_hosts_refused(host: str, expected: str) -> None:
    refused({"main": settings(HOST=host)}, "DATABASES['main']['HOST']: ", expected)
    nodes = {**NODES, "db9": {"HOST": host}}
    refused({"main": settings(NODES=nodes)}, "['NODES']['db9']['HOST']: ", expected)


@pytest.mark.parametrize("host", ["fd00::1", "::1", "/run/my sql/a:b.sock", "db-1.example"])
def test_hosts_kept(host: str) -> None:
    assert expanded(NODES={"a": {"HOST": host}})["default"]["HOST"] == host


def test_one_database_is_not_databases() -> None:
    refused(settings(), "DATABASES: must be a mapping of aliases. Write {'default': {'ENGINE'")
    refused({"NODES": NODES}, "DATABASES: must be a mapping of aliases")


def test_settings_of_an_engine_of_ones_own_pass() -> None:
    assert expanded(POOL={"size": 5}, x=1)["default"]["POOL"] == {"size": 5}


def test_host_that_fits_several_nodes() -> None:
    nodes = {"a": {"HOST": "h", "PORT": 3307}, "b": {"HOST": "h", "PORT": 3308}}
    refused({"main": settings(HOST="h", NODES=nodes)}, "['main']['HOST']", "a, b", "Add the PORT")


@pytest.mark.parametrize("key", ["nodes", "Nodes", "NODE", "node"])
def test_nodes_misspelt(key: str) -> None:
    refused({"main": {"ENGINE": ENGINE, key: NODES}}, f"['main'][{key!r}]", "Did you mean 'NODES'?")


def test_aliases_that_collide() -> None:
    for other in ({}, settings()):
        for databases in (
            {"default": settings(), "default_db2": other},
            {"default_db2": other, "default": settings()},
        ):
            refused(databases, "['default']['NODES']['db2']", "'default_db2', which is taken")
    refused(
        {
            "a": settings(NODES={"b_c": {"HOST": "h"}}),
            "a_b": settings(NODES={"c": {"HOST": "h"}}),
        },
        "['a_b']['NODES']['c']",
        "'a_b_c'",
    )
    refused({"default": settings(HOST="localhost"), "default_host": {}}, "'default_host'")
    nodes = {"host": {"HOST": "h"}}
    refused({"main": settings(HOST="x", NODES=nodes)}, "['main']['HOST']", "Rename that node")


def test_the_alias_of_a_cluster_is_text() -> None:
    refused({5: settings()}, "DATABASES[5]: the alias of a cluster must be text")


SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just("s3cret")
KEYS = st.sampled_from(("ENGINE", "HOST", "PORT", "USER", "PASSWORD", "NAME", "OPTIONS", "NODES"))
KEYS |= st.sampled_from(("TEST", "URL", "db1", "db2", "ELECTABLE", "WEIGHT", "ZONE"))
KEYS |= st.sampled_from(sorted(DEFAULTS))
TREES = st.recursive(
    SCALARS | st.sampled_from((ENGINE, "a", "b")),
    lambda inner: st.dictionaries(KEYS, inner, max_size=4) | st.lists(inner, max_size=2),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(("default", "other")), TREES, max_size=2), TREES, TREES)
def test_anything_is_expanded_or_refused_and_never_changed(
    databases: dict[str, Any], nodes: Any, options: Any
) -> None:
    databases["main"] = settings(NODES=nodes, OPTIONS=options)
    before = copy.deepcopy(databases)
    try:
        result = expand(databases)
    except ConfigurationError as error:
        assert str(error).startswith("DATABASES[")  # noqa: PT017
    else:
        assert found(result["main"]).nodes
        assert pickle.loads(pickle.dumps(result)) == result
        assert ast.literal_eval(repr(result)) == result
    assert databases == before
