"""Command line of the demonstration."""

from __future__ import annotations

import signal
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from demo.show import run
from demo.site import SiteFailed
from galera_router.testing import ClusterError, MissingPackages


def arguments() -> Namespace:
    """What was asked for on the command line."""
    parser = ArgumentParser(prog="demo", description="A site whose database nodes are killed.")
    parser.add_argument(
        "--seconds", type=float, default=30, help="how long to drive the site; 0: not at all"
    )
    parser.add_argument("--visitors", type=int, default=6, help="concurrent clients")
    parser.add_argument("--log", type=Path, help="a file for the server's log, to be kept")
    parser.add_argument("--serve", action="store_true", help="leave the site up until Ctrl-C")
    return parser.parse_args()


def heed_signals() -> None:
    """End in good order when told to, and outlive the terminal under nohup."""
    signal.signal(signal.SIGTERM, terminated)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, terminated)


def terminated(signum: int, frame: object) -> None:
    """Leave by an exception, so that everything that was started is stopped."""
    sys.exit(128 + signum)


def main() -> int:
    """Run the demonstration; the exit status is 0 only if there was nothing to complain about."""
    heed_signals()
    try:
        return run(arguments())
    except KeyboardInterrupt:
        print("\nInterrupted.")
        return 130
    except MissingPackages as missing:
        print(missing, file=sys.stderr)
        return 2
    except (SiteFailed, ClusterError, TimeoutError, ChildProcessError) as failure:
        print(failure, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
