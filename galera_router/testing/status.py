"""What a node says about itself, and about the group that it is in."""

from __future__ import annotations

from collections.abc import Mapping

SHOW_STATUS = (
    "SHOW GLOBAL STATUS WHERE Variable_name IN ('wsrep_local_state_comment', 'wsrep_ready',"
    " 'wsrep_cluster_status', 'wsrep_cluster_size', 'wsrep_cluster_state_uuid',"
    " 'wsrep_cluster_conf_id', 'wsrep_last_committed')"
)

# What a test may have changed, and how to change it back.
_CHANGES = {
    "@@GLOBAL.wsrep_reject_queries <> 'NONE'": "SET GLOBAL wsrep_reject_queries = 'NONE'",
    "@@GLOBAL.wsrep_desync": "SET GLOBAL wsrep_desync = 0",
    "@@GLOBAL.read_only": "SET GLOBAL read_only = 0",
    "@@GLOBAL.general_log": "SET GLOBAL general_log = 0",
}
FIND_CHANGES = f"SELECT {', '.join(_CHANGES)}"
UNDO_CHANGES = tuple(_CHANGES.values())


def is_synced(status: Mapping[str, str]) -> bool:
    """Returns True if this is the status of a Synced member of the primary component."""
    return (
        is_primary(status)
        and status.get("wsrep_local_state_comment") == "Synced"
        and status.get("wsrep_ready") == "ON"
    )


def is_primary(status: Mapping[str, str]) -> bool:
    """Returns True if this is the status of a member of the primary component."""
    return status.get("wsrep_cluster_status") == "Primary"


def view_size(status: Mapping[str, str]) -> int:
    """Returns how many nodes the node sees in its group, itself included."""
    return int(status["wsrep_cluster_size"])


def view_id(status: Mapping[str, str]) -> tuple[str, str]:
    """Returns what is the same on all nodes of one group."""
    return status["wsrep_cluster_state_uuid"], status["wsrep_cluster_conf_id"]


def progress(status: Mapping[str, str]) -> int:
    """Returns the number of the last transaction that the node has committed."""
    return int(status["wsrep_last_committed"])
