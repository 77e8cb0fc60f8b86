"""Random programmes: trees of a few kinds of statements each."""

from __future__ import annotations

from functools import cache

from hypothesis import strategies as st

from tests.differential.acts import GROUPS, OPS
from tests.differential.language import SCENES, Programme, Step

DEPTH = 3  # blocks within blocks
LONGEST = 7  # steps of one level
ALWAYS = frozenset({"read", "write", "transaction"})


@cache
def _step(op: str) -> st.SearchStrategy[Step]:
    args = [st.sampled_from(list(choices)) for choices in OPS[op].choices]
    return st.tuples(*args).map(lambda values: Step(op, values))


@cache
def _ops(groups: frozenset[str], block: bool) -> list[str]:
    return [name for name, op in OPS.items() if op.group in groups and op.is_block is block]


@cache
def _leaves(groups: frozenset[str]) -> st.SearchStrategy[Step]:
    """First a group, then one of its statements: large groups do not crowd out small ones."""
    each = [_ops(frozenset({group}), False) for group in sorted(groups)]
    return st.one_of([st.sampled_from(ops).flatmap(_step) for ops in each if ops])


@cache
def _trees(groups: frozenset[str], depth: int) -> st.SearchStrategy[Step]:
    leaves = _leaves(groups)
    if not depth:
        return leaves
    head = st.sampled_from(_ops(groups, True)).flatmap(_step)
    body = st.lists(_trees(groups, depth - 1), min_size=1, max_size=LONGEST).map(tuple)
    block = st.builds(lambda step, steps: Step(step.op, step.args, steps), head, body)
    return st.one_of(leaves, block, leaves)


@st.composite
def programmes(draw: st.DrawFn) -> Programme:
    """At least three statements, of the common groups and up to three of the rarer ones."""
    rarer = sorted(set(GROUPS) - ALWAYS)
    groups = ALWAYS | draw(st.frozensets(st.sampled_from(rarer), max_size=3))
    steps = draw(st.lists(_trees(groups, DEPTH), min_size=3, max_size=LONGEST))
    scene = draw(st.sampled_from(list(SCENES)))
    return Programme(tuple(steps), scene)


QUIET = frozenset({"read", "write", "shapes", "bulk", "relations", "upsert", "raw"})
ENDS = ("CALL commit_between",)  # commits what it finds


def quiet_steps() -> st.SearchStrategy[Step]:
    """Statements and blocks that leave nothing behind when the block around them is undone."""
    ops = QUIET | {"transaction"}
    return _trees(ops, 1).filter(lambda step: not any(end in str(step) for end in ENDS))
