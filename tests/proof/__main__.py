"""Command line: ``python -m tests.proof --report FOLDER``."""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.proof.report import Result, render
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
    return parser.parse_args()


def run(step: Step, output: Path) -> Result:
    """Run ``step`` to its end, or end it; what it prints goes to the file ``output``."""
    begin = time.monotonic()
    with output.open("w") as file:
        command = [sys.executable, "-m", *step.words]
        child = subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT)
        try:
            status: int | None = child.wait(step.minutes * 60)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            end(child)
    return Result(step, status, time.monotonic() - begin, output)


def end(child: subprocess.Popen[bytes]) -> None:
    """End a run that has not ended by itself; it ends what it has started."""
    if child.poll() is None:
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(END)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def main() -> int:
    """Run them all; the exit status is 0 only if every one has ended well."""
    options = parse()
    options.report.mkdir(parents=True, exist_ok=True)
    results: list[Result] = []
    for step in steps(options.seed):
        if options.only in step.name:
            print(f"{step.name} …", flush=True)
            name = step.name.replace(" ", "-").replace(",", "").replace("'", "")
            results.append(run(step, options.report / f"{name}.txt"))
            print(results[-1].line(), flush=True)
            (options.report / "report.md").write_text(render(results))
    return 0 if results and all(result.good for result in results) else 1


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    sys.exit(main())
