"""What can go wrong while a cluster is set up or driven."""

from __future__ import annotations


class ClusterError(RuntimeError):
    """A server did not start, died, or did not reach the wanted state in time."""


class MissingPackages(ClusterError):
    """Programs that a cluster needs are not installed.

    ``packages`` names the Debian packages to install.
    """

    def __init__(self, packages: tuple[str, ...]) -> None:
        self.packages = packages
        names = " ".join(packages)
        super().__init__(f"a Galera cluster needs these packages: apt-get install {names}")
