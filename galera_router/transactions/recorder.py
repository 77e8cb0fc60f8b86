"""Each statement on its way: an execute wrapper (public Django API) on every wrapper of a
cluster decides which server it needs. The cursor that the application holds is bound to the
right connection there, and moved over when a node is lost.
"""

from __future__ import annotations

import functools
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from galera_router.cluster.nodes import Node
from galera_router.compat import internals
from galera_router.exceptions import ReadOnlyNode
from galera_router.transactions import links, secondary, writes
from galera_router.transactions import outside as autocommit
from galera_router.transactions.calls import Call, Execute, call
from galera_router.transactions.context import Context, Phase
from galera_router.transactions.statements import Savepoint


def on_role(
    context: Context, execute: Execute, sql: Any, params: Any, many: bool, given: dict[str, Any]
) -> Any:
    """A statement on the cluster's alias."""
    if context.passive:
        return execute(sql, params, many, given)
    return _run(context, call(execute, sql, params, many, given), through_node=False)


def on_node(
    context: Context,
    node: Node,
    execute: Execute,
    sql: Any,
    params: Any,
    many: bool,
    given: dict[str, Any],
) -> Any:
    """A statement on a node's alias: sent there by the router, or by an explicit ``using``."""
    if context.passive:
        return execute(sql, params, many, given)
    wrapper = given["connection"]
    routed = (node in context.handed or context.reads_on(node)) and not wrapper.in_atomic_block
    if routed:
        execute = _as_on_role(context.wrapper, execute)
    statement = call(execute, sql, params, many, given)
    if statement.statement.write:
        raise _read_only(context, node, statement)
    if not routed:
        return _by_name(context, statement, node, wrapper)
    if not context.wrapper.force_debug_cursor or wrapper.force_debug_cursor:
        return _run(context, statement, through_node=True)
    with internals.captured(context.wrapper, given, sql, params, many=many):
        return _run(context, statement, through_node=True)


def _as_on_role(role: BaseDatabaseWrapper, execute: Execute) -> Execute:
    """``execute`` within the wrappers that the application has installed on the cluster's alias."""
    if len(role.execute_wrappers) == 1:  # ours
        return execute
    for wrapper in reversed(role.execute_wrappers):
        if getattr(wrapper, "func", None) is not on_role:
            execute = functools.partial(wrapper, execute)
    return execute


def _by_name(context: Context, call: Call, node: Node, wrapper: BaseDatabaseWrapper) -> Any:
    """An explicit ``using``: that very node, as stock Django would, without a failover."""
    link = links.to_node(context, node)
    call.bind(context, wrapper, link.connection)
    return call.send(link)


def _read_only(context: Context, node: Node, call: Call) -> ReadOnlyNode:
    role = context.cluster.alias
    return ReadOnlyNode(
        f"{node.alias!r} is one node of the cluster {role!r} and read-only;"
        f" {call.statement.verb} through {role!r} instead."
    )


def _run(context: Context, call: Call, *, through_node: bool) -> Any:
    if context.broken is not None:
        context.silent = False
        raise context.broken
    if context.wrapper.needs_rollback:
        context.wrapper.validate_no_broken_transaction()
    if context.autocommit:
        if through_node and call.statement.readable and context.pinned() is not None:
            return secondary.outside(context, call)
        return autocommit.outside(context, call)
    if context.phase is Phase.LIVE:
        return writes.in_transaction(context, call)
    return _before_first_write(context, call)


def _before_first_write(context: Context, call: Call) -> Any:
    savepoint = call.statement.savepoint
    if savepoint is not None:
        return _note_savepoint(context, savepoint, call.sql)
    comparable = call.statement.repeatable and not call.many
    if comparable and context.reads_elsewhere() and context.pinned() is not None:
        return secondary.in_snapshot(context, call)
    return secondary.promote(context, call)


def _note_savepoint(context: Context, savepoint: Savepoint, sql: str | bytes) -> int:
    """No server knows of the transaction yet: the journal remembers its savepoints."""
    journal = context.journal
    if savepoint.action == "SAVEPOINT":
        journal.savepoint(savepoint.name, sql.encode() if isinstance(sql, str) else sql)
    elif savepoint.action == "RELEASE":
        journal.release(savepoint.name)
    else:
        journal.rollback_to(savepoint.name)
    return 0
