"""Start a cluster, and carry out commands until Ctrl-C: python -m galera_router.testing.

It prints settings to be pasted, and reads commands from its standard input: kill, freeze, start
and status.
"""

from __future__ import annotations

import argparse
import pprint
import signal
import sys
import time

from .cluster import GaleraCluster
from .console import HELP, answers
from .errors import ClusterError

#: The servers are to be such as a person's own, and `check --database` is to be content.
DURABLE = ("--innodb-flush-log-at-trx-commit=1",)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 1 if the cluster cannot be started."""
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with GaleraCluster(**vars(options), options=DURABLE) as cluster:
            _say(describe(cluster))
            for answer in answers(cluster, sys.stdin or ()):
                _say(answer)
            while True:  # it has no input, or that has ended
                time.sleep(3600)
    except KeyboardInterrupt:
        return 0
    except ClusterError as error:
        sys.stderr.write(f"{error}\n")
        return 1


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def describe(cluster: GaleraCluster) -> str:
    """Returns lines for the end of a settings module; what else a person needs are comments."""
    nodes = "\n".join(
        f"# {node.name}  {node.host}:{node.port}  pid {node.pid}  root at {node.socket}"
        for node in cluster.nodes
    )
    commands = "\n".join(f"# {line}" for line in HELP.splitlines())
    databases = pprint.pformat(cluster.databases(), sort_dicts=False)
    return (
        f"{nodes}\n\n"
        "import galera_router\n\n"
        f"DATABASES = galera_router.expand(\n{databases}\n)\n"
        'DATABASE_ROUTERS = ["galera_router.routers.GaleraRouter"]\n'
        'INSTALLED_APPS = [*INSTALLED_APPS, "galera_router"]\n'
        'MIDDLEWARE = ["galera_router.middleware.GaleraMiddleware", *MIDDLEWARE]\n\n'
        f"{commands}\n"
        "# Ctrl-C ends the servers and removes their data."
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
