"""For how long a node has lacked what others have, by what they tell; times of our own."""

from __future__ import annotations

import pytest

from galera_router.cluster.lag import Track, seconds
from galera_router.cluster.position import Position

A_DAY = 86_400.0


def at(seqno: int, node: str = "other", cluster: str = "c") -> Position:
    """A position of ``node``."""
    return Position(cluster, seqno, node)


def told(*stays: tuple[float, int], node: str = "other", kept: float = 60.0) -> Track:
    """The track of a node that has told these positions at these moments."""
    track = Track()
    for moment, seqno in stays:
        track.note(at(seqno, node), moment, kept)
    return track


def test_a_node_that_has_all_lacks_nothing() -> None:
    assert seconds(at(7, "me"), [told((0.0, 5), (3.0, 7))], 100.0) == 0.0
    assert seconds(at(7, "me"), [], 100.0) == 0.0


def test_what_it_lacks_counts_from_when_another_one_was_first_seen_to_have_it() -> None:
    track = told((0.0, 5), (3.0, 7), (6.0, 9), (9.0, 9))
    assert seconds(at(5, "me"), [track], 9.0) == 6.0
    assert seconds(at(7, "me"), [track], 9.0) == 3.0
    assert seconds(at(5, "me"), [told((8.0, 6)), track], 9.0) == 6.0


def test_a_busy_node_that_is_some_transactions_behind_has_what_the_others_had() -> None:
    """Each second 1,000 transactions; this node has come half a second less far."""
    track = Track()
    for second in range(100):
        assert seconds(at(1000 * second - 500, "me"), [track], float(second)) <= 0.5
        track.note(at(1000 * second), float(second))


def test_a_node_that_stands_still_lags_more_and_more() -> None:
    track = Track()
    lags = []
    for second in range(0, 30, 3):
        track.note(at(10 + second), float(second))
        lags.append(seconds(at(10, "me"), [track], float(second)))
    assert lags == [0, 0, 3, 6, 9, 12, 15, 18, 21, 24]


@pytest.mark.parametrize("other", [at(9, cluster="d"), at(9, node="me")])
def test_another_cluster_and_the_same_server_are_not_compared(other: Position) -> None:
    """The same server is there twice where HOST is another name of a node."""
    track = Track()
    track.note(other, 0.0)
    assert seconds(at(1, "me"), [track], 50.0) == 0.0
    assert not track.was_within(at(99, "me"), 0.0)


@pytest.mark.parametrize("later", [at(3), at(3, node="anew"), at(3, cluster="d")])
def test_a_server_that_was_started_anew_is_another_one(later: Position) -> None:
    """So is one that goes back: its cluster was begun again from an older node."""
    track = told((0.0, 5), (3.0, 9))
    track.note(later, 6.0)
    assert track.beyond(at(4, "me", later.cluster_id)) is None


def test_a_node_that_is_down_has_been_nowhere() -> None:
    track = told((0.0, 5), (3.0, 9))
    track.clear()
    assert track.beyond(at(4, "me")) is None
    track.note(at(9), 6.0)
    assert track.beyond(at(4, "me")) == 6.0


def test_old_positions_are_forgotten_but_not_that_it_was_there() -> None:
    """Nothing is kept for ever, and a lag only seems to be shorter for it."""
    track = told(*((float(second), second) for second in range(3600)), kept=100.0)
    assert len(track._stays) <= 102
    assert seconds(at(0, "me"), [track], 3600.0) >= 100.0
    quiet = told((0.0, 5), (A_DAY, 5))
    assert seconds(at(4, "me"), [quiet], A_DAY) == A_DAY


def test_whether_another_one_had_no_more_since_then() -> None:
    track = told((0.0, 5), (3.0, 7), (6.0, 9), (9.0, 9))
    assert track.was_within(at(9, "me"), 9.0)
    assert track.was_within(at(7, "me"), 3.0)
    assert not track.was_within(at(8, "me"), 3.5)
    assert not track.was_within(at(99, "me"), 9.5), "nobody has been asked since"
