"""Start a cluster, say how to reach it, and wait for Ctrl-C: python -m galera_router.testing."""

from __future__ import annotations

import argparse
import pprint
import signal
import sys
import time

from .cluster import GaleraCluster
from .errors import ClusterError


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 1 if the cluster cannot be started."""
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with GaleraCluster(**vars(options)) as cluster:
            sys.stdout.write(describe(cluster) + "\n")
            sys.stdout.flush()
            while True:
                time.sleep(3600)
    except KeyboardInterrupt:
        return 0
    except ClusterError as error:
        sys.stderr.write(f"{error}\n")
        return 1


def describe(cluster: GaleraCluster) -> str:
    """Returns what a person needs to use the cluster."""
    nodes = "\n".join(
        f"{node.name}  {node.host}:{node.port}  pid {node.pid}  root at {node.socket}"
        for node in cluster.nodes
    )
    databases = pprint.pformat(cluster.databases(), sort_dicts=False)
    return (
        f"{nodes}\n\n"
        "import galera_router\n\n"
        f"DATABASES = galera_router.expand(\n{databases}\n)\n\n"
        "Ctrl-C ends the servers and removes their data."
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m galera_router.testing", description=__doc__)
    parser.add_argument("--size", type=int, default=3, help="how many nodes (default 3)")
    parser.add_argument(
        "--database", default="galera_router", help="its name (default %(default)s)"
    )
    parser.add_argument("--user", default="galera", help="the user's name (default %(default)s)")
    parser.add_argument("--password", default="galera", help="the user's password")
    return parser


if __name__ == "__main__":
    sys.exit(main())
