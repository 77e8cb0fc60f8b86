"""Uses private parts of Django and mysqlclient. Besides, only the door (cursor, lane) does.

Each function says why public API will not do; ``tests/integration/test_internals.py``
tries each of them on every supported Django.
"""

from __future__ import annotations

import os
import select
import sys
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from types import CodeType
from typing import Any

import MySQLdb
from django.conf import settings
from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.utils.functional import cached_property

Wrapper = BaseDatabaseWrapper


def on_create(created: Callable[[Wrapper], None]) -> None:
    """Have ``created`` called with every wrapper that any thread or context creates.

    Why private: ``connection_created`` comes after the connect, when a plain
    ``with atomic()`` in a new thread has already spoken to the primary.
    """
    if is_started():
        return
    original = connections.create_connection

    def create_connection(alias: str) -> Wrapper:
        wrapper: Wrapper = original(alias)
        created(wrapper)
        return wrapper

    create_connection.tells = True  # type: ignore[attr-defined]
    connections.create_connection = create_connection  # type: ignore[method-assign]


def is_started() -> bool:
    """Returns True if the app has been started in this process (see :func:`on_create`)."""
    return bool(getattr(connections.create_connection, "tells", False))


def transact_on(role_of: Callable[[str], str]) -> None:
    """Have ``atomic``, ``on_commit`` and the like mean the cluster where they are given a node.

    Why private: they all ask ``transaction.get_connection``, which nobody is meant to replace.
    Otherwise a transaction on a node's alias would be one that writes do not belong to.
    """
    original = transaction.get_connection
    if getattr(original, "knows_clusters", False):
        return

    def get_connection(using: str | None = None) -> Wrapper:
        found: Wrapper = original(using if using is None else role_of(using))
        return found

    get_connection.knows_clusters = True  # type: ignore[attr-defined]
    transaction.get_connection = get_connection


def open_lazily(wrapper: Wrapper, door: Any) -> None:
    """Do what ``BaseDatabaseWrapper.connect`` does before it speaks to a server.

    ``door`` takes the place of the driver's connection.

    Why private: these attributes are the wrapper's state machine, and the method that sets
    them also connects. The caller is to :func:`announce` the connection then.
    """
    wrapper.check_settings()
    wrapper.in_atomic_block = False
    wrapper.savepoint_ids = []
    wrapper.atomic_blocks = []
    wrapper.needs_rollback = False
    wrapper.health_check_enabled = wrapper.settings_dict["CONN_HEALTH_CHECKS"]  # type: ignore[attr-defined]
    max_age = wrapper.settings_dict["CONN_MAX_AGE"]
    wrapper.close_at = None if max_age is None else time.monotonic() + max_age
    wrapper.closed_in_transaction = False
    wrapper.errors_occurred = False
    wrapper.health_check_done = True  # type: ignore[attr-defined]
    wrapper.connection = door
    wrapper.set_autocommit(wrapper.settings_dict["AUTOCOMMIT"])
    wrapper.run_on_commit = []


def connect(wrapper: Wrapper, settings: Mapping[str, Any]) -> Any:
    """A new driver connection with ``settings`` laid over the wrapper's own.

    The backend is the user's ENGINE, so both steps are asked of the wrapper. Raises the
    driver's errors.
    """
    return wrapper.get_new_connection(parameters(wrapper, settings))


def parameters(wrapper: Wrapper, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What :func:`connect` gives to the driver."""
    own = wrapper.settings_dict
    wrapper.settings_dict = {**own, **settings}
    try:
        return {**wrapper.get_connection_params(), "autocommit": True}
    finally:
        wrapper.settings_dict = own


def initialise(wrapper: Wrapper, *, tell: bool) -> None:
    """Bring the new driver connection that ``wrapper`` now uses into Django's state.

    Args:
        wrapper: of a cluster.
        tell: send ``connection_created``.
    """
    with uncounted(wrapper):
        wrapper.init_connection_state()
    if tell:
        announce(wrapper)


def announce(wrapper: Wrapper) -> None:
    """Send ``connection_created``; receivers are in no block, whatever the application is in."""
    state = vars(wrapper)
    before = {name: state[name] for name in _NO_BLOCK if name in state}
    state.update({name: make() for name, make in _NO_BLOCK.items()})
    try:
        with uncounted(wrapper):
            connection_created.send(sender=wrapper.__class__, connection=wrapper)
    finally:
        state.update(before)


#: What Django keeps of a block on the wrapper, and makes anew as it connects.
_NO_BLOCK: dict[str, Callable[[], Any]] = {
    "in_atomic_block": bool,
    "savepoint_ids": list,
    "atomic_blocks": list,
    "run_on_commit": list,
    "autocommit": lambda: True,
}


class _Resting(list[Any]):
    """Execute wrappers that can be looked at and changed, but see no statement."""

    def __reversed__(self) -> Iterator[Any]:  # what Django goes through for a statement
        return iter(())


@contextmanager
def uncounted(wrapper: Wrapper) -> Iterator[None]:
    """Keep a connection's set-up out of ``connection.queries`` and execute wrappers.

    It must also succeed in a block that is to be rolled back. A wrapper that is installed
    meanwhile stays, as receivers of ``connection_created`` do that.

    Why private: Django connects before a test looks, and so never counts it; a lazy connection
    is made in the middle. With DEBUG the flag alone does not keep statements out of the log.
    """
    counted, log = wrapper.force_debug_cursor, wrapper.queries_log
    wrappers, broken = wrapper.execute_wrappers, wrapper.needs_rollback
    wrapper.needs_rollback = False
    wrapper.force_debug_cursor, wrapper.queries_log = False, deque(maxlen=log.maxlen)
    wrapper.execute_wrappers = resting = _Resting(wrappers)
    try:
        yield
    finally:
        wrapper.force_debug_cursor, wrapper.queries_log = counted, log
        wrappers[:] = resting
        wrapper.execute_wrappers, wrapper.needs_rollback = wrappers, broken


def connect_node(wrapper: Wrapper, initialise: Callable[[Wrapper], None]) -> None:
    """Connect a node's wrapper as stock Django does, ``connection_created`` included.

    Why private: ``initialise`` takes the place of one step in the middle, and calls it.
    """
    wrapper.connection = None

    def initialise_once() -> None:
        del wrapper.init_connection_state
        initialise(wrapper)

    wrapper.init_connection_state = initialise_once  # type: ignore[method-assign]
    try:
        type(wrapper).connect(wrapper)
    finally:
        vars(wrapper).pop("init_connection_state", None)


def poll_of(connection: Any) -> Any:
    """What :func:`is_stale` looks with."""
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return poll


def is_stale(connection: Any, poll: Any, *, ping: bool = False) -> bool:
    """Returns True if an idle connection cannot be used any more.

    An idle connection has nothing to read but its end, or the server's last error. The server
    itself is asked only if there is something to read, or with ``ping``.

    Args:
        connection: the driver's.
        poll: :func:`poll_of` it.
        ping: ask the server in any case.
    """
    try:
        if not poll.poll(0) and not ping:
            return False
        connection.ping()  # a TLS session ticket may be waiting on a living connection
    except MySQLdb.Error:
        return True
    return False


def note_autocommit(wrapper: Wrapper, flag: bool) -> None:
    """Have ``wrapper`` know its mode although ``set_autocommit`` is about to raise.

    Why private: the attribute is set only after the call that raises.
    """
    wrapper.autocommit = flag


def testing() -> bool:
    """Returns True if the test framework may have changed what connections are allowed to do."""
    return "django.test.testcases" in sys.modules


def in_testcase(wrapper: Wrapper) -> bool:
    """Returns True in the block of a ``TestCase``, whose data exist on one connection only."""
    blocks = wrapper.atomic_blocks
    return bool(blocks) and bool(getattr(blocks[0], "_from_testcase", False))


def forbidden_to_test(wrapper: Wrapper) -> bool:
    """Returns True if the running test may not use this alias (``databases`` of its class).

    Django puts an object that raises in the place of ``connect``, which keeps the original
    as ``wrapped``; for threads it patches ``ensure_connection``.
    """
    if hasattr(vars(wrapper).get("connect"), "wrapped"):
        return True
    # In other threads than the test's own, the class itself is patched.
    guard: Any = BaseDatabaseWrapper.ensure_connection
    if getattr(guard, "__name__", "") != "patched_ensure_connection":  # a mock has no name
        return False
    cells = [cell.cell_contents for cell in guard.__closure__ or ()]
    allowed = [cell.databases for cell in cells if hasattr(cell, "databases")]
    return any(wrapper.alias not in databases for databases in allowed)


def non_atomic_aliases(view: Any) -> set[str]:
    """The aliases that ``non_atomic_requests`` named for ``view``."""
    return set(getattr(view, "_non_atomic_requests", ()))


def ask_server_through(wrapper: Wrapper, cursor: Callable[[], AbstractContextManager[Any]]) -> None:
    """Have ``wrapper`` ask its server for version and modes through ``cursor``.

    Why private: the backend asks in the middle of compiling a statement, through
    ``temporary_connection``; that question is not part of the application's transaction. Who
    calls is seen by the frame: to anybody else the method is what it is with stock Django.
    """
    questions = _questions_of(type(wrapper))

    def temporary_connection() -> AbstractContextManager[Any]:
        if sys._getframe(1).f_code in questions:
            return cursor()
        return type(wrapper).temporary_connection(wrapper)

    wrapper.temporary_connection = temporary_connection  # type: ignore[method-assign]


def _questions_of(backend: type[Wrapper]) -> frozenset[CodeType]:
    """Returns the code of each ``mysql_server_data``: a backend may override Django's."""
    found = (vars(kind).get("mysql_server_data") for kind in backend.__mro__)
    return frozenset(p.func.__code__ for p in found if isinstance(p, cached_property))


def server_data(wrapper: Wrapper) -> Any:
    """What the MySQL backend has asked its server of version and modes, if it has."""
    return vars(wrapper).get("mysql_server_data")


def share_server_data(wrapper: Wrapper, data: Any) -> None:
    """Spare ``wrapper`` the question, which every wrapper of every thread would ask again."""
    if data is not None:
        vars(wrapper).setdefault("mysql_server_data", data)


def keep_out_of_serialized(wrapper: Wrapper, app: str) -> None:
    """Keep the rows of ``app`` out of what ``serialized_rollback`` puts back into a test database.

    Why private: only a setting of the project's, ``TEST_NON_SERIALIZED_APPS``, says so otherwise.
    """
    serialize = wrapper.creation.serialize_db_to_string

    def serialize_db_to_string() -> str:
        from django.test.utils import override_settings  # not in a server

        others = [*settings.TEST_NON_SERIALIZED_APPS, app]
        with override_settings(TEST_NON_SERIALIZED_APPS=others):
            return serialize()

    wrapper.creation.serialize_db_to_string = serialize_db_to_string  # type: ignore[method-assign]


def keep_out_of_flush(wrapper: Wrapper, tables: Collection[str]) -> None:
    """Let ``flush`` leave ``tables`` as they are; it runs after each ``TransactionTestCase``.

    Why private: Django empties the table of every managed model, and no setting says otherwise.
    """
    flush = wrapper.ops.sql_flush

    def sql_flush(style: Any, names: Sequence[str], **options: Any) -> Any:
        return flush(style, [name for name in names if name not in tables], **options)

    wrapper.ops.sql_flush = sql_flush  # type: ignore[method-assign, assignment]


def point_elsewhere(connection: Any) -> None:
    """Make a connection inherited through ``fork()`` harmless to the parent that uses it.

    Its destructor would send COM_QUIT on the shared socket, so this process's descriptor
    is pointed at ``/dev/null`` first.
    """
    null = os.open(os.devnull, os.O_RDWR)
    try:
        os.dup2(null, connection.fileno())
    finally:
        os.close(null)
