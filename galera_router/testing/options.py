"""The command lines of the servers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from .packages import Binaries
from .ports import HOST, Ports

# Small and quick: the data is thrown away. With 2 a commit is handed to the system before it is
# acknowledged, so it outlives a kill -9 of the server, and nothing waits for the disk.
SMALL_SERVER = (
    "--innodb-flush-log-at-trx-commit=2",
    "--innodb-buffer-pool-size=32M",
    "--innodb-log-file-size=16M",
    "--innodb-autoextend-increment=1",
    "--innodb-buffer-pool-dump-at-shutdown=0",
    "--innodb-buffer-pool-load-at-startup=0",
    "--innodb-fast-shutdown=1",
    "--aria-pagecache-buffer-size=2M",
    "--aria-log-file-size=8M",
    "--key-buffer-size=1M",
    "--performance-schema=0",
    "--skip-log-bin",
    "--sync-binlog=0",
    "--thread-cache-size=16",
)
SERVER = (
    "--bind-address=" + HOST,
    "--skip-name-resolve",
    "--character-set-server=utf8mb4",
    "--collation-server=utf8mb4_general_ci",
    "--default-storage-engine=InnoDB",
    "--binlog-format=ROW",
    "--innodb-autoinc-lock-mode=2",
    "--log-bin-trust-function-creators=1",
    "--max-connections=200",
    "--log-output=FILE",
    # MariaDB 11.8 has made variables of Galera's options, though not of gmcast.isolate, and refuses
    # SET GLOBAL wsrep_provider_options while it has. An older server does not know this option.
    "--loose-plugin-wsrep-provider=OFF",
)
# A lost node is noticed after about a second, a frozen one is shut out within three.
PROVIDER = {
    "gcache.size": "32M",
    "gcache.recover": "yes",
    "gmcast.time_wait": "PT1S",
    "evs.keepalive_period": "PT0.3S",
    "evs.inactive_check_period": "PT0.2S",
    "evs.suspect_timeout": "PT1S",
    "evs.inactive_timeout": "PT3S",
    "evs.install_timeout": "PT3S",
}


def server_command(binaries: Binaries, folder: Path) -> list[str]:
    """Returns what every start of a server on ``folder`` has in common."""
    return [
        str(binaries.server),
        "--no-defaults",
        f"--datadir={folder / 'data'}",
        f"--tmpdir={folder}",
        f"--socket={folder / 'socket'}",
        f"--pid-file={folder / 'pid'}",
        *SERVER,
        *SMALL_SERVER,
    ]


def galera_options(
    binaries: Binaries,
    name: str,
    ports: Ports,
    addresses: Iterable[str],
    provider: Mapping[str, str],
) -> list[str]:
    """Returns the options of one member.

    addresses: the group addresses of all members.
    provider: options of Galera's own that replace or follow those of :data:`PROVIDER`.
    """
    own = {
        "base_port": str(ports.group),
        "gmcast.listen_addr": f"tcp://{HOST}:{ports.group}",
        "ist.recv_addr": f"{HOST}:{ports.increments}",
    }
    all_of_them = {**PROVIDER, **provider, **own}
    joined = ";".join(f"{key}={value}" for key, value in all_of_them.items())
    return [
        f"--port={ports.client}",
        "--wsrep-on=1",
        f"--wsrep-provider={binaries.provider}",
        f"--wsrep-provider-options={joined}",
        f"--wsrep-cluster-address=gcomm://{','.join(addresses)}",
        "--wsrep-cluster-name=galera_router",
        f"--wsrep-node-name={name}",
        f"--wsrep-node-address={HOST}:{ports.group}",
        f"--wsrep-node-incoming-address={HOST}:{ports.client}",
        "--wsrep-sst-method=rsync",
        f"--wsrep-sst-receive-address={HOST}:{ports.snapshot}",
    ]
