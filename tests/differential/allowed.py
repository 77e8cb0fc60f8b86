"""Where the router may differ from stock Django: the whole list, each entry with its reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.differential.compare import Difference
from tests.differential.language import Programme


@dataclass(frozen=True)
class Rule:
    """Recognises a kind of difference.

    Attributes:
        name: of a fault, such as "S2", or of an allowed difference.
        reason: why it is, in words.
        applies: True if it explains the difference of that programme.
    """

    name: str
    reason: str
    applies: Callable[[Programme, Difference], bool]


ALLOWED: tuple[Rule, ...] = ()


def explain(
    rules: tuple[Rule, ...], programme: Programme, difference: Difference
) -> Rule | None:
    """The first rule that explains it."""
    return next((rule for rule in rules if rule.applies(programme, difference)), None)
