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
    """One change of an account, a counter, a page or a tally, noted by a trigger on the server."""

    objects: ClassVar[models.Manager[Change]] = models.Manager()
    what = models.CharField(max_length=10)
    row = models.BigIntegerField()
    token = models.CharField(max_length=40)
    before = models.BigIntegerField()
    after = models.BigIntegerField()

    class Meta:
        app_label = "chaos"
        indexes = (models.Index(fields=["what", "row"], name="chaos_change_row"),)


class Label(models.Model):
    """What baskets are labelled with; never changed."""

    objects: ClassVar[models.Manager[Label]] = models.Manager()
    name = models.CharField(max_length=40, unique=True)

    class Meta:
        app_label = "chaos"


class Basket(models.Model):
    """One client's; it goes with its items and links."""

    objects: ClassVar[models.Manager[Basket]] = models.Manager()
    token = models.CharField(max_length=40, db_index=True)
    labels = models.ManyToManyField(Label)

    class Meta:
        app_label = "chaos"


class Item(models.Model):
    objects: ClassVar[models.Manager[Item]] = models.Manager()
    token = models.CharField(max_length=40, db_index=True)
    basket = models.ForeignKey(Basket, on_delete=models.CASCADE, related_name="items")

    class Meta:
        app_label = "chaos"


class Name(models.Model):
    """What several clients create at the same time, and one only can."""

    objects: ClassVar[models.Manager[Name]] = models.Manager()
    name = models.CharField(max_length=40, unique=True)
    token = models.CharField(max_length=40, db_index=True)

    class Meta:
        app_label = "chaos"


class Tally(models.Model):
    """A counter that is made when it is first needed."""

    objects: ClassVar[models.Manager[Tally]] = models.Manager()
    name = models.CharField(max_length=40, unique=True)
    value = models.BigIntegerField(default=0)
    last = models.CharField(max_length=40, default="")

    class Meta:
        app_label = "chaos"


class Card(models.Model):
    """A row whose key is the client's own."""

    objects: ClassVar[models.Manager[Card]] = models.Manager()
    token = models.CharField(max_length=40, primary_key=True)
    text = models.CharField(max_length=40, default="")

    class Meta:
        app_label = "chaos"


class Task(models.Model):
    """What one client puts up, and one only may take."""

    objects: ClassVar[models.Manager[Task]] = models.Manager()
    token = models.CharField(max_length=40, db_index=True)
    taker = models.CharField(max_length=40, default="", db_index=True)

    class Meta:
        app_label = "chaos"


class Ticket(models.Model):
    """A row to lock, never changed; who holds the lock may sell the ticket."""

    objects: ClassVar[models.Manager[Ticket]] = models.Manager()

    class Meta:
        app_label = "chaos"


class Sale(models.Model):
    """Of a ticket, which is sold once only; nothing but the lock sees to that."""

    objects: ClassVar[models.Manager[Sale]] = models.Manager()
    ticket = models.BigIntegerField(db_index=True)
    token = models.CharField(max_length=40, db_index=True)

    class Meta:
        app_label = "chaos"


class Paper(models.Model):
    """A large row. ``digest`` is the MD5 of ``body``."""

    objects: ClassVar[models.Manager[Paper]] = models.Manager()
    token = models.CharField(max_length=40, db_index=True)
    body = models.BinaryField()
    digest = models.CharField(max_length=32)

    class Meta:
        app_label = "chaos"


class Place(models.Model):
    """In a line, by ``rank``; see `operations.orders`."""

    objects: ClassVar[models.Manager[Place]] = models.Manager()
    line = models.BigIntegerField(db_index=True)
    rank = models.IntegerField()

    class Meta:
        app_label = "chaos"


class Visit(models.Model):
    """Noted by a middleware, outside the transaction of the request."""

    objects: ClassVar[models.Manager[Visit]] = models.Manager()
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        app_label = "chaos"


class Series(models.Model):
    """A list, each value behind a comma; see `operations.histories`."""

    objects: ClassVar[models.Manager[Series]] = models.Manager()
    body = models.TextField(default="")

    class Meta:
        app_label = "chaos"


class Register(models.Model):
    """Overwritten; a trigger counts its versions."""

    objects: ClassVar[models.Manager[Register]] = models.Manager()
    value = models.CharField(max_length=40, default="")
    version = models.BigIntegerField(default=0)

    class Meta:
        app_label = "chaos"


class Noted(models.Model):
    """One version of a register, noted by a trigger on the server."""

    objects: ClassVar[models.Manager[Noted]] = models.Manager()
    register = models.BigIntegerField()
    value = models.CharField(max_length=40)
    version = models.BigIntegerField()

    class Meta:
        app_label = "chaos"


class Floor(models.Model):
    """One row for each bare client, see ``floor``."""

    objects: ClassVar[models.Manager[Floor]] = models.Manager()
    value = models.BigIntegerField(default=0)

    class Meta:
        app_label = "chaos"
