"""What has happened, as far as this process knows: for the time line of the page.

The row that names the primary has the last change alone. So each process remembers the changes that
it has heard of, and the failovers that it has met. The page puts together what the processes say.
"""

from __future__ import annotations

import os
import time
from collections import deque
from itertools import count
from typing import Any

from galera_router import signals
from galera_router.cluster.epoch import Epoch
from galera_router.cluster.failback import Moved
from galera_router.cluster.nodes import Cluster
from galera_router.cluster.survey import Survey
from galera_router.signals import Failover

#: Events of each kind that are remembered.
KEPT = 50

_failovers: deque[tuple[str, dict[str, Any]]] = deque(maxlen=KEPT)
_pauses: dict[tuple[str, int], float] = {}
_numbers = count()


def install() -> None:
    """Remember failovers from now on; harmless when repeated."""
    signals.failover.connect(_note, dispatch_uid="galera_router.staff", weak=False)


def forget() -> None:
    """As a process that has just begun."""
    _failovers.clear()
    _pauses.clear()


def _note(event: Failover, **kwargs: Any) -> None:
    told = {
        "id": f"failover {os.getpid()} {next(_numbers)}",
        "kind": "failover",
        "at": time.time(),
        "node": event.taken_over_by,
        "text": f"from {event.lost} to {event.taken_over_by}: {event.replayed} statements replayed",
        "seconds": round(event.seconds, 4),
    }
    _failovers.append((event.alias, told))


def note_pause(cluster: Cluster, moved: Moved) -> None:
    """Remember for how long writers had to wait for a change that this process has made."""
    if moved.seconds:
        _pauses[cluster.alias, moved.epoch.number] = moved.seconds
        while len(_pauses) > KEPT:
            del _pauses[next(iter(_pauses))]


def told(survey: Survey) -> list[dict[str, Any]]:
    """The events of one cluster, the last one first, as plain data.

    ``at`` is in seconds of Unix time; ``seconds`` is the pause, None if this process does not know.
    """
    cluster = survey.cluster
    epochs = {epoch.number: epoch for epoch in cluster.epochs.past}
    if survey.epoch is not None:
        epochs[survey.epoch.number] = survey.epoch
    found = [_change(survey, epoch) for epoch in epochs.values()]
    found += [event for alias, event in _failovers if alias == cluster.alias]
    return sorted(found, key=lambda event: event["at"], reverse=True)[:KEPT]


def _change(survey: Survey, epoch: Epoch) -> dict[str, Any]:
    return {
        "id": f"epoch {epoch.number}",
        "kind": "primary",
        "at": round(time.time() - (time.monotonic() - epoch.began), 3),
        "node": name_of(survey, epoch.server),
        "text": epoch.reason,
        "seconds": _pauses.get((survey.cluster.alias, epoch.number)),
    }


def name_of(survey: Survey, server: str) -> str:
    """The name in NODES of the node that calls itself ``server``; else that."""
    names = [report.node.name for report in survey.reports if report.server == server]
    names += [node.name for node in survey.cluster.nodes if node.server == server]
    return names[0] if names else server
