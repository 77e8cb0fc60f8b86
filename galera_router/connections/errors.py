"""What a server's or driver's error number means for the connection that met it."""

from __future__ import annotations

import re
from enum import Enum, auto

import MySQLdb
from django.db.utils import Error, InterfaceError

#: The database errors of the driver and of Django.
ERRORS = (MySQLdb.Error, Error)


class Verdict(Enum):
    """What is left after an error."""

    LOST = auto()  # the connection is gone, and its open transaction with it
    OUT = auto()  # the server answers, but takes no part in the cluster
    ROLLED_BACK = auto()  # the server undid the whole transaction
    LOCK_WAIT = auto()  # the statement was undone, the transaction stands
    CHANGED = auto()  # a row is newer than the snapshot that read it
    READ_ONLY = auto()  # a write in a read-only session or on a read-only server
    STATEMENT = auto()  # the statement's own error


READ_ONLY_TRANSACTION = 1792
# Numbers: the MariaDB knowledge base, "MariaDB Error Codes"; 20xx come from the client library.
_VERDICTS: dict[int, Verdict] = {
    0: Verdict.LOST,  # mysqlclient: the connection object is closed
    1053: Verdict.LOST,  # server shutdown in progress
    1077: Verdict.LOST,  # normal shutdown
    1079: Verdict.LOST,  # shutdown complete
    1129: Verdict.LOST,  # cannot connect: the server refuses this host
    1927: Verdict.LOST,  # connection was killed
    2001: Verdict.LOST,  # cannot connect: no unix socket is to be had
    2002: Verdict.LOST,  # cannot connect through the socket
    2003: Verdict.LOST,  # cannot connect
    2004: Verdict.LOST,  # cannot connect: no TCP socket is to be had
    2005: Verdict.LOST,  # cannot connect: the host's name is not known
    2006: Verdict.LOST,  # server has gone away
    2013: Verdict.LOST,  # lost connection during query
    2012: Verdict.LOST,  # cannot connect: no handshake
    2014: Verdict.STATEMENT,  # commands out of sync: the caller's error
    2026: Verdict.LOST,  # TLS: whatever a read or a write has met below it, or no agreement
    2055: Verdict.LOST,  # lost connection, with the system's reason
    1047: Verdict.OUT,  # WSREP: not in the primary component, or wsrep_reject_queries
    1213: Verdict.ROLLED_BACK,  # deadlock; under Galera also a failed certification
    1205: Verdict.LOCK_WAIT,
    1020: Verdict.CHANGED,
    1290: Verdict.READ_ONLY,  # server runs with --read-only
    READ_ONLY_TRANSACTION: Verdict.READ_ONLY,  # READ ONLY transaction
}

# Waiting does not mend these: rights, names, TLS. Everything else at connect may pass.
_PERMANENT = frozenset({1044, 1045, 1049, 1130, 1131, 1698, 2019, 2026, 2054, 2059})
# Nor these, if they are met on connecting: what the session is set up with is wrong.
_SET_UP = frozenset({1064, 1115, 1193, 1227, 1229, 1231, 1232, 1238, 1253, 1273, 1298})
# But the server may also end while TLS is being agreed upon.
_TLS = 2026
_ENDED = re.compile(r"eof|reset|pipe|syscall|timed out|closed", re.IGNORECASE)


def errno(error: BaseException) -> int:
    """The error's number, or -1 where there is none."""
    number = error.args[0] if error.args else -1
    return number if isinstance(number, int) else -1


# ER_ERROR_DURING_COMMIT wraps a status of the Galera provider (wsrep_status in its API); one
# without a number is text such as "Not connected to Primary Component".
_DURING_COMMIT = 1180
#: wsrep_max_ws_rows and wsrep_max_ws_size: it would be too much on every node.
_LIMIT = "exceeded"
_STATUS = re.compile(r"[Gg]ot error (\d+)")
_STATUSES = {"3": Verdict.ROLLED_BACK, "5": Verdict.STATEMENT}  # certification, too big


def verdict(error: BaseException) -> Verdict:
    """What ``error`` (the driver's or Django's) says of the connection that raised it."""
    number = errno(error)
    if number == _DURING_COMMIT and _LIMIT in str(error):
        return Verdict.STATEMENT
    if number == _DURING_COMMIT:
        found = _STATUS.search(str(error))
        return _STATUSES.get(found[1] if found else "", Verdict.OUT)
    return _VERDICTS.get(number, Verdict.STATEMENT)


def is_lost(error: BaseException) -> bool:
    """Returns True if the connection that raised ``error`` is of no more use."""
    return verdict(error) in {Verdict.LOST, Verdict.OUT} or (
        isinstance(error, (InterfaceError, MySQLdb.InterfaceError)) and errno(error) in {0, -1}
    )


# ER_OPTION_PREVENTS_STATEMENT is for several options; a session that only reads gets it as well.
_PREVENTED = 1290
_BY_READ_ONLY = re.compile(r"\bread[-_]only\b")
_READ_ONLY_MODE = 1836
_DISK_FULL = 1021
_WRITE_ERRORS = frozenset({3, 20, 1026, 1030})  # with the system's number in their text
_NO_SPACE = re.compile(r"no space left on device|\b(?:errcode:|error) 28\b", re.IGNORECASE)


def is_read_only_server(error: BaseException) -> bool:
    """Returns True if the server refuses writes because of ``read_only``."""
    return is_by_option(error) or errno(error) == _READ_ONLY_MODE


def is_by_option(error: BaseException) -> bool:
    """Returns True if ``@@read_only`` shows why the server refuses writes."""
    return errno(error) == _PREVENTED and _BY_READ_ONLY.search(str(error)) is not None


def is_full_disk(error: BaseException) -> bool:
    """Returns True if the server has no room left for what is to be written."""
    number = errno(error)
    no_space = number in _WRITE_ERRORS and _NO_SPACE.search(str(error)) is not None
    return number == _DISK_FULL or no_space


def refuses_writes(error: BaseException) -> bool:
    """Returns True if the server takes no write now; it has undone the statement, or all."""
    return is_read_only_server(error) or is_full_disk(error)


def is_permanent(error: BaseException) -> bool:
    """Returns True if a failure to connect will still be there after any wait."""
    if errno(error) == _TLS and _ENDED.search(str(error)):
        return False
    return errno(error) in _PERMANENT or is_of_set_up(error)


def is_of_set_up(error: BaseException) -> bool:
    """Returns True if a failure to connect comes from a statement such as ``init_command``."""
    return errno(error) in _SET_UP


def is_conflict(error: BaseException) -> bool:
    """Returns True if running the whole transaction again may succeed where it failed now."""
    return verdict(error) in {Verdict.ROLLED_BACK, Verdict.LOCK_WAIT, Verdict.CHANGED}


# A transaction's tables must not change under its snapshot, and those of a secondary may be older
# than the code.
_ALTERED = 1412  # the table has been altered since the snapshot began
_UNKNOWN_NAMES = frozenset({1054, 1146})  # a column, a table
_INTERRUPTED = frozenset({1317, 1969})  # ER_QUERY_INTERRUPTED, ER_STATEMENT_TIMEOUT


def is_interrupted(error: BaseException) -> bool:
    """Returns True if somebody, or ``max_statement_time``, has ended the statement.

    A COMMIT may have been carried out all the same (seen: 10.11.19, KILL QUERY just behind it).
    """
    return errno(error) in _INTERRUPTED


def is_outdated(error: BaseException) -> bool:
    """Returns True if the table was altered since the snapshot: a new one can read it."""
    return errno(error) == _ALTERED


def is_unknown_name(error: BaseException) -> bool:
    """Returns True if a column or table is not there: a secondary may only not have it yet."""
    return errno(error) in _UNKNOWN_NAMES
