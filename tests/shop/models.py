"""What the integration tests sell."""

from __future__ import annotations

from django.contrib.contenttypes.fields import GenericForeignKey, GenericRelation
from django.contrib.contenttypes.models import ContentType
from django.db import models


class Author(models.Model):
    name = models.CharField(max_length=100, unique=True)

    def __str__(self) -> str:
        return self.name


class Tag(models.Model):
    name = models.CharField(max_length=100)

    def __str__(self) -> str:
        return self.name


class Book(models.Model):
    author = models.ForeignKey(Author, on_delete=models.CASCADE, related_name="books")
    title = models.CharField(max_length=100)
    stock = models.IntegerField(default=0)
    blurb = models.TextField(default="")
    tags = models.ManyToManyField(Tag, related_name="books")

    def __str__(self) -> str:
        return self.title


class Ticket(models.Model):
    """Its key is its only column."""


class Shelf(models.Model):
    """A key of the application's own."""

    code = models.CharField(max_length=10, primary_key=True)
    room = models.IntegerField()

    def __str__(self) -> str:
        return self.code


class Note(models.Model):
    """On whatever it is about."""

    text = models.CharField(max_length=100)
    # syncdb makes this table before the other one.
    content_type = models.ForeignKey(ContentType, models.CASCADE, db_constraint=False)
    object_id = models.IntegerField()
    about = GenericForeignKey()

    def __str__(self) -> str:
        return self.text


class Room(models.Model):
    """What can have notes."""

    name = models.CharField(max_length=100)
    notes = GenericRelation(Note)

    def __str__(self) -> str:
        return self.name
