"""One run from the first table to the report."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from galera_router.testing import GaleraCluster, Proxy
from tests.chaos import alarms, books, checks, histories, ledger, report
from tests.chaos.children import Child, Crew, end_all, run_to_end
from tests.chaos.config import Config
from tests.chaos.faults import Faults, Window
from tests.chaos.options import Options
from tests.chaos.pauses import outages
from tests.chaos.plan import Strike, schedule
from tests.chaos.report import Report
from tests.chaos.watch import Watch
from tests.chaos.ways import Way

Say = Callable[[str], None]

CALM = 1.5  # seconds of work after the last fault
END = 45.0  # seconds until every client must have come back
CONFIG = "config-{}.json"


def run(cluster: GaleraCluster, options: Options, say: Say) -> Report:
    """Load the cluster, let faults strike, and check every node.

    The cluster is whole before and after. Raises ClusterError if it cannot be made so again, and
    ChildFailed if a process of the run cannot even begin.
    """
    names = [node.name for node in cluster.nodes]
    strikes = schedule(options.seed, options.seconds, names, options.faults, options.processes)
    say(f"Schedule of seed {options.seed}:")
    for strike in strikes:
        say(f"  {strike}")
    with _accounts(cluster, options, say) as accounts:
        folder, begin = accounts.folder, time.monotonic()
        windows, hung, lost = _load(cluster, options, folder, strikes, say)
        seconds = time.monotonic() - begin
        books.settle(cluster)
        found = {node.name: books.read(node.query, cluster.database) for node in cluster.nodes}
        operations = ledger.without_lost(ledger.read(folder), lost)
        dark = outages(ledger.floors(folder), report.LONG)
        wrong = {name: checks.complaints(one, operations) for name, one in found.items()}
        made = report.make(
            options=options,
            seconds=seconds,
            operations=operations,
            windows=windows,
            folder=folder,
            wrong=wrong,
            others=[
                *hung,
                *checks.wrong_answers(operations),
                *alarms.complaints(operations, windows, dark=dark),
                *checks.differences(found),
                *histories.wrong(folder, next(iter(found.values())), operations),
            ],
        )
        accounts.keep |= not made.good
        return made


def _load(
    cluster: GaleraCluster,
    options: Options,
    folder: Path,
    strikes: Sequence[Strike],
    say: Say,
) -> tuple[list[Window], list[str], set[str]]:
    """Let the clients work while faults strike.

    Returns what struck, who did not come back, and the client processes that were killed.
    """
    with ExitStack() as stack:
        ways = [stack.enter_context(cluster.proxies()) for _ in range(options.processes)]
        configs = [_config(cluster, options, folder, number, ways) for number in range(len(ways))]

        def start(*words: str, config: Path) -> Child:
            log = folder / f"{'-'.join(words)}.log"
            child = Child(*words, config=config, log=log)
            stack.callback(child.kill)
            return child

        def client(number: int, life: int) -> Child:
            return start("client", str(number), str(life), config=configs[number])

        floor = start("floor", config=configs[0])
        crew = Crew(client, options.processes)
        run_to_end("prepare", configs[0])  # while the others load Django
        for child in (floor, *crew):
            child.wait_ready()
        for child in (floor, *crew):
            child.begin()
        faults = Faults(cluster, _by_node(ways), crew, say)
        watch = Watch(folder, faults, report.excused, partial(books.snapshot, cluster), say)
        with watch if options.stop_early else nullcontext():
            faults.run(strikes, options.seconds)
        time.sleep(CALM if strikes and not watch.found else 0.0)
        hung = end_all([floor, *crew], END, say)
    return faults.windows, hung, crew.lost


def _by_node(ways: Sequence[dict[str, Proxy]]) -> dict[str, Way]:
    """The proxies of all client processes, by node."""
    return {name: Way([proxies[name] for proxies in ways]) for name in ways[0]}


def _settings(options: Options, number: int) -> dict[str, Any]:
    """Of a client's database: the defaults, and the guard against lost updates.

    Every other client begins each block on a secondary, even where the blocks of its place write.
    """
    ours = {
        "lost_update_guard": options.guard,
        "optimistic_transactions": True if number % 2 else "auto",
    }
    return {"ATOMIC_REQUESTS": True, "CONN_MAX_AGE": None, "OPTIONS": ours}


def _config(
    cluster: GaleraCluster,
    options: Options,
    folder: Path,
    number: int,
    ways: Sequence[dict[str, Proxy]],
) -> Path:
    """Write down what the client process of this number is to know; returns where."""
    path = folder / CONFIG.format(number)
    Config(
        databases=cluster.databases(proxies=ways[number], **_settings(options, number)),
        direct=[(node.name, node.host, node.port) for node in cluster.nodes],
        folder=str(folder),
        seed=options.seed,
        processes=options.processes,
        threads=options.threads,
        workloads=options.workloads,
        guard=options.guard,
        hard=options.hard,
        alone=options.alone,
        broken=options.broken,
    ).save(path)
    return path


@dataclass
class Accounts:
    """Where the clients' accounts and the logs of all processes are.

    Attributes:
        folder: of this run alone.
        keep: it stays behind the run.
    """

    folder: Path
    keep: bool


@contextmanager
def _accounts(cluster: GaleraCluster, options: Options, say: Say) -> Iterator[Accounts]:
    """They are kept where that was asked for, and of a run that is not well or does not end."""
    accounts = Accounts(_folder(options), keep=options.keep is not None)
    try:
        yield accounts
    except BaseException:
        accounts.keep = True
        raise
    finally:
        if accounts.keep:
            for node in cluster.nodes:
                shutil.copy(node.place.folder / "error.log", accounts.folder / f"{node.name}.log")
            say(f"The clients' accounts and all logs are in {accounts.folder}.")
        else:
            shutil.rmtree(accounts.folder)


def _folder(options: Options) -> Path:
    if options.keep is None:
        return Path(mkdtemp(prefix="chaos-"))
    options.keep.mkdir(parents=True, exist_ok=True)
    if any(options.keep.iterdir()):
        raise FileExistsError(f"{options.keep} is not empty")
    return options.keep.absolute()
