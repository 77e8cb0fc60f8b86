"""The language of the programmes: statements and blocks as plain data, and as text to be read.

A programme is a tree of steps. What a step does stands beside its text, in the package ``acts``.
Nothing here needs Django to be set up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

Value = str | int | bool | None


@dataclass(frozen=True)
class Step:
    """One statement, or a block with its body.

    Attributes:
        op: a key of ``OPS``.
        args: one value for each of the op's choices.
        body: the steps of a block; empty for a statement.
    """

    op: str
    args: tuple[Value, ...] = ()
    body: tuple[Step, ...] = ()

    def to_json(self) -> list[Any]:
        return [self.op, list(self.args), [step.to_json() for step in self.body]]

    @classmethod
    def from_json(cls, data: Sequence[Any]) -> Step:
        op, args, body = data
        return cls(op, tuple(args), tuple(cls.from_json(step) for step in body))


@dataclass(frozen=True)
class Programme:
    """What an application does, from fresh connections on.

    Attributes:
        scene: where it runs; a key of ``SCENES``.
        steps: done one after the other; an exception ends a step of this level, not the programme.
    """

    steps: tuple[Step, ...]
    scene: str = "thread"

    def with_steps(self, steps: tuple[Step, ...]) -> Programme:
        return replace(self, steps=steps)

    def to_json(self) -> dict[str, Any]:
        return {"scene": self.scene, "steps": [step.to_json() for step in self.steps]}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Programme:
        return cls(tuple(Step.from_json(step) for step in data["steps"]), data["scene"])

    def __str__(self) -> str:
        return "\n".join([f"# {SCENES[self.scene]}", *_lines(self.steps, "")])

    def walk(self) -> Iterator[tuple[Step, tuple[Step, ...]]]:
        """Every step with the blocks around it, outermost first, in the order of the text."""
        yield from _walk(self.steps, ())


SCENES = {
    "thread": "in a thread of its own, without a request",
    "request": "in a view",
    "atomic_request": "in a view, with ATOMIC_REQUESTS",
    "failing_request": "in a view, with ATOMIC_REQUESTS, that raises at its end",
}


@dataclass(frozen=True)
class Op:
    """What a step may be.

    Attributes:
        text: how it is printed, with ``{0!r}`` and so on for the arguments.
        choices: the values that each argument may have.
        group: programmes are made of a few groups each.
        is_block: it has a body.
        act: carries it out; called with the run, the arguments and, for a block, the body.
    """

    text: str
    choices: tuple[Sequence[Value], ...]
    group: str
    is_block: bool
    act: Callable[..., Any]


OPS: dict[str, Op] = {}


def act(
    text: str, *choices: Sequence[Value], group: str, block: bool = False
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Declare the decorated function as the op of its name; the arguments are those of Op."""

    def declare(function: Callable[..., Any]) -> Callable[..., Any]:
        assert function.__name__ not in OPS, f"{function.__name__} is there already"
        OPS[function.__name__] = Op(text, choices, group, block, function)
        return function

    return declare


def _lines(steps: Sequence[Step], indent: str) -> Iterator[str]:
    for step in steps:
        for line in OPS[step.op].text.format(*step.args).splitlines():
            yield indent + line
        yield from _lines(step.body, indent + "    ")
        if step.op in TAILS:
            yield indent + TAILS[step.op].format(*step.args)


TAILS = {"attempt": "except {0}: pass"}


def _walk(
    steps: Sequence[Step], around: tuple[Step, ...]
) -> Iterator[tuple[Step, tuple[Step, ...]]]:
    for step in steps:
        yield step, around
        yield from _walk(step.body, (*around, step))
