"""The table that tells whether a transaction whose COMMIT was not answered has been committed."""

from __future__ import annotations

from django.db import models


class Marker(models.Model):
    """One row per connection of a worker that has transactions to write; see ``markers``."""

    worker = models.CharField(max_length=32, primary_key=True)
    seq = models.BigIntegerField()
    found_rows = models.BigIntegerField(default=0)
    inserted_key = models.BigIntegerField(default=0)
    touched = models.DateTimeField()

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
