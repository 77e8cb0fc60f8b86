"""What must be sent ahead of a read, so that it is not older than it may be.

A read on a node must include what this thread has written (``behind``, ``own``), what the running
block was given a token for (``Need``), and what the thread has read elsewhere (``seen``). A write
with a marker, our own or a token's, is looked for by that: the node is waited for only if it does
not have it. For a position the node is asked whether it has come so far, unless this process
knows. Of what was read elsewhere, or written without a marker, no more is known than that it is
committed: ``wsrep_sync_wait`` waits for all that is.

Whatever waits is ended after ``wsrep_sync_timeout`` (:func:`is_late`); the read then goes to
another node, and at last to the primary.
"""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from galera_router import signals
from galera_router.causality import scope
from galera_router.causality.scope import Need, Scope
from galera_router.causality.voids import voids_of
from galera_router.cluster import position as positions
from galera_router.cluster.node import Node
from galera_router.cluster.position import Mark
from galera_router.cluster.probe import WHO
from galera_router.connections.begin import SYNCED
from galera_router.connections.connection import NodeConnection
from galera_router.connections.errors import ERRORS, Verdict, errno, is_lost, verdict
from galera_router.connections.packet import Rows, Step
from galera_router.events import TokenIgnored, Waited
from galera_router.recovery.marker import (
    is_behind,
    is_gone,
    look_for,
    wait_for,
    was_looked_for,
)

if TYPE_CHECKING:
    from .session import Session

logger = logging.getLogger("galera_router")

_SIGNALLED = 1644
_ANOTHER = "galera_router: it is another server"
#: Seconds that the primary is waited for at least: there is nobody else to ask then.
PRIMARY_WAIT = 2.0
#: Seconds that a node is waited for at least before its answers count as different.
LAST_WAIT = 1.0


@dataclass(eq=False)
class Wait:
    """What goes ahead of one read.

    Attributes:
        steps: the statements; the application's follows.
        until: when the watchdog is to end the wait (monotonic seconds); 0: it ends by itself.
        over: the server has answered all that wait.
        turn: the node's turn when it was asked.
        proven: it had all that was committed anywhere before it was asked how far it has come.
        place: how far that is; None if it was not asked.
        needs: what the node is asked about.
        unsynced: a wait that is due was left out, as the mode "any" wants it.
    """

    steps: list[Step] = field(default_factory=list)
    until: float = 0.0
    over: bool = False
    unsynced: bool = False
    proven: bool = False
    place: positions.Position | None = None
    needs: Sequence[Need] = ()
    turn: int = 0


_NOTHING = Wait(over=True)


def before(session: Session, link: NodeConnection, begin: bytes = b"") -> Wait | None:
    """What has to be sent ahead of a read on ``link``; None if its node is not to be waited for.

    Args:
        session: the thread's session.
        link: a connection to a node's own alias, outside a transaction.
        begin: what begins the transaction that the read is to be in.
    """
    if is_unconcerned(session, link, scope.current()):
        return Wait([Step(begin)]) if begin else _NOTHING
    while True:
        turn = session.cluster.note_server(link.node, link.server)
        wait = _before(session, link, begin)
        if turn != link.node.turn:  # another thread has met another server there meanwhile
            continue
        if wait is not None and wait is not _NOTHING:
            wait.turn = turn
        return wait


def is_unconcerned(session: Session, link: NodeConnection, rules: Scope) -> bool:
    """Returns True if nobody has written or brought a token, and the thread has read nowhere else.

    Then there is nothing to wait for, whichever server it is.
    """
    following, node, alias = session.following, link.node, session.cluster.alias
    if (
        rules.needs
        or rules.writes
        or node in following.behind
        or following.seen not in (None, node)
        or (rules.seen and rules.seen.get(alias) not in (None, node))
        or following.turns
        or following.writes != following.writes_before
        or link.server not in ("", node.server)
    ):
        return False
    following.follow_none(rules.writes)
    return True


def _before(session: Session, link: NodeConnection, begin: bytes) -> Wait | None:
    node = link.node
    synced, needs = is_due(session, node)
    opening = [Step(begin)] if begin else []
    if (synced or needs) and session.mode == "any":
        return Wait(opening, unsynced=True, over=not begin)
    if not synced and _is_doubtful(session, node, needs):
        return _proven(session, link, needs, opening)
    if synced or any(_only_synced(session, node, need) for need in needs):
        return _synced(session, link, begin)
    if needs:
        return _reached(session, link, needs, opening)
    if not link.server and _relies(session):
        if not node.server:
            return _synced(session, link, begin)
        return Wait([_guard(link), *opening])
    return Wait(opening) if begin else _NOTHING


def is_due(session: Session, node: Node) -> tuple[bool, list[Need]]:
    """Returns if a read on ``node`` must wait for all that is committed; else for which tokens."""
    if not session.options.wsrep_sync_after_write:
        return False, []
    session.following.follow()
    following, needs = session.following, session.unmet(node)
    own, behind = following.own, following.is_behind(node)
    synced = (behind and own is None) or following.is_elsewhere(node)
    if behind and own is not None and all(own.position != need.position for need in needs):
        needs.append(own)
    return synced, needs


def _only_synced(session: Session, node: Node, need: Need) -> bool:
    """Returns True if no position helps: none is known, or only the primary can be asked."""
    if isinstance(need.position, Mark):
        return False
    return need.everything or node is session.cluster.primary()


# --- which server it is -------------------------------------------------------------------


def _relies(session: Session) -> bool:
    """Returns True if a read without a wait relies on what is known of its node's server.

    That was met on another connection, and there may be several servers at one address.
    """
    if not session.options.wsrep_sync_after_write or session.mode == "any":
        return False
    return session.following.has_written or bool(scope.needs(session.cluster.alias))


def _guard(link: NodeConnection) -> Step:
    """It fails (:func:`is_another`) where another server answers than the last time."""
    server = link.node.server
    statement = (
        f"BEGIN NOT ATOMIC IF CAST(({WHO.decode()}) AS BINARY) <> x'{server.encode().hex()}' THEN"
        f" SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = '{_ANOTHER}'; END IF; END"
    )

    def done(rows: int) -> None:
        link.server = server

    return Step(statement.encode(), done)


def is_another(session: Session, link: NodeConnection, error: BaseException) -> bool:
    """Returns True if ``error`` says that another server has answered; it is asked which."""
    if errno(error) != _SIGNALLED or _ANOTHER not in str(error):
        return False
    try:
        link.query(WHO)
        _identify(session, link, link.rows())
    except ERRORS as lost:
        logger.info(
            "%s: %s does not say who it is: %s", session.cluster.alias, link.node.name, lost
        )
        session.reader.drop(link)
    return True


def _who(session: Session, link: NodeConnection, wait: Wait) -> list[Step]:
    """What asks, ahead of a wait, for the server that is waited for, unless it is known."""

    def told(rows: Rows) -> None:
        wait.turn = _identify(session, link, rows)

    return [] if link.server else [Step(WHO, told=told)]


def _identify(session: Session, link: NodeConnection, rows: Rows) -> int:
    name = rows[0][0]
    link.server = name.decode() if isinstance(name, bytes) else str(name)
    return session.cluster.note_server(link.node, link.server)


# --- for everything -----------------------------------------------------------------------


def _synced(session: Session, link: NodeConnection, begin: bytes) -> Wait | None:
    seconds = allowance(session, link.node)
    if not seconds:
        return None
    wait = Wait()
    done = functools.partial(_caught_up, session, link, wait)
    gtid = _gtid(session)
    if gtid is not None:
        wait.steps = [Step(positions.reach_gtid(gtid, seconds), done)]
        wait.steps += [Step(begin)] if begin else []
    else:
        wait.until = time.monotonic() + seconds
        wait.steps = [Step(SYNCED + (begin or b"SELECT 1"), done)]
    wait.steps = [*_who(session, link, wait), *wait.steps]
    return wait


def _caught_up(session: Session, link: NodeConnection, wait: Wait, rows: int) -> None:
    """The node has all that had been committed anywhere when it was asked."""
    link.until, wait.over = 0.0, True
    session.following.note_synced(link.node, wait.turn)
    session.following.note_read(link.node)


def last_resort(session: Session, link: NodeConnection, begin: bytes) -> Wait:
    """The wait for everything on a node whose answers differ: it may only lag."""
    seconds = max(allowance(session, link.node), LAST_WAIT)
    turn = session.cluster.note_server(link.node, link.server)
    wait = Wait(until=time.monotonic() + seconds, turn=turn)
    wait.steps = [Step(SYNCED + begin, functools.partial(_caught_up, session, link, wait))]
    return wait


def _gtid(session: Session) -> positions.Position | None:
    """Where the primary is, as a GTID: what this thread has seen or written is there.

    None where that is not wanted, or where something else has to be waited for as well.
    """
    link = session.primary
    if not session.options.wsrep_sync_use_gtid or link is None or session.transaction_begun:
        return None
    if session.following.seen not in (None, link.node) or link.node is not session.cluster.acting:
        return None
    return None if scope.needs(session.cluster.alias) else ask_gtid(session, link)


def ask_gtid(session: Session, link: NodeConnection) -> positions.Position | None:
    """The GTID of the last transaction that the node of ``link`` has committed; None if unknown."""
    try:
        link.query(positions.ASK_GTID)
        ((gtid,),) = link.rows()
    except ERRORS as error:
        name = link.node.name
        logger.info("%s: %s does not say its GTID: %s", session.cluster.alias, name, error)
        if is_lost(error):
            session.lose_primary(idle=True)
        return None
    text = gtid.decode() if isinstance(gtid, bytes) else str(gtid)
    return positions.Position("", 0, link.node.name, text)


# --- for a position -----------------------------------------------------------------------


def _reached(
    session: Session, link: NodeConnection, needs: list[Need], opening: list[Step]
) -> Wait:
    wait, seconds = Wait(needs=needs), allowance(session, link.node)
    questions = _questions(session, link, needs, wait, seconds)
    wait.steps = [*_who(session, link, wait), *questions, *opening]
    return wait


def _questions(
    session: Session, link: NodeConnection, needs: list[Need], wait: Wait, seconds: float
) -> Iterator[Step]:
    """For each need, what waits for it; ``seconds`` for all of them."""
    share = seconds / len(needs)
    for need in needs:
        done = functools.partial(_met, session, link, need, wait, need is needs[-1])
        yield Step(_question(session, link.node, need, share), done)


def _question(session: Session, node: Node, need: Need, seconds: float) -> bytes:
    """Most nodes have a transaction by the time that it is asked for: the first look is cheap."""
    position = need.position
    if isinstance(position, Mark):
        if node not in need.looked and seconds:
            return look_for(position)
        own, exists = session.following.own, session.following.own_exists
        known = exists and own is not None and own.position == position
        return wait_for(position, seconds, exists=known)
    by_gtid = session.options.wsrep_sync_use_gtid and position.gtid and seconds
    return (positions.reach_gtid if by_gtid else positions.reach)(position, seconds)


def _met(
    session: Session, link: NodeConnection, need: Need, wait: Wait, last: bool, rows: int
) -> None:
    position, own = need.position, session.following.own
    need.note_met(link.node, wait.turn)
    need.gone = False
    if isinstance(position, Mark):
        session.cluster.note_mark(link.node, position, wait.turn)
    else:
        session.cluster.note_position(link.node, replace(position, node=""), wait.turn)
    if own is not None and own.position == position:
        session.following.note_own(link.node, wait.turn)
    wait.over = last


def note_missing(link: NodeConnection, wait: Wait, error: BaseException) -> bool:
    """Returns True if ``error`` says that the node does not have a transaction, or its marker.

    It is to be waited for then. Where the marker is not known, all that is committed anywhere is
    waited for first: then it is there, or nowhere.
    """
    if wait.over or wait.proven:
        return False
    looked = was_looked_for(error)
    for need in wait.needs:
        if isinstance(need.position, Mark):
            need.gone |= is_gone(error, need.position)
            if looked:
                need.looked.add(link.node)
    return is_gone(error) or (looked and bool(wait.needs))


# --- for a position that may be void ------------------------------------------------------


def _is_doubtful(session: Session, node: Node, needs: list[Need]) -> bool:
    """Returns True if the cluster is to be asked whether it has what ``needs`` ask for.

    Waiting for a position that never comes would be in vain, on this node and any other.
    """
    if not needs or any(need.everything for need in needs):
        return False
    if any(need.gone for need in needs):
        return True
    if node is session.cluster.primary() and any(need.doubted for need in needs):
        return True
    expected = voids_of(session.cluster).expected
    return expected and not all(_is_there(session, need) for need in needs)


def _is_there(session: Session, need: Need) -> bool:
    """Returns True if some node is known to have come so far."""
    return any(need.is_met(node) for node in session.cluster.nodes)


def _proven(
    session: Session, link: NodeConnection, needs: list[Need], opening: list[Step]
) -> Wait | None:
    """The node gets all that is committed anywhere, and is then asked where it is.

    Each position that anybody has ever met in this cluster is then behind it.
    """
    seconds = allowance(session, link.node)
    if not seconds:
        return None
    wait = Wait(until=time.monotonic() + seconds, needs=needs)

    def synced(rows: int) -> None:
        link.until, wait.proven = 0.0, True

    def placed(rows: Rows) -> None:
        wait.place = positions.position(rows)

    proof = [*_who(session, link, wait), Step(SYNCED + b"SELECT 1", synced)]
    if any(isinstance(need.position, Mark) for need in needs):
        proof.append(Step(positions.ASK, told=placed))
    wait.steps = [*proof, *_questions(session, link, needs, wait, 0.0), *opening]
    return wait


def note_void(session: Session, wait: Wait, error: BaseException) -> bool:
    """Returns True if ``error`` proves a token void; what is void is replaced by what is there.

    Either the node is in another cluster, as when it was built anew; or it has all that there is,
    as when the cluster was begun again from an older node.
    """
    lacks = wait.proven and (is_behind(error) or is_gone(error))
    place = wait.place if lacks else positions.place_met(error)
    if place is None or not (positions.is_elsewhere(error) or wait.proven):
        return False
    for need in scope.needs(session.cluster.alias):
        if _is_void(need, place, wait, error):
            _void(session, need, place)
    own = session.following.own
    if own is not None and _is_void(own, place, wait, error):
        session.following.own = None  # what there is now will do
    if wait.proven:  # nobody was late
        session.reader.in_time()
        session.cluster.forget_lags()
    return True


def _is_void(need: Need, place: positions.Position, wait: Wait, error: BaseException) -> bool:
    position = need.position
    if isinstance(position, Mark):
        return is_behind(error, position) or is_gone(error, position)
    if need.everything or place.includes(position):
        return False
    return wait.proven or position.cluster_id != place.cluster_id


def _void(session: Session, need: Need, place: positions.Position) -> None:
    position = need.position
    same = isinstance(position, Mark) or position.cluster_id == place.cluster_id
    alias = session.cluster.alias
    reason = f"{alias} has never come so far"
    if need.gone:
        reason = f"its marker is not there any more on {alias}"
    elif not same:
        reason = f"it is of another cluster than {alias} is now"
    signals.send(TokenIgnored, alias, reason)
    voids_of(session.cluster).note(position, place, expect=not need.gone)
    need.replace(place)


def allowance(session: Session, node: Node) -> float:
    """Seconds for which ``node`` may be waited for now.

    All waits of one statement together take ``wsrep_sync_timeout``; as long as there is another
    secondary to try, one of them takes half of what is left.
    """
    now, cluster = time.monotonic(), session.cluster
    if not session.reader.sync_until:
        session.reader.sync_until = now + session.options.wsrep_sync_timeout
    left = max(0.0, session.reader.sync_until - now)
    if node is cluster.primary():
        return max(left, PRIMARY_WAIT)
    if cluster.lags(node):
        return 0.0
    return left / 2 if cluster.others(node, session.reader.lagging) else left


# --- what came of it ----------------------------------------------------------------------


def is_late(link: NodeConnection, wait: Wait, error: BaseException) -> bool:
    """Returns True if ``error`` means that the node of ``link`` has not caught up in time."""
    if wait.over:
        return False
    late = positions.is_behind(error) or is_behind(error)
    return late or link.overdue or verdict(error) is Verdict.LOCK_WAIT


def pass_by(session: Session, link: NodeConnection) -> None:
    """The node of ``link`` is not to be read from now; it may be well all the same.

    Nodes that are forming a new view answer so too.
    """
    if link.overdue:
        session.reader.drop(link)
    for need in is_due(session, link.node)[1]:
        need.doubted = True
    session.cluster.note_lag(link.node)
    began = session.reader.sync_until - session.options.wsrep_sync_timeout
    seconds = max(0.0, time.monotonic() - began)
    signals.send(Waited, session.cluster.alias, link.node.name, "for a read", seconds)
    leave_out(session, link.node)


def leave_out(session: Session, node: Node) -> None:
    """``node`` is not to be read from by the statement at hand."""
    session.reader.lagging.add(node)
    session.reader.pin = None
