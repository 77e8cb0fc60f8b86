"""Commands that a signal ends, however this program was started.

nohup, a shell's background job and some CI runners have a program ignore SIGHUP or SIGINT, and what
it starts inherits that.
"""

from __future__ import annotations

from collections.abc import Sequence


def interruptible(command: Sequence[str]) -> list[str]:
    """Returns a command that runs ``command``, with the same process id, heeding both signals."""
    return ["env", "--default-signal=HUP,INT", *command]
