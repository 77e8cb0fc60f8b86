"""A cluster as one URL, and what django-environ's own ``env.db()`` makes of one."""

from __future__ import annotations

import sys
import traceback
from typing import Any
from urllib.parse import quote

import pytest
from environ import Env
from hypothesis import given
from hypothesis import strategies as st

from galera_router import expand
from galera_router.conf import Options
from galera_router.conf.urls import host_settings, settings_from_url
from galera_router.exceptions import ConfigurationError
from tests.conf.support import found

MYSQL = "django.db.backends.mysql"


def read(url: str) -> dict[str, Any]:
    return settings_from_url(("default", "URL"), url)


def refused(databases: Any, *expected: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        expand(databases)
    shown = "".join(traceback.format_exception(caught.value))
    assert "s3cret" not in shown
    for text in expected:
        assert text in str(caught.value)


def test_a_cluster() -> None:
    url = (
        "mysql://app:p%40ss%2C%2F@10.0.1.2,10.0.1.3:3307,[fd00::3],[fd00::4]:3308/shop"
        "?failover_enable=false&reconnect_wait_time=2.5&failover_history_limit=10"
        "&HOST=10.0.1.3&TIME_ZONE=UTC&conn_max_age=60&atomic_requests=true&charset=utf8mb4"
        "&connect_timeout=5&compress=true"
    )
    assert read(url) == {
        "ENGINE": MYSQL,
        "NAME": "shop",
        "USER": "app",
        "PASSWORD": "p@ss,/",
        "PORT": "",
        "HOST": "10.0.1.3",
        "TIME_ZONE": "UTC",
        "CONN_MAX_AGE": 60,
        "ATOMIC_REQUESTS": True,
        "OPTIONS": {
            "failover_enable": False,
            "reconnect_wait_time": 2.5,
            "failover_history_limit": 10,
            "charset": "utf8mb4",
            "connect_timeout": 5,
            "compress": True,
        },
        "NODES": {
            "db1": {"HOST": "10.0.1.2"},
            "db2": {"HOST": "10.0.1.3", "PORT": "3307"},
            "db3": {"HOST": "fd00::3"},
            "db4": {"HOST": "fd00::4", "PORT": "3308"},
        },
    }
    result = expand({"default": url})
    assert found(result["default"]).preferred == "default_db2"
    assert found(result["default"]).options == Options(
        failover_enable=False, reconnect_wait_time=2.5, failover_history_limit=10
    )
    assert result["default_db4"]["PORT"] == "3308"


def test_more_settings_beside_the_url() -> None:
    result = expand(
        {
            "default": {
                "URL": "mysql://app:pw@db1,db2/shop?charset=latin1&failover_enable=off",
                "ATOMIC_REQUESTS": True,
                "NAME": "other",
                "OPTIONS": {"charset": "utf8mb4", "wsrep_sync_timeout": 1},
            }
        }
    )
    role = result["default"]
    assert "URL" not in role
    assert (role["NAME"], role["USER"], role["ATOMIC_REQUESTS"]) == ("other", "app", True)
    assert role["OPTIONS"]["charset"] == "utf8mb4"
    assert found(role).options == Options(failover_enable=False, wsrep_sync_timeout=1.0)
    assert list(result) == ["default", "default_db1", "default_db2"]


@pytest.mark.parametrize("zone", ["eu-1a", "7", "none", "true"])
def test_a_zone_is_text(zone: str) -> None:
    options = found(expand({"default": f"mysql://u@a,b/n?zone={zone}"})["default"]).options
    assert options.zone == zone
    refused({"main": "mysql://u:s3cret@a,b/n?zone=+a"}, "['OPTIONS']['zone']: must be a name")
    refused({"main": "mysql://u:s3cret@a/n?zone=a"}, "names one host, but 'zone'")


def test_nodes_beside_a_url_without_hosts() -> None:
    nodes = {"left": {"HOST": "a"}, "right": {"HOST": "b"}}
    for url, preferred in (("mysql://app:pw@/shop", None), ("mysql://app:pw@b/shop", "main_right")):
        result = expand({"main": {"URL": url + "?failover_enable=0", "NODES": nodes}})
        assert found(result["main"]).preferred == preferred
        assert found(result["main"]).options == Options(failover_enable=False)
        assert result["main_left"]["USER"] == "app"
    refused(
        {"main": {"URL": "mysql://app:s3cret@a,b/shop", "NODES": nodes}},
        "DATABASES['main']['URL']: names several hosts",
    )


def test_sockets() -> None:
    url = "mysql://u@%2Frun%2Fa.sock,%2Frun%2Fb.sock/n"
    assert read(url)["NODES"] == {"db1": {"HOST": "/run/a.sock"}, "db2": {"HOST": "/run/b.sock"}}
    assert read("mysql://u@%2Frun%2FA.sock/n")["HOST"] == "/run/A.sock"


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///x.db",
        "sqlite://:memory:",
        "sqlite:///:memory:",
        "postgres://u:p@h:5432/n",
        "postgres://u:p@h1:5432,h2:5433/n",
        "postgres://u:p@%2Frun%2Fpg/n",
        "mysql://u:p%40@h:3307/n?charset=utf8mb4",
        "mysql://u:p#x@h/n",
        "mysql:///n",
        "oracle://u:p@h:1521/n",
    ],
)
def test_ordinary_databases_are_as_environ_reads_them(url: str) -> None:
    assert expand({"other": url}) == {"other": Env.db_url_config(url)}
    assert expand({"other": {"URL": url}}) == {"other": Env.db_url_config(url)}


def test_what_is_text_in_the_query_of_one_host_is_converted_too() -> None:
    settings = expand({"x": "mysql://u@h/n?compress=true&atomic_requests=false"})["x"]
    assert (settings["OPTIONS"], settings["ATOMIC_REQUESTS"]) == ({"compress": True}, False)


def test_what_env_db_makes_of_several_hosts() -> None:
    """It keeps the list in HOST, and the query as text; a port there is everyone's."""
    parsed = Env.db_url_config(
        "mysql://u:p@db1,db2,db3:3307/n?failover_enable=false&HOST=db2&reconnect_wait_time=3"
    )
    assert (parsed["HOST"], parsed["PORT"]) == ("db1,db2,db3", 3307)
    result = expand({"default": parsed})
    config = found(result["default"])
    assert config.node_aliases == ("default_db1", "default_db2", "default_db3")
    assert config.preferred == "default_db2"
    assert config.options == Options(failover_enable=False, reconnect_wait_time=3.0)
    assert [result[alias]["PORT"] for alias in result] == [3307] * 4


@pytest.mark.parametrize("comma", ["%2C", "%2c", ","])
def test_a_comma_between_hosts_may_be_encoded(comma: str) -> None:
    """Some tools do that to each part of a URL."""
    expected = [("default_db1", "a"), ("default_db2", "b")]
    for url in (f"mysql://u:p@a{comma}b/name", {"URL": f"mysql://u:p@a{comma}b/name"}):
        found = expand({"default": url})
        nodes = [(alias, found[alias]["HOST"]) for alias in found if alias != "default"]
        assert nodes == expected


def test_a_list_of_hosts_written_by_hand() -> None:
    settings = {"ENGINE": MYSQL, "HOST": "db1:3307, /run/x.sock,::1,[::2]:3308", "PORT": 3306}
    result = expand({"a": settings})
    assert [(node["HOST"], node["PORT"]) for node in list(result.values())[1:]] == [
        ("db1", "3307"),
        ("/run/x.sock", 3306),
        ("::1", 3306),
        ("::2", "3308"),
    ]


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("app:s3cret@a,b", "must be a URL such as"),
        ("", "must be a URL such as"),
        ("mysql:app:s3cret@a,b/n", "must be a URL such as"),
        ("mysql://u:s3cret@a:1,b:2/n#x", "Percent-encode"),
        ("mysql://u:s3cret@a/n#x", "Percent-encode"),
        ("mysql://u:/s3cret@a/n", "Percent-encode"),
        ("mysql://u:s3cret@a;b/n", "Write db1,db2,db3"),
        ("mysql://u:s3cret@a b/n", "Write db1,db2,db3"),
        (
            "mysql+mysqldb://u:s3cret@a,b/n",
            "in a URL 'mysql://'",
        ),
        ("mysql+mysqldb://u:s3cret@a/n", "in a URL 'mysql://'"),
        ("msyql://u:s3cret@a,b/n", "has the scheme 'msyql', which is none. Write mysql://."),
        ("mysql://u:s3cret/x@a:1,b:2/n", "Percent-encode"),
        ("mysql://u:s3cret@h:x/n", "Percent-encode"),
        ("mysql://u:s3cret,x/y@a,b/n", "Percent-encode"),
        ("mysql://u:s3cret,x?y@a/n", "Percent-encode"),
        ("mysql://u:s3cret@a,,b/n", "['host 2']: is empty"),
        ("mysql://u:s3cret@a,:3306/n", "['host 2']: is empty"),
        ("mysql://u:s3cret@[::1,b/n", "['host 1']: is empty or not a host"),
        ("mysql://u:s3cret@a,b:x/n", "['NODES']['db2']['PORT']: must be a number"),
        ("mysql://u:s3cret@a,b:/n", None),
        (
            "mysql://u:s3cret@a,b:70000/n",
            "['NODES']['db2']['PORT']: must be a number from 1",
        ),
        ("mysql://u:s3cret@a,b/n?failover_enable=maybe", "must be True or False, not str"),
        ("mysql://u:s3cret@a,b/n?reconnect_wait_time=soon", "must be a number, not str"),
        ("mysql://u:s3cret@a,b/n?optimistic_transactions=x", "True, False or 'auto', not another"),
        ("mysql://u:s3cret@a,b/n?failover_enabled=1", "Did you mean 'failover_enable'?"),
        ("mysql://u:s3cret@a/n?failover_enable=1", "names one host, but 'failover_enable'"),
    ],
)
def test_urls_refused(url: str, why: str | None) -> None:
    if why is None:
        assert expand({"main": url})["main_db2"]["PORT"] == ""
    else:
        refused({"main": url}, "DATABASES['main']", why)


def test_without_django_environ(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "environ", None)
    refused({"main": "mysql://u:s3cret@a,b/n"}, "pip install django-environ")


NAMES = st.text(min_size=1).filter(lambda text: text.isprintable() or "\n" in text)
PLAIN_HOSTS = st.from_regex(r"[a-z0-9][a-z0-9.-]{0,9}", fullmatch=True)
PORTS = st.none() | st.integers(1, 65535)


@given(NAMES, NAMES, st.lists(st.tuples(PLAIN_HOSTS, PORTS), min_size=2, max_size=5))
def test_what_is_percent_encoded_comes_back(
    user: str, password: str, hosts: list[tuple[str, int | None]]
) -> None:
    listed = ",".join(host if port is None else f"{host}:{port}" for host, port in hosts)
    settings = read(f"mysql://{quote(user, safe='')}:{quote(password, safe='')}@{listed}/n")
    assert (settings["USER"], settings["PASSWORD"]) == (user, password)
    assert list(settings["NODES"].values()) == [
        {"HOST": host} if port is None else {"HOST": host, "PORT": str(port)}
        for host, port in hosts
    ]


@given(st.text())
def test_any_text_is_a_host_or_refused(text: str) -> None:
    try:
        settings = host_settings(("x",), text)
    except ConfigurationError as error:
        assert str(error).startswith("DATABASES['x']: ")  # noqa: PT017
    else:
        assert settings["HOST"].strip()


@given(
    st.text(alphabet="mysql:/@,?#[]%=&ab1 ")
    | st.text(alphabet=":/@,?#[]%=&ab1").map("mysql://".__add__)
)
def test_any_url_is_read_or_refused(url: str) -> None:
    try:
        result = expand({"main": url})
    except ConfigurationError as error:
        assert str(error).startswith("DATABASES['main']")  # noqa: PT017
    else:
        assert "main" in result
