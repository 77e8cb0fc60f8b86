"""A side that is broken on purpose, to see that the differences are found."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.mysql.base import CursorWrapper


def lose_a_write() -> None:
    """Nothing is deleted from shop_tag, and success is told."""
    _replace(lambda sql: "DO 0" if sql.startswith("DELETE FROM `shop_tag`") else sql)


def sleep() -> None:
    """A row of shop_ticket is never done."""

    def hang(sql: str) -> str:
        if sql.startswith("INSERT INTO `shop_ticket`"):
            time.sleep(3600)
        return sql

    _replace(hang)


def skip_a_hook() -> None:
    """The first hook of a transaction is forgotten."""
    run: Any = BaseDatabaseWrapper.run_and_clear_commit_hooks

    def run_the_others(self: Any) -> None:
        del self.run_on_commit[:1]
        run(self)

    _set(BaseDatabaseWrapper, "run_and_clear_commit_hooks", run_the_others)


def commit_for_rollback() -> None:
    """What a block is left by, it is committed."""
    _set(BaseDatabaseWrapper, "rollback", BaseDatabaseWrapper.commit)


BREAKS: dict[str, Callable[[], None]] = {
    "lose_a_write": lose_a_write,
    "sleep": sleep,
    "skip_a_hook": skip_a_hook,
    "commit_for_rollback": commit_for_rollback,
}


def _replace(change: Callable[[str], str]) -> None:
    execute: Any = CursorWrapper.execute

    def changed(self: Any, sql: Any, params: Any = None) -> Any:
        other = change(str(sql))
        return execute(self, other, None if other == "DO 0" else params)

    _set(CursorWrapper, "execute", changed)


def _set(owner: type, name: str, value: object) -> None:
    setattr(owner, name, value)
