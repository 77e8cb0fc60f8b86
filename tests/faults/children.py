"""Processes of their own, that call what they are told.

``Child`` is the side of the tests. The process answers each line of its input, a function and its
arguments as JSON, with one of its output.
"""

from __future__ import annotations

import importlib
import json
import os
import select
import subprocess
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any

COMMAND = (sys.executable, "-m", "tests.faults.children")
SECONDS = 30.0  # for an answer, at most


class ChildError(Exception):
    """What a function has raised in the child: the name of its class, and its text."""


class Child:
    """A process with its own Django, on ``databases`` as they are before ``expand``."""

    def __init__(self, databases: dict[str, Any], **settings: Any) -> None:
        environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.project.settings",
            "PROJECT_DATABASES": json.dumps(databases),
            "PROJECT_SETTINGS": json.dumps(settings),
        }
        self._process = subprocess.Popen(
            COMMAND, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call ``function`` of some module there; returns what it returns, as JSON can say it.

        Raises:
            ChildError: the function has raised.
        """
        self._send([function.__module__, function.__qualname__, args])
        answer = self._receive()
        if "error" in answer:
            raise ChildError(answer["error"])
        return answer["value"]

    def _send(self, order: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()

    def _receive(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], SECONDS)
        assert ready, f"the child has not answered within {SECONDS:g} s"
        line = self._process.stdout.readline()
        assert line, "the child has ended"
        answer: dict[str, Any] = json.loads(line)
        return answer


def answer(module: str, name: str, args: list[Any]) -> dict[str, Any]:
    function = getattr(importlib.import_module(module), name)
    try:
        return {"value": function(*args)}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}


def main() -> None:
    import django

    django.setup()
    for line in sys.stdin:
        print(json.dumps(answer(*json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
