"""What the site asks of the demo, which owns the nodes: a line of JSON each way, by a socket.

The socket is in a folder that nobody else can enter. Without it there is nothing to ask.
"""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

#: Where the demo listens, once it does.
SOCKET = Path(os.environ.get("STRIP_CONTROL", ""))
TIMEOUT = 10.0  # seconds


class Refused(Exception):
    """The demo does not do that; the text says why."""


def there() -> bool:
    """Whether somebody can be asked."""
    return SOCKET.is_socket()


def processes() -> dict[str, str]:
    """Of each node: "running", "frozen", "killed" or "starting"; nothing without the demo."""
    if not there():
        return {}
    found: dict[str, str] = ask({"action": "look"})["processes"]
    return found


def do(action: str, node: str) -> str:
    """Have something done to a node; returns what was done. Raises :class:`Refused`."""
    answer = ask({"action": action, "node": node})
    if "refused" in answer:
        raise Refused(answer["refused"])
    return str(answer["said"])


def ask(question: dict[str, str]) -> dict[str, Any]:
    """Put a question. Raises :class:`Refused` if nobody answers."""
    try:
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(TIMEOUT)
            line.connect(str(SOCKET))
            line.sendall(json.dumps(question).encode() + b"\n")
            answer: dict[str, Any] = json.loads(line.makefile().readline())
            return answer
    except (OSError, ValueError) as error:
        raise Refused(f"The demo does not answer: {error}") from error
