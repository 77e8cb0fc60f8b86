"""What the errors about settings have in common: where, what is wrong, and what was meant."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import SequenceMatcher, get_close_matches

from galera_router.exceptions import ConfigurationError

_NO_LETTERS = re.compile(r"[\W\d_]+")
_SIMILAR = 0.75


def words(text: str) -> frozenset[str]:
    """Returns the words of ``text``, for tables of names."""
    return frozenset(text.split())


def wrong(path: Iterable[object], problem: str) -> ConfigurationError:
    """Returns the error for the value at ``path`` in DATABASES; it names each key on the path."""
    return ConfigurationError("DATABASES" + "".join(f"[{key!r}]" for key in path) + f": {problem}")


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """Returns `` Did you mean 'x'?`` if ``name`` is similar to one of ``known``, else no text."""
    folded = {candidate.lower(): candidate for candidate in sorted(known)}
    near = get_close_matches(str(name).lower(), folded, n=1, cutoff=_SIMILAR)
    return f" Did you mean {folded[near[0]]!r}?" if near else ""


def nearly(name: str, known: Iterable[str]) -> str | None:
    """Returns the one of ``known`` that ``name`` looks like, digits and signs aside; None if none.

    Names such as ``db1`` are so short that one other digit makes them dissimilar.
    """
    letters = _NO_LETTERS.sub("", name.casefold())
    for candidate in known:
        other = candidate.casefold()
        if letters and letters == _NO_LETTERS.sub("", other):
            return candidate
        if SequenceMatcher(None, name.casefold(), other).ratio() >= _SIMILAR:
            return candidate
    return None
