"""Find the installed server, the Galera library and what they call."""

from __future__ import annotations

import glob
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from .errors import MissingPackages

# Servers live in sbin, which an ordinary user's PATH leaves out.
SEARCH_PATH = os.pathsep.join(
    [os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/usr/bin", "/bin"]
)
PROVIDERS = (
    "/usr/lib/galera/libgalera_smm.so",
    "/usr/lib*/galera*/libgalera_smm.so",
    "/usr/lib/*/galera*/libgalera_smm.so",
    "/usr/lib*/libgalera_smm.so",
)


@dataclass(frozen=True)
class Binaries:
    """The programs of one installation and the server's version line."""

    server: Path
    install_db: Path
    provider: Path
    version: str


def find_binaries() -> Binaries:
    """Returns the installed programs.

    Raises MissingPackages, which names every package that is missing, not the first alone.
    """
    server = _program("mariadbd", "mysqld")
    install_db = _program("mariadb-install-db", "mysql_install_db")
    provider = _provider()
    missing = _missing(
        {
            "mariadb-server": server is not None and install_db is not None,
            "galera-4": provider is not None,
            "rsync": _program("rsync") is not None,
        }
    )
    if missing or server is None or install_db is None or provider is None:
        raise MissingPackages(missing)
    return Binaries(server, install_db, provider, _version(server))


def _program(*names: str) -> Path | None:
    found = (shutil.which(name, path=SEARCH_PATH) for name in names)
    return next((Path(path) for path in found if path), None)


def _provider() -> Path | None:
    found = (path for pattern in PROVIDERS for path in sorted(glob.glob(pattern)))
    return next((Path(path) for path in found), None)


def _missing(present: dict[str, bool]) -> tuple[str, ...]:
    return tuple(package for package, is_there in present.items() if not is_there)


def _version(server: Path) -> str:
    answer = subprocess.run(
        [server, "--no-defaults", "--version"], capture_output=True, text=True, check=True
    )
    return answer.stdout.strip()
