"""Make the tables and fill them: ``python -m tests.chaos.prepare``, a process of the run."""

from __future__ import annotations

import os
from collections.abc import Iterator

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.chaos.settings")
django.setup()

from django.apps import apps  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402

from tests.chaos.config import ACCOUNTS, LABELS, OPENING, SHARED, TICKETS  # noqa: E402
from tests.chaos.models import (  # noqa: E402
    Account,
    Counter,
    Floor,
    Label,
    Page,
    Place,
    Register,
    Series,
    Ticket,
)
from tests.chaos.operations import KINDS  # noqa: E402
from tests.chaos.operations.histories import ROWS  # noqa: E402
from tests.chaos.operations.orders import lines  # noqa: E402
from tests.chaos.operations.stored import ROUTINES  # noqa: E402
from tests.chaos.settings import CONFIG  # noqa: E402

TRIGGER = (
    "CREATE TRIGGER chaos_{table}_{event} AFTER {event} ON chaos_{table} FOR EACH ROW"
    " INSERT INTO chaos_change (what, `row`, token, `before`, `after`)"
    " VALUES ('{table}', NEW.id, NEW.last, {before}, NEW.{column})"
)
CHANGED = {"account": "balance", "counter": "value", "page": "version", "tally": "value"}


def drop() -> None:
    """Remove what an earlier run has left."""
    tables = [
        model._meta.db_table
        for model in apps.get_app_config("chaos").get_models(include_auto_created=True)
    ]
    with connection.cursor() as cursor:
        cursor.execute(
            f"SET STATEMENT foreign_key_checks=0 FOR DROP TABLE IF EXISTS {', '.join(tables)}"
        )
    connection.close()  # for what SET leaves on a connection must not be lost by a failback


def triggers() -> Iterator[str]:
    """They note each change; a tally begins from 0 when it is made."""
    for table, column in CHANGED.items():
        yield TRIGGER.format(table=table, event="UPDATE", before=f"OLD.{column}", column=column)
    yield (
        "CREATE TRIGGER chaos_register_version BEFORE UPDATE ON chaos_register FOR EACH ROW"
        " SET NEW.version = OLD.version + 1"
    )
    yield (
        "CREATE TRIGGER chaos_register_noted AFTER UPDATE ON chaos_register FOR EACH ROW"
        " INSERT INTO chaos_noted (register, value, version)"
        " VALUES (NEW.id, NEW.value, NEW.version)"
    )
    yield TRIGGER.format(table="tally", event="INSERT", before="0", column="value")


def fill() -> None:
    """The rows that the clients change, with keys known to all."""
    own = SHARED + CONFIG.clients
    Account.objects.bulk_create(Account(pk=key, balance=OPENING) for key in range(1, ACCOUNTS + 1))
    Counter.objects.bulk_create(Counter(pk=key) for key in range(1, own + 1))
    Page.objects.bulk_create(Page(pk=key) for key in range(1, own + 1))
    Label.objects.bulk_create(Label(pk=key, name=f"label {key}") for key in range(1, LABELS + 1))
    Ticket.objects.bulk_create(Ticket(pk=key) for key in range(1, TICKETS + 1))
    Series.objects.bulk_create(Series(pk=key) for key in range(1, ROWS + 1))
    Register.objects.bulk_create(Register(pk=key) for key in range(1, ROWS + 1))
    Place.objects.bulk_create(lines(CONFIG.clients))
    Floor.objects.bulk_create(Floor(pk=key) for key in range(1, len(CONFIG.direct) + 1))


def main() -> None:
    if unknown := set(CONFIG.workloads) - KINDS.keys():
        raise SystemExit(f"no such operation: {', '.join(sorted(unknown))}; of {list(KINDS)}")
    drop()
    call_command("migrate", verbosity=0, run_syncdb=True)
    with connection.cursor() as cursor:
        for statement in (*triggers(), *ROUTINES):
            cursor.execute(statement)
    fill()
    connection.close()


if __name__ == "__main__":
    main()
