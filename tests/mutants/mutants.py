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
CHAOS, ALARMS, HISTORY = "chaos", "alarms", "history"
ORDERS, LOCKS, SINGLES, COMMITS = "orders", "locks", "singles", "commits"
EDITS, MOVES, ONE_SNAPSHOT, OWN_WRITES = "edits", "moves", "one-snapshot", "own-writes"
GIVEN_UP, KEPT_KEYS = "given-up", "kept-keys"
BACK, GARBAGE, LOCKING = "back", "garbage", "locking"
NAMED_NODES, PLACES = "named-nodes", "places"
LAGGING, LOST_STATE, ONCE, REPLAYS = "lagging", "lost-state", "once", "replays"
CAUGHT, INTERRUPTS, LIMITS, PROMOTION = "caught", "interrupts", "limits", "promotion"
GUARD, PROCEDURES, STATE = "guard", "procedures", "state"
CONFLICTS, SAVEPOINTS, SWALLOWED, TOKENS = "conflicts", "savepoints", "swallowed", "tokens"
ENDED, FENCE, SHARED = "ended", "fence", "shared"
AT_ONCE, LANE, LOST_BESIDES, MARKS = "at-once", "lane", "lost-besides", "marks"
ABORTED, ABORTED_READS, ABORTED_ROLLBACK = "aborted", "aborted-reads", "aborted-rollback"
GIVEN, UNDONE = "given", "undone"
EXCEPT_CLAUSE, FAILED_COMMITS = "except-clause", "failed-commits"
GOING_ON, LOCK_WAITS = "going-on", "lock-waits"
ALONE, ANSWERS, DRIVER, FORMS = "alone", "answers", "driver", "forms"
NEVER_BACK, OTHER_ROWS, POOLS, WRITTEN = "never-back", "other-rows", "pools", "written"
COMES_BACK, HOOKS, REFUSED = "comes-back", "hooks", "refused"

#: Whatever a checker finds here is a false alarm of its own, or a fault of the router.
CONTROL = Mutant("control", "nothing: the router as it is", "", "", "", ())

MUTANTS = (
    # --- what is sent to whom
    Mutant(
        "written-for-another",
        "values that were written for one node are sent to one that reads them otherwise",
        "transactions/cursor.py",
        "        if cursor._link.way != link.way:",
        "        if False:",
        (WRITTEN,),
    ),
    Mutant(
        "journal-of-another",
        "a journal whose values were written for one node is replayed on one that reads otherwise",
        "recovery/rebuilding.py",
        "    if written is not None and written.way != link.way:",
        "    if False:",
        (WRITTEN,),
    ),
    Mutant(
        "deletes-share-a-packet",
        "a replay sends what locks or writes in one packet with others, if it gives rows",
        "recovery/replay.py",
        "            if not entry.plain:  # it may lock or write: see _still_open\n",
        "            if not entry.read_only:\n",
        (ALONE,),
    ),
    Mutant(
        "driver-leaves-nothing",
        "what is set on the driver's own connection is not known",
        "transactions/direct.py",
        "            self._owner.note_left(self._link, _left(name, *args, *kwargs.values()))\n",
        "            pass\n",
        (DRIVER,),
    ),
    # --- what was seen
    Mutant(
        "seen-on-the-primary-is-forgotten",
        "reads go back behind what a block has seen that did not end by an answer",
        "transactions/transaction.py",
        "        self.session.following.note_read(link.node)  # however it ends\n",
        "",
        (NEVER_BACK,),
    ),
    Mutant(
        "hooks-come-late",
        "an execute wrapper that connection_created installs does not see the first statements",
        "transactions/session.py",
        "        self._announce()\n",
        "",
        (HOOKS,),
    ),
    Mutant(
        "hooks-are-forgotten",
        "an execute wrapper that is installed while a connection is set up is lost",
        "compat/internals.py",
        "        wrappers[:] = resting\n",
        "",
        (HOOKS,),
    ),
    Mutant(
        "refused-at-once",
        "a write that is refused while the other nodes are down for a moment is an error at once",
        "recovery/failover.py",
        "        _pause(session, began + seconds)\n",
        "        break\n",
        (REFUSED,),
    ),
    Mutant(
        "refused-and-not-compared",
        "a replay that differs behind a refused write is told as the refusal",
        "recovery/rebuilding.py",
        "            transaction.broken = failure\n            raise\n",
        "            pass\n",
        (REFUSED,),
    ),
    Mutant(
        "stalled-to-the-end",
        "a primary that does not catch up is waited for although another node is back",
        "connections/connection.py",
        "        return 0 < self.spare <= now and self.node.cluster.another_primary(self.node)",
        "        return False",
        (COMES_BACK,),
    ),
    Mutant(
        "refusal-says-nothing",
        "who is told that a name is taken does not find it",
        "transactions/outside.py",
        "            session.following.note_read(link.node)  # a refusal tells of what is there\n",
        "",
        (NEVER_BACK,),
    ),
    Mutant(
        "any-is-all-that-was-seen",
        "a read that waits for nothing has what was seen before forgotten",
        "transactions/following.py",
        "            self.seen = node if self.seen is node else SEVERAL\n",
        "            self.seen = node\n",
        (NEVER_BACK,),
    ),
    Mutant(
        "threads-see-for-themselves",
        "a thread reads what is older than its request has seen",
        "transactions/following.py",
        "            shared[self._session.cluster.alias] = node\n",
        "            pass\n",
        (NEVER_BACK,),
    ),
    Mutant(
        "rows-by-reference",
        "rows that the application may change are compared as it has changed them",
        "transactions/cursor.py",
        '        "gives_tuples": tuples,',
        '        "gives_tuples": True,',
        (OTHER_ROWS,),
    ),
    Mutant(
        "given-keys-are-drawn",
        "LAST_INSERT_ID() gives a key that was given, behind a failover",
        "recovery/keys.py",
        "        return True if said == {True} else",
        "        return False if said == {True} else",
        (ANSWERS,),
    ),
    Mutant(
        "failed-procedure-did-nothing",
        "what a procedure has committed before it failed is not waited for",
        "transactions/outside.py",
        "    if call.statement.may_end_transaction:\n        _may_be_there(session)",
        "    if False:\n        _may_be_there(session)",
        (PROCEDURES,),
    ),
    Mutant(
        "streams-forget",
        "the threads of a stream do not see what the view has written",
        "middleware.py",
        "                self._carrier.write(response, last_write.tokens_of(aliases), brought)\n"
        "            if brought.needs or rules.writes or rules.outages or response.streaming:",
        "                self._carrier.write(response, last_write.tokens_of(aliases), brought)\n"
        "            if brought.needs:",
        (POOLS,),
    ),
    Mutant(
        "forms-as-they-were-left",
        "a second run is handed the form that the first has changed",
        "compat/requests.py",
        '        return {"_post": _copy_of(self._post), "_files": files}',
        '        return {"_post": self._post, "_files": files}',
        (FORMS,),
    ),
    # --- one primary at a time
    Mutant(
        "fence-without-reference",
        "the write set of a transaction does not refer to its epoch: two primaries commit",
        "recovery/marker.py",
        "IF(epoch_slot = {first}, {second}, {first})",
        "epoch_slot",
        (FENCE,),
    ),
    Mutant(
        "fence-without-checks",
        "where the application turns foreign keys off, an epoch that is over goes on",
        "recovery/marker.py",
        'keys = "" if epoch is None else "foreign_key_checks=1, "',
        'keys = ""',
        (FENCE,),
    ),
    Mutant(
        "epoch-does-not-end",
        "the parents of the old epoch stay, and what began on the old primary is committed",
        "cluster/change.py",
        'f"DELETE FROM {SLOTS} WHERE slot IN ({first}, {second})"',
        '"DO 0"',
        (FENCE,),
    ),
    Mutant(
        "operator-is-overruled",
        "where an operator has put the primary, a failback takes it away",
        "management/commands/galera_switchover.py",
        "        held = node is not _first(cluster)",
        "        held = False",
        (FENCE,),
    ),
    # --- the outcome of a COMMIT
    Mutant(
        "commit-is-repeated",
        "a COMMIT whose answer was lost is taken for one that was never made",
        "recovery/outcome.py",
        "                    doubt = doubt or Doubt(transaction, link, error)\n"
        "                    if doubt.settle(error, functools.partial(_replay, doubt, error))"
        " is not None:\n                        break\n",
        "                    rebuilding.recover(transaction, error)\n",
        (COMMITS, CHAOS, BYTES),
    ),
    Mutant(
        "commit-is-believed",
        "a COMMIT whose answer was lost is taken for success",
        "recovery/outcome.py",
        "                if doubt.settle(error, functools.partial(_replay, doubt, error))"
        " is not None:",
        "                if doubt:",
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
        "                _refused(transaction, error)\n",
        "                break\n",
        (CONFLICTS, CHAOS, HISTORY),
    ),
    Mutant(
        "no-marker",
        "the marker is never advanced",
        "recovery/rebuilding.py",
        "    if transaction.marking.is_first and marker is not None:",
        "    if False and marker is not None:",
        (COMMITS, BYTES, CHAOS),
    ),
    Mutant(
        "marker-given-back-early",
        "a marker goes back to the pool before its COMMIT is answered",
        "recovery/outcome.py",
        '            link.query(b"COMMIT")\n        except ERRORS as error:\n',
        "            give_back(session, transaction.marking, link, committed=True)\n"
        '            link.query(b"COMMIT")\n        except ERRORS as error:\n',
        (ONCE, BYTES, CHAOS),
    ),
    Mutant(
        "marker-given-back-unproven",
        "a marker goes back to the pool although nobody knows if it has moved",
        "transactions/outside.py",
        "        except ERRORS as error:\n            if doubt is None and (row :=",
        "        except BaseException as error:\n            if doubt is None and (row :=",
        (LIMITS, POINTS),
    ),
    Mutant(
        "fence-does-nothing",
        "what was told as not committed may still be committed by its late original",
        "recovery/marker.py",
        "        return self._move(2, None)",
        '        return b"DO 0"',
        (GIVEN_UP,),
    ),
    Mutant(
        "marker-survives-a-savepoint",
        "a marker that was undone with a savepoint is not advanced again",
        "recovery/marker.py",
        '            undone = action == "ROLLBACK TO" and position < self._depth',
        "            undone = False",
        (UNDONE, COMMITS, BYTES),
    ),
    Mutant(
        "row-count-is-invented",
        "an UPDATE whose answer was lost is told with a wrong number of rows",
        "transactions/outside.py",
        "    return call.put_answer(None, rows)",
        "    return call.put_answer(None, rows + 1)",
        (SINGLES, BYTES),
    ),
    Mutant(
        "key-is-invented",
        "an INSERT whose answer was lost is told with a wrong key",
        "transactions/outside.py",
        "    return call.put_answer(((key,),), 1)",
        "    return call.put_answer(((key + 1,),), 1)",
        (SINGLES, BYTES),
    ),
    # --- replay
    Mutant(
        "no-comparison",
        "a replay is believed, whatever it has answered",
        "recovery/compare.py",
        "    if mine is None:\n        return None",
        "    if True:\n        return None",
        (EDITS, HISTORY, CHAOS),
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
        (KEPT_KEYS, ALARMS, BYTES),
    ),
    Mutant(
        "first-statement-not-replayed",
        "a replay leaves out the first statement",
        "recovery/replay.py",
        "        for entry in entries:\n",
        "        for entry in list(entries)[1:]:\n",
        (KEPT_KEYS, BYTES, CHAOS),
    ),
    Mutant(
        "undone-in-a-savepoint-is-replayed",
        "a replay leaves ROLLBACK TO SAVEPOINT out",
        "recovery/replay.py",
        "            self._replay(entry)\n            if not entry.plain:",
        '            entry.statement.startswith(b"ROLLBACK TO") or self._replay(entry)\n'
        "            if not entry.plain:",
        (SAVEPOINTS, COMMITS, BYTES),
    ),
    Mutant(
        "conflict-forgets",
        "after a conflict only the last statement is sent again",
        "transactions/writing.py",
        "        rebuilding.repeat(transaction, error)\n    else:\n",
        "        failover.undo(transaction.session)\n        transaction.to_pending()\n"
        "        transaction.journal.clear()\n    else:\n",
        (CONFLICTS, CHAOS, HISTORY),
    ),
    Mutant(
        "replay-past-an-obstacle",
        "the gate asks for no obstacle: a transaction that cannot be replayed is replayed",
        "recovery/rebuilding.py",
        "    return transaction.journal.obstacle or (link.state if link is not None else None)",
        "    return None",
        (LOST_STATE, BYTES, CHAOS),
    ),
    # --- answers
    Mutant(
        "replay-with-fewer-answers",
        "a replay with fewer answers than statements is believed",
        "recovery/replay.py",
        "                        raise self._unknown()\n                    if check",
        "                        break\n                    if check",
        (REPLAYS, BYTES),
    ),
    Mutant(
        "foreign-cursor-drains",
        "a cursor that is closed in the middle of another one's packet takes its results",
        "transactions/cursor.py",
        "        if self._link is not None and self._ticket == self._link.ticket:",
        "        if self._link is not None:",
        (GARBAGE,),
    ),
    # --- reads
    Mutant(
        "no-snapshot",
        "the reads of a transaction are not of one snapshot",
        "connections/begin.py",
        'BEGIN_READ_ONLY = b"START TRANSACTION READ ONLY"',
        'BEGIN_READ_ONLY = b"DO 0"',
        (ONE_SNAPSHOT, HISTORY, CHAOS),
    ),
    Mutant(
        "snapshot-stays-open",
        "a snapshot is not ended with its transaction",
        "transactions/reading.py",
        '        link.send(b"COMMIT")\n    except ERRORS as error:  # it had nothing to lose',
        "        pass\n    except ERRORS as error:  # it had nothing to lose",
        (ENDED, PROGRAMMES, HISTORY),
    ),
    Mutant(
        "own-writes-not-awaited",
        "a read on a secondary does not wait for the thread's own write",
        "transactions/following.py",
        "        self.behind = {other for other in self._session.cluster.nodes"
        " if other is not node}",
        "        self.behind = set()",
        (OWN_WRITES, HISTORY, CHAOS),
    ),
    Mutant(
        "token-ignored",
        "a read does not wait for what its token names",
        "causality/after.py",
        "            known[history] = _later(known.get(history), new)\n",
        "            pass\n",
        (TOKENS, HISTORY),
    ),
    Mutant(
        "token-of-the-write-before",
        "the marker in a token is that of the worker's write before",
        "recovery/marker.py",
        "        mark = Mark(marker.worker, marker.seq)",
        "        mark = Mark(marker.worker, marker.seq - 1)",
        (TOKENS, HISTORY),
    ),
    Mutant(
        "look-is-in-vain",
        "a node that does not have a token's transaction is read from all the same",
        "recovery/marker.py",
        " < {mark.seqno})",
        " < 0)",
        (TOKENS, HISTORY),
    ),
    Mutant(
        "token-of-one-thread",
        "where two threads of a request have written, its token is of one of them",
        "transactions/following.py",
        "            self.own, self._shared = None, True\n",
        "            pass\n",
        (SHARED,),
    ),
    Mutant(
        "back-in-time",
        "a thread that moves to another secondary may read older data there",
        "transactions/waiting.py",
        "    synced = (behind and own is None) or following.is_elsewhere(node)",
        "    synced = behind and own is None",
        (BACK, MOVES, HISTORY),
    ),
    Mutant(
        "no-catch-up",
        "a new primary is written to before it has applied what the old one has committed",
        "transactions/opening.py",
        "    moved = _lags(session, link.node)\n    deadline",
        "    moved = False\n    deadline",
        (TOKENS, MOVES, HISTORY, CHAOS),
    ),
    Mutant(
        "reads-stay-on-the-secondary",
        "a transaction that has written goes on reading on a secondary",
        "transactions/transaction.py",
        "    link: NodeConnection\n\n"
        "    def execute(self, transaction: Transaction, call: Call,"
        " failed: Exception | None) -> Any:\n",
        "    link: NodeConnection\n\n"
        "    def execute(self, transaction: Transaction, call: Call,"
        " failed: Exception | None) -> Any:\n"
        "        node = transaction.session.reader.pinned()\n"
        "        if call.statement.repeatable and node is not None:\n"
        "            return reading.outside(transaction.session, call, node)\n",
        (PROGRAMMES,),
    ),
    Mutant(
        "state-does-not-hold-for-reads",
        "what was set on the connection to the primary does not hold for routed reads",
        "transactions/session.py",
        "        if self.primary_only"
        " or (self.primary is not None and self.primary.state is not None):",
        "        if self.primary_only:",
        (STATE, PROGRAMMES),
    ),
    # --- what a transaction is
    Mutant(
        "for-update-dropped",
        "SELECT … FOR UPDATE takes no lock",
        "transactions/cursor.py",
        "        q = bytes(q)\n",
        "        q = bytes(q)\n"
        '        for lock in (b" FOR UPDATE SKIP LOCKED", b" FOR UPDATE NOWAIT", b" FOR UPDATE"):\n'
        '            q = q.replace(lock, b"")\n',
        (LOCKING, LOCKS),
    ),
    Mutant(
        "guard-off",
        "lost_update_guard does nothing",
        "transactions/opening.py",
        '        f"SET SESSION innodb_snapshot_isolation = {guarded:d}",',
        '        "SET SESSION innodb_snapshot_isolation = 0",',
        (GUARD, HISTORY, CHAOS),
    ),
    Mutant(
        "rollback-commits",
        "a transaction that is rolled back is committed",
        "recovery/outcome.py",
        "        link.roll_back()\n    except ERRORS as error:\n        if not is_lost(error):",
        '        link.query(b"COMMIT")\n    except ERRORS as error:\n'
        "        if not is_lost(error):",
        (PROGRAMMES, POINTS, CHAOS),
    ),
    Mutant(
        "hooks-twice",
        "hooks of on_commit run twice",
        "transactions/session.py",
        "        transaction.commit()\n",
        "        transaction.commit()\n        self.wrapper.run_on_commit *= 2\n",
        (PROGRAMMES,),
    ),
    Mutant(
        "alias-is-another-transaction",
        "atomic() on the alias of a node is a transaction that writes do not belong to",
        "compat/internals.py",
        "        found: Wrapper = original(using if using is None else role_of(using))",
        "        found: Wrapper = original(using)",
        (NAMED_NODES,),
    ),
    Mutant(
        "session-state-dropped",
        "what was set on a connection is not known, and lost in a failover without an error",
        "transactions/writing.py",
        '    elif verb != "UNLOCK" and (statement.state or verb in {"BEGIN", "START"}):',
        "    elif False:",
        (STATE, BYTES, CHAOS),
    ),
    Mutant(
        "state-goes-untold",
        "what was set on a connection goes with it untold, where nothing else was lost",
        "transactions/session.py",
        "            if link.state is not None and not told:\n                self.forgotten",
        "            if False:\n                self.forgotten",
        (LOST_BESIDES,),
    ),
    Mutant(
        "implicit-commit-overlooked",
        "a transaction that DDL has ended goes on as if it had not been",
        "transactions/writing.py",
        "    if statement.may_end_transaction:\n        transaction.uncertain = True\n"
        "        journal.prevent(_why_not(statement))\n    if not",
        "    if not",
        (PROCEDURES, PROGRAMMES, BYTES),
    ),
    Mutant(
        "commit-inside-overlooked",
        "a procedure that commits and begins again inside is taken for one that has not",
        "transactions/writing.py",
        "        same = transaction.probed and _is_same(link)",
        "        same = True",
        (PROCEDURES,),
    ),
    Mutant(
        "broken-is-forgotten",
        "a block ends as if it had committed when a part of it was lost and the error swallowed",
        "transactions/transaction.py",
        "        if self.broken is not None:\n            raise self.broken\n"
        "        if self._lost is not None:\n            self._after_interruption(None)",
        "        if self._lost is not None:\n            self._after_interruption(None)",
        (PROMOTION, SWALLOWED, CHAOS),
    ),
    Mutant(
        "swallowed-is-not-told",
        "an error that Django has swallowed is not told at the end of the transaction",
        "transactions/session.py",
        "            self._unreported = transaction.broken if transaction.swallowed else None",
        "            self._unreported = None",
        (SWALLOWED, BYTES, CHAOS),
    ),
    # --- interruptions
    Mutant(
        "interruption-forgotten",
        "the note of a statement under way is cleared when an exception interrupts it",
        "transactions/session.py",
        "                rows = outside.execute(self, call)\n        except ERRORS:",
        "                rows = outside.execute(self, call)\n        except BaseException:",
        (INTERRUPTS, POINTS),
    ),
    Mutant(
        "interrupted-write-goes-on",
        "a transaction goes on without a write of its own that was interrupted",
        "transactions/transaction.py",
        "        if not harmless and not undone:",
        "        if False:",
        (CAUGHT,),
    ),
    Mutant(
        "interrupted-read-forgets",
        "a block goes on without what came before an interrupted read, where it has no journal",
        "transactions/transaction.py",
        "        if link is None or not self.done:",
        "        if link is None or not self.journal.entries:",
        (GOING_ON,),
    ),
    Mutant(
        "told-outside-of-handlers-alone",
        "what Django has swallowed is not told where a block runs in an except clause",
        "transactions/session.py",
        "(ends_it is handled or _says_nothing(ends_it))",
        "_says_nothing(ends_it)",
        (EXCEPT_CLAUSE,),
    ),
    Mutant(
        "failed-commit-lives-on",
        "without autocommit the work of a COMMIT that has failed is done again with what follows",
        "transactions/transaction.py",
        "        self.journal, self.marking = Journal(), Marking()\n        self.stays",
        "        self.stays",
        (FAILED_COMMITS,),
    ),
    Mutant(
        "lock-wait-ends-a-snapshot",
        "a lock wait on a secondary is taken for the end of a snapshot that is open there still",
        "transactions/reading.py",
        "if begun and not (verdict(error) is Verdict.LOCK_WAIT and _stands(transaction, link)):",
        "if begun:",
        (LOCK_WAITS,),
    ),
    # --- short cuts
    Mutant(
        "write-at-once-behind-another",
        "a write begins on the kept connection although the primary may lack what is to be seen",
        "transactions/opening.py",
        "    if cluster.usual() is not node or _lags(session, node):",
        "    if cluster.usual() is not node:",
        (AT_ONCE,),
    ),
    Mutant(
        "write-at-once-in-an-old-epoch",
        "a transaction on a kept connection belongs to the epoch of the one before it",
        "transactions/opening.py",
        "    link.epoch = known.number\n    cluster.note_use()",
        "    cluster.note_use()",
        (AT_ONCE, FENCE),
    ),
    Mutant(
        "primary-does-not-look",
        "a primary is taken to have what a token names",
        "transactions/opening.py",
        "            link.query(look_for(mark))\n            link.rows()\n",
        "            pass\n",
        (MARKS, AT_ONCE),
    ),
    Mutant(
        "uncommitted-rows-are-believed",
        "a marker that is seen at READ UNCOMMITTED counts as committed",
        "transactions/opening.py",
        "    if session.wrapper.isolation_level == _UNCOMMITTED:",
        "    if False:",
        (AT_ONCE,),
    ),
    Mutant(
        "lane-past-a-token",
        "the fast lane stays open when a token or a block of reads() comes",
        "transactions/lane.py",
        "            scope.raw() is self.rules\n            and session.transaction",
        "            session.transaction",
        (LANE,),
    ),
    Mutant(
        "lane-past-the-journal",
        "what was read on the fast lane is not in the journal, and is not compared",
        "transactions/lane.py",
        "        journal.fresh.append((sql, *answer, statement.ordered, statement.plain))\n",
        "",
        (LANE,),
    ),
    # --- running again
    Mutant(
        "each-promotion-fails",
        "a transaction that reads, then writes, ends in ReplayMismatch without a reason",
        "recovery/rebuilding.py",
        "        replay(transaction, link, _opening(transaction, link))\n"
        "    except ReplayMismatch:",
        "        replay(transaction, link, _opening(transaction, link))\n"
        "        if transaction.journal.entries:\n"
        '            raise ReplayMismatch("for no reason")\n'
        "    except ReplayMismatch:",
        (PROGRAMMES, ALARMS),
    ),
    Mutant(
        "always-optimistic",
        "each block begins on a secondary, whatever the blocks of its place have done",
        "transactions/places.py",
        "        return place in self._wrote or self._reads.get(place, 0) < self._enough",
        "        return False",
        (PLACES,),
    ),
    Mutant(
        "functions-run-twice",
        "a function under galera_atomic is run again though nothing has failed",
        "atomic.py",
        "                with run, session.on_primary(on_primary), self._atomic:\n"
        "                    return call()",
        "                with run, session.on_primary(on_primary), self._atomic:\n"
        "                    call()\n                    return call()",
        (ALARMS, CHAOS),
    ),
    Mutant(
        "arguments-as-they-were-left",
        "a function that is run again is given the instances that its undone run has changed",
        "atomic.py",
        "run.obstacle() or around.obstacle() or given.put_back()",
        "run.obstacle() or around.obstacle()",
        (GIVEN,),
    ),
    Mutant(
        "no-guard-behind-a-lost-commit",
        "lost_update_guard is off in the replay behind a COMMIT whose answer was lost",
        "recovery/outcome.py",
        "        for step in self._session.isolation_steps(link):\n"
        "            link.query(step.statement)\n            step.done(0)\n",
        "",
        (GUARD,),
    ),
    Mutant(
        "write-may-run-outside",
        "a write goes on behind a marker whose transaction was aborted",
        "connections/connection.py",
        "        return only_inside(self.connection.get_server_info())",
        '        return b""',
        (ABORTED,),
    ),
    Mutant(
        "nobody-asks-behind-a-read",
        "a read behind a marker whose transaction was aborted is believed",
        "connections/packet.py",
        "self._asks = asks and several_statements(driver)",
        "self._asks = False",
        (ABORTED_READS,),
    ),
    Mutant(
        "aborted-rollback-is-a-failure",
        "a connection whose transaction was aborted ahead of its ROLLBACK is given up",
        "connections/connection.py",
        "            if verdict(error) is not Verdict.ROLLED_BACK:\n                raise",
        "            raise",
        (ABORTED_ROLLBACK,),
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
        "transactions/reading.py",
        "        last = waiting.last_resort(transaction.session, link, BEGIN_READ_ONLY)\n"
        "        _replay_or_end(transaction, link, last)",
        "        raise",
        (LAGGING, ALARMS),
    ),
)
