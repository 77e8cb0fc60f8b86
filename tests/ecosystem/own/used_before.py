"""``manage.py test`` of a project that uses its database while it starts, on every node."""

from __future__ import annotations

import sys

import django
from django.core.management import execute_from_command_line
from django.db import connections

from galera_router import reads

if __name__ == "__main__":
    django.setup()
    from tests.ecosystem.own.cases import NODES, current
    from tests.shop.models import Author

    assert Author.objects.count() == 1
    with reads("primary"):
        assert Author.objects.count() == 1
    assert {current(alias) for alias in NODES} == {connections["default"].settings_dict["NAME"]}
    execute_from_command_line(sys.argv)
