"""One side: ``python -m tests.differential.child`` runs what it reads, one JSON text per line."""

from __future__ import annotations

import json
import os
import sys
import traceback
from types import FrameType
from typing import Any


def _path_first() -> None:
    """What PYTHONPATH names comes before the folder that this was started in."""
    named = [each for each in os.environ.get("PYTHONPATH", "").split(os.pathsep) if each]
    sys.path[:] = named + [each for each in sys.path if each not in named]


def _programme(job: dict[str, Any]) -> dict[str, Any]:
    from tests.differential.language import Programme
    from tests.differential.run import Loss, Run
    from tests.differential.scenes import in_a_thread, play, raised_of_request

    programme = Programme.from_json(job["programme"])
    loss = Loss(**job["loss"]) if "loss" in job else None
    runs: list[Run] = []
    status: list[int] = []

    def steps() -> None:
        runs.append(Run(job["number"], loss))
        runs[-1].programme(programme)
        runs[-1].finish()

    with raised_of_request() as raised:
        in_a_thread(lambda: status.append(play(programme.scene, steps)))
    last = runs[-1]
    return {
        "events": last.events, "runs": len(runs), "status": status[0], "failed": last.failed_at,
        "started": last.started, "request": raised[-1] if raised else None,
    }  # fmt: skip


class _Undo(Exception):
    """Ends the block in which a programme is interrupted."""


def _ends_a_block(frame: FrameType | None) -> bool:
    """Returns True before Django has taken the block that ends off its list."""
    from django.db.transaction import Atomic

    while frame is not None and frame.f_code is not Atomic.__exit__.__code__:
        frame = frame.f_back
    return frame is not None and "sid" not in frame.f_locals


def _points(job: dict[str, Any]) -> dict[str, Any]:
    """Run a programme in a block that is undone, with an exception at one of its points; then
    two statements more. The beginning and the end of a block are not interrupted: there, stock
    Django too loses count of its blocks.
    """
    from django.db import transaction

    from tests.differential.interrupts import Interrupts
    from tests.differential.language import Programme
    from tests.differential.run import Run, describe
    from tests.differential.scenes import in_a_thread

    programme = Programme.from_json(job["programme"])
    interrupts = Interrupts(job["at"], but_in=_ends_a_block)
    seen: dict[str, Any] = {"raised": None}

    def body(run: Run) -> None:
        with interrupts:
            run.steps(programme.steps)

    def steps() -> None:
        run = Run(job["number"])
        run.warm()
        try:
            if job["autocommit"]:
                body(run)
            else:
                with transaction.atomic():
                    body(run)
                    raise _Undo
        except Exception as error:
            seen["raised"] = describe(error)
        run.afterwards()
        seen.update(count=interrupts.count, interrupted=interrupts.raised, events=list(run.events))
        run.finish()

    in_a_thread(steps)
    return seen


def _break(job: dict[str, Any]) -> dict[str, Any]:
    from tests.differential.broken import BREAKS

    BREAKS[job["name"]]()
    return {}


def _prepare(job: dict[str, Any]) -> dict[str, Any]:
    from django.core.management import call_command
    from django.db import connections

    import galera_router

    call_command("migrate", verbosity=0, run_syncdb=True)
    connections.close_all()
    return {"galera_router": galera_router.__file__}


def main() -> None:
    """Answer each line with one; a failure of ours ends the process with its traceback."""
    _path_first()
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.differential.settings"
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever prints does not disturb

    import django

    django.setup()
    from galera_router.cluster import nodes
    from tests.differential.acts import OPS

    assert OPS, "the steps are declared by this import"
    nodes.STARTED = 0.0  # the first node is the primary, however young its server is

    for line in sys.stdin:
        job = json.loads(line)
        try:
            answer = {"prepare": _prepare, "run": _programme, "points": _points, "break": _break}[
                job["do"]
            ](job)
        except Exception:
            answer = {"broken": traceback.format_exc()}
        answers.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
