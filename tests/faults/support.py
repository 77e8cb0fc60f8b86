"""The shop on either side: with the router on the cluster, or stock Django on the first node."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import connection, connections

from galera_router.testing import GaleraCluster, Proxy
from tests.faults.known import STOCK
from tests.integration.support import Shop, use_databases

ROUTER_OPTIONS = frozenset(
    {
        "failover_enable", "failover_history_limit", "wsrep_sync_after_write",
        "optimistic_transactions", "reconnect_wait_time", "disable_update_can_self_select",
        "commit_marker", "conflict_retries", "lost_update_guard", "watchdog_after",
        "watchdog_timeout", "max_lag", "wsrep_sync_timeout", "wsrep_sync_use_gtid", "reads",
    }
)  # fmt: skip


class EitherShop(Shop):
    """A Shop that is reached through the router, or through stock Django on the first node."""

    def __init__(self, galera: GaleraCluster, side: str) -> None:
        super().__init__(galera)
        self.is_stock = side == STOCK

    def configure(self, *, proxies: Mapping[str, Proxy] | None = None, **overrides: Any) -> None:
        """Use the database with ``overrides``; stock Django is spared the router's options."""
        if not self.is_stock:
            super().configure(proxies=proxies, **overrides)
            return
        use_databases(self.databases(proxies=proxies, **overrides))

    def databases(
        self, *, proxies: Mapping[str, Proxy] | None = None, **overrides: Any
    ) -> dict[str, dict[str, Any]]:
        """DATABASES with ``overrides``, as they are before ``expand``."""
        databases = self.galera.databases(proxies=proxies, **{"CONN_MAX_AGE": None, **overrides})
        if not self.is_stock:
            return databases
        default = databases["default"]
        default.update(next(iter(default.pop("NODES").values())), PORT=self._port(proxies))
        options = default.pop("OPTIONS", {})
        default["OPTIONS"] = {k: v for k, v in options.items() if k not in ROUTER_OPTIONS}
        default["HOST"] = "127.0.0.1"
        return databases

    def _port(self, proxies: Mapping[str, Proxy] | None) -> int:
        first = self.galera.nodes[0]
        return proxies[first.name].port if proxies and first.name in proxies else first.port

    def lose_primary(self) -> None:
        """End the connections to the primary; stock Django, which could not go on, is spared."""
        if not self.is_stock:
            self.writing.kill_connections()

    def forget(self) -> None:
        """As if this thread had never written."""
        if not self.is_stock:
            super().forget()

    def forget_positions(self) -> None:
        """As if nobody had asked the nodes how far they have come."""
        if not self.is_stock:
            super().forget_positions()

    def warm(self) -> None:
        """Connect everything, as in a worker that has been running for a while."""
        if not self.is_stock:
            super().warm()
            return
        connections["default"].close()
        with connection.cursor() as cursor:
            cursor.execute("DO 0")
