"""The mutants: each is the router with one thing changed, so that it breaks a promise.

A mutant replaces one piece of text in one file. The text must occur there exactly once, so that a
change of the router that takes it away is noticed, and the mutant can be written anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Mutant:
    """One change of the router's source.

    Attributes:
        name: in words with hyphens.
        breaks: what no longer holds, in a few words.
        file: below ``galera_router/``.
        old, new: the text that is replaced, and what takes its place.
        checkers: those that are expected to find it, the quickest first; see `checkers`.
    """

    name: str
    breaks: str
    file: str
    old: str
    new: str
    checkers: tuple[str, ...]

    @property
    def is_control(self) -> bool:
        """Returns True if this is the router as it is, in which nothing must be found."""
        return not self.file

    def apply(self, package: Path) -> None:
        """Change the copy of the package in ``package``; LookupError if the text is not there."""
        if self.is_control:
            return
        path = package / self.file
        source = path.read_text()
        if source.count(self.old) != 1:
            raise LookupError(f"{self.name}: {self.file} has this {source.count(self.old)} times")
        path.write_text(source.replace(self.old, self.new))


BYTES, PROGRAMMES, POINTS = "differential-bytes", "differential", "differential-points"
CHAOS, ALARMS, HISTORY, LATE = "chaos", "alarms", "history", "late"
ORDERS, LOCKS, SINGLES, COMMITS = "orders", "locks", "singles", "commits"
MOVES = "moves"

#: Whatever a checker finds here is a false alarm of its own, or a fault of the router.
CONTROL = Mutant("control", "nothing: the router as it is", "", "", "", ())

MUTANTS = (
    # --- the outcome of a COMMIT
    Mutant(
        "commit-is-repeated",
        "a COMMIT whose answer was lost is taken for one that was never made",
        "recovery/outcome.py",
        "            if doubt.settle(error, functools.partial(_replay, doubt, error))"
        " is not None:\n                break\n",
        "            failover.recover(context, error)\n",
        (COMMITS, CHAOS, BYTES),
    ),
    Mutant(
        "commit-is-believed",
        "a COMMIT whose answer was lost is taken for success",
        "recovery/outcome.py",
        "            if doubt.settle(error, functools.partial(_replay, doubt, error)) is not None:",
        "            if doubt:",
        (COMMITS, CHAOS, BYTES),
    ),
    Mutant(
        "committed-is-denied",
        "a transaction that was committed is told as given up",
        "recovery/outcome.py",
        "        if row[0] == marker.seq + 1:",
        "        if row[0] == marker.seq + 7:",
        (COMMITS, CHAOS, BYTES),
    ),
    Mutant(
        "refusal-is-success",
        "a COMMIT that certification has refused is told as success",
        "recovery/outcome.py",
        "                _refused(context, error)\n                continue\n",
        "                break\n",
        (CHAOS, HISTORY),
    ),
    Mutant(
        "no-marker",
        "the marker is never advanced",
        "recovery/failover.py",
        "    if context.marking.wanted and marker is not None:",
        "    if False and marker is not None:",
        (BYTES, CHAOS),
    ),
    Mutant(
        "marker-given-back-early",
        "a marker goes back to the pool before its COMMIT is answered",
        "recovery/outcome.py",
        '            link.query(b"COMMIT")\n        except links.errors(context) as error:\n'
        "            if doubt is None and not is_lost(error):",
        "            give_back(context, link, committed=True)\n"
        '            link.query(b"COMMIT")\n        except links.errors(context) as error:\n'
        "            if doubt is None and not is_lost(error):",
        (BYTES, CHAOS),
    ),
    Mutant(
        "fence-does-nothing",
        "what was told as not committed may still be committed by its late original",
        "recovery/marker.py",
        "        return self._move(2)",
        '        return b"DO 0"',
        (LATE,),
    ),
    Mutant(
        "marker-survives-a-savepoint",
        "a marker that was undone with a savepoint is not advanced again",
        "recovery/marker.py",
        '            undone = action == "ROLLBACK TO" and position < self._depth',
        "            undone = False",
        (COMMITS, BYTES),
    ),
    Mutant(
        "row-count-is-invented",
        "an UPDATE whose answer was lost is told with a wrong number of rows",
        "transactions/outside.py",
        "    internals.put_answer(call.cursor, None, rows)\n    return rows",
        "    internals.put_answer(call.cursor, None, rows + 1)\n    return rows + 1",
        (SINGLES, BYTES),
    ),
    Mutant(
        "key-is-invented",
        "an INSERT whose answer was lost is told with a wrong key",
        "transactions/outside.py",
        "        internals.put_answer(call.cursor, ((key,),), 1)",
        "        internals.put_answer(call.cursor, ((key + 1,),), 1)",
        (SINGLES, BYTES),
    ),
    # --- replay
    Mutant(
        "no-comparison",
        "a replay is believed, whatever it has answered",
        "recovery/compare.py",
        "    if mine is None:\n        return None",
        "    if True:\n        return None",
        (HISTORY, CHAOS),
    ),
    Mutant(
        "order-ignored",
        "a replay in which ORDER BY gives another order is taken for the same",
        "recovery/compare.py",
        "        if not entry.ordered or keys is not None or select is None:",
        "        if True:",
        (ORDERS,),
    ),
    Mutant(
        "keys-not-kept",
        "a replayed INSERT draws a new key",
        "recovery/replay.py",
        "        elif (kept := self._kept(entry)) is not None:",
        "        elif (kept := None) is not None:",
        (BYTES, ALARMS),
    ),
    Mutant(
        "first-statement-not-replayed",
        "a replay leaves out the first statement",
        "recovery/replay.py",
        "        for entry in entries:\n",
        "        for entry in list(entries)[1:]:\n",
        (BYTES, CHAOS),
    ),
    Mutant(
        "undone-in-a-savepoint-is-replayed",
        "a replay leaves ROLLBACK TO SAVEPOINT out",
        "recovery/replay.py",
        "            self._replay(entry)\n            if not entry.read_only:",
        '            entry.statement.startswith(b"ROLLBACK TO") or self._replay(entry)\n'
        "            if not entry.read_only:",
        (BYTES, CHAOS),
    ),
    Mutant(
        "conflict-forgets",
        "after a conflict only the last statement is sent again",
        "transactions/writes.py",
        "        failover.repeat(context, error)\n    else:\n        note_error",
        "        failover.undo(context)\n        context.journal.clear()\n    else:\n"
        "        note_error",
        (CHAOS, HISTORY),
    ),
    Mutant(
        "replay-past-an-obstacle",
        "a transaction that cannot be replayed is replayed",
        "recovery/failover.py",
        "    return context.journal.obstacle or (link.state if link is not None else None)",
        "    return None",
        (BYTES, CHAOS),
    ),
    # --- reads
    Mutant(
        "no-snapshot",
        "the reads of a transaction are not of one snapshot",
        "transactions/links.py",
        'BEGIN_READ_ONLY = b"START TRANSACTION READ ONLY"',
        'BEGIN_READ_ONLY = b"DO 0"',
        (HISTORY, CHAOS),
    ),
    Mutant(
        "snapshot-stays-open",
        "a snapshot is not ended with its transaction",
        "transactions/links.py",
        '        link.query(b"COMMIT")\n    except errors(context) as error:'
        "  # it had nothing to lose",
        "        pass\n    except errors(context) as error:  # it had nothing to lose",
        (PROGRAMMES, HISTORY),
    ),
    Mutant(
        "own-writes-not-awaited",
        "a read on a secondary does not wait for the thread's own write",
        "transactions/context.py",
        "        self.behind = {node for node in self.cluster.nodes if node is not self.seen}",
        "        self.behind = set()",
        (PROGRAMMES, HISTORY, CHAOS),
    ),
    Mutant(
        "token-ignored",
        "a read does not wait for what its token names",
        "causality/after.py",
        "            found[alias] = _later(found.get(alias), new)\n    return found",
        "            pass\n    return found",
        (HISTORY,),
    ),
    Mutant(
        "back-in-time",
        "a thread that moves to another secondary may read older data there",
        "transactions/waits.py",
        "    synced = node in context.behind or (seen is not None and seen is not node)",
        "    synced = node in context.behind",
        (MOVES, HISTORY),
    ),
    Mutant(
        "no-catch-up",
        "a new primary is written to before it has applied what the old one has committed",
        "transactions/links.py",
        "    moved = _lags(context, link.node)\n    deadline",
        "    moved = False\n    deadline",
        (MOVES, HISTORY, CHAOS),
    ),
    Mutant(
        "reads-stay-on-the-secondary",
        "a transaction that has written goes on reading on its secondary",
        "transactions/recorder.py",
        "    if context.phase is Phase.LIVE:",
        "    if context.phase is Phase.LIVE and not call.statement.repeatable:",
        (PROGRAMMES,),
    ),
    # --- what a transaction is
    Mutant(
        "for-update-dropped",
        "SELECT … FOR UPDATE takes no lock",
        "transactions/calls.py",
        "    return Call(execute, sql, params, many, context, classify(sql))",
        '    sql = sql.replace(" FOR UPDATE", "") if isinstance(sql, str) else sql\n'
        "    return Call(execute, sql, params, many, context, classify(sql))",
        (LOCKS,),
    ),
    Mutant(
        "guard-off",
        "lost_update_guard does nothing",
        "transactions/links.py",
        '        f"SET SESSION innodb_snapshot_isolation = {guarded:d}",',
        '        "SET SESSION innodb_snapshot_isolation = 0",',
        (HISTORY, CHAOS),
    ),
    Mutant(
        "rollback-commits",
        "a transaction that is rolled back is committed",
        "recovery/outcome.py",
        '        link.query(b"ROLLBACK")\n    except links.errors(context) as error:\n'
        "        if not is_lost(error):",
        '        link.query(b"COMMIT")\n    except links.errors(context) as error:\n'
        "        if not is_lost(error):",
        (PROGRAMMES, POINTS, CHAOS),
    ),
    Mutant(
        "hooks-twice",
        "hooks of on_commit run twice",
        "transactions/session.py",
        "            outcome.commit(context)\n        context.end_transaction()",
        "            outcome.commit(context)\n"
        "            context.wrapper.run_on_commit *= 2\n        context.end_transaction()",
        (PROGRAMMES,),
    ),
    Mutant(
        "session-state-dropped",
        "what was set on a connection is not known, and lost in a failover without an error",
        "transactions/calls.py",
        '        if self.statement.state or verb in {"BEGIN", "START"}:',
        "        if False:",
        (BYTES, CHAOS),
    ),
    Mutant(
        "implicit-commit-overlooked",
        "a transaction that DDL has ended goes on as if it had not been",
        "transactions/writes.py",
        "    if statement.may_end_transaction:\n        context.uncertain = True\n"
        '        journal.prevent(f"{statement.verb} cannot be replayed")\n'
        "    if not context.options",
        "    if not context.options",
        (PROGRAMMES, BYTES),
    ),
    Mutant(
        "broken-is-forgotten",
        "a block ends as if it had committed when a part of it was lost and the error swallowed",
        "transactions/session.py",
        "        if context.broken is not None:\n            raise context.broken\n"
        "        links.end_snapshot(context)",
        "        links.end_snapshot(context)",
        (CHAOS, BYTES),
    ),
    # --- running again
    Mutant(
        "each-promotion-fails",
        "a transaction that reads, then writes, ends in ReplayMismatch without a reason",
        "recovery/failover.py",
        "        replay(context, link, begin(context, link))\n    except ReplayMismatch:",
        "        replay(context, link, begin(context, link))\n"
        "        if context.journal.entries:\n"
        '            raise ReplayMismatch("for no reason")\n'
        "    except ReplayMismatch:",
        (PROGRAMMES, ALARMS),
    ),
    Mutant(
        "functions-run-twice",
        "a function under galera_atomic is run again though nothing has failed",
        "atomic.py",
        "                with run, context.on_primary(on_primary), self._atomic:\n"
        "                    return call()",
        "                with run, context.on_primary(on_primary), self._atomic:\n"
        "                    call()\n                    return call()",
        (ALARMS, CHAOS),
    ),
    Mutant(
        "run-again-after-a-commit",
        "a request or function is run again although it has committed something",
        "recovery/runs.py",
        "        self.effect = self.effect or effect\n",
        "",
        (ORDERS,),
    ),
    Mutant(
        "lag-is-a-mismatch",
        "a replay on a secondary that only lags is a ReplayMismatch",
        "transactions/readers.py",
        "        _replay_or_end(context, link, waits.last_resort(context, link,"
        " links.BEGIN_READ_ONLY))",
        "        raise",
        (ALARMS,),
    ),
)
