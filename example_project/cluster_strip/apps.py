"""The application of the strip."""

from __future__ import annotations

from django.apps import AppConfig

from cluster_strip import losses


class ClusterStripConfig(AppConfig):
    """Notes failovers from the beginning."""

    name = "cluster_strip"

    def ready(self) -> None:
        """Listen to what the router tells of."""
        losses.install()
