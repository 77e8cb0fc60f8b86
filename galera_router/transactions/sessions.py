"""The sessions of the running thread or async context, one for each cluster."""

from __future__ import annotations

from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from galera_router.causality import scope
from galera_router.cluster.nodes import Cluster
from galera_router.cluster.registry import cluster_of, roles
from galera_router.compat import wrappers

from .session import PinnedAlias, Session

_ATTRIBUTE = "galera_session"


def attach(wrapper: BaseDatabaseWrapper, cluster: Cluster) -> Session:
    """Give ``wrapper`` its session, once."""
    session = vars(wrapper).get(_ATTRIBUTE)
    if session is None:
        session = Session(wrapper, cluster)
        setattr(wrapper, _ATTRIBUTE, session)
    assert isinstance(session, Session)
    return session


def session_of(alias: str) -> Session | None:
    """This thread's session of the cluster whose alias, or a node's alias, is ``alias``."""
    cluster = cluster_of(alias)
    if cluster is None:
        return None
    found, role = wrappers.initialised(), cluster.alias
    wrapper: Any = found[role] if role in found else connections[role]
    try:
        session: Session = wrapper.galera_session
    except AttributeError:  # made before the app was ready
        return None
    return session


def answer_of(alias: str) -> PinnedAlias | None:
    """The router's answer for the cluster ``alias``; None if this thread has no session of it."""
    try:
        wrapper: Any = wrappers.initialised()[alias]
        session: Session = wrapper.galera_session
    except (KeyError, AttributeError):
        return None
    lane = session.lane
    return lane.answer if lane is not None and lane.rules is scope.raw() else session.pin()


def begin_anew() -> None:
    """A request or a task begins or has ended in the running thread or async context."""
    found = wrappers.initialised()
    for alias in found:
        wrapper: Any = found[alias]
        if _ATTRIBUTE in wrapper.__dict__:
            wrapper.galera_session.new_request()


def sessions() -> list[Session]:
    """This thread's sessions of all clusters whose wrappers exist already."""
    found = wrappers.initialised()
    held: list[Any] = [found[alias] for alias in roles() if alias in found]
    return [wrapper.galera_session for wrapper in held if _ATTRIBUTE in wrapper.__dict__]
