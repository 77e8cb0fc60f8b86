"""The options of a cluster: our own, with their types checked, and the driver's beside them."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from galera_router.conf.driver import BOOLEANS, check_driver_option
from galera_router.conf.texts import words, wrong

#: Where reads come from; see ``galera_router.reads``.
MODES = ("primary", "causal", "any")
#: A value of ``optimistic_transactions`` beside True and False.
AUTO = "auto"
#: Options of the driver that say how values are written, and how the server reads them.
_WRITTEN_BY = words("charset collation conv sql_mode use_unicode")

_BOOLEAN_SETTINGS = words(
    "ATOMIC_REQUESTS AUTOCOMMIT CONN_HEALTH_CHECKS DISABLE_SERVER_SIDE_CURSORS"
)
_MAY_BE_NONE = words("isolation_level max_lag failback_delay CONN_MAX_AGE")
_TRUTH = {"true": True, "yes": True, "on": True, "1": True} | {
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}


@dataclass(frozen=True, slots=True)
class Options:
    """Our own options of one cluster. docs/settings.md says more about each.

    Attributes:
        failover_enable: move to another node, with replay, when one is lost.
        failover_history_limit: statements of one transaction that are kept for a replay; 0: none.
        wsrep_sync_after_write: read on a secondary only after it has our own writes.
        optimistic_transactions: True: begin every transaction on a secondary. False: on the
            primary. "auto": on a secondary under the middleware and ``galera_atomic``; a plain
            ``atomic()`` block only where its place in the code has so far only read.
        reconnect_wait_time: seconds that a failover may wait until a node is well.
        wsrep_sync_timeout: seconds that one read may wait, in all, for secondaries to catch up.
        wsrep_sync_use_gtid: wait for the last write by the server's GTID.
        reads: where reads come from, unless ``galera_router.reads`` says otherwise.
        disable_update_can_self_select: an UPDATE that depends on its own table first looks up the
            keys with a SELECT, and has no subquery.
        commit_marker: find out what became of a COMMIT whose answer was lost; needs ``migrate``.
        conflict_retries: times that one transaction is replayed in place after a conflict.
        lost_update_guard: run transactions on the primary at REPEATABLE READ. A write to a row that
            has changed since it was read then fails, and the transaction is run again (MariaDB
            10.6.18, 10.11.8 and later).
        watchdog_after: seconds that a statement may take before its node is asked if it is alive;
            0: it is never asked.
        watchdog_timeout: seconds that the node may take to answer that.
        failback_delay: seconds for which the first electable node must have been well, and another
            one the primary, before it is the primary again; None: it never is by itself.
        max_lag: seconds for which a node may lack what another one has; then it is not used while
            another one can be. None or 0: however long.
        zone: the zone that this process is in, whose nodes it reads from; None: what
            ``GALERA_ZONE`` in the environment says.
    """

    failover_enable: bool = True
    failover_history_limit: int = 1000
    wsrep_sync_after_write: bool = True
    optimistic_transactions: bool | Literal["auto"] = "auto"
    reconnect_wait_time: float = 15.0
    wsrep_sync_timeout: float = 5.0
    wsrep_sync_use_gtid: bool = False
    reads: str = "causal"
    disable_update_can_self_select: bool = False
    commit_marker: bool = True
    conflict_retries: int = 5
    lost_update_guard: bool = False
    watchdog_after: float = 0.5
    watchdog_timeout: float = 1.0
    failback_delay: float | None = 5.0
    max_lag: float | None = 10.0
    zone: str | None = None


DEFAULTS: dict[str, bool | int | float | str | None] = {
    field.name: getattr(Options(), field.name) for field in fields(Options)
}


def check_option(name: str, value: Any, path: tuple[object, ...] = ("OPTIONS",)) -> Any:
    """Returns ``value`` as it is kept for the option ``name``, so an int of seconds as a float.

    Raises `ConfigurationError`, with ``path`` and the name, if the option cannot have this value.
    """
    default = DEFAULTS[name]
    if name == "optimistic_transactions":
        return _boolean_or_auto((*path, name), value)
    if name == "zone":
        return check_zone((*path, name), value)
    if name in ("max_lag", "failback_delay") and value is None:
        return None
    if isinstance(default, bool):
        return check_boolean((*path, name), value)
    if isinstance(default, str):
        return _mode((*path, name), value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise wrong((*path, name), f"must be a number, not {type(value).__name__}.")
    if isinstance(default, int) and not isinstance(value, int):
        raise wrong((*path, name), f"must be a whole number, not {value!r}.")
    if not 0 <= value <= sys.float_info.max:  # NaN is not
        raise wrong((*path, name), "must be a finite number, 0 or more.")
    return value if isinstance(default, int) else float(value)


def check_boolean(path: tuple[object, ...], value: Any) -> bool:
    """Returns ``value`` if it is True or False; refuses others, numbers too."""
    if not isinstance(value, bool):
        raise wrong(path, f"must be True or False, not {type(value).__name__}.")
    return value


def _boolean_or_auto(path: tuple[object, ...], value: Any) -> bool | str:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value == AUTO:
        return AUTO
    given = "another text" if isinstance(value, str) else type(value).__name__
    raise wrong(path, f"must be True, False or {AUTO!r}, not {given}.")


def check_zone(path: tuple[object, ...], value: Any) -> str | None:
    """Returns ``value`` if it can be the name of a zone, or None for no zone."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise wrong(path, f"must be text, not {type(value).__name__}.")
    if not value or value != value.strip():
        raise wrong(path, "must be a name without white space around it, or None.")
    return str(value)


def _mode(path: tuple[object, ...], value: Any) -> str:
    if value not in MODES:
        raise wrong(path, f"must be one of {', '.join(map(repr, MODES))}, not {value!r}.")
    return str(value)


def split_options(
    path: tuple[object, ...], engine: str, options: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns a cluster's OPTIONS as two dicts: our own options that are set, and the driver's.

    Raises `ConfigurationError` for a wrong type, for a name that is similar to one of ours, and,
    with Django's own engines, for a name that the driver does not know.
    """
    ours = {name: check_option(name, options[name], path) for name in options if name in DEFAULTS}
    driver = {name: value for name, value in options.items() if name not in DEFAULTS}
    for name in driver.keys() & {"host", "port", "unix_socket"}:
        raise wrong(
            (*path, name),
            "would lead all nodes to one server. Write it as HOST or PORT of its node.",
        )
    for name in driver:
        check_driver_option(path, engine, name, options[name], DEFAULTS)
    return ours, driver


def node_options(
    path: tuple[object, ...], engine: str, options: Mapping[str, Any]
) -> dict[str, Any]:
    """Returns a node's OPTIONS, which are options of the driver.

    Raises `ConfigurationError` for an option of ours, for one that must be the same on all nodes,
    and as :func:`split_options` does.
    """
    for name in options:
        if name in DEFAULTS:
            raise wrong(
                (*path, name), "belongs to the whole cluster. Move it to the cluster's OPTIONS."
            )
        if name in _WRITTEN_BY:
            raise wrong(
                (*path, name),
                "must be the same on all nodes: values are written for one node's connection, and"
                " sent to another node. Move it to the cluster's OPTIONS.",
            )
        check_driver_option(path, engine, name, options[name], DEFAULTS)
    for name in options.keys() & {"host", "port"}:
        raise wrong((*path, name), f"would hide the node's {name.upper()}. Write that instead.")
    return dict(options)


def from_text(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the ``settings`` of a URL with booleans, numbers and None in place of their text.

    In the query of a URL every value is text. A value that cannot be converted stays as it is, and
    is refused when it is checked.
    """
    result = {name: _converted(name, value) for name, value in settings.items()}
    if isinstance(settings.get("OPTIONS"), Mapping):
        result["OPTIONS"] = {k: _converted(k, v) for k, v in settings["OPTIONS"].items()}
    return result


def _converted(name: object, value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        return value
    default = DEFAULTS.get(name) if isinstance(name, str) else None
    if name == "optimistic_transactions":
        return (_TRUTH | {AUTO: AUTO}).get(str(value).lower(), value)
    if name == "zone":
        return str(value)  # django-environ makes a number of digits
    if isinstance(default, bool) or name in _BOOLEAN_SETTINGS or name in BOOLEANS:
        return _TRUTH.get(str(value).lower(), value)
    if name in _MAY_BE_NONE and str(value).lower() == "none":
        return None
    if isinstance(default, float):
        return _number(value)
    return value


def _number(value: str | int) -> float | str | int:
    try:
        return float(value)
    except ValueError:
        return value
