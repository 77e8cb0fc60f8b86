"""A position as text that a client or a queue may carry: signed, and only for a while.

The signature is Django's, so ``SECRET_KEY`` and ``SECRET_KEY_FALLBACKS`` apply.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import json
import time
from binascii import b2a_base64
from typing import Any

from django.conf import settings
from django.core import signing
from django.utils.encoding import force_bytes

from galera_router import signals
from galera_router.cluster.position import EVERYTHING, Mark, Position, is_mark, is_position
from galera_router.events import TokenIgnored

_SALT = "galera_router.token"
_LONGEST = 1000  # characters; nobody signs more
_MARK = 8  # characters of a signature
_JSON = json.JSONEncoder(separators=(",", ":"))
_URL_SAFE = bytes.maketrans(b"+/", b"-_")


def dump(alias: str, position: Position | Mark) -> str:
    """``position`` of the cluster ``alias`` as text."""
    if isinstance(position, Mark):
        text = f'[{_quoted(alias)},"{position.worker}",{position.seqno}]'
    else:
        parts = alias, position.cluster_id, position.seqno, position.node, position.gtid
        text = _JSON.encode(parts)
    return _signer().sign_object_of(text)


_quoted = functools.lru_cache(_JSON.encode)


def load(text: str, max_age: int | None) -> tuple[str, Position | Mark] | None:
    """The alias and the position that :func:`dump` was given.

    What is forged, malformed or older than ``max_age`` seconds is None, and told: the text
    comes from outside, and to know nothing is no error.
    """
    try:
        parts = _unsigned(text, max_age)
    except signing.SignatureExpired:
        signals.send(TokenIgnored, "", "it has expired", usual=True)
    except (signing.BadSignature, ValueError):
        signals.send(TokenIgnored, "", "it was not signed here")
    else:
        found = _read(parts, _signed(text))
        if found is None:
            signals.send(TokenIgnored, "", "it is of another version")
        return found
    return None


def _unsigned(text: str, max_age: int | None) -> object:
    if len(text) > _LONGEST:
        raise signing.BadSignature
    parts: object = _signer().unsign_object(text, max_age=max_age)
    return parts


class _Signer(signing.TimestampSigner):
    """Django's own signature, where what is the same each time is computed once.

    Each response to a request that has written carries a signature, most of whose cost is that.
    """

    def __init__(self, key: str | bytes, fallbacks: tuple[str | bytes, ...]) -> None:
        super().__init__(key=key, fallback_keys=list(fallbacks), salt=_SALT)
        # What Django's salted_hmac() makes of it.
        salted = f"{_SALT}signer".encode() + force_bytes(key)
        self._derived = hashlib.new(self.algorithm, salted).digest()

    def sign_object_of(self, text: str) -> str:
        """As Django's ``sign_object`` of what ``text`` says in JSON."""
        value = f"{_base64(text.encode())}:{_timestamp(int(time.time()))}"
        return f"{value}:{self.signature(value)}"

    def signature(self, value: str | bytes, key: str | bytes | None = None) -> str:
        """As Django's; with a fallback key it is Django's."""
        if isinstance(value, bytes) or (key is not None and key != self.key):
            return super().signature(value, key)
        return _base64(hmac.digest(self._derived, value.encode(), self.algorithm))


def _base64(data: bytes) -> str:
    """As Django's ``b64_encode``."""
    return b2a_base64(data, newline=False).translate(_URL_SAFE).rstrip(b"=").decode()


#: Written out once a second.
_timestamp = functools.lru_cache(maxsize=1)(signing.b62_encode)


_signer_of = functools.lru_cache(maxsize=1)(_Signer)


def _signer() -> _Signer:
    """The one for the keys of the settings; ``signing.dumps`` makes one for each call."""
    return _signer_of(settings.SECRET_KEY, tuple(settings.SECRET_KEY_FALLBACKS))


def _signed(text: str) -> str:
    """The time of the signature, which is the last part but one."""
    return text.rsplit(":", 2)[1]


def mark(token: str) -> str:
    """A short text that no other token has."""
    return token.rsplit(":", 1)[-1][:_MARK]


def _read(parts: Any, signed: str) -> tuple[str, Position | Mark] | None:
    if not isinstance(parts, list) or not parts or not isinstance(parts[0], str):
        return None
    if len(parts) == 3 and is_mark(*parts[1:]):
        return parts[0], Mark(parts[1], parts[2], signed)
    return _read_position(parts, signed) if len(parts) == 5 else None


def _read_position(parts: list[Any], signed: str) -> tuple[str, Position] | None:
    alias, cluster_id, seqno, node, gtid = parts
    if not isinstance(node, str):
        return None
    if (cluster_id, seqno) == (EVERYTHING.cluster_id, EVERYTHING.seqno):
        return alias, EVERYTHING
    if not is_position(cluster_id, seqno, gtid):
        return None
    return alias, Position(cluster_id, seqno, node, gtid, signed)
