"""Writes by the ORM, one object at a time."""

from __future__ import annotations

from typing import Any

from django.db.models import F

from tests.differential.acts.values import CODES, NAMES, NUMBERS, TAGS, TITLES
from tests.differential.language import act
from tests.differential.run import Run


@act("author = Author.objects.create(name={0!r})", NAMES, group="write")
def create_author(run: Run, name: str) -> Any:
    run.author = run.Author.objects.create(name=name)
    return run.author


@act(
    "book = Book.objects.create(author=author, title={0!r}, stock={1})",
    TITLES,
    NUMBERS,
    group="write",
)
def create_book(run: Run, title: str, stock: int) -> Any:
    run.book = run.Book.objects.create(author=run.an_author(), title=title, stock=stock)
    return run.book


@act("Shelf.objects.create(code={0!r}, room=1)", CODES, group="write")
def create_shelf(run: Run, code: str) -> Any:
    return run.Shelf.objects.create(code=code, room=1)


@act("Shelf(code={0!r}, room={1}).save()", CODES, NUMBERS, group="write")
def save_shelf(run: Run, code: str, room: int) -> Any:
    shelf = run.Shelf(code=code, room=room)
    shelf.save()
    return shelf


@act("Ticket.objects.create()", group="write")
def create_ticket(run: Run) -> Any:
    return run.Ticket.objects.create()


@act("author.name = {0!r}; author.save()", NAMES, group="write")
def save_author(run: Run, name: str) -> Any:
    author = run.an_author()
    author.name = name
    author.save()
    return author


@act("book.stock = F('stock') + {0}; book.save(update_fields=['stock'])", NUMBERS, group="write")
def save_book(run: Run, number: int) -> Any:
    book = run.a_book()
    book.stock = F("stock") + number
    book.save(update_fields=["stock"])
    book.refresh_from_db()
    return book


@act("book.save(using=alias({0!r}))", ("default", "instance", "for_write"), group="aliases")
def save_using(run: Run, alias: str) -> Any:
    book = run.a_book()
    book.blurb = "using"
    book.save(using=run.alias(alias))


@act(
    "Book.objects.filter(title={0!r}).update(stock=F('stock') + {1})",
    TITLES,
    NUMBERS,
    group="write",
)
def update(run: Run, title: str, number: int) -> Any:
    return run.Book.objects.filter(title=title).update(stock=F("stock") + number)


@act("Book.objects.filter(author__name={0!r}).update(blurb='u')", NAMES, group="write")
def update_joined(run: Run, name: str) -> Any:
    return run.Book.objects.filter(author__name=name).update(blurb="u")


@act("author.delete()", group="write")
def delete_author(run: Run) -> Any:
    count, by_model = run.an_author().delete()
    run.author = run.book = None
    return [count, sorted(by_model.items())]


@act("Author.objects.filter(name={0!r}).delete()", NAMES, group="write")
def delete_authors(run: Run, name: str) -> Any:
    count, by_model = run.Author.objects.filter(name=name).delete()
    return [count, sorted(by_model.items())]


@act("Tag.objects.filter(name={0!r}).delete()", TAGS, group="write")
def delete_tags(run: Run, name: str) -> Any:
    count, by_model = run.Tag.objects.filter(name=name).delete()
    return [count, sorted(by_model.items())]


@act("Author.objects.get_or_create(name={0!r})", NAMES, group="upsert")
def get_or_create(run: Run, name: str) -> Any:
    run.author, created = run.Author.objects.get_or_create(name=name)
    return [run.author, created]


@act(
    "Shelf.objects.update_or_create(code={0!r}, defaults=room={1})", CODES, NUMBERS, group="upsert"
)
def update_or_create(run: Run, code: str, room: int) -> Any:
    return run.Shelf.objects.update_or_create(code=code, defaults={"room": room})


@act("Book.objects.create(author_id=of nobody)", group="upsert")
def orphan(run: Run) -> Any:
    run.Book.objects.create(author_id=7, title="orphan")


@act("Author(name={0!r}).save(force_insert=True)", NAMES, group="upsert")
def force_insert(run: Run, name: str) -> Any:
    author = run.Author(name=name)
    author.save(force_insert=True)
    return author


@act("author.save(force_update=True)", group="upsert")
def force_update(run: Run) -> Any:
    run.an_author().save(force_update=True)
