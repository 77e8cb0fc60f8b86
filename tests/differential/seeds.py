"""The rows that each programme finds, and the names of keys.

Programme number n finds keys from ``n * PROGRAMME`` on, each table in a range of its own. The
server goes on counting from there, so equal keys on both sides need no reset of AUTO_INCREMENT.
"""

from __future__ import annotations

from collections.abc import Iterator

PROGRAMME = 10_000_000
TABLE = 1_000_000
TABLES = (
    "shop_book_tags", "shop_note", "shop_book", "shop_author", "shop_tag", "shop_shelf",
    "shop_ticket", "shop_room",
)  # fmt: skip
ROWS = {
    "shop_author": ("id, name", ("{0}, 'a0'", "{0}, 'a1'", "{0}, 'a2'")),
    "shop_book": (
        "id, author_id, title, stock, blurb",
        (
            "{0}, {author}, 'b0', 1, ''",
            "{0}, {author}, 'b1', 1, ''",
            "{0}, {author} + 1, 'b2', 2, ''",
        ),
    ),
    "shop_tag": ("id, name", ("{0}, 't0'", "{0}, 't1'")),
    "shop_book_tags": ("id, book_id, tag_id", ("{0}, {book}, {tag}",)),
    "shop_shelf": ("code, room", ("'s0', 1", "'s1', 2")),
    "shop_ticket": ("id", ("{0}",)),
    "shop_room": ("id, name", ("{0}, 'r0'",)),
}

SEEDS = {table: len(rows) for table, (_, rows) in ROWS.items()}


def first_key(number: int, table: str) -> int:
    """The key of the first row of ``table`` for the programme of that number."""
    return number * PROGRAMME + TABLES.index(table) * TABLE + 1


def key_name(number: int, value: int) -> int | str:
    """``shop_author+3`` for the fourth possible key of an author; any other number unchanged."""
    if not number * PROGRAMME < value < (number + 1) * PROGRAMME:
        return value
    table, place = divmod(value - number * PROGRAMME, TABLE)
    return f"{TABLES[table]}+{place - 1}" if table < len(TABLES) else value


def statements(number: int, schema: str) -> Iterator[str]:
    """Empty all tables of ``schema`` and fill them anew."""
    for table in TABLES:
        yield f"DELETE FROM {schema}.{table}"
    names = {table.removeprefix("shop_"): first_key(number, table) for table in TABLES}
    for table, (columns, rows) in ROWS.items():
        key = first_key(number, table)
        values = ", ".join(f"({row.format(key + n, **names)})" for n, row in enumerate(rows))
        yield f"INSERT INTO {schema}.{table} ({columns}) VALUES {values}"
