"""URLs that silently are no cluster, and passwords that land elsewhere.

Each is read as it was meant, or refused with an error in which the password is not.
"""

from __future__ import annotations

import traceback
from typing import Any

import pytest
from environ import Env

from galera_router import expand
from galera_router.conf import cluster_config
from galera_router.exceptions import ConfigurationError
from tests.faults.known import both

SECRET = "s3cret"


def _read(databases: dict[str, Any]) -> dict[str, Any] | ConfigurationError:
    try:
        return expand(databases)
    except ConfigurationError as error:
        return error


def _is_as_meant(databases: dict[str, Any], password: str) -> None:
    """A cluster of h1 and h2, or an error that does not tell the password."""
    read = _read(databases)
    if isinstance(read, ConfigurationError):
        assert SECRET not in "".join(traceback.format_exception(read))
        assert "default" in str(read)
        return
    default = read["default"]
    config = cluster_config(default)
    assert config is not None, f"no cluster: {sorted(default)}"
    hosts = [node.role_settings["HOST"] for node in config.nodes]
    assert hosts == ["h1", "h2"]
    assert (default["USER"], default["PASSWORD"], default["NAME"]) == ("u", password, "app")


#: URLs, and the passwords that they are meant to have.
NO_CLUSTER = [
    (f"mysql://u:a#{SECRET}@h1,h2/app", f"a#{SECRET}"),
    (f"mysql://u:{SECRET}#@h1,h2/app", f"{SECRET}#"),
    (f"mysql://u:#{SECRET}@h1,h2/app", f"#{SECRET}"),
    (f"mariadb://u:{SECRET}@h1,h2/app", SECRET),
    (f"mysql://u:{SECRET}@h1;h2/app", SECRET),
    (f"mysql://u:{SECRET}@h1 h2/app", SECRET),
    (f"mysql://u:{SECRET}@h1|h2/app", SECRET),
]
ELSEWHERE = [
    (f"mysql://u:/{SECRET}@h1,h2/app", f"/{SECRET}"),
    (f"mysql://u:12/{SECRET}@h1,h2/app", f"12/{SECRET}"),
]
#: What django-environ alone makes something else of.
OF_ENVIRON = [
    (f"mysql://u:a[{SECRET}@h1,h2/app", f"a[{SECRET}"),
    (f"mysql:u:{SECRET}@h1,h2/app", SECRET),
]
AS_MEANT = [
    (f"mysql://u:{SECRET}@h1,h2/app", SECRET),
    (f"mysql://u:{SECRET}@h1, h2/app", SECRET),
    (f"mysql://u:a%23{SECRET}@h1,h2/app", f"a#{SECRET}"),
    (f"mysql://u:a@{SECRET}@h1,h2/app", f"a@{SECRET}"),
    (f"mysql://u:a:{SECRET}@h1,h2/app", f"a:{SECRET}"),
    (f"mysql://u:a/{SECRET}@h1,h2/app", f"a/{SECRET}"),
    (f"mysql://u:a?{SECRET}@h1,h2/app", f"a?{SECRET}"),
    (f"mysql://u:{SECRET}@h1:3306;h2:3306/app", SECRET),
    (f"mysql://u:{SECRET},h1,h2/app", SECRET),
    (f"jdbc:mysql://u:{SECRET}@h1,h2/app", SECRET),
]
urls = pytest.mark.parametrize


@both(stock=False)
@urls(("url", "password"), NO_CLUSTER)
def test_a_url_that_silently_is_no_cluster(side: str, url: str, password: str) -> None:
    _is_as_meant({"default": url}, password)


@both(stock=False)
@urls(("url", "password"), ELSEWHERE)
def test_a_password_that_lands_elsewhere(side: str, url: str, password: str) -> None:
    _is_as_meant({"default": url}, password)


@both(stock=False)
@urls(("url", "password"), [*NO_CLUSTER, *OF_ENVIRON, ELSEWHERE[0]])
def test_what_environ_makes_of_it(side: str, url: str, password: str) -> None:
    _is_as_meant({"default": Env.db_url_config(url)}, password)


@both(stock=False)
@urls(("url", "password"), AS_MEANT)
def test_other_urls(side: str, url: str, password: str) -> None:
    _is_as_meant({"default": url}, password)


@both(stock=False)
def test_a_password_as_the_port_of_a_host(side: str) -> None:
    """The @ was forgotten: what should be a port is not told."""
    databases = {"ENGINE": "django.db.backends.mysql", "NAME": "app", "HOST": f"u:{SECRET},h2"}
    with pytest.raises(ConfigurationError) as caught:
        expand({"default": databases})
    assert SECRET not in str(caught.value)
