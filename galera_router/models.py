"""The tables that tell what became of a transaction, and which node is the primary."""

from __future__ import annotations

from typing import Any

from django.db import models


class NoRows(models.Manager[Any]):
    """For Django there are none: put back from a dump, they would tell of what is over.

    An epoch that is over would be the cluster's again, beside the one that is not.
    """

    def get_queryset(self) -> models.QuerySet[Any]:
        """Nothing of it is sent to a server."""
        return super().get_queryset().none()


class Table(models.Model):
    """A table that ``migrate`` makes, and whose rows are read and written by SQL alone."""

    objects = NoRows()

    class Meta:
        abstract = True
        base_manager_name = "objects"


class Slot(Table):
    """The parents of the markers: two rows per epoch; see ``galera_router.cluster.epoch``."""

    slot = models.BigIntegerField(primary_key=True)

    class Meta:
        db_table = "galera_router_slot"
        default_permissions = ()

    def __str__(self) -> str:
        return str(self.slot)


class Epoch(Table):
    """One row per cluster: which of its servers is the primary."""

    cluster = models.CharField(max_length=255, primary_key=True)
    epoch = models.BigIntegerField()
    server = models.CharField(max_length=255)
    address = models.CharField(max_length=255, default="")
    member = models.CharField(max_length=64, default="")
    changed_at = models.DateTimeField()
    flips = models.IntegerField(default=0)
    held = models.BooleanField(default=False)
    reason = models.CharField(max_length=255, default="")
    # Of the database: releases that do not know it insert rows, too.
    drained = models.CharField(max_length=4000, db_default="")

    class Meta:
        db_table = "galera_router_epoch"
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.cluster}: {self.server} in epoch {self.epoch}"


class Marker(Table):
    """One row per marker, see ``galera_router.recovery.marker``; ``worker`` is its name."""

    worker = models.CharField(max_length=32, primary_key=True)
    seq = models.BigIntegerField()
    found_rows = models.BigIntegerField(default=0)
    inserted_key = models.BigIntegerField(default=0)
    touched = models.DateTimeField()
    # The fence: a marker cannot be moved in an epoch that is over.
    slot = models.ForeignKey(
        Slot, models.DO_NOTHING, null=True, db_column="epoch_slot", related_name="+"
    )

    class Meta:
        db_table = "galera_router_marker"
        default_permissions = ()
        constraints = (
            # The server refuses -1 in every sql_mode: that is how an advance which finds
            # another number than it expects ends its packet, COMMIT included.
            models.CheckConstraint(condition=models.Q(seq__gte=0), name="galera_router_marker_seq"),
        )

    def __str__(self) -> str:
        return f"{self.worker}: {self.seq}"
