"""A MariaDB Galera cluster as one Django database.

Imported by settings modules: only :func:`expand` is loaded at once, the rest on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from galera_router.conf import expand

if TYPE_CHECKING:
    from galera_router.atomic import galera_atomic
    from galera_router.causality.after import after
    from galera_router.causality.reads import reads
    from galera_router.recovery.runs import carry_scope
    from galera_router.transactions.last_write import causal_token

__version__ = "0.1.0"
__all__ = ["after", "carry_scope", "causal_token", "expand", "galera_atomic", "reads"]

_LATER = {
    "after": "causality.after",
    "carry_scope": "recovery.runs",
    "causal_token": "transactions.last_write",
    "galera_atomic": "atomic",
    "reads": "causality.reads",
}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(import_module(f".{_LATER[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})
