"""The signature of a token is Django's, although what is the same each time is computed once."""

from __future__ import annotations

from typing import Any

import pytest
from django.conf import settings
from django.core import signing
from django.test import override_settings

from galera_router.causality import tokens
from galera_router.cluster.position import Mark, Position

MARK = Mark("0123456789abcdef" * 2, 17)
POSITION = Position("6b0a7b2c-0000-11f0-9d4f-0242ac120002", 9, "6b0a7b2c", "0-1-9")
SALT = "galera_router.token"


def parts(position: Mark | Position) -> list[Any]:
    if isinstance(position, Mark):
        return ["default", position.worker, position.seqno]
    return ["default", position.cluster_id, position.seqno, position.node, position.gtid]


@pytest.mark.parametrize("position", [MARK, POSITION])
def test_django_reads_what_is_dumped(position: Mark | Position) -> None:
    assert signing.loads(tokens.dump("default", position), salt=SALT) == parts(position)


@pytest.mark.parametrize("position", [MARK, POSITION])
def test_what_django_has_signed_is_read(position: Mark | Position) -> None:
    assert tokens.load(signing.dumps(parts(position), salt=SALT), 60) == ("default", position)


def test_it_is_what_django_dumps_in_the_same_second(monkeypatch: pytest.MonkeyPatch) -> None:
    for second in (1_700_000_000, 1_700_000_001):
        monkeypatch.setattr("time.time", lambda second=second: second + 0.25)
        assert tokens.dump("default", MARK) == signing.dumps(parts(MARK), salt=SALT)


def test_an_alias_of_any_characters_comes_back() -> None:
    alias = 'bücher "1"\\'
    assert tokens.load(tokens.dump(alias, MARK), 60) == (alias, MARK)


def test_another_key_is_used_at_once() -> None:
    before = tokens.dump("default", MARK)
    with override_settings(SECRET_KEY="another"):
        after = tokens.dump("default", MARK)
        assert tokens.load(before, 60) is None
        assert tokens.load(after, 60) == ("default", MARK)


def test_a_key_that_is_rotated_in_a_running_process_is_used_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever does so sends no signal."""
    before = tokens.dump("default", MARK)
    monkeypatch.setattr(settings, "SECRET_KEY_FALLBACKS", [settings.SECRET_KEY])
    monkeypatch.setattr(settings, "SECRET_KEY", "another")
    assert signing.loads(tokens.dump("default", MARK), salt=SALT) == parts(MARK)
    assert tokens.load(before, 60) == ("default", MARK)


def test_a_token_of_an_older_key_is_read() -> None:
    before = tokens.dump("default", MARK)
    with override_settings(SECRET_KEY="another", SECRET_KEY_FALLBACKS=[settings.SECRET_KEY]):
        assert tokens.load(before, 60) == ("default", MARK)


def test_what_was_changed_is_refused() -> None:
    token = tokens.dump("default", MARK)
    other = tokens.dump("default", Mark(MARK.worker, 18))
    assert tokens.load(other.split(":")[0] + token[token.index(":") :], 60) is None
