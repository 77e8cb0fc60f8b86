"""Tokens: nobody else's are accepted, and none that is wrong is an error."""

from __future__ import annotations

import logging
import string
import time
from collections.abc import Iterator

import django
import pytest
from django.core import signing
from hypothesis import given, settings
from hypothesis import strategies as st

from galera_router.causality import tokens
from galera_router.cluster.position import EVERYTHING, Position, is_position, position

assert django.VERSION
HERE = Position("d6344a14-e7f7-11f1-8047-02fc00000001", 4711, "d6344a14-e7f7", "0-1-42")
TOKEN = tokens.dump("default", HERE)


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level(logging.INFO, "galera_router"):
        yield


@pytest.mark.parametrize("where", [HERE, EVERYTHING, Position(HERE.cluster_id, 0)])
def test_what_was_signed_is_read(where: Position) -> None:
    loaded = tokens.load(tokens.dump("default", where), 60)
    assert loaded == ("default", where)


def test_everything_stays_what_it_is() -> None:
    loaded = tokens.load(tokens.dump("default", EVERYTHING), 60)
    assert loaded is not None
    assert loaded[1] is EVERYTHING


def altered() -> st.SearchStrategy[str]:
    """The token with characters changed, inserted, taken away or moved."""
    letters = st.sampled_from(string.ascii_letters + string.digits + ":-_= \"'\\;,\x00é☃\udc80")

    @st.composite
    def change(draw: st.DrawFn) -> str:
        text = TOKEN
        for _ in range(draw(st.integers(1, 4))):
            at = draw(st.integers(0, len(text)))
            until = draw(st.integers(at, min(at + 3, len(text))))
            text = text[:at] + draw(st.text(letters, max_size=3)) + text[until:]
        return text

    return change() | st.text(max_size=300)


@settings(max_examples=1000, deadline=None)
@given(altered())
def test_no_altered_token_is_accepted_and_none_is_an_error(text: str) -> None:
    assert (tokens.load(text, None) is not None) is (text == TOKEN)


def test_a_forged_token_is_logged_without_its_text(caplog: pytest.LogCaptureFixture) -> None:
    assert tokens.load(TOKEN[:-1] + "x" * 3, 60) is None
    assert "not signed here" in caplog.text
    assert TOKEN[:20] not in caplog.text
    assert caplog.records[0].levelno == logging.WARNING


def test_one_of_another_key_is_not_ours(caplog: pytest.LogCaptureFixture) -> None:
    foreign = signing.dumps(["default", *_parts(HERE)], key="another", salt="galera_router.token")
    assert tokens.load(foreign, 60) is None


def test_one_signed_for_another_purpose_is_not_ours() -> None:
    assert tokens.load(signing.dumps(["default", *_parts(HERE)]), 60) is None


def test_an_old_one_is_ignored(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = time.time() + 61
    monkeypatch.setattr("django.core.signing.time.time", lambda: later)
    assert tokens.load(TOKEN, 60) is None
    assert "has expired" in caplog.text
    assert tokens.load(TOKEN, None) is not None, "in a queue it may be of any age"


@pytest.mark.parametrize(
    "parts",
    [
        None,
        [],
        "default",
        {"default": 1},
        ["default", HERE.cluster_id, 1, ""],
        [1, HERE.cluster_id, 1, "", ""],
        ["default", "' OR 1=1", 1, "", ""],
        ["default", HERE.cluster_id, "1", "", ""],
        ["default", HERE.cluster_id, True, "", ""],
        ["default", HERE.cluster_id, -1, "", ""],
        ["default", HERE.cluster_id, 2**63, "", ""],
        ["default", HERE.cluster_id, 1, 7, ""],
        ["default", HERE.cluster_id, 1, "", "0-1-2'"],
    ],
)
def test_one_of_another_version_is_ignored(parts: object, caplog: pytest.LogCaptureFixture) -> None:
    assert tokens.load(signing.dumps(parts, salt="galera_router.token"), 60) is None
    assert "another version" in caplog.text


def _parts(where: Position) -> list[object]:
    return [where.cluster_id, where.seqno, where.node, where.gtid]


# --- positions ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (Position("a", 2), Position("a", 2), True),
        (Position("a", 3), Position("a", 2), True),
        (Position("a", 1), Position("a", 2), False),
        (Position("b", 3), Position("a", 2), False),
        (Position("a", 1, "n"), Position("a", 2, "n"), True),
        (Position("a", 1, "n"), Position("a", 2, "m"), False),
        (Position("a", 1, ""), Position("a", 2, ""), False),
        (Position("b", 1, "n"), Position("a", 2, "n"), False),
    ],
)
def test_what_a_position_includes(one: Position, other: Position, expected: bool) -> None:
    assert one.includes(other) is expected


def test_the_status_of_a_server_is_read() -> None:
    rows = [
        (b"wsrep_cluster_state_uuid", HERE.cluster_id.encode()),
        ("wsrep_last_committed", "12"),
        ("wsrep_gcomm_uuid", "d6344a14-e7f7-11f1-8047-02fc00000001"),
    ]
    assert position(rows) == Position(HERE.cluster_id, 12, "d6344a14-e7f7")


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [("wsrep_cluster_state_uuid", ""), ("wsrep_last_committed", "18446744073709551615")],
        [("wsrep_cluster_state_uuid", HERE.cluster_id)],
        [("wsrep_cluster_state_uuid", HERE.cluster_id), ("wsrep_last_committed", "-1")],
    ],
)
def test_a_server_without_a_cluster_has_no_position(rows: list[tuple[str, str]]) -> None:
    assert position(rows) is None


def test_only_the_form_of_a_position_is_one() -> None:
    assert is_position(HERE.cluster_id, 1, "0-1-2")
    assert not is_position(HERE.cluster_id + "\n", 1, "")
