"""Hooks of on_commit."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from django.db import transaction

from tests.differential.acts.values import ALIASES
from tests.differential.language import act
from tests.differential.run import Run

KINDS = ("note", "raise", "create", "atomic", "atomic_raise", "read", "nest")


@act("transaction.on_commit(hook {0!r}, robust={1})", KINDS, (False, False, True), group="hooks")
def on_commit(run: Run, kind: str, robust: bool) -> None:
    transaction.on_commit(_hook(run, kind), robust=robust)


@act("transaction.on_commit(hook 'note', using=alias({0!r}))", ALIASES[1:], group="aliases")
def on_commit_using(run: Run, alias: str) -> None:
    transaction.on_commit(_hook(run, "note"), using=run.alias(alias))


def _hook(run: Run, kind: str) -> Callable[[], None]:
    """A function: of a robust one that fails, Django logs the name, which a ``partial`` has not."""

    def hook() -> None:
        run.hooks += 1
        run.note("hook", kind)
        run.counted("hook failed", lambda: _do(run, kind))

    return hook


def _do(run: Run, kind: str) -> None:
    if kind == "raise":
        raise ValueError("a hook's own")
    if kind == "create":
        run.note("hook made", run.Tag.objects.create(name="hook"))
    if kind == "read":
        run.note("hook read", run.Tag.objects.count())
    if kind == "nest":
        transaction.on_commit(_hook(run, "note"))
    if kind.startswith("atomic"):
        _block(run, kind)


def _block(run: Run, kind: str) -> None:
    with transaction.atomic():
        run.Tag.objects.create(name="hook")
        transaction.on_commit(partial(run.note, "hook", "inner"))
        if kind == "atomic_raise":
            raise ValueError("of a hook's block")
