"""The data directory that every node starts as a copy of, made once and kept between runs."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
import tempfile
from pathlib import Path

from .account import Account, new_folder
from .errors import ClusterError
from .options import server_command
from .packages import Binaries
from .process import run_to_end
from .reaper import Reaper

# To be raised whenever what is below makes another kind of folder.
FORMAT = 1
# Nobody but root, and root only over the unix socket; the time zone for Django's CONVERT_TZ.
SETUP = """
DELETE FROM mysql.global_priv WHERE NOT (User = 'root' AND Host = 'localhost')
  AND User <> 'mariadb.sys';
DELETE FROM mysql.proxies_priv WHERE Host <> 'localhost';
INSERT INTO mysql.time_zone (Time_zone_id, Use_leap_seconds) VALUES (1, 'N');
INSERT INTO mysql.time_zone_name (Name, Time_zone_id) VALUES ('UTC', 1);
INSERT INTO mysql.time_zone_transition_type
  (Time_zone_id, Transition_type_id, `Offset`, Is_DST, Abbreviation) VALUES (1, 0, 0, 0, 'UTC');
"""
INSTALL_OPTIONS = (
    "--no-defaults",
    "--auth-root-authentication-method=normal",
    "--skip-test-db",
    "--skip-name-resolve",
    "--innodb-autoextend-increment=1",
    "--innodb-log-file-size=16M",
    "--aria-log-file-size=8M",
)


def template(binaries: Binaries, account: Account) -> Path:
    """Returns the folder with the initial data, made now if this version has none yet."""
    kept = _cache() / f"template-{_key(binaries)}"
    if not kept.is_dir():
        _make(binaries, account, kept)
    return kept


def _cache() -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    for parent in (Path(root) / "galera_router", Path(tempfile.gettempdir()) / _private_name()):
        with contextlib.suppress(OSError):
            parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if os.access(parent, os.W_OK) and parent.lstat().st_uid == os.geteuid():
                return parent
    raise ClusterError("no folder to keep the initial data in: set XDG_CACHE_HOME")


def _private_name() -> str:
    return f"galera_router-cache-{os.geteuid()}"


def _key(binaries: Binaries) -> str:
    made_by = repr((FORMAT, binaries.version, str(binaries.server), SETUP, INSTALL_OPTIONS))
    return hashlib.sha256(made_by.encode()).hexdigest()[:16]


def _make(binaries: Binaries, account: Account, kept: Path) -> None:
    part = kept.with_name(f"part-{secrets.token_hex(6)}")
    with Reaper(new_folder(account)) as made, Reaper(part):
        account.make(made.folder)
        _install(binaries, account, made.folder)
        shutil.copytree(made.folder / "data", part)
        # Renaming is atomic: another program finds all of it or nothing. Whoever loses the race
        # finds the winner's folder, which is as good.
        with contextlib.suppress(OSError):
            part.rename(kept)
    if not kept.is_dir():
        raise ClusterError(f"could not keep the initial data in {kept}")


def _install(binaries: Binaries, account: Account, folder: Path) -> None:
    data = folder / "data"
    # A server that starts removes the temporary tables of others from a folder that they share.
    own = [f"--datadir={data}", f"--tmpdir={folder}"]
    install = [str(binaries.install_db), *INSTALL_OPTIONS, *own]
    run_to_end(install, folder, account)
    setup = [*server_command(binaries, folder), "--bootstrap", "--skip-networking"]
    run_to_end(setup, folder, account, sql="USE mysql;\n" + SETUP)
