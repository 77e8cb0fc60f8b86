"""The account that the servers run as, and the folders that they may use."""

from __future__ import annotations

import os
import pwd
import secrets
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import ClusterError

SERVER_ACCOUNT = "mysql"
# A unix socket's path is at most 107 bytes; the rest is "/db10/socket" and some room.
LONGEST_FOLDER = 80


@dataclass(frozen=True)
class Account:
    """Whom the servers run as; ``switch`` says whether we must change to it."""

    uid: int
    gid: int
    switch: bool

    def popen(self) -> dict[str, Any]:
        """Returns the arguments of Popen that make a child run as this account."""
        if not self.switch:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def make(self, folder: Path) -> None:
        """Create a private folder of this account."""
        folder.mkdir(mode=0o700)
        self.own(folder)

    def own(self, folder: Path) -> None:
        """Give a folder and everything below it to this account."""
        if not self.switch:
            return
        os.chown(folder, self.uid, self.gid)
        for parent, folders, files in os.walk(folder):
            for name in (*folders, *files):
                os.chown(os.path.join(parent, name), self.uid, self.gid)


def server_account() -> Account:
    """Returns ``mysql`` when we are root, ourselves otherwise.

    Raises ClusterError if we are root and there is no such account: neither the server nor its
    state transfer runs as root.
    """
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid(), switch=False)
    try:
        entry = pwd.getpwnam(SERVER_ACCOUNT)
    except KeyError:
        raise ClusterError(f"root needs an account {SERVER_ACCOUNT!r} for the servers") from None
    return Account(entry.pw_uid, entry.pw_gid, switch=True)


def new_folder(account: Account) -> Path:
    """Returns the path of a folder that does not exist yet, as short as there is one."""
    parent = Path(tempfile.gettempdir()).resolve()
    if not _is_usable(parent, account):
        parent = Path("/tmp")
    return parent / f"galera-{secrets.token_hex(6)}"


def _is_usable(parent: Path, account: Account) -> bool:
    if len(os.fsencode(parent)) > LONGEST_FOLDER - len("/galera-123456789012"):
        return False
    if not account.switch:
        return True
    return all(folder.stat().st_mode & 0o001 for folder in (parent, *parent.parents))
