"""What the clients change. Every change carries a token that its client has made up."""

from __future__ import annotations

from typing import ClassVar

from django.db import models


class Account(models.Model):
    objects: ClassVar[models.Manager[Account]] = models.Manager()
    balance = models.BigIntegerField()
    last = models.CharField(max_length=40, default="")

    class Meta:
        app_label = "chaos"


class Transfer(models.Model):
    objects: ClassVar[models.Manager[Transfer]] = models.Manager()
    token = models.CharField(max_length=40, db_index=True)  # not unique: a double must show
    source = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="outgoing")
    target = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="incoming")
    amount = models.BigIntegerField()

    class Meta:
        app_label = "chaos"


class Entry(models.Model):
    """A row with an automatic key."""

    objects: ClassVar[models.Manager[Entry]] = models.Manager()
    token = models.CharField(max_length=40, db_index=True)
    text = models.CharField(max_length=40, default="")

    class Meta:
        app_label = "chaos"


class Counter(models.Model):
    """Only ever incremented, by ``F()``."""

    objects: ClassVar[models.Manager[Counter]] = models.Manager()
    value = models.BigIntegerField(default=0)
    last = models.CharField(max_length=40, default="")

    class Meta:
        app_label = "chaos"


class Page(models.Model):
    """Read, changed, saved."""

    objects: ClassVar[models.Manager[Page]] = models.Manager()
    version = models.BigIntegerField(default=0)
    last = models.CharField(max_length=40, default="")

    class Meta:
        app_label = "chaos"


class Change(models.Model):
    """One update of an account, a counter or a page, noted by a trigger on the server."""

    objects: ClassVar[models.Manager[Change]] = models.Manager()
    what = models.CharField(max_length=10)
    row = models.BigIntegerField()
    token = models.CharField(max_length=40)
    before = models.BigIntegerField()
    after = models.BigIntegerField()

    class Meta:
        app_label = "chaos"
        indexes = (models.Index(fields=["what", "row"], name="chaos_change_row"),)


class Floor(models.Model):
    """One row for each bare client, see ``floor``."""

    objects: ClassVar[models.Manager[Floor]] = models.Manager()
    value = models.BigIntegerField(default=0)

    class Meta:
        app_label = "chaos"
