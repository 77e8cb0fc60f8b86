"""A MariaDB Galera cluster as one Django database.

Imported by settings modules: only :func:`expand` is loaded at once, the rest on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .conf import expand

if TYPE_CHECKING:
    from .transaction import galera_atomic

__version__ = "0.1.0"
__all__ = ["expand", "galera_atomic"]


def __getattr__(name: str) -> Any:
    if name == "galera_atomic":
        from .transaction import galera_atomic

        return galera_atomic
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
