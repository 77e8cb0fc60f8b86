"""The app: everything that starting up means, as a table of contents."""

from __future__ import annotations

import os
from typing import Any

from django.apps import AppConfig
from django.core.signals import request_finished, request_started
from django.db import connections
from django.db.backends.signals import connection_created
from django.db.models.signals import post_migrate


class GaleraRouterConfig(AppConfig):
    """``INSTALLED_APPS = [..., "galera_router"]``."""

    name = "galera_router"
    verbose_name = "Galera router"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from galera_router import checks, instrumentation
        from galera_router.cluster import monitor
        from galera_router.compat import commits, internals, wrappers
        from galera_router.recovery import runs
        from galera_router.transactions import install

        instrumentation.install_configured()
        checks.register()
        monitor.install()
        runs.install()
        install.hold_logs()
        commits.watch_cursors()
        internals.on_create(_install)
        wrappers.find_quickly()
        internals.transact_on(install.role_of)
        for wrapper in connections.all(initialized_only=True):
            _install(wrapper)
        request_started.connect(_new_request, dispatch_uid="galera_router.request_started")
        request_finished.connect(_new_request, dispatch_uid="galera_router.request_finished")
        connection_created.connect(_share, dispatch_uid="galera_router.connection_created")
        post_migrate.connect(_migrated, sender=self, dispatch_uid="galera_router.post_migrate")
        os.register_at_fork(after_in_child=install.forget_inherited)


def _install(wrapper: Any) -> None:
    """A wrapper is new: take charge of a cluster's, and see what is committed on any other."""
    from galera_router.cluster.registry import cluster_of
    from galera_router.compat import commits
    from galera_router.recovery import runs
    from galera_router.transactions import install

    install.install(wrapper)
    plain = cluster_of(wrapper.alias) is None
    told = {"committed": runs.note_commit, "hooks": runs.note_hooks, "at_once": runs.note_hook}
    commits.watch(wrapper, **told, statements=plain)


def _new_request(**kwargs: Any) -> None:
    """A request begins or has ended: nothing of the last one's pinning holds any more."""
    from galera_router.transactions.sessions import begin_anew

    begin_anew()


def _share(connection: Any, **kwargs: Any) -> None:
    """A connection was made: later ones need not ask its server the same questions."""
    from galera_router.transactions import install

    install.connected(connection)


def _migrated(using: str, **kwargs: Any) -> None:
    """Our tables may have been made just now."""
    from galera_router.cluster.registry import cluster_of
    from galera_router.recovery.marker import pool_of

    cluster = cluster_of(using)
    if cluster is not None:
        pool_of(cluster).note_present()
        cluster.epochs.note_present()
