"""Rules that explain differences: what brings one about, and the programme without that.

A rule does not explain a difference by its looks alone. The programme is run again without what the
rule names, and the difference must have gone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

from tests.differential.compare import Difference
from tests.differential.language import Step


class Case(Protocol):
    """A programme, with a fault or without."""

    @property
    def steps(self) -> tuple[Step, ...]: ...
    def with_steps(self: CaseT, steps: tuple[Step, ...]) -> CaseT: ...
    def to_json(self) -> dict[str, Any]: ...


CaseT = TypeVar("CaseT", bound=Case)
Trigger = Callable[[Step], bool]
Sign = Callable[[Difference], bool]


@dataclass(frozen=True)
class FaultRule:
    """A difference that is there only with a fault of some kind.

    Attributes:
        name, reason, sign: as in Rule.
        trigger: True for the cases that it is about.
    """

    name: str
    reason: str
    trigger: Callable[[Any], bool]
    sign: Sign

    def without(self, case: Any, difference: Difference) -> Any:
        """The case without its fault; None if that cannot be the cause."""
        if not self.trigger(case) or not self.sign(difference):
            return None
        return replace(case, permille=None)


@dataclass(frozen=True)
class Rule:
    """A kind of difference that is known.

    Attributes:
        name: of a fault, such as "S2", or of an allowed difference.
        reason: what it is, in words.
        trigger: True for the steps that bring it about.
        sign: True for the differences that it may bring about.
        instead: what stands for such a step in the programme without it; None removes the step,
            of a block the head alone.
        first: what is done ahead of such a block, which then stays.
    """

    name: str
    reason: str
    trigger: Trigger
    sign: Sign
    instead: Callable[[Step], Step | None] = lambda step: None
    first: Step | None = None

    def without(self, case: CaseT, difference: Difference) -> CaseT | None:
        """The case without what this rule names; None if it cannot be the cause."""
        if not self.sign(difference):
            return None
        mended = case.with_steps(self._mend(case.steps))
        return mended if mended != case else None

    def _mend(self, steps: Iterable[Step]) -> tuple[Step, ...]:
        return tuple(kept for step in steps for kept in self._of(step))

    def _of(self, step: Step) -> Sequence[Step]:
        body = self._mend(step.body)
        if not self.trigger(step):
            return [replace(step, body=body)]
        if self.first is not None and body:
            return [self.first, replace(step, body=body)]
        other = self.instead(step)
        return body if other is None else [replace(other, body=body)]


def op(*names: str) -> Trigger:
    """Steps of these ops."""
    return lambda step: step.op in names


def sql(*parts: str) -> Trigger:
    """Steps that execute SQL in which one of the texts stands."""
    return lambda step: (
        any(part in str(argument) for argument in step.args for part in parts)
        and step.op.startswith(("execute", "cursor", "unread"))
    )


def any_of(*triggers: Trigger) -> Trigger:
    return lambda step: any(trigger(step) for trigger in triggers)


def anything(difference: Difference) -> bool:
    return True


def raised(*names: str) -> Sign:
    """The router alone raises one of these; written as ``OperationalError 1568``."""
    return lambda difference: (difference.raised() or "") in names


def at(*ops: str) -> Sign:
    """The difference is in what one of these ops gave."""
    return lambda difference: difference.what in ops
