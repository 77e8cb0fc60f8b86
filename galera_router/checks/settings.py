"""Routers and middleware: each is there, once, and in the right place."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage
from django.db import connections, router
from django.utils.module_loading import import_string

from galera_router.causality.carriers import carrier
from galera_router.cluster.nodes import Cluster
from galera_router.conf import node_role
from galera_router.exceptions import ConfigurationError
from galera_router.middleware import GaleraMiddleware
from galera_router.routers import GaleraRouter

from .messages import error, listed, warning

ROUTER = f"{GaleraRouter.__module__}.{GaleraRouter.__qualname__}"
MIDDLEWARE = f"{GaleraMiddleware.__module__}.{GaleraMiddleware.__qualname__}"
FORMER_MIDDLEWARE = "galera.middleware.GaleraMiddleware"


def check(found: list[Cluster]) -> list[CheckMessage]:
    """Router and middleware are where a cluster needs them."""
    messages = _former_middleware()
    if found:
        messages += [
            *_router(),
            *_writes_to_nodes(),
            *_middleware(found),
            *_carried(found),
            *_token(found),
        ]
    return messages


def _token(found: list[Cluster]) -> list[CheckMessage]:
    """The settings of the token's cookie and header, which the middleware will refuse."""
    try:
        age = carrier().age
    except ConfigurationError as wrong:
        return [error(19, str(wrong), "docs/causality.md has these settings.")]
    late = [c.alias for c in found if (c.config.options.max_lag or 0.0) > age]
    return [_expires(age, late)] if late and _has_middleware() else []


def _expires(age: int, late: list[str]) -> CheckMessage:
    return warning(
        22,
        f"max_lag of {listed(late)} is longer than GALERA_COOKIE_AGE ({age} s): a node that lags is"
        " still read from when a client's token has expired, and may not have what it has written.",
        "Make GALERA_COOKIE_AGE longer than max_lag.",
    )


def _router() -> list[CheckMessage]:
    routers = list(router.routers)
    ours = [n for n, one in enumerate(routers) if isinstance(one, GaleraRouter)]
    if not ours:
        return [
            error(
                1,
                "DATABASES has a Galera cluster, but DATABASE_ROUTERS has no router for it.",
                f'Add "{ROUTER}" to DATABASE_ROUTERS.',
            )
        ]
    return _several(routers, ours)


def _several(routers: list[Any], ours: list[int]) -> list[CheckMessage]:
    if len(ours) == 1:
        return []
    names = ", ".join(_name(routers[n]) for n in ours)
    return [
        warning(
            3,
            f"DATABASE_ROUTERS has {len(ours)} routers for Galera clusters: {names}. The first"
            " answers for all; the others are never asked.",
            "Keep one of them.",
        )
    ]


def _writes_to_nodes() -> list[CheckMessage]:
    wrong = {
        model._meta.label: alias
        for model in apps.get_models()
        if _role(alias := router.db_for_write(model)) is not None
    }
    if not wrong:
        return []
    pairs = [f"{label} to {alias!r}" for label, alias in sorted(wrong.items())]
    return [
        error(
            3,
            f"DATABASE_ROUTERS sends writes to the alias of a single node: {listed(pairs)}. They"
            " will fail with ReadOnlyNode.",
            f"Have db_for_write return {_role(next(iter(wrong.values())))!r} instead.",
        )
    ]


def _middleware(found: list[Cluster]) -> list[CheckMessage]:
    atomic = [c.alias for c in found if connections.settings[c.alias]["ATOMIC_REQUESTS"]]
    places = [n for n, path in enumerate(settings.MIDDLEWARE) if _is_ours(path)]
    if not atomic or places[:1] == [0]:
        return []
    if not places:
        return [
            warning(
                1,
                f"ATOMIC_REQUESTS is on for {', '.join(atomic)}, but MIDDLEWARE lacks"
                " GaleraMiddleware: a request that meets a deadlock fails instead of running"
                " again.",
                f'Put "{MIDDLEWARE}" first in MIDDLEWARE.',
            )
        ]
    before = settings.MIDDLEWARE[: places[0]]
    return [
        warning(
            4,
            f"GaleraMiddleware stands behind {listed(before)} in MIDDLEWARE: when a request runs"
            " again, these do not, and a list or dictionary that they have put into it stays as"
            " the undone run has left it.",
            f'Put "{MIDDLEWARE}" first in MIDDLEWARE.',
        )
    ]


def _carried(found: list[Cluster]) -> list[CheckMessage]:
    """Warns where no token is carried: a client's next request may then not see its write."""
    waiting = [
        c.alias
        for c in found
        if len(c.nodes) > 1
        and c.config.options.wsrep_sync_after_write
        and c.config.options.reads == "causal"
        and not connections.settings[c.alias]["ATOMIC_REQUESTS"]
    ]
    if not waiting or _has_middleware() or not _serves():
        return []
    return [
        warning(
            20,
            f"MIDDLEWARE lacks GaleraMiddleware: a request may read from a node of"
            f" {listed(waiting)} that does not have yet what the same client has written in the"
            " request before.",
            f'Put "{MIDDLEWARE}" first in MIDDLEWARE.',
        )
    ]


def _has_middleware() -> bool:
    """Returns True if ours is there, or the one that E009 has replaced by ours."""
    return any(path == FORMER_MIDDLEWARE or _is_ours(path) for path in settings.MIDDLEWARE)


def _serves() -> bool:
    """Returns True if the project answers requests."""
    return bool(getattr(settings, "ROOT_URLCONF", None))


def _former_middleware() -> list[CheckMessage]:
    if FORMER_MIDDLEWARE not in settings.MIDDLEWARE:
        return []
    return [
        error(
            9,
            f"MIDDLEWARE names {FORMER_MIDDLEWARE!r}, which belongs to django-galera.",
            f'Write "{MIDDLEWARE}" in its place, first in MIDDLEWARE.',
        )
    ]


def _is_ours(path: str) -> bool:
    if path == MIDDLEWARE:
        return True
    try:
        found = import_string(path)
    except ImportError:  # Django says so itself when it loads it
        return False
    return isinstance(found, type) and issubclass(found, GaleraMiddleware)


def _role(alias: str) -> str | None:
    return node_role(connections.settings[alias]) if alias in connections.settings else None


def _name(one: Any) -> str:
    return f"{type(one).__module__}.{type(one).__qualname__}"
