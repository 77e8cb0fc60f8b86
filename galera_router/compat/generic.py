"""Generic relations: what of Django holds on to the alias that was right to read from once.

As private to Django as what is in ``internals``; ``tests/integration/test_generic.py`` tries it on
every supported Django.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.apps import apps

RoleOf = Callable[[str], str]


def follow_router(role_of: RoleOf) -> None:
    """Have generic relations and content types know a cluster by its role's alias alone."""
    if not apps.is_installed("django.contrib.contenttypes"):
        return
    from django.contrib.contenttypes import fields
    from django.contrib.contenttypes.models import ContentType, ContentTypeManager

    managers: list[Any] = [*ContentType._meta.local_managers, ContentType.objects]
    if isinstance(managers[0]._cache, _ByRole):
        return
    met = _ByRole(role_of)
    for manager in managers:  # the latter is a copy, which is made anew now and then
        manager._cache = met
    _remember_by_role(ContentTypeManager, role_of)
    _ask_late(fields, role_of)


def _remember_by_role(manager: Any, role_of: RoleOf) -> None:
    """Give further managers of this class, those of migrations among them, such a memory."""
    original = manager.__init__

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        self._cache = _ByRole(role_of)

    manager.__init__ = __init__


class _ByRole(dict[str, Any]):
    """The content types that were met, by alias: each node would be asked for them anew."""

    def __init__(self, role_of: RoleOf) -> None:
        super().__init__()
        self._role_of = role_of

    def __getitem__(self, alias: str) -> Any:
        return super().__getitem__(self._role_of(alias))

    def setdefault(self, alias: str, default: Any = None) -> Any:
        return super().setdefault(self._role_of(alias), default)


def _ask_late(fields: Any, role_of: RoleOf) -> None:
    """Have ``related.filter(...)`` ask the router when it is evaluated, as other managers do.

    Why: this one asks when the queryset is made. Evaluated later it would not follow a write
    that came in between, and its ``delete()`` and ``update()`` would go to the secondary.
    """
    original = fields.create_generic_related_manager

    def create_generic_related_manager(superclass: Any, rel: Any) -> Any:
        manager = original(superclass, rel)
        apply_rel_filters = manager._apply_rel_filters

        def _apply_rel_filters(self: Any, queryset: Any) -> Any:
            filtered = apply_rel_filters(self, queryset)
            if self._db is None and role_of(filtered._db) != filtered._db:
                filtered._db = None
                filtered._add_hints(instance=self.instance)
            return filtered

        manager._apply_rel_filters = _apply_rel_filters
        return manager

    fields.create_generic_related_manager = create_generic_related_manager
