"""The router, as it is when every read begins a request."""

from __future__ import annotations

from typing import Any

from django.db import models

from galera_router.context import contexts
from galera_router.routers import GaleraRouter


class Router(GaleraRouter):
    """For DATABASE_ROUTERS.

    What a thread reads outside a transaction, after a write in the same request, is read on the
    primary. A test is one thread without requests, so after its first write nothing would ever be
    read elsewhere. Here each read is the first of a request; on a secondary, it waits for the
    writes that came before.
    """

    def db_for_read(self, model: type[models.Model], **hints: Any) -> str | None:
        for context in contexts():
            handed = set(context.handed)  # a statement may have been compiled and not yet sent
            context.new_request()
            context.handed |= handed
        return super().db_for_read(model, **hints)
