"""``manage.py galera_drain NODE``: take a node out of service; ``--undo``: put it back."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from galera_router.cluster import drain as draining
from galera_router.cluster.drain import CannotDrain, drain, undrain, wait_idle
from galera_router.cluster.node import Node
from galera_router.connections.errors import ERRORS

from .galera_switchover import find_cluster, named


class Command(BaseCommand):
    """The command; it ends with status 1 if the node was not drained, or has not become idle."""

    help = (
        "Has no new work go to NODE, in any process, and waits until it is idle: it can then be"
        " stopped. If it is the primary, another node becomes the primary first. It stays drained,"
        " also when its server is started again, until --undo."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("node", help="its name in NODES")
        parser.add_argument("--undo", action="store_true", help="have work go to it again")
        parser.add_argument("--database", default="default", help="the alias of the cluster")
        parser.add_argument(
            "--timeout",
            type=float,
            default=60.0,
            help="seconds to wait until it is idle, 4 at least; 0: do not wait (default: 60)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        cluster = find_cluster(options["database"])
        node = named(cluster.nodes, options["node"])
        try:
            if options["undo"]:
                self._undo(node)
            else:
                _check_timeout(options["timeout"])
                self._drain(node, options["timeout"])
        except (CannotDrain, *ERRORS) as error:
            what = "put back" if options["undo"] else "drained"
            raise CommandError(f"{node.name} has not been {what}: {error}") from error

    def _undo(self, node: Node) -> None:
        text = "is not drained any more" if undrain(node) else "was not drained"
        self.stdout.write(f"{node.name} {text}.")

    def _drain(self, node: Node, seconds: float) -> None:
        moved = drain(node)
        if moved is not None:
            leader = node.cluster.epochs.name
            pause = f"Writes have paused for {moved.seconds * 1000:.0f} ms."
            self.stdout.write(f"{leader} is the primary now. {pause}")
        self.stdout.write(f"{node.name} is drained: no new work goes to it.")
        if seconds <= 0:
            return
        count = wait_idle(node, seconds)
        if count:
            raise CommandError(
                f"{node.name} is not idle after {seconds:g} s: {count} connections are at work."
                " It stays drained: run this again to go on waiting, or --undo."
            )
        self.stdout.write(f"{node.name} is idle. It can be stopped.")


def _check_timeout(seconds: float) -> None:
    """Raise CommandError for a time in which not every process has heard."""
    if seconds and not seconds >= draining.HEARD:
        raise CommandError(
            f"--timeout={seconds:g}: every process has heard of it after {draining.HEARD:g} s."
            " Give at least that, or 0 to not wait."
        )
