"""The driver's options: names that mysqlclient knows, and values that it would not take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from galera_router.conf.texts import did_you_mean, words, wrong

Path = tuple[object, ...]

# The engines whose driver is known to take DRIVER_OPTIONS and nothing else.
STRICT_ENGINES = frozenset({"django.db.backends.mysql", "django.contrib.gis.db.backends.mysql"})

# What MySQLdb.connect() takes, and Django's own isolation_level.
DRIVER_OPTIONS = words(
    "auth_plugin autocommit binary_prefix charset client_flag collation compress connect_timeout"
    " conv cursorclass database db executemany_fallback host init_command isolation_level"
    " local_infile local_infile_dir multi_statements named_pipe passwd password port"
    " read_default_file read_default_group read_timeout server_public_key_path sql_mode ssl"
    " ssl_mode unix_socket use_unicode user write_timeout"
)
BOOLEANS = words(
    "autocommit binary_prefix compress local_infile multi_statements named_pipe ssl use_unicode"
)
_SECONDS = words("connect_timeout read_timeout write_timeout")
_TEXTS = words(
    "auth_plugin charset collation database db host init_command local_infile_dir passwd password"
    " read_default_file read_default_group server_public_key_path sql_mode unix_socket user"
)
_NUMBERS = words("client_flag port")
_ONE_OF = {
    "isolation_level": ("read uncommitted", "read committed", "repeatable read", "serializable"),
    "ssl_mode": ("DISABLED", "PREFERRED", "REQUIRED", "VERIFY_CA", "VERIFY_IDENTITY"),
    "executemany_fallback": ("loop", "multi"),
}
#: For which None is the same as leaving them out.
_MAY_BE_NONE = words("autocommit binary_prefix collation isolation_level sql_mode ssl use_unicode")


def check_driver_value(path: Path, name: str, value: Any) -> None:
    """Refuses values that fail on connecting, with an error that names neither alias nor node.

    The value is not shown: it may be a password.
    """
    if value is None:
        if name not in _MAY_BE_NONE:
            raise wrong(path, "must not be None. Leave it out.")
    elif name in _SECONDS:
        _check_number(path, value, "a whole number of seconds")
    elif name in _NUMBERS:
        _check_number(path, value, "a whole number")
    elif name in _ONE_OF:
        _check_choice(path, name, value)
    elif name in _TEXTS and not isinstance(value, str):
        raise wrong(path, f"must be text, not {type(value).__name__}.")
    else:
        _check_object(path, name, value)


def _check_number(path: Path, value: Any, kind: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise wrong(path, f"must be {kind}, not {type(value).__name__}.")
    if value < 0:
        raise wrong(path, f"must be {kind}, 0 or more.")


def _check_choice(path: Path, name: str, value: Any) -> None:
    given = value.lower() if name == "isolation_level" and isinstance(value, str) else value
    if given == "" and name == "isolation_level":
        return
    if given not in _ONE_OF[name]:
        none = ", or None" if name in _MAY_BE_NONE else ""
        raise wrong(path, f"must be one of {', '.join(_ONE_OF[name])}{none}.")


def _check_object(path: Path, name: str, value: Any) -> None:
    given = type(value).__name__
    if name == "ssl" and not isinstance(value, (Mapping, bool)):
        raise wrong(
            path, f"must be True or a mapping such as {{'ca': '/etc/ssl/ca.pem'}}, not {given}."
        )
    if name in BOOLEANS and name != "ssl" and not isinstance(value, int):
        raise wrong(path, f"must be True or False, not {given}.")
    if name == "conv" and not isinstance(value, Mapping):
        raise wrong(path, f"must be a mapping such as MySQLdb.converters.conversions, not {given}.")
    if name == "cursorclass" and not callable(value):
        raise wrong(path, f"must be a class, not {given}. Import it, and write it without quotes.")


def check_driver_option(
    path: Path, engine: str, name: object, value: Any, ours: Mapping[str, Any]
) -> None:
    """Refuses an option that ``engine``'s driver does not know, or a value that it does not take.

    Args:
        path: to OPTIONS.
        engine: the ENGINE; only of Django's own is it known what the driver takes.
        name: of the option.
        value: of the option.
        ours: our own options; a name that is similar to one of them is a mistake with any engine.
    """
    if not isinstance(name, str):
        raise wrong((*path, name), "the name of an option must be text.")
    if name in DRIVER_OPTIONS:
        check_driver_value((*path, name), name, value)
        return
    if name in ("NODES", "HOST", "PORT", "USER", "PASSWORD", "NAME"):
        raise wrong((*path, name), "is not an option. Move it out of OPTIONS.")
    if hint := did_you_mean(name, ours):
        raise wrong((*path, name), "is not an option." + hint)
    if engine in STRICT_ENGINES:
        hint = did_you_mean(name, DRIVER_OPTIONS)
        raise wrong((*path, name), "neither galera_router nor mysqlclient has this option." + hint)
