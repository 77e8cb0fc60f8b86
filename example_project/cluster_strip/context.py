"""What the strip's place on the page needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bank.models import Account
from django.db import DEFAULT_DB_ALIAS, OperationalError, router

from galera_router.cluster.registry import clusters

if TYPE_CHECKING:
    from django.http import HttpRequest


def strip(request: HttpRequest) -> dict[str, Any]:
    """The nodes' names, and who has answered: the page asks for that at its end."""
    names = [node.name for cluster in clusters()[:1] for node in cluster.nodes]
    return {"strip_nodes": names, "answered_by": answered_by}


def answered_by() -> str:
    """The name of the node that this request reads from; empty for the primary."""
    try:
        node = getattr(router.db_for_read(Account), "node", None)
    except OperationalError:  # no node can be used
        return ""
    return str(node or "").removeprefix(f"{DEFAULT_DB_ALIAS}_")
