"""The long runs, one after the other: ``python -m tests.proof --report FOLDER``.

What each came to stays in the folder. So they can be done in several parts, with ``--only``, or
with ``--go-on``, which leaves out what was good with the commit that is checked out.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.proof.report import Result, kept, output_of, render
from tests.proof.steps import Step, steps

ROOT = Path(__file__).parents[2]
END = 60.0  # seconds in which a run that is told to end has to do so


def parse() -> argparse.Namespace:
    """The options on the command line."""
    parser = argparse.ArgumentParser(prog="tests.proof", description=__doc__)
    parser.add_argument(
        "--report", type=Path, default=Path("proof"), help="a folder for the report"
    )
    parser.add_argument("--seed", type=int, default=1, help="of the chaos runs")
    parser.add_argument("--only", default="", help="runs whose name contains this")
    parser.add_argument("--go-on", action="store_true", help="leave out what was good before")
    return parser.parse_args()


def run(step: Step, output: Path) -> Result:
    """Run ``step`` to its end, or end it; what it prints goes to the file ``output``."""
    begin, commit = time.monotonic(), checked_out()
    with output.open("w") as file:
        command = [sys.executable, "-m", *step.words]
        child = subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT)
        try:
            status: int | None = child.wait(step.minutes * 60)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            end(child)
    return Result(step, status, time.monotonic() - begin, output, commit)


def end(child: subprocess.Popen[bytes]) -> None:
    """End a run that has not ended by itself; it ends what it has started."""
    if child.poll() is None:
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(END)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def checked_out() -> str:
    """The commit, with a mark if a file differs from it; nothing without git or a repository."""
    command = ["git", "describe", "--always", "--dirty"]
    if shutil.which(command[0]) is None:
        return ""
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.strip()


def chosen(options: argparse.Namespace) -> list[Step]:
    """The runs that are asked for."""
    found = [step for step in steps(options.seed) if options.only in step.name]
    if options.go_on:
        now = checked_out()
        before = kept(found, options.report)
        done = {one.step for one in before if one.good and one.commit == now}
        found = [step for step in found if step not in done]
    return found


def main() -> int:
    """Run them; the exit status is 0 only if every one has ended well."""
    options = parse()
    options.report.mkdir(parents=True, exist_ok=True)
    good = True
    for step in chosen(options):
        print(f"{step.name} …", flush=True)
        result = run(step, output_of(step, options.report))
        result.keep()
        print(result.line(), flush=True)
        good &= result.good
        page = render(kept(steps(options.seed), options.report))
        (options.report / "report.md").write_text(page)
    return 0 if good else 1


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    sys.exit(main())
