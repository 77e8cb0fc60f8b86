"""The backend: Django's, but for the password."""

from __future__ import annotations

from typing import Any

from django.db.backends.mysql import base

#: Where a secret's store would be asked; a test changes it.
secret = {"password": ""}


class DatabaseWrapper(base.DatabaseWrapper):
    """Each new connection, of the router's and of its watchdog's too, has the password of now."""

    def get_connection_params(self) -> dict[str, Any]:
        return {**super().get_connection_params(), "password": secret["password"]}
