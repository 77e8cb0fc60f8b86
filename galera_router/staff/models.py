"""What permissions refer to; it has no table."""

from __future__ import annotations

from django.db import models


class Cluster(models.Model):
    """The page: who may look at it, and who may push its buttons."""

    class Meta:
        managed = False
        default_permissions = ("view",)
        permissions = (("operate_cluster", "Can move the primary and drain nodes"),)
        verbose_name = verbose_name_plural = "cluster"

    def __str__(self) -> str:
        return "cluster"
