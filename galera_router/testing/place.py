"""Where a node lives, and the data that it has there while its server does not run."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .account import Account
from .options import galera_options, server_command
from .packages import Binaries
from .ports import Ports
from .process import ServerProcess, recover_position
from .state import forget_membership, save_position, saved_position

# What a copy of a node's data is better off without.
_PRIVATE_FILES = shutil.ignore_patterns("galera.cache", "gcache.page.*", "gvwstate.dat", "ibtmp*")


@dataclass(frozen=True)
class Place:
    """The folder, the ports and the program of one node."""

    name: str
    folder: Path
    ports: Ports
    binaries: Binaries
    account: Account
    addresses: tuple[str, ...]
    options: tuple[str, ...] = ()
    provider: Mapping[str, str] = field(default_factory=dict)

    @property
    def data(self) -> Path:
        """The server's data folder."""
        return self.folder / "data"

    @property
    def socket(self) -> Path:
        """The server's unix socket."""
        return self.folder / "socket"

    @property
    def is_alone(self) -> bool:
        """Returns True if the cluster has no other node."""
        return len(self.addresses) == 1

    def command(self) -> list[str]:
        """Returns the command line, without what says how to begin."""
        common = server_command(self.binaries, self.folder)
        galera = galera_options(self.binaries, self.name, self.ports, self.addresses, self.provider)
        return [*common, *galera, *self.options]

    def spawn(self, *options: str) -> ServerProcess:
        """Start the server with these options besides the usual ones; do not wait for it."""
        return ServerProcess([*self.command(), *options], self.folder, self.account)

    def position(self) -> str | None:
        """Returns ``uuid:seqno``, up to which the data got; None if it has no position."""
        return saved_position(self.data) or recover_position(
            self.command(), self.folder, self.account
        )

    def prepare_to_join(self) -> list[str]:
        """Make the next start join the others; return the options that it takes."""
        forget_membership(self.data)
        position = self.position()
        return [f"--wsrep-start-position={position}"] if position else []

    def prepare_to_begin(self) -> list[str]:
        """Make the next start begin a primary component; return the options that it takes."""
        forget_membership(self.data)
        position = self.position()
        if position:
            save_position(self.data, position)
        return ["--wsrep-new-cluster"]

    def take_over(self, other: Place, position: str) -> None:
        """Replace the data by a copy of another's, which got to ``position``; neither runs."""
        if other is not self:
            shutil.rmtree(self.data)
            shutil.copytree(other.data, self.data, ignore=_PRIVATE_FILES)
        save_position(self.data, position)
        self.account.own(self.data)
