"""Our own options: defaults, types, names."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from galera_router.conf.driver import BOOLEANS as DRIVER_BOOLEANS
from galera_router.conf.driver import DRIVER_OPTIONS
from galera_router.conf.options import (
    DEFAULTS,
    Options,
    check_option,
    from_text,
    node_options,
    split_options,
)
from galera_router.conf.texts import did_you_mean
from galera_router.exceptions import ConfigurationError

DJANGO = "django.db.backends.mysql"
BOOLEANS = sorted(name for name, default in DEFAULTS.items() if isinstance(default, bool))
VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.none())
SECONDS = sorted(name for name, default in DEFAULTS.items() if isinstance(default, float))


def split(engine: str = DJANGO, **options: Any) -> tuple[Options, dict[str, Any]]:
    ours, driver = split_options(("default", "OPTIONS"), engine, options)
    return Options(**ours), driver


def test_defaults() -> None:
    assert split() == (Options(), {})
    assert DEFAULTS == {
        "failover_enable": True,
        "failover_history_limit": 1000,
        "wsrep_sync_after_write": True,
        "optimistic_transactions": "auto",
        "reconnect_wait_time": 15.0,
        "wsrep_sync_timeout": 5.0,
        "wsrep_sync_use_gtid": False,
        "reads": "causal",
        "disable_update_can_self_select": False,
        "commit_marker": True,
        "conflict_retries": 5,
        "lost_update_guard": False,
        "watchdog_after": 0.5,
        "watchdog_timeout": 1.0,
        "failback_delay": 5.0,
        "max_lag": 10.0,
        "zone": None,
    }


def test_ours_are_told_from_the_drivers() -> None:
    ours, driver = split(failover_enable=False, charset="latin1", reconnect_wait_time=3)
    assert ours == Options(failover_enable=False, reconnect_wait_time=3.0)
    assert isinstance(ours.reconnect_wait_time, float)
    assert driver == {"charset": "latin1"}


@pytest.mark.parametrize("name", BOOLEANS)
@pytest.mark.parametrize("value", [0, 1, "true", None, 1.0])
def test_a_switch_is_true_or_false(name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        split(**{name: value})
    assert str(caught.value) == (
        f"DATABASES['default']['OPTIONS'][{name!r}]: must be True or False,"
        f" not {type(value).__name__}."
    )


@pytest.mark.parametrize("value", [True, False, "auto"])
def test_optimistic_transactions(value: object) -> None:
    assert split(optimistic_transactions=value)[0].optimistic_transactions is value


@pytest.mark.parametrize(
    ("value", "given"),
    [
        ("Auto", "another text"),
        ("s3cret", "another text"),
        (1, "int"),
        (0.0, "float"),
        (None, "NoneType"),
        (["auto"], "list"),
    ],
)
def test_optimistic_transactions_refused(value: object, given: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        split(optimistic_transactions=value)
    assert str(caught.value) == (
        "DATABASES['default']['OPTIONS']['optimistic_transactions']: must be True, False or"
        f" 'auto', not {given}."
    )


def test_a_zone() -> None:
    assert [split(zone=zone)[0].zone for zone in ("a", "eu west", None)] == ["a", "eu west", None]


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (1, "must be text, not int."),
        (False, "must be text, not bool."),
        (["a"], "must be text, not list."),
        ("", "must be a name without white space around it, or None."),
        (" s3cret", "must be a name without white space around it, or None."),
    ],
)
def test_a_zone_refused(value: object, why: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        split(zone=value)
    assert str(caught.value) == f"DATABASES['default']['OPTIONS']['zone']: {why}"


@pytest.mark.parametrize("value", [None, 0, 2.5])
def test_a_lag(value: float | None) -> None:
    assert split(max_lag=value)[0].max_lag == value


@pytest.mark.parametrize("name", SECONDS)
@pytest.mark.parametrize("value", [True, "5", None, math.nan, math.inf, -math.inf, -1, -0.5, 1j])
def test_seconds_are_a_finite_number(name: str, value: Any) -> None:
    if name in ("max_lag", "failback_delay") and value is None:
        pytest.skip("None is for no limit")
    with pytest.raises(
        ConfigurationError, match=rf"^DATABASES\['default'\]\['OPTIONS'\]\['{name}'"
    ):
        split(**{name: value})


@pytest.mark.parametrize("value", [True, "5", None, 1.5, 2.0, -1, math.nan])
def test_the_limit_is_a_whole_number(value: object) -> None:
    with pytest.raises(ConfigurationError, match="failover_history_limit"):
        split(failover_history_limit=value)


@given(st.integers(min_value=0))
def test_any_limit_from_zero(limit: int) -> None:
    assert split(failover_history_limit=limit)[0].failover_history_limit == limit


@given(st.floats(min_value=0, allow_infinity=False) | st.integers(0, 10**9))
def test_any_seconds_from_zero(value: float) -> None:
    assert split(wsrep_sync_timeout=value)[0].wsrep_sync_timeout == value


@given(st.sampled_from(sorted(DEFAULTS)), VALUES)
@example("optimistic_transactions", "auto")
@example("zone", "a")
@example("reconnect_wait_time", 10**400)
@example("failover_history_limit", 10**400)
def test_a_value_is_right_or_a_clear_error(name: str, value: object) -> None:
    try:
        kept = check_option(name, value)
    except ConfigurationError as error:
        assert name in str(error)  # noqa: PT017
    else:
        kinds = {
            "optimistic_transactions": (bool, str),
            "max_lag": (float, type(None)),
            "failback_delay": (float, type(None)),
            "zone": (str, type(None)),
        }
        assert type(kept) in kinds.get(name, (type(DEFAULTS[name]),))
        # a float may be less exact than a whole number
        assert kept == (value if kept is None else type(kept)(value))


def test_one_option_on_its_own() -> None:
    assert check_option("reconnect_wait_time", 2) == 2.0
    with pytest.raises(ConfigurationError, match="'failover_enable'"):
        check_option("failover_enable", 1)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("failover_enabled", "failover_enable"),
        ("Failover_Enable", "failover_enable"),
        ("failover_limit", "failover_history_limit"),
        ("wsrep_sync_timeouts", "wsrep_sync_timeout"),
        ("optimistic_transaction", "optimistic_transactions"),
    ],
)
@pytest.mark.parametrize("engine", [DJANGO, "some.pool.backends.mysql"])
def test_near_misses_of_ours(name: str, meant: str, engine: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"\['{name}'\]: .* Did you mean '{meant}'\?$"):
        split(engine, **{name: True})


def test_unknown_options_are_errors_only_where_the_driver_is_known() -> None:
    with pytest.raises(ConfigurationError, match=r"\['pool_size'\]: neither .* has this option\.$"):
        split(pool_size=5)
    with pytest.raises(ConfigurationError, match=r"Did you mean 'charset'\?"):
        split(charsett="utf8mb4")
    assert split("some.pool.backends.mysql", pool_size=5)[1] == {"pool_size": 5}


def test_no_driver_option_is_taken_for_one_of_ours() -> None:
    assert [name for name in sorted(DRIVER_OPTIONS) if did_you_mean(name, DEFAULTS)] == []
    usable: dict[str, Any] = {
        "conv": {}, "cursorclass": dict, "ssl": {}, "client_flag": 0, "ssl_mode": "REQUIRED",
        "executemany_fallback": "loop", "isolation_level": "read committed",
    }  # fmt: skip
    for name in DRIVER_OPTIONS - {"host", "port", "unix_socket"}:
        value = usable.get(name, 5 if "timeout" in name else name in DRIVER_BOOLEANS or "x")
        assert split(**{name: value})[1] == {name: value}


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("charset", None, "must not be None. Leave it out."),
        ("charset", 3, "must be text, not int."),
        ("passwd", 7, "must be text, not int."),
        ("compress", "false", "must be True or False, not str."),
        ("multi_statements", "no", "must be True or False, not str."),
        ("ssl", "/ca.pem", "must be True or a mapping such as {'ca': '/etc/ssl/ca.pem'}, not str."),
        ("ssl_mode", "required", "must be one of DISABLED, PREFERRED, REQUIRED, VERIFY_CA, VERIFY"),
        ("client_flag", "x", "must be a whole number, not str."),
        ("connect_timeout", -1, "must be a whole number of seconds, 0 or more."),
        ("conv", 5, "must be a mapping such as MySQLdb.converters.conversions, not int."),
        ("cursorclass", "x.Y", "must be a class, not str. Import it, and write it without quotes."),
        ("executemany_fallback", True, "must be one of loop, multi."),
        ("NODES", {}, "is not an option. Move it out of OPTIONS."),
        ("PASSWORD", "s3cret", "is not an option. Move it out of OPTIONS."),
    ],
)
def test_values_that_the_driver_does_not_take(name: str, value: Any, why: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        split(**{name: value})
    assert str(caught.value).startswith(f"DATABASES['default']['OPTIONS'][{name!r}]: {why}")


@pytest.mark.parametrize(
    ("name", "value"),
    [("ssl", True), ("ssl", None), ("compress", 1), ("sql_mode", None), ("isolation_level", "")],
)
def test_values_that_it_takes(name: str, value: Any) -> None:
    assert split(**{name: value})[1] == {name: value}


def test_the_driver_still_takes_all_that_is_listed() -> None:
    """What the C part takes cannot be listed, but it complains of what it does not take."""
    import MySQLdb

    refused = []
    for name in sorted(DRIVER_OPTIONS - {"isolation_level"}):
        try:
            MySQLdb.connect(**{"unix_socket": "/nonexistent", name: None})
        except TypeError as error:
            refused += [name] if "invalid keyword" in str(error) else []
        except Exception as error:
            assert "keyword" not in str(error)  # noqa: PT017
    assert refused == []


@pytest.mark.parametrize("name", ["host", "port", "unix_socket"])
def test_no_option_may_lead_all_nodes_to_one_server(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{name}.*HOST or PORT of its node"):
        split(**{name: "x"})


def test_the_name_of_an_option_is_text() -> None:
    with pytest.raises(ConfigurationError, match="must be text"):
        split_options(("a", "OPTIONS"), DJANGO, {5: True})  # type: ignore[dict-item]


def test_a_node_has_none_of_ours() -> None:
    path = ("default", "NODES", "db1", "OPTIONS")
    assert node_options(path, DJANGO, {"unix_socket": "/x"}) == {"unix_socket": "/x"}
    for name in DEFAULTS:
        with pytest.raises(ConfigurationError) as caught:
            node_options(path, DJANGO, {name: DEFAULTS[name]})
        assert f"['default']['NODES']['db1']['OPTIONS'][{name!r}]" in str(caught.value)
        assert "Move it to the cluster's OPTIONS" in str(caught.value)
    for name in ("charset", "collation", "conv", "sql_mode", "use_unicode"):
        with pytest.raises(ConfigurationError) as caught:
            node_options(path, DJANGO, {name: None})
        assert f"['default']['NODES']['db1']['OPTIONS'][{name!r}]" in str(caught.value)
        assert "must be the same on all nodes" in str(caught.value)
    with pytest.raises(ConfigurationError, match="would hide the node's PORT"):
        node_options(path, DJANGO, {"port": 3306})


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("failover_enable", "false", False),
        ("failover_enable", "On", True),
        ("failover_enable", 0, False),
        ("failover_enable", "maybe", "maybe"),
        ("optimistic_transactions", "auto", "auto"),
        ("optimistic_transactions", "AUTO", "auto"),
        ("optimistic_transactions", "true", True),
        ("optimistic_transactions", "Off", False),
        ("optimistic_transactions", 1, True),
        ("optimistic_transactions", "maybe", "maybe"),
        ("reconnect_wait_time", "2.5", 2.5),
        ("reconnect_wait_time", 3, 3.0),
        ("reconnect_wait_time", "soon", "soon"),
        ("failover_history_limit", 10, 10),
        ("max_lag", "none", None),
        ("max_lag", "30", 30.0),
        ("zone", "none", "none"),
        ("zone", 1, "1"),
        ("compress", "yes", True),
        ("isolation_level", "None", None),
        ("isolation_level", "serializable", "serializable"),
        ("charset", "utf8mb4", "utf8mb4"),
        ("connect_timeout", 5, 5),
        ("failover_enable", True, True),
    ],
)
def test_from_text(name: str, text: object, value: object) -> None:
    converted = from_text({"OPTIONS": {name: text}})["OPTIONS"][name]
    assert converted == value
    assert type(converted) is type(value)


def test_settings_from_text() -> None:
    assert from_text(
        {"ATOMIC_REQUESTS": "true", "AUTOCOMMIT": 1, "CONN_MAX_AGE": "none", "NAME": "1"}
    ) == {"ATOMIC_REQUESTS": True, "AUTOCOMMIT": True, "CONN_MAX_AGE": None, "NAME": "1"}
