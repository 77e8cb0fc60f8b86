"""Command line: ``python -m tests.chaos --seconds 60 --seed 1 --processes 4 --threads 4``."""

from __future__ import annotations

import signal
import sys

from galera_router.testing import ClusterError, GaleraCluster, MissingPackages
from tests.chaos.children import ChildFailed
from tests.chaos.options import parse
from tests.chaos.run import run


def heed_signals() -> None:
    """End in good order when told to, and outlive the terminal under nohup."""
    signal.signal(signal.SIGTERM, terminated)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, terminated)


def terminated(signum: int, frame: object) -> None:
    """Leave by an exception, so that everything that was started is stopped."""
    sys.exit(128 + signum)


def say(text: str) -> None:
    print(text, flush=True)


def main() -> int:
    """Run it; the exit status is 0 only if nothing at all is wrong."""
    options = parse()
    heed_signals()
    try:
        with GaleraCluster(3) as cluster:
            report = run(cluster, options, say)
    except KeyboardInterrupt:
        return 130
    except MissingPackages as missing:
        print(missing, file=sys.stderr)
        return 2
    except (ClusterError, ChildFailed, FileExistsError) as failure:
        print(failure, file=sys.stderr)
        return 1
    print("\n" + "\n".join(report.lines()), flush=True)
    if options.json is not None:
        report.save(options.json)
    return 0 if report.good else 1


if __name__ == "__main__":
    sys.exit(main())
