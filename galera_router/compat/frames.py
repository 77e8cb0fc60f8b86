"""Whose block a block in a generator is: its own, or that of a ``with`` statement elsewhere.

Why private: a generator of ``contextlib.contextmanager`` looks like any other. Only who runs it
tells that its ``yield`` is the body of a block.
"""

from __future__ import annotations

from contextlib import _AsyncGeneratorContextManager, _GeneratorContextManager
from types import FrameType

_ENTERING = frozenset(
    {
        _GeneratorContextManager.__enter__.__code__,
        _AsyncGeneratorContextManager.__aenter__.__code__,
    }
)


def is_of_contextmanager(generator: FrameType) -> bool:
    """Returns True if ``generator``, which is running, is run by a ``with`` that is entered."""
    caller = generator.f_back
    return caller is not None and caller.f_code in _ENTERING
