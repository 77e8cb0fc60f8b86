"""Try a node that is down, in a short-lived thread, so that no request has to wait for it."""

from __future__ import annotations

import logging
import threading

from django.db import connections

from . import links
from .cluster import Cluster, Node
from .context import context_of
from .verdict import errno

logger = logging.getLogger("galera_router")

#: A node out of the cluster accepts connections, and a SELECT without a table of a database.
#: One that names a table is refused with 1047 before the table is looked for; a node that is
#: well answers that there is none (1146) or that it may not be read (1142).
QUESTION = b"SELECT 1 FROM galera_router_no_such_table LIMIT 0"
_WELL = frozenset({1146, 1142})


def start(cluster: Cluster, node: Node) -> None:
    """Find out whether ``node`` answers statements again, and tell ``cluster``."""
    name = f"galera_router: try {node.alias}"
    try:
        threading.Thread(target=_try, args=(cluster, node), name=name, daemon=True).start()
    except RuntimeError as error:  # no thread is to be had: the interpreter is ending, say
        logger.info("%s: cannot try node %s now: %s", cluster.alias, node.name, error)


def _try(cluster: Cluster, node: Node) -> None:
    context = context_of(node.alias)
    if context is None:  # the settings were replaced meanwhile
        return
    try:
        driver = links.to_node(context, node).connection
        driver.query(QUESTION)
        driver.store_result()
    except links.errors(context) as error:
        if errno(error) not in _WELL:
            cluster.mark_down(node, error)
            return
    finally:
        connections.close_all()
    cluster.mark_up(node)
