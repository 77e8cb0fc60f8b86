"""A MariaDB Galera cluster as one Django database.

Imported by settings modules: only :func:`expand` is loaded at once, the rest on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .conf import expand

if TYPE_CHECKING:
    from .causality import after, causal_token
    from .modes import reads
    from .transaction import galera_atomic

__version__ = "0.1.0"
__all__ = ["after", "causal_token", "expand", "galera_atomic", "reads"]

_LATER = {
    "after": "causality",
    "causal_token": "causality",
    "galera_atomic": "transaction",
    "reads": "modes",
}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(import_module(f".{_LATER[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
