"""A web worker of its own: a process that answers requests one line at a time.

``Worker`` is the side of the tests. The process answers each line of its input, a request as
JSON, with one of its output, by Django's test client and all of MIDDLEWARE.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from galera_router.testing import GaleraCluster

COMMAND = (sys.executable, "-m", "tests.integration.causality.worker")


@dataclass
class Visitor:
    """A client: what it is known by, from one worker to the next."""

    cookies: dict[str, str] = field(default_factory=dict)

    def take(self, cookies: Mapping[str, Mapping[str, Any]]) -> None:
        """Keep ``cookies`` of a response, and forget those that it takes back."""
        for name, cookie in cookies.items():
            if cookie["max-age"] == 0:
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = cookie["value"]


@dataclass(frozen=True)
class Answer:
    """What a worker has answered, and how long that took it, in seconds."""

    status: int
    content: str
    headers: dict[str, str]
    cookies: dict[str, dict[str, Any]]
    seconds: float


class Worker:
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

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(20)
        finally:
            self._process.kill()
            self._process.wait()

    def send(self, request: dict[str, Any]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the worker has ended"
        return json.loads(line)

    def get(
        self,
        path: str,
        visitor: Visitor | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        return self._ask("GET", path, visitor, None, headers or {})

    def post(
        self,
        path: str,
        visitor: Visitor | None = None,
        data: dict[str, str] | None = None,
    ) -> Answer:
        return self._ask("POST", path, visitor, data, {})

    def _ask(
        self,
        method: str,
        path: str,
        visitor: Visitor | None,
        data: dict[str, str] | None,
        headers: dict[str, str],
    ) -> Answer:
        cookies = visitor.cookies if visitor is not None else {}
        answer = Answer(
            **self.send(
                {"method": method, "path": path, "data": data, "cookies": cookies}
                | {"headers": headers}
            )
        )
        if visitor is not None:
            visitor.take(answer.cookies)
        return answer


def pinned(cluster: GaleraCluster, name: str, **overrides: Any) -> dict[str, Any]:
    """DATABASES of a worker that reads on the node ``name`` first."""
    node = cluster[name]
    overrides.setdefault("CONN_MAX_AGE", None)
    overrides["OPTIONS"] = {"optimistic_transactions": True, **overrides.get("OPTIONS", {})}
    return cluster.databases(HOST=node.host, PORT=node.port, **overrides)


# --- the process --------------------------------------------------------------------------


def answer(request: dict[str, Any]) -> dict[str, Any]:
    from django.test import Client

    client = Client(headers=request["headers"])
    for name, value in request["cookies"].items():
        client.cookies[name] = value
    began = time.monotonic()
    ask = client.post if request["method"] == "POST" else client.get
    response: Any = ask(request["path"], request["data"])
    content = b"".join(response) if response.streaming else response.content
    seconds = time.monotonic() - began
    return {
        "status": response.status_code,
        "content": content.decode(),
        "headers": dict(response.headers),
        "cookies": {
            name: {"value": morsel.value, **dict(morsel)}
            for name, morsel in response.cookies.items()
        },
        "seconds": seconds,
    }


def main() -> None:
    import django

    django.setup()
    from galera_router.cluster import monitor

    # A node whose applier is held says that it is out of step, and would be left alone.
    monitor.ASK_WELL = math.inf
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
