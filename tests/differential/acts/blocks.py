"""Transactions: blocks, their exceptions, savepoints and autocommit by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import DatabaseError, transaction

from tests.differential.acts.values import ALIASES
from tests.differential.language import act
from tests.differential.run import Run

FLAGS = (True, False)
CAUGHT = {"Exception": Exception, "DatabaseError": DatabaseError, "ValueError": ValueError}
Body = Callable[[], None]


@act(
    "with transaction.atomic(savepoint={0}, durable={1}):",
    (True, True, False), (False, False, False, True), group="transaction", block=True,
)  # fmt: skip
def atomic(run: Run, savepoint: bool, durable: bool, body: Body) -> None:
    with transaction.atomic(savepoint=savepoint, durable=durable):
        run.state("inside")
        body()


@act("with transaction.atomic(using=alias({0!r})):", ALIASES[1:], group="aliases", block=True)
def atomic_using(run: Run, alias: str, body: Body) -> None:
    with transaction.atomic(using=run.alias(alias)):
        body()


@act("try:", tuple(CAUGHT), group="transaction", block=True)
def attempt(run: Run, kind: str, body: Body) -> str:
    try:
        body()
    except CAUGHT[kind]:
        return "caught"
    return "nothing to catch"


@act("raise ValueError", group="transaction")
def fail(run: Run) -> None:
    raise ValueError("the application's own")


@act("transaction.set_rollback({0})", FLAGS, group="manual")
def set_rollback(run: Run, flag: bool) -> None:
    transaction.set_rollback(flag)


@act("transaction.get_rollback()", group="manual")
def get_rollback(run: Run) -> Any:
    return transaction.get_rollback()


@act("transaction.set_autocommit({0})", (False, False, True), group="manual")
def set_autocommit(run: Run, flag: bool) -> None:
    transaction.set_autocommit(flag)


@act("transaction.commit()", group="manual")
def commit(run: Run) -> None:
    transaction.commit()


@act("transaction.rollback()", group="manual")
def rollback(run: Run) -> None:
    transaction.rollback()


@act("savepoints.append(transaction.savepoint())", group="manual")
def savepoint(run: Run) -> None:
    run.savepoints.append(transaction.savepoint())


@act("transaction.savepoint_rollback(savepoints.pop())", group="manual")
def savepoint_rollback(run: Run) -> None:
    if run.savepoints:
        transaction.savepoint_rollback(run.savepoints.pop())


@act("transaction.savepoint_commit(savepoints.pop())", group="manual")
def savepoint_commit(run: Run) -> None:
    if run.savepoints:
        transaction.savepoint_commit(run.savepoints.pop())


@act("in_atomic_block, get_autocommit()", group="transaction")
def state(run: Run) -> Any:
    return run.seen_state()
