"""The app, which is off unless INSTALLED_APPS names it."""

from __future__ import annotations

from django.apps import AppConfig


class StaffConfig(AppConfig):
    """``INSTALLED_APPS = [..., "galera_router", "galera_router.staff"]``."""

    name = "galera_router.staff"
    label = "galera_router_staff"
    verbose_name = "Galera router"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from galera_router.staff import events

        events.install()
