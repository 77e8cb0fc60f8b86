"""What Galera keeps on disk beside the data: the saved position and the saved membership."""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from pathlib import Path

NO_POSITION = "00000000-0000-0000-0000-000000000000:-1"
_ENTRY = re.compile(r"^(uuid|seqno):\s*(\S+)", re.MULTILINE)


def saved_position(data: Path) -> str | None:
    """Returns ``uuid:seqno`` as of a clean shutdown; None after a crash or without any."""
    file = data / "grastate.dat"
    entries = dict(_ENTRY.findall(file.read_text())) if file.exists() else {}
    if entries.get("seqno", "-1") == "-1":
        return None
    return f"{entries['uuid']}:{entries['seqno']}"


def save_position(data: Path, position: str) -> None:
    """Write the position, and that this node may begin a new primary component."""
    group, _, number = position.rpartition(":")
    (data / "grastate.dat").write_text(
        "# GALERA saved state\nversion: 2.1\n"
        f"uuid:    {group}\nseqno:   {number}\nsafe_to_bootstrap: 1\n"
    )


def save_memberships(folders: Sequence[Path]) -> None:
    """Write into each data folder that it was a member of one primary component with the others.

    Servers started with this find each other and go on where "they" were, all at once: nobody has
    to begin, and nobody needs a state transfer.
    """
    members = sorted(str(uuid.uuid1()) for _ in folders)
    listed = "".join(f"member: {member} 0\n" for member in members)
    for folder, member in zip(folders, members, strict=True):
        (folder / "gvwstate.dat").write_text(
            f"my_uuid: {member}\n#vwbeg\nview_id: 3 {members[0]} 1\nbootstrap: 0\n{listed}#vwend\n"
        )


def forget_membership(data: Path) -> None:
    """Remove the saved membership, so that the server joins whom it finds."""
    (data / "gvwstate.dat").unlink(missing_ok=True)


def seqno(position: str | None) -> int:
    """Returns the number at the end of a position; -1 for None."""
    return int(position.rpartition(":")[2]) if position else -1
