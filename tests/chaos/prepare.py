"""Make the tables and fill them: ``python -m tests.chaos.prepare``, a process of the run."""

from __future__ import annotations

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.chaos.settings")
django.setup()

from django.apps import apps  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402

from tests.chaos.config import ACCOUNTS, OPENING, SHARED  # noqa: E402
from tests.chaos.models import Account, Counter, Floor, Page  # noqa: E402
from tests.chaos.settings import CONFIG  # noqa: E402
from tests.chaos.workloads import KINDS  # noqa: E402

TRIGGER = (
    "CREATE TRIGGER chaos_{table}_changed AFTER UPDATE ON chaos_{table} FOR EACH ROW"
    " INSERT INTO chaos_change (what, `row`, token, `before`, `after`)"
    " VALUES ('{table}', NEW.id, NEW.last, OLD.{column}, NEW.{column})"
)


def drop() -> None:
    """Remove what an earlier run has left."""
    tables = [model._meta.db_table for model in apps.get_app_config("chaos").get_models()]
    with connection.cursor() as cursor:
        for table in reversed(tables):
            cursor.execute("SET STATEMENT foreign_key_checks=0 FOR DROP TABLE IF EXISTS " + table)


def fill() -> None:
    """The rows that the clients change, with keys known to all."""
    own = SHARED + CONFIG.clients
    Account.objects.bulk_create(Account(pk=key, balance=OPENING) for key in range(1, ACCOUNTS + 1))
    Counter.objects.bulk_create(Counter(pk=key) for key in range(1, own + 1))
    Page.objects.bulk_create(Page(pk=key) for key in range(1, own + 1))
    Floor.objects.bulk_create(Floor(pk=key) for key in range(1, len(CONFIG.direct) + 1))


def main() -> None:
    if unknown := set(CONFIG.workloads) - KINDS.keys():
        raise SystemExit(f"no such operation: {', '.join(sorted(unknown))}; of {list(KINDS)}")
    drop()
    call_command("migrate", verbosity=0, run_syncdb=True)
    with connection.cursor() as cursor:
        for table, column in (("account", "balance"), ("counter", "value"), ("page", "version")):
            cursor.execute(TRIGGER.format(table=table, column=column))
    fill()
    connection.close()


if __name__ == "__main__":
    main()
