"""The plot of the demonstration, from the first node to the report."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import IO, TYPE_CHECKING, Any

from demo.audit import Ledger, complaints
from demo.control import Control
from demo.nodes import ReadMeter, positions, states
from demo.report import Report
from demo.site import PROJECT, Site
from demo.storm import Storm
from demo.tally import Tally
from galera_router.testing import GaleraCluster

if TYPE_CHECKING:
    from argparse import Namespace

ACCOUNTS, OPENING = 16, 100_000  # cents
DATABASE, USER, PASSWORD = "bank", "bank", "bank"
TICK = 0.1  # seconds between two looks at what is due
EVERY = 2.0  # seconds between two lines of progress
AFTERMATH = 60.0  # seconds that the nodes may take to be back and equal
GUESTS, PAUSE = 4, 0.3  # visitors while the site stays up, and seconds between two pages of each
ADMIN = "admin"
CONTROL = "control"  # the socket's name


def run(options: Namespace) -> int:
    """Play it; the exit status says whether all went well."""
    say("Starting a cluster of three nodes on this machine.")
    with (
        GaleraCluster(3, database=DATABASE, user=USER, password=PASSWORD) as cluster,
        TemporaryDirectory(prefix="bank-") as folder,
        site_of(cluster, Path(folder), options.log) as site,
    ):
        say(f"{states(cluster)}. Opening the bank.")
        site.manage("migrate", "--verbosity=0")
        site.manage("seed_bank", f"--accounts={ACCOUNTS}", f"--opening={OPENING}")
        site.start()
        good = drive_and_report(cluster, site, options) if options.seconds else True
        if options.serve:
            with Control(cluster, Path(folder) / CONTROL):
                serve(site)
    return 0 if good else 1


def site_of(cluster: GaleraCluster, folder: Path, log: Path | None) -> Site:
    """The site, which counts in ``folder`` and looks there for who answers its buttons."""
    shared = {"STRIP_FOLDER": str(folder), "STRIP_CONTROL": str(folder / CONTROL)}
    return Site(database_url(cluster), log or folder / "server.log", **shared)


def drive_and_report(cluster: GaleraCluster, site: Site, options: Namespace) -> bool:
    """The storm and its report; whether there was nothing to complain about."""
    report = drive(cluster, site, options)
    print("\n" + "\n".join(report.lines()) + "\n", flush=True)
    return report.good


def database_url(cluster: GaleraCluster) -> str:
    """The cluster as the site's settings want it: one URL with all hosts."""
    hosts = ",".join(f"{node.host}:{node.port}" for node in cluster.nodes)
    return f"mysql://{USER}:{PASSWORD}@{hosts}/{DATABASE}"


def drive(cluster: GaleraCluster, site: Site, options: Namespace) -> Report:
    """Send the visitors in, let the storm blow, and look at the damage."""
    meter = ReadMeter(cluster)
    say(f"{options.visitors} visitors come to {site.address} for {options.seconds:.0f} s.")
    visitors = Visitors(site.port, options.visitors, options.seconds)
    try:
        watch(cluster, visitors, meter, options.seconds)
        tally = visitors.tally()
    finally:
        visitors.stop()
    meter.look()
    settle(cluster)
    ledgers = {node.name: Ledger.of(node, DATABASE) for node in cluster.nodes}
    return Report(
        tally=tally,
        seconds=options.seconds,
        failovers=site.failovers(),
        shares=meter.shares(),
        books={
            name: complaints(ledger, tally.asked, ACCOUNTS * OPENING)
            for name, ledger in ledgers.items()
        },
        nodes_equal=len(set(ledgers.values())) == 1,
        log=site.complaints(),
    )


def watch(cluster: GaleraCluster, visitors: Visitors, meter: ReadMeter, seconds: float) -> None:
    """Until the visitors have gone and the storm is over: storm, progress, storm, ..."""
    start = time.monotonic()
    storm = Storm(cluster, seconds, visitors.say, meter.look)
    blowing, told = True, 0.0
    while blowing or visitors.there:
        now = time.monotonic() - start
        if now > seconds + AFTERMATH:
            raise TimeoutError(f"the nodes are not back: {states(cluster)}")
        blowing = storm.blow(now)
        if now >= told + EVERY:
            told = now
            meter.look()
            visitors.say(states(cluster))
        time.sleep(TICK)


def settle(cluster: GaleraCluster) -> None:
    """Wait until every node has applied the same writes."""
    cluster.wait_synced(AFTERMATH)
    deadline = time.monotonic() + AFTERMATH
    while len(seen := positions(cluster)) > 1 or None in seen:
        if time.monotonic() > deadline:
            raise TimeoutError(f"the nodes do not become equal: {seen}")
        time.sleep(TICK)


def serve(site: Site) -> None:
    """Leave the site up, with a few visitors, until Ctrl-C or until the server ends."""
    password = secrets.token_urlsafe(6)
    site.manage(
        "createsuperuser",
        "--noinput",
        f"--username={ADMIN}",
        "--email=",
        DJANGO_SUPERUSER_PASSWORD=password,
    )
    print(f"The site stays up at {site.address} until Ctrl-C.")
    print("The buttons on its pages kill, freeze and start the nodes; a few visitors stay.")
    print(f"Its admin: {site.address}admin/ (user {ADMIN}, password {password})", flush=True)
    visitors = Visitors(site.port, GUESTS, float("inf"), PAUSE)
    try:
        while site.running:
            time.sleep(TICK)
    finally:
        visitors.stop()


def say(text: str) -> None:
    """One line for the audience, at once."""
    print(text, flush=True)


class Visitors:
    """The process of the visitors, read line by line as it reports."""

    def __init__(self, port: int, count: int, seconds: float, pause: float = 0.04) -> None:
        command = [sys.executable, "-m", "demo.load", f"--port={port}", f"--pause={pause}"]
        command += [f"--visitors={count}", f"--seconds={seconds}"]
        self._start = time.monotonic()
        self._process = subprocess.Popen(
            command, cwd=PROJECT, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        assert self._process.stdout is not None
        self._last: dict[str, Any] = {"requests": 0, "errors": 0}
        self._reader = Thread(target=self._read, args=(self._process.stdout,), daemon=True)
        self._reader.start()

    @property
    def there(self) -> bool:
        """Whether they are still visiting."""
        return self._process.poll() is None

    def say(self, text: str) -> None:
        """A line of progress with what is known of the visitors."""
        now = time.monotonic() - self._start
        requests, errors = self._last["requests"], self._last["errors"]
        count = errors if isinstance(errors, int) else sum(errors.values())
        say(f"{now:5.1f} s {requests:6d} requests {count:3d} errors   {text}")

    def tally(self) -> Tally:
        """What they saw, when they have gone; raises ``ChildProcessError`` if they broke down."""
        self._process.wait()
        self._reader.join()
        if self._process.returncode:
            raise ChildProcessError(f"the visitors ended with {self._process.returncode}")
        return Tally.from_dict(self._last)

    def stop(self) -> None:
        """Send them home."""
        self._process.kill()
        self._process.wait()

    def _read(self, lines: IO[str]) -> None:
        with lines:
            for line in lines:
                self._last = json.loads(line)
