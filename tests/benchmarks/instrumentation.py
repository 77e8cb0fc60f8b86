"""What it costs to be watched: ``python -m tests.benchmarks.instrumentation``.

CPU seconds and calls of one request, as in ``tests.benchmarks.calls``, with Prometheus (with
``--several`` of several processes) and with OpenTelemetry and its SDK, beside the same without.
Each is a process of its own; the ratio is the median of many rounds, in each of which all take
their turn.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile

from galera_router.testing import GaleraCluster
from tests.benchmarks.sides import Sides, fill, migrate, sides

ROUNDS, SECONDS = 25, 0.2
VIEWS = {"10 reads": "ten_reads", "5 reads and a save": "five_reads_and_a_save"}
ALL = ("ours", "ours, another", "ours, Prometheus", "ours, OpenTelemetry")


def report(started: Sides, name: str, view: str, kinds: list[str]) -> None:
    """Measure one view and print a line for each kind."""
    calls = {kind: started[kind].do("calls", view=view)["calls"] for kind in kinds}
    seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
    for _ in range(ROUNDS):
        for kind in kinds:
            seconds[kind].append(started[kind].do("round", view=view, seconds=SECONDS)["cpu"])
    for kind, found in seconds.items():
        ratio = statistics.median(a / b for a, b in zip(found, seconds["ours"], strict=True))
        micro = statistics.median(found) * 1e6
        print(f"{name:20}{kind:22}{calls[kind]:8}{micro:8.0f}{ratio:8.3f}", flush=True)


def main() -> None:
    words = sys.argv[1:]
    if "--several" in words:  # read by prometheus_client when it is imported
        words.remove("--several")
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp()
    kinds = [kind for kind in ALL if not words or kind in ALL[:2] or kind[6:].lower() in words]
    with GaleraCluster() as cluster:
        migrate(cluster)
        fill(cluster)
        print(f"{'':42}{'calls':>8}{'CPU µs':>8}{'ratio':>8}")
        with sides(cluster) as started:
            for name, view in VIEWS.items():
                report(started, name, view, kinds)


if __name__ == "__main__":
    main()
