"""Backends of Django's tasks that carry tokens; a process that has the package imports this."""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

from galera_router.tasks import CarryToken

FRAMEWORK = "django.tasks" if importlib.util.find_spec("django.tasks") else "django_tasks"

if TYPE_CHECKING:
    DatabaseBackend = Immediate = Any
else:
    Immediate = importlib.import_module(f"{FRAMEWORK}.backends.immediate").ImmediateBackend
    from django_tasks_db.backend import DatabaseBackend


class Database(CarryToken, DatabaseBackend):  # type: ignore[misc,valid-type]
    """As docs/causality.md has it."""


class AtOnce(CarryToken, Immediate):  # type: ignore[misc,valid-type]
    """The task runs where it is queued."""
