"""The application's own wrappers around statements."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import connection

from tests.differential.language import act
from tests.differential.run import Run


class Wrapper:
    """One of the application's execute wrappers; it counts its calls."""

    def __init__(self, run: Run, kind: str) -> None:
        self.run, self.kind = run, kind
        self.calls = 0
        self._busy = False

    def __call__(self, execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
        if self._busy:
            return execute(sql, params, many, context)
        self.calls += 1
        self._busy = True
        try:
            before = getattr(self, f"before_{self.kind}", None)
            if before is not None:
                sql, params = before(sql, params)
        finally:
            self._busy = False
        result = execute(sql, params, many, context)
        if self.kind == "raise_after" and self.calls == 2:
            raise ValueError("a wrapper's own, after")
        return result

    def before_encrypt(self, sql: Any, params: Any) -> Any:
        """Another value for a parameter of a write."""
        if params and str(sql).startswith(("INSERT", "UPDATE")):
            params = type(params)("*" + p if p in ("c", "n0", "a1") else p for p in params)
        return sql, params

    def before_comment(self, sql: Any, params: Any) -> Any:
        return f"/* app */ {sql}" if isinstance(sql, str) else sql, params

    def before_query(self, sql: Any, params: Any) -> Any:
        self.run.note("wrapper read", self.run.Tag.objects.count())
        return sql, params

    def before_write(self, sql: Any, params: Any) -> Any:
        if self.calls == 1:
            self.run.Tag.objects.create(name="audit")
        return sql, params

    def before_raise_before(self, sql: Any, params: Any) -> Any:
        if self.calls == 2:
            raise ValueError("a wrapper's own, before")
        return sql, params


KINDS = ("count", "encrypt", "comment", "query", "write", "raise_before", "raise_after")


@act("with connection.execute_wrapper({0!r}):", KINDS, group="wrappers", block=True)
def wrapped(run: Run, kind: str, body: Callable[[], None]) -> Any:
    wrapper = Wrapper(run, kind)
    try:
        with connection.execute_wrapper(wrapper):
            body()
    finally:
        run.note("wrapper's calls", wrapper.calls)
