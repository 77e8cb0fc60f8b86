"""The application of the strip."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig

from cluster_strip import counts
from galera_router import signals


class ClusterStripConfig(AppConfig):
    """Counts failovers from the beginning."""

    name = "cluster_strip"

    def ready(self) -> None:
        """Note each failover."""
        signals.failover.connect(note_failover, dispatch_uid="cluster_strip", weak=False)


def note_failover(event: signals.Failover, **kwargs: Any) -> None:
    """What the site has to remember of it."""
    counts.note_failover(event.lost, event.taken_over_by, event.seconds)
