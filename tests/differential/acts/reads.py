"""Reads by the ORM."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

from django.db.models import Count, Exists, F, OuterRef, Sum

from tests.differential.acts.values import NAMES, NUMBERS, TITLES
from tests.differential.language import act
from tests.differential.run import Run

MODELS = ("Author", "Book", "Tag", "Shelf", "Room")


@act("{0}.objects.count()", MODELS, group="read")
def count(run: Run, model: str) -> Any:
    return run.model(model).objects.count()


@act("list(Author.objects.order_by('name').values_list())", group="read")
def authors(run: Run) -> Any:
    return list(run.Author.objects.order_by("name").values_list())


@act(
    "list(Book.objects.order_by('title', 'pk').values_list('title', 'stock', 'author'))",
    group="read",
)
def books(run: Run) -> Any:
    return list(run.Book.objects.order_by("title", "pk").values_list("title", "stock", "author"))


@act("sorted({0}.objects.values_list())", MODELS, group="read")
def rows(run: Run, model: str) -> Any:
    return sorted(run.model(model).objects.values_list())


@act("author = Author.objects.get(name={0!r})", NAMES, group="read")
def get_author(run: Run, name: str) -> Any:
    run.author = run.Author.objects.get(name=name)
    return run.author


@act("book = Book.objects.get(title={0!r})", TITLES, group="read")
def get_book(run: Run, title: str) -> Any:
    run.book = run.Book.objects.get(title=title)
    return run.book


@act("[book.author.name for book in Book.objects.select_related('author')]", group="read")
def joined(run: Run) -> Any:
    return sorted((b.title, b.author.name) for b in run.Book.objects.select_related("author"))


@act("Book.objects.order_by('author__name')  # ties in any order", group="read")
def ties(run: Run) -> Any:
    found = run.Book.objects.order_by("author__name").values_list("author__name", "title")
    return run.tied(list(found), key=0)


@act("[stock of Book.objects.order_by('stock')[:2]]  # any of those that tie", group="read")
def limited_ties(run: Run) -> Any:
    return list(run.Book.objects.order_by("stock").values_list("stock", flat=True)[:2])


@act("Book.objects.filter(stock__gte={0}).exists()", NUMBERS, group="read")
def exists(run: Run, stock: int) -> Any:
    return run.Book.objects.filter(stock__gte=stock).exists()


@act("Book.objects.aggregate(Sum('stock'), Count('author', distinct=True))", group="read")
def aggregate(run: Run) -> Any:
    return sorted(
        run.Book.objects.aggregate(s=Sum("stock"), c=Count("author", distinct=True)).items()
    )


@act("Author.objects.annotate(n=Count('books'))", group="shapes")
def annotated(run: Run) -> Any:
    return sorted(run.Author.objects.annotate(n=Count("books")).values_list("name", "n"))


@act("list(Book.objects.order_by('pk').iterator(chunk_size=1))", group="shapes")
def iterated(run: Run) -> Any:
    return [book.title for book in run.Book.objects.order_by("pk").iterator(chunk_size=1)]


@act("half = Book.objects.order_by('pk').iterator(chunk_size=1)", group="shapes")
def half_read(run: Run) -> Any:
    run.half = run.Book.objects.order_by("pk").iterator(chunk_size=1)
    return next(run.half, None)


@act("next(half, None)", group="shapes")
def half_next(run: Run) -> Any:
    return next(run.half, None)


@act("del half; gc.collect()  # it is in a cycle", group="shapes")
def half_dropped(run: Run) -> None:
    cycle: list[Any] = [run.half]
    cycle.append(cycle)
    run.half = iter(())
    del cycle
    gc.collect()


@act("for book in Book.objects.order_by('pk').iterator(chunk_size=1):", group="shapes", block=True)
def for_each(run: Run, body: Callable[[], None]) -> Any:
    titles = []
    for book in run.Book.objects.order_by("pk").iterator(chunk_size=1):
        titles.append(book.title)
        body()
        if len(titles) == 3:
            break
    return titles


@act("Author.objects.prefetch_related('books__tags')", group="shapes")
def prefetched(run: Run) -> Any:
    found = run.Author.objects.order_by("pk").prefetch_related("books__tags")
    return [
        (a.name, sorted((b.title, sorted(t.name for t in b.tags.all())) for b in a.books.all()))
        for a in found
    ]


@act("Book.objects.filter(author__in=Author.objects.filter(name__startswith='a'))", group="shapes")
def subquery(run: Run) -> Any:
    inner = run.Author.objects.filter(name__startswith="a")
    return sorted(run.Book.objects.filter(author__in=inner).values_list("title", flat=True))


@act(
    "Book.objects.using({0!r}).filter(author__in=Author.objects.using({1!r}))",
    ("", "default", "queryset"), ("", "default", "queryset"), group="aliases",
)  # fmt: skip
def subquery_using(run: Run, outer: str, inner: str) -> Any:
    authors, books = run.Author.objects.all(), run.Book.objects.all()
    authors = authors.using(run.alias(inner)) if inner else authors
    books = books.using(run.alias(outer)) if outer else books
    return sorted(books.filter(author__in=authors).values_list("title", flat=True))


@act("Book.objects.filter(author__in=Author.objects.select_for_update())", group="locks")
def subquery_locking(run: Run) -> Any:
    inner = run.Author.objects.select_for_update()
    return sorted(run.Book.objects.filter(author__in=inner).values_list("title", flat=True))


@act("Author.objects.filter(Exists(Book of the author))", group="shapes")
def correlated(run: Run) -> Any:
    own = run.Book.objects.filter(author=OuterRef("pk"), stock__gte=1)
    return sorted(run.Author.objects.filter(Exists(own)).values_list("name", flat=True))


@act("Author.names.union(Tag.names)", group="shapes")
def union(run: Run) -> Any:
    names = run.Author.objects.values_list("name", flat=True)
    return sorted(names.union(run.Tag.objects.values_list("name", flat=True)))


@act("Author.objects.in_bulk(field_name='name')", group="shapes")
def in_bulk(run: Run) -> Any:
    return sorted((k, v.pk) for k, v in run.Author.objects.in_bulk(field_name="name").items())


@act("Book.objects.only('title').first().stock", group="shapes")
def deferred(run: Run) -> Any:
    book = run.Book.objects.only("title").order_by("pk").first()
    return book and book.stock


@act("book.refresh_from_db()", group="read")
def refresh(run: Run) -> Any:
    book = run.a_book()
    book.refresh_from_db()
    return book


@act("author.books.count()", group="read")
def reverse(run: Run) -> Any:
    return run.an_author().books.count()


@act("book.author.name", group="read")
def forward(run: Run) -> Any:
    return run.a_book().author.name


@act(
    "Author.objects.select_for_update(nowait={0}, skip_locked={1}).order_by('name')",
    (False, True), (False, True), group="locks",
)  # fmt: skip
def locked(run: Run, nowait: bool, skip: bool) -> Any:
    found = run.Author.objects.select_for_update(nowait=nowait, skip_locked=skip)
    return list(found.order_by("name").values_list("name", flat=True))


@act("Book.objects.select_for_update().get(title={0!r})", TITLES, group="locks")
def lock_book(run: Run, title: str) -> Any:
    run.book = run.Book.objects.select_for_update().get(title=title)
    return run.book


@act("Author.objects.raw('SELECT * FROM shop_author ORDER BY name')", group="raw")
def raw_select(run: Run) -> Any:
    return list(run.Author.objects.raw("SELECT * FROM shop_author ORDER BY name"))


@act("Tag.objects.raw('INSERT INTO shop_tag … RETURNING id, name')", group="raw")
def raw_returning(run: Run) -> Any:
    sql = "INSERT INTO shop_tag (name) VALUES (%s) RETURNING id, name"
    return list(run.Tag.objects.raw(sql, ["r"]))


@act("Book.objects.filter(stock=F('stock') * 1).count()", group="shapes")
def computed(run: Run) -> Any:
    return run.Book.objects.filter(stock=F("stock") * 1).count()


@act(
    "{0}.objects.using(alias({1!r})).count()",
    MODELS,
    ("default", "instance", "for_read"),
    group="aliases",
)
def count_using(run: Run, model: str, alias: str) -> Any:
    return run.model(model).objects.using(run.alias(alias)).count()
