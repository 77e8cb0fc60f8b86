"""``manage.py galera_status``: which node is the primary, and how all of them are."""

from __future__ import annotations

import json
import sys
import time
from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from galera_router.cluster.registry import clusters
from galera_router.cluster.survey import DEGRADED, Survey, Surveyor

from .galera_switchover import find_cluster

#: Seconds to wait for the answers.
WAIT = 2.0
_COLUMNS = (
    "node", "role", "state", "zone", "lag", "queue", "flow control", "epoch", "size", "markers",
    "version",
)  # fmt: skip
_SAYS = ("all is well", "something is wrong", "no node is the primary")


class Command(BaseCommand):
    """The command; its exit status is that of the cluster that is worst off."""

    help = (
        "Shows the nodes of each cluster, by each server's own account and as seen from here."
        " Exit status: 0 all is well, 1 something is wrong, 2 a cluster has no primary."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--database", help="the alias of one cluster; default: all")
        parser.add_argument("--json", action="store_true", help="for a program")
        parser.add_argument(
            "--watch",
            type=float,
            nargs="?",
            const=1.0,
            metavar="SECONDS",
            help="show it again after so many seconds, until Ctrl-C (default: 1); with rich, the"
            " extra `status`, in place",
        )
        parser.add_argument("--count", type=int, help="end --watch after so many looks")

    def handle(self, *args: Any, **options: Any) -> None:
        alias = options["database"]
        found = [find_cluster(alias)] if alias else clusters()
        if not found:
            raise CommandError("There is no cluster in DATABASES.")
        surveyors = [Surveyor(cluster, markers=True) for cluster in found]
        show = self._json if options["json"] else self._text
        if options["watch"] is None:
            surveys = self._look(surveyors)
            self.stdout.write(show(surveys))
        else:
            surveys = self._watch(surveyors, show, options)
        status = max(survey.exit_status for survey in surveys)
        if status:
            sys.exit(status)

    def _look(self, surveyors: Sequence[Surveyor]) -> list[Survey]:
        return [surveyor.look(wait=WAIT, age=0.0) for surveyor in surveyors]

    # --- again and again

    def _watch(
        self,
        surveyors: Sequence[Surveyor],
        show: Callable[[list[Survey]], str],
        options: dict[str, Any],
    ) -> list[Survey]:
        pause, left = max(0.1, options["watch"]), options["count"]
        surveys = self._look(surveyors)
        with self._screen(plain=options["json"]) as put:
            put(show(surveys))
            try:
                while left is None or (left := left - 1) > 0:
                    time.sleep(pause)
                    surveys = self._look(surveyors)
                    put(show(surveys))
            except KeyboardInterrupt:
                return surveys
        return surveys

    def _screen(self, *, plain: bool) -> Screen:
        if plain or not _is_terminal(self.stdout):
            return Screen(self.stdout.write)
        try:
            return _rich()
        except ImportError:
            return Screen(lambda text: self.stdout.write(f"\033[H\033[2J{text}"))

    # --- what is shown

    def _json(self, surveys: list[Survey]) -> str:
        return json.dumps([survey.as_dict() for survey in surveys], indent=2)

    def _text(self, surveys: list[Survey]) -> str:
        return "\n\n".join(self._cluster(survey) for survey in surveys)

    def _cluster(self, survey: Survey) -> str:
        told = survey.as_dict()
        status, paint = told["status"], self._paint
        lines = [f"{told['cluster']}: {paint(status, _SAYS[status])}", *self._primary(told), ""]
        rows = [_cells(node) for node in told["nodes"]]
        widths = [max(map(len, column)) for column in zip(_COLUMNS, *rows, strict=True)]
        lines.append(self.style.MIGRATE_HEADING(_row(_COLUMNS, widths)))
        for node, row in zip(told["nodes"], rows, strict=True):
            lines.append(paint(_level(node), _row(row, widths)))
        lines += ["", *(paint(DEGRADED, text) for text in told["complaints"])]
        return "\n".join(lines).rstrip()

    def _primary(self, told: dict[str, Any]) -> list[str]:
        epoch = told["epoch"]
        if epoch is None:
            return ["There is no table that names the primary: run migrate."]
        age = _age(told["at"] - epoch["since"])
        held = ", by an operator: no failback" if epoch["held"] else ""
        return [f"Epoch {epoch['number']}, for {age}: {epoch['reason']}{held}"]

    def _paint(self, level: int, text: str) -> str:
        styles = (self.style.SUCCESS, self.style.WARNING, self.style.ERROR)
        return styles[level](text)


class Screen:
    """Where --watch shows one text after the other."""

    def __init__(self, put: Callable[[str], object]) -> None:
        self._put = put

    def __enter__(self) -> Callable[[str], object]:
        return self._put

    def __exit__(self, *args: object) -> None:
        self.close()

    def close(self) -> None:
        """Nothing more is shown."""


def _rich() -> Screen:
    from rich.live import Live
    from rich.text import Text

    live = Live(auto_refresh=False)

    class InPlace(Screen):
        def close(self) -> None:
            live.stop()

    live.start()
    return InPlace(lambda text: live.update(Text.from_ansi(text), refresh=True))


def _is_terminal(out: Any) -> bool:
    return bool(getattr(out, "isatty", lambda: False)())


def _cells(node: dict[str, Any]) -> list[str]:
    paused = node["flow_control"]
    role = node["role"] + (" (drained)" if node["drained"] and node["role"] == "primary" else "")
    return [
        node["name"],
        role if node["here"]["reachable"] or node["drained"] else "-",
        node["state"],
        node["zone"] or "-",
        f"{node['lag']:.1f} s",
        str(node["receive_queue"]),
        "-" if paused is None else f"{paused:.1%}",
        str(node["epoch"] or "-"),
        str(node["own"]["size"] or "-"),
        "-" if node["markers"] is None else str(node["markers"]),
        " ".join(filter(None, (node["version"], node["galera"]))) or "-",
    ]


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(map(str.ljust, cells, widths)).rstrip()


def _level(node: dict[str, Any]) -> int:
    if node["error"]:
        return 2
    return int(node["drained"] or node["state"] not in ("Synced", "alone"))


def _age(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"
