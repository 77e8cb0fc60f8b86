"""Writes of several rows, and of relations."""

from __future__ import annotations

from typing import Any

from tests.differential.acts.values import CODES, NUMBERS, TAGS
from tests.differential.language import act
from tests.differential.run import Run


@act(
    "Author.objects.bulk_create([{0!r}, 'e', 'f'], ignore_conflicts={1})",
    ("a0", "c"),
    (False, True),
    group="bulk",
)
def bulk_create(run: Run, name: str, ignore: bool) -> Any:
    authors = [run.Author(name=each) for each in (name, "e", "f")]
    made = run.Author.objects.bulk_create(authors, ignore_conflicts=ignore)
    return [author.pk for author in made]


@act("Shelf.objects.bulk_create([{0!r}, 'u'], update_conflicts=True)", CODES, group="bulk")
def bulk_upsert(run: Run, code: str) -> Any:
    shelves = [run.Shelf(code=each, room=7) for each in (code, "u")]
    run.Shelf.objects.bulk_create(shelves, update_conflicts=True, update_fields=["room"])


@act("Author.objects.bulk_create(four, batch_size=2)", group="bulk")
def bulk_batches(run: Run) -> Any:
    authors = [run.Author(name=f"m{n}") for n in range(4)]
    return [author.pk for author in run.Author.objects.bulk_create(authors, batch_size=2)]


@act("Book.objects.bulk_update(all, ['stock'])  # to {0} and more", NUMBERS, group="bulk")
def bulk_update(run: Run, number: int) -> Any:
    books = list(run.Book.objects.order_by("pk"))
    for place, book in enumerate(books):
        book.stock = number + place
    return run.Book.objects.bulk_update(books, ["stock"])


def _tags(run: Run, name: str) -> list[Any]:
    return list(run.Tag.objects.filter(name=name))


@act("book.tags.add({0!r})", TAGS, group="relations")
def tags_add(run: Run, name: str) -> Any:
    run.a_book().tags.add(*_tags(run, name))


@act("book.tags.set([{0!r}, {1!r}])", TAGS, TAGS, group="relations")
def tags_set(run: Run, first: str, second: str) -> Any:
    run.a_book().tags.set([*_tags(run, first), *_tags(run, second)])


@act("book.tags.remove({0!r})", TAGS, group="relations")
def tags_remove(run: Run, name: str) -> Any:
    run.a_book().tags.remove(*_tags(run, name))


@act("book.tags.clear()", group="relations")
def tags_clear(run: Run) -> Any:
    run.a_book().tags.clear()


@act("book.tags.create(name='fresh')", group="relations")
def tags_create(run: Run) -> Any:
    return run.a_book().tags.create(name="fresh")


@act("book.tags.all()", group="relations")
def tags_all(run: Run) -> Any:
    return sorted(tag.name for tag in run.a_book().tags.all())


@act("author.books.add(book)", group="relations")
def books_add(run: Run) -> Any:
    run.an_author().books.add(run.a_book())
