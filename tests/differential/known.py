"""The known faults, and how a difference is recognised as one of them.

When a fault is mended its rule goes, and its examples must no longer differ.
"""

from __future__ import annotations

from dataclasses import replace

from tests.differential.compare import Difference, exception
from tests.differential.faulty import Cut
from tests.differential.language import Step
from tests.differential.rules import FaultRule, Rule, any_of, anything, at, op, raised, sql

OF_A_NODE = ("queryset", "manager", "instance", "for_read")


def _names_a_node(step: Step) -> bool:
    ops = ("atomic_using", "on_commit_using", "get_connection")
    return step.op in ops and step.args[0] in OF_A_NODE


def _by_default(step: Step) -> Step:
    return replace(step, args=("default",))


def _routed_elsewhere(difference: Difference) -> bool:
    return difference.kind in ("seen", "hung", "tables")


def _has(case: Cut, *ops: str) -> bool:
    return any(step.op in ops for step, _ in case.programme.walk())


def _stock_has_gone(difference: Difference) -> bool:
    return exception(difference.stock) == "OperationalError 2006"


KNOWN: tuple[Rule | FaultRule, ...] = (
    FaultRule(
        "S4",
        "What is replayed is the statement from before the application's wrappers.",
        lambda case: isinstance(case, Cut) and _has(case, "wrapped"),
        anything,
    ),
    Rule(
        "E6",
        "SET TRANSACTION is refused with 1568.",
        sql("SET TRANSACTION"),
        raised("OperationalError 1568"),
    ),
    Rule(
        "S2",
        "A block or a hook on the alias that a queryset names is none.",
        _names_a_node,
        anything,
        _by_default,
    ),
    Rule(
        "S20",
        "LAST_INSERT_ID() and ROW_COUNT() speak of another statement than the application's.",
        sql("LAST_INSERT_ID()", "ROW_COUNT()", "FOUND_ROWS()"),
        at("execute_count", "cursor_fetch"),
    ),
    Rule(
        "E2",
        "Rows that tie come in another order on each node: a mismatch.",
        op("limited_ties", "ties"),
        raised("ReplayMismatch"),
    ),
    Rule("E7", "raw() with RETURNING is refused.", op("raw_returning"), raised("ReadOnlyNode")),
    Rule(
        "E7",
        "A locking queryset is no subquery.",
        op("subquery_locking"),
        raised("TransactionManagementError"),
    ),
    Rule(
        "E7",
        "SQL that ends in a comment behind a semicolon is read again as two statements.",
        sql("; --"),
        raised("ReplayMismatch", "ProgrammingError 1064"),
    ),
    Rule(
        "D1",
        "After connection.close() in a block the errors are InterfaceError, which is no"
        " DatabaseError, where stock Django has 2006 or TransactionManagementError; behind a"
        " second close() there is TransactionManagementError, or none, where stock Django has"
        " 2006.",
        op("close", "close_old"),
        lambda found: raised("InterfaceError 0")(found) or _stock_has_gone(found),
    ),
    Rule(
        "D2",
        "A cursor that has executed nothing yet is asked: rowcount is -1, nextset() an error.",
        op("cursor_asked", "cursor_fetch"),
        at("cursor_asked", "cursor_fetch"),
    ),
    Rule(
        "D3",
        "A raw SAVEPOINT leaves a cursor on which nextset() is an error.",
        sql("SAVEPOINT ", "ROLLBACK TO "),
        raised("ProgrammingError"),
    ),
    Rule("E7", "A subquery of another alias.", op("subquery_using"), raised("ValueError")),
    Rule(
        "E7",
        "An unread CALL on an open cursor.",
        any_of(op("unread", "callproc"), sql("CALL ", "; SELECT")),
        lambda found: raised("FailoverImpossible")(found) or found.kind == "runs",
    ),
    Rule("S7", "callproc on a cursor that has read.", op("callproc"), at("callproc")),
    Rule(
        "S6",
        "What was set on the connection does not hold for routed reads.",
        any_of(
            op("execute_session", "execute_temporary", "execute_locks"),
            sql("START TRANSACTION"),
        ),
        _routed_elsewhere,
    ),
    Rule(
        "S18",
        "After DDL in a block, one that fails above all, statements run in the server's"
        " autocommit: the block's rollback undoes nothing.",
        op("execute_ddl"),
        lambda found: (
            found.kind == "tables"
            or raised("OperationalError 1305")(found)
            or at("state after the exception")(found)
        ),
    ),
    Rule(
        "S11",
        "A procedure that commits and begins again: what came after its COMMIT is not seen.",
        sql("commit_between"),
        lambda found: found.kind in ("seen", "tables") and found.raised() is None,
    ),
    Rule(
        "D4",
        "An execute wrapper of the application is called once too often, or not at all.",
        lambda step: step.op == "wrapped",
        at("wrapper's calls"),
    ),
    Rule(
        "D5",
        "The driver's own cursor tells the key of an INSERT before it as the lastrowid of a SELECT,"
        " as the connection does; the router's is 0.",
        op("driver"),
        at("driver"),
    ),
    Rule(
        "S4",
        "The application's wrappers stand between what is recorded and what is sent.",
        lambda step: step.op == "wrapped" and step.args[0] != "count",
        anything,
        lambda step: replace(step, args=("count",)),
    ),
)
