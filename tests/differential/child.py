"""One side: ``python -m tests.differential.child`` runs what it reads, one JSON text per line."""

from __future__ import annotations

import json
import os
import sys
import traceback
from typing import Any


def _path_first() -> None:
    """What PYTHONPATH names comes before the folder that this was started in."""
    named = [each for each in os.environ.get("PYTHONPATH", "").split(os.pathsep) if each]
    sys.path[:] = named + [each for each in sys.path if each not in named]


def _programme(job: dict[str, Any]) -> dict[str, Any]:
    from tests.differential.language import Programme
    from tests.differential.run import Run
    from tests.differential.scenes import in_a_thread, play

    programme = Programme.from_json(job["programme"])
    runs: list[Run] = []
    status: list[int] = []

    def steps() -> None:
        runs.append(Run(job["number"]))
        runs[-1].programme(programme)
        runs[-1].finish()

    in_a_thread(lambda: status.append(play(programme.scene, steps)))
    return {"events": runs[-1].events, "runs": len(runs), "status": status[0]}


def _prepare(job: dict[str, Any]) -> dict[str, Any]:
    import galera_router

    from django.core.management import call_command
    from django.db import connections

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
    import tests.differential.acts

    for line in sys.stdin:
        job = json.loads(line)
        try:
            answer = {"prepare": _prepare, "run": _programme}[job["do"]](job)
        except Exception:
            answer = {"broken": traceback.format_exc()}
        answers.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
