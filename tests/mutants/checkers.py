"""The checkers, each as a command that ends with 1 as soon as it has found something."""

from __future__ import annotations

import sys
from collections.abc import Callable

HISTORIES = (
    "append", "append in a block", "append in a request", "append in autocommit",
    "registers", "registers in a block", "registers in a request", "registers in autocommit",
    "both",
)  # fmt: skip
#: Nodes that lag, that are lost, and whose connections are.
LAGGING = "hold-applier,reject,cut,swallow-commit,drop-commit,lag"
AROUND, LEAST = 15.0, 5.0  # seconds
Command = Callable[[int, float], list[str]]


def _chaos(*words: str) -> Command:
    def command(seed: int, seconds: float) -> list[str]:
        size = ("--processes", "2", "--threads", "4")
        # To start, to end and to look at the books takes the rest of the time.
        load = max(seconds - AROUND, LEAST)
        run = ("--seconds", f"{load:.0f}", "--seed", str(seed), "--stop-early", *size)
        return [sys.executable, "-m", "tests.chaos", *run, *words]

    return command


def _differential(level: int) -> Command:
    def command(seed: int, seconds: float) -> list[str]:
        words = ("--level", str(level), "--seed", str(seed), "--seconds", f"{seconds:.0f}")
        return [sys.executable, "-m", "tests.differential", *words]

    return command


def _tests(path: str, names: str = "") -> Command:
    """The tests of ``path``, below ``tests``, as they are whatever seed there is.

    Those of known faults count as if all were mended: the first that fails has found something.
    """

    def command(seed: int, seconds: float) -> list[str]:
        run = ("-q", "-x", "--runxfail", "-p", "no:cacheprovider")
        words = ("-k", names) if names else ()
        return [sys.executable, "-m", "pytest", *run, f"tests/{path}", *words]

    return command


def _fault(path: str, names: str = "") -> Command:
    """The tests of one known fault, with the router alone."""
    return _tests(f"faults/test_{path}.py", f"router and ({names})" if names else "router")


SINGLES = "count in autocommit,raw count in autocommit,create in autocommit"
COMMITS = "insert,insert behind one undone,count,transfer"

CHECKERS: dict[str, Command] = {
    "fence": _tests("integration/test_fence.py"),
    "undone": _tests("integration/test_markers.py", "was_rolled_back_is_advanced_again"),
    # Programmes beside stock Django: without a fault, cut at a byte, with an exception at a point.
    "differential": _differential(0),
    "differential-bytes": _differential(1),
    "differential-points": _differential(2),
    # A bank and its books, with nodes that die and connections that break.
    "chaos": _chaos(),
    # The same, with everybody on rows of their own: no run may be made again.
    "alarms": _chaos("--alone"),
    # Calm as well: an order that matters, and requests that have done something.
    "orders": _chaos("--faults", "", "--workloads", "change places,request with a visit"),
    # Calm: one row is locked by several, and must be.
    "locks": _chaos("--faults", "", "--workloads", "one ticket,nowait,skip locked"),
    # What is computed from what was read, with connections that break.
    "edits": _chaos("--faults", "cut", "--workloads", "edit,edit with a lock,transfer"),
    # Answers that are lost: of single writes, and of COMMIT.
    "singles": _chaos("--faults", "swallow-write", "--workloads", SINGLES),
    "commits": _chaos("--faults", "swallow-commit,drop-commit", "--workloads", COMMITS),
    # What each client saw, as a history.
    "history": _chaos("--workloads", ",".join(HISTORIES), "--faults", LAGGING),
    # The same, on secondaries that lag, and refuse their clients in between.
    "moves": _chaos("--workloads", ",".join(HISTORIES), "--faults", "reject,refuse,lag"),
    # Originals that arrive when they have been given up.
    "late": _chaos("--faults", "late-commit"),
    # What a random programme or load hardly ever meets: a test for each.
    "aborted": _tests("integration/test_aborted_between.py", "change or by_hand"),
    "aborted-reads": _tests("integration/test_aborted_between.py", "nearly"),
    "aborted-rollback": _tests("integration/test_aborted_between.py", "keeps"),
    "alone": _tests("recovery/test_replay.py", "travels_alone"),
    "answers": _tests("transactions/test_answers.py"),
    "at-once": _tests("transactions/test_at_once.py"),
    "back": _tests("integration/test_back_in_time.py"),
    "caught": _tests("integration/test_interrupted_writes.py"),
    "conflicts": _tests("integration/test_conflicts.py", "another_node or as_a_whole"),
    "garbage": _fault("s27_garbage"),
    "except-clause": _tests("transactions/test_swallowed.py", "except_clause"),
    "given-up": _tests("integration/test_late_originals.py", "given_up"),
    "guard": _tests("integration/test_conflicts.py", "the_guard"),
    "interrupts": _fault("s01_interrupts"),
    "failed-commits": _tests("integration/test_django.py", "done_again"),
    "going-on": _tests("transactions/test_interruptions.py", "replayed or inner_block"),
    "kept-keys": _tests("recovery/test_replay.py", "keys_is_kept"),
    "lagging": _tests("integration/test_failover.py", "lags_is_waited_for"),
    "locking": _tests("integration/test_locks.py"),
    "lane": _tests("transactions/test_lane.py"),
    "limits": _fault("s09_soft_limits"),
    "lock-waits": _tests("transactions/test_lock_waits.py"),
    "lost-besides": _tests("integration/test_connection_state.py", "lost_with_it or takes_it"),
    "lost-state": _tests("integration/test_connection_state.py", "not_moved or before_it"),
    "marks": _tests("integration/causality/test_marks.py", "primary"),
    "named-nodes": _tests("integration/test_named_nodes.py"),
    "once": _tests("integration/test_exactly_once.py", "added_once"),
    "one-snapshot": _tests("integration/test_routing.py", "one_snapshot"),
    "own-writes": _tests("integration/causality/test_workers.py", "own_writes"),
    "places": _tests("transactions/test_places.py"),
    "procedures": _fault("s11_procedures"),
    "promotion": _tests("integration/test_promotion.py", "swallow"),
    "replays": _tests("recovery/test_replay.py", "missing or without_rows"),
    "savepoints": _tests("integration/test_failover.py", "savepoints"),
    "state": _fault("s06_state"),
    "swallowed": _fault("s03_swallowed"),
    "driver": _tests("faults/test_drivers_connection.py", "router"),
    "forms": _tests("compat/test_requests.py"),
    "given": _tests("faces/test_atomic_given.py"),
    "hooks": _tests("transactions/test_connection_created.py"),
    "refused": _fault("e15_read_only_primary", "moment or differs"),
    "comes-back": _fault("e11_stalled_primary", "comes_back"),
    "never-back": _tests("transactions/test_never_back.py"),
    "other-rows": _tests("transactions/test_rows_of_the_application.py"),
    "pools": _tests("integration/causality/test_threads.py"),
    "written": _tests("integration/test_written_values.py"),
    "ended": _tests("integration/causality/test_packets.py", "nothing_is_added"),
    "shared": _tests("transactions/test_shared_writes.py"),
    "tokens": _tests("integration/causality/test_after.py", "not older_than_a_token"),
}
