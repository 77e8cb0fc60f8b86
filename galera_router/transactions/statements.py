"""The small classifier: what a statement is, as far as its text tells.

It decides no correctness. A secondary's session is read-only, so the server itself refuses what
must not run there (error 1792); this module saves the wasted trip for the obvious, and keeps off
the secondaries what a read-only session would let through. In doubt, the answer is the one that
costs a trip to the primary and nothing else.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Literal

from galera_router.recovery.functions import OWN

CACHED_STATEMENTS = 1000
CACHED_LENGTH = 4096  # characters

SavepointAction = Literal["SAVEPOINT", "RELEASE", "ROLLBACK TO"]


@dataclass(frozen=True, slots=True)
class Savepoint:
    """What ``SAVEPOINT x``, ``RELEASE SAVEPOINT x`` or ``ROLLBACK TO x`` does, and to which.

    ``name``: in lower case, for the server makes no difference.
    """

    action: SavepointAction
    name: str


@dataclass(frozen=True, slots=True)
class Statement:
    """What the text of a statement tells.

    ``verb``: its first word in upper case; empty if it begins with none.
    ``readable``: may be tried in a read-only session on a secondary.
    ``repeatable``: readable, and the answer depends on the data alone: another node gives the same.
    ``ordered``: has an ORDER BY.
    ``write``: plainly writes or defines data.
    ``savepoint``: the savepoint it sets, releases or rolls back to.
    ``may_end_transaction``: not known to leave an open transaction open.
    ``state``: leaves or uses what lives on this one connection alone.
    ``insert``: an INSERT or REPLACE.
    ``impatient``: says how long it will wait for a lock (NOWAIT, WAIT n).
    ``sets_next``: is for the next transaction alone (SET TRANSACTION …).
    ``asks``: asks for the key or the rows of the statement before it.
    ``sets_key``: may change what LAST_INSERT_ID() gives in another way than an INSERT does.
    ``plain``: repeatable, and calls the server's own functions alone: it neither locks nor writes.
    """

    verb: str
    readable: bool
    repeatable: bool
    ordered: bool
    write: bool
    savepoint: Savepoint | None
    may_end_transaction: bool
    state: bool
    insert: bool
    impatient: bool
    sets_next: bool = False
    asks: bool = False
    plain: bool = False
    sets_key: bool = False


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_PLAIN_READS = _words("SELECT WITH VALUES")
_EXPLAINS = _words("EXPLAIN DESCRIBE DESC")
_READS = _PLAIN_READS | _EXPLAINS
_EXPLAIN_OPTIONS = _words("EXTENDED PARTITIONS FORMAT JSON TRADITIONAL")
_NOT_EXPLAINED_HERE = _words("INSERT REPLACE FOR ANALYZE CALL EXECUTE")
_INSERTS = _words("INSERT REPLACE")
_WRITES = _INSERTS | _words(
    "UPDATE DELETE LOAD TRUNCATE CREATE ALTER DROP RENAME GRANT REVOKE OPTIMIZE REPAIR"
)
_ANALYZE_TABLE = _words("TABLE TABLES LOCAL NO_WRITE_TO_BINLOG")
_DEFINITIONS = _words("CREATE DROP")
_SAVEPOINTS = _words("SAVEPOINT RELEASE ROLLBACK")
_KEEP_TRANSACTION = _READS | _INSERTS | _words("UPDATE DELETE SHOW DO")
_SET_ENDS_TRANSACTION = _words("AUTOCOMMIT PASSWORD STATEMENT ROLE GLOBAL")
_KEEP_NO_STATE = _READS | _WRITES | _SAVEPOINTS | _words("SHOW DO ANALYZE CHECK COMMIT START KILL")

# Words that use or leave something on the connection, on top of user variables.
_STATE_CALLS = _words(
    "GET_LOCK RELEASE_LOCK RELEASE_ALL_LOCKS IS_FREE_LOCK IS_USED_LOCK LAST_INSERT_ID FOUND_ROWS"
    " CONNECTION_ID LASTVAL WSREP_LAST_WRITTEN_GTID WSREP_LAST_SEEN_GTID"
)
# These are known on the client; LAST_INSERT_ID(n) sets what the next one gives.
_ASKS = _words("LAST_INSERT_ID ROW_COUNT")
_ASKED = re.compile(
    r"(?<![\w$])(?:LAST_INSERT_ID|ROW_COUNT)`?\s*\(\s*\)"
    r"|@@(?:(?:SESSION|LOCAL)\s*\.\s*)?`?(?:LAST_INSERT_ID|IDENTITY)(?![\w$])"
)
_KEYS = _words("LAST_INSERT_ID IDENTITY")
_ASKED_WORDS = _ASKS | _KEYS
#: What they do is not in their text.
_MAY_INSERT = _words("CALL EXECUTE LOAD")
_STATE = _STATE_CALLS | _words("SQL_CALC_FOUND_ROWS CURRVAL PREVIOUS")
_STATE_USED = re.compile(
    r"(?<![\w$])(?:SQL_CALC_FOUND_ROWS|CURRVAL|PREVIOUS\s+VALUE\s+FOR)(?![\w$`])"
    # The server takes a function's name in backticks as well, and white space behind it.
    rf"|(?<![\w$])(?:{'|'.join(_STATE_CALLS - _ASKS)})`?\s*\("
    r"|(?<![\w$])LAST_INSERT_ID`?\s*\((?!\s*\))"
)
# Words that have no business in a read on a secondary. UPDATE stands for FOR UPDATE, LOCK for
# LOCK IN SHARE MODE, INTO for OUTFILE, DUMPFILE and variables: all reserved, so none is a column.
_DOUBT = (
    _STATE_CALLS
    | _ASKS
    | _words(
        "UPDATE DELETE LOCK INTO PROCEDURE SQL_CALC_FOUND_ROWS NEXTVAL CURRVAL SETVAL LOAD_FILE"
    )
)
# Two words that raise a doubt only side by side: SELECT … FOR SHARE, NEXT VALUE FOR a sequence.
_DOUBTFUL_PAIR = re.compile(r"(?<!\S)(?:FOR SHARE|VALUE FOR)(?!\S)")

# Without parentheses these are the server's clock as well; the others count as calls alone.
_CLOCKS = _words(
    "CURRENT_DATE CURRENT_TIME CURRENT_TIMESTAMP LOCALTIME LOCALTIMESTAMP UTC_DATE UTC_TIME"
    " UTC_TIMESTAMP SYSDATE"
)
_CALLS = _words(
    "NOW CURDATE CURTIME UNIX_TIMESTAMP RAND RANDOM_BYTES UUID UUID_SHORT UUID_V4 UUID_V7 SYS_GUID"
    " ENCRYPT VERSION SLEEP BENCHMARK USER SESSION_USER SYSTEM_USER MASTER_POS_WAIT"
    " MASTER_GTID_WAIT WSREP_SYNC_WAIT_UPTO_GTID"
)
_CALL = re.compile(
    rf"(?<![\w$`])(?:UNIX_TIMESTAMP\s*\(\s*\)|(?:{'|'.join(_CALLS - {'UNIX_TIMESTAMP'})})\s*\()"
)
_SYSTEM_SCHEMA = re.compile(
    r"(?<![\w$`.])(`?)(?:INFORMATION_SCHEMA|PERFORMANCE_SCHEMA|MYSQL|SYS)\1\s*\."
)

_QUOTED = r"""'[^'\\]*(?:\\.[^'\\]*)*(?:'|\\?\Z)|"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)"""
# /*! … */ and /*M! … */ are code to the server, so they are no comments here.
_COMMENT = r"/\*(?!M?!)[^*]*(?:\*(?!/)[^*]*)*(?:\*/|\Z)|--(?=[\0- \x7f]|\Z)[^\n]*|\#[^\n]*"
# A doubled quote is two literals side by side: nothing is lost by it. What is not closed swallows
# all that follows, _END included, and that is how it is noticed.
_END = "\n\x01"
_GAP = "\x02"  # what is left of a literal, a quoted name or a comment
_QUOTED_CALL = re.compile(r"\x02\s*\(")
# Behind a point it is a stored function, whatever its name.
_CALLED = re.compile(r"(?:(\.)[\s\x02]*)?([\w$]+)[\s\x02]*\(")
_SKIP = re.compile(rf"`[^`]*(?:`(?:[., =]*`[^`]*`)*|\Z)|{_QUOTED}|{_COMMENT}", re.DOTALL)
_SKIP_EACH = re.compile(rf"`[^`]*(?:`|\Z)|{_QUOTED}|{_COMMENT}", re.DOTALL)
_NAME_CALLED = re.compile(r"[`?]\s*\(")
_PLAIN_NAME = re.compile(r"`[\w$]+`")
_SPACE = " \t\n\r\f\v"
_SEPARATORS = {i: " " for i in range(128) if not (chr(i).isalnum() or chr(i) in "_$")}
_VERB = re.compile(r"[\s(]*(?:/\*M?![0-9]*[\s(]*)*([A-Z0-9_$\x80-\U0010ffff]+)", re.ASCII)
_USER_VARIABLE = re.compile(r"(?<!@)@(?!@)")
_ESCAPED_QUOTE = re.compile(r"""\\['"]""")

_HARMLESS_SET = re.compile(
    r"\s*SET\s+(?:TRANSACTION\s+[A-Z ,\s]+"
    r"|(?:@@)?(?:(?:SESSION|LOCAL)[\s.]+)?`?FOREIGN_KEY_CHECKS`?\s*:?=\s*(?:0|1|ON|OFF))[\s;]*"
)
_SET_STATEMENT = re.compile(r"\s*SET\s+STATEMENT\s(.*?)\sFOR\s(.*)", re.DOTALL)
_NAME = re.compile(r"[\w$]+")
_TEMPORARY_TABLE = re.compile(r"(?:CREATE(?: OR REPLACE)?|DROP) TEMPORARY TABLES?(?!\S)")
_SAVEPOINT_ACTIONS: dict[str, SavepointAction] = {
    "SAVEPOINT": "SAVEPOINT",
    "RELEASE": "RELEASE",
    "ROLLBACK": "ROLLBACK TO",
}
_SAVEPOINT = re.compile(
    r"\s*(SAVEPOINT|RELEASE\s+SAVEPOINT|ROLLBACK(?:\s+WORK)?\s+TO(?:\s+SAVEPOINT)?)"
    r"(?:\s+([\w$\x80-\U0010ffff]+)|\s*`((?:[^`]|``)+)`)[\s;]*",
    re.IGNORECASE,
)


def classify(sql: str | bytes | bytearray) -> Statement:
    """What ``sql``, the text of one statement as given to ``cursor.execute()``, is.

    Never raises. Bytes are read as UTF-8.
    """
    text = sql if isinstance(sql, str) else bytes(sql).decode("utf-8", "surrogateescape")
    return _cached(text) if len(text) < CACHED_LENGTH else _classify(text)


def _classify(sql: str) -> Statement:
    upper = _upper(sql)
    code = _SKIP.sub(_GAP, upper + _END)
    hidden = "/*" in code or not code.endswith(_END)
    multi = ";" in code and _several(upper)
    words = code.translate(_SEPARATORS).split()
    found = _VERB.match(code) or _VERB.match(_visible(upper))  # behind a comment
    verb = found[1] if found else ""
    opaque = hidden or multi
    savepoint = _savepoint(sql) if verb in _SAVEPOINTS and not opaque else None
    state = hidden or (_any_state(upper) if multi else _state(verb, upper, code, words))
    readable = verb in _READS and not opaque and _readable(verb, upper, code, words)
    repeatable = readable and verb in _PLAIN_READS and _repeatable(upper, words)
    return _statement(
        verb,
        readable,
        repeatable,
        "ORDER" in words and ("ORDER", "BY") in pairwise(words),
        verb in _WRITES or (verb == "ANALYZE" and not _ANALYZE_TABLE.isdisjoint(words[1:2])),
        savepoint,
        opaque or _may_end_transaction(verb, upper, words, savepoint),
        state,
        verb in _INSERTS,
        "NOWAIT" in words or "WAIT" in words,
        words[:2] == ["SET", "TRANSACTION"],
        not _ASKED_WORDS.isdisjoint(words) and _ASKED.search(_visible(upper)) is not None,
        repeatable and not _may_call_stored(code),
        opaque or _sets_key(verb, words, state=state),
    )


_cached = lru_cache(maxsize=CACHED_STATEMENTS)(_classify)
# Few different ones exist, and to find one takes less time than to build one.
_statement = lru_cache(maxsize=CACHED_STATEMENTS)(Statement)


def _upper(sql: str) -> str:
    """ASCII letters alone: str.upper() makes keywords of what is none to the server."""
    if sql.isascii():
        return sql.upper()
    return sql.encode("utf-8", "surrogatepass").upper().decode("utf-8", "surrogatepass")


def _visible(upper: str) -> str:
    """``upper`` without comments, with ``?`` for each literal and for each name not plain."""
    return _SKIP_EACH.sub(_placeholder, upper)


def _placeholder(match: re.Match[str]) -> str:
    text = match[0]
    if text[0] in "/-#":
        return " "
    return text if _PLAIN_NAME.fullmatch(text) else " ? "


def _sets_key(verb: str, words: list[str], *, state: bool) -> bool:
    if verb in _MAY_INSERT or words[:2] == ["SET", "STATEMENT"]:
        return True
    return state and not _KEYS.isdisjoint(words)


def _several(upper: str) -> bool:
    return bool(_visible(upper).partition(";")[2].strip(_SPACE))


def _readable(verb: str, upper: str, code: str, words: list[str]) -> bool:
    return (
        "@" not in code
        and _DOUBT.isdisjoint(words)
        and not ("FOR" in words and _DOUBTFUL_PAIR.search(" ".join(words)))
        and not _calls_quoted(upper, code)
        and (verb in _PLAIN_READS or _explains_read(words))
        # Under NO_BACKSLASH_ESCAPES such a literal ends earlier than it seems to.
        and not ("\\" in upper and _ESCAPED_QUOTE.search(upper))
    )


def _calls_quoted(upper: str, code: str) -> bool:
    """Returns True if a quoted name is called like a function, as in `get_lock`('a', 0)."""
    return bool(_QUOTED_CALL.search(code)) and bool(_NAME_CALLED.search(_visible(upper)))


def _explains_read(words: list[str]) -> bool:
    subject = next((word for word in words[1:] if word not in _EXPLAIN_OPTIONS), "")
    return subject not in _NOT_EXPLAINED_HERE


def _repeatable(upper: str, words: list[str]) -> bool:
    if not _CLOCKS.isdisjoint(words):
        return False
    if not _CALLS.isdisjoint(words) and _CALL.search(_visible(upper)):
        return False
    perhaps = "SCHEMA" in upper or "MYSQL" in upper or "SYS" in upper
    return not (perhaps and _SYSTEM_SCHEMA.search(_visible(upper)))


def _may_call_stored(code: str) -> bool:
    """Returns True unless each call is one of a function of the server's own."""
    return any(point or name not in OWN for point, name in _CALLED.findall(code))


def _savepoint(sql: str) -> Savepoint | None:
    match = _SAVEPOINT.fullmatch(_SKIP_EACH.sub(_without_comment, sql))
    if match is None:
        return None
    verb, plain, quoted = match.groups()
    name = plain or quoted.replace("``", "`")
    return Savepoint(_SAVEPOINT_ACTIONS[verb.split()[0].upper()], name.lower())


def _without_comment(match: re.Match[str]) -> str:
    return " " if match[0][0] in "/-#" else match[0]


def _may_end_transaction(
    verb: str, upper: str, words: list[str], savepoint: Savepoint | None
) -> bool:
    if verb in _KEEP_TRANSACTION or savepoint is not None:
        return False
    if verb == "SET":
        names = _NAME.findall(_visible(upper))
        return names[1:2] == ["DEFAULT"] or not _SET_ENDS_TRANSACTION.isdisjoint(names)
    return _TEMPORARY_TABLE.match(" ".join(words[:5])) is None


def _any_state(upper: str) -> bool:
    parts = _visible(upper).split(";")
    return any(_classify(part).state for part in parts if part.strip(_SPACE))


def _state(verb: str, upper: str, code: str, words: list[str]) -> bool:
    if verb == "SET":
        return _set_leaves_state(_visible(upper))
    if verb == "BEGIN":
        return words[1:2] == ["NOT"]
    return (
        verb not in _KEEP_NO_STATE
        or ("@" in code and _USER_VARIABLE.search(code) is not None)
        or (verb in _DEFINITIONS and "TEMPORARY" in words[1:4])
        or (_perhaps_state(verb, code, words) and _STATE_USED.search(_visible(upper)) is not None)
    )


def _set_leaves_state(visible: str) -> bool:
    """What SET STATEMENT … FOR sets ends with its statement: that decides."""
    found = _SET_STATEMENT.fullmatch(visible)
    if found is not None:
        return "@" in found[1] or _classify(found[2]).state
    return _HARMLESS_SET.fullmatch(visible) is None


def _perhaps_state(verb: str, code: str, words: list[str]) -> bool:
    return not _STATE.isdisjoint(words) or (
        verb not in _WRITES and _QUOTED_CALL.search(code) is not None
    )
