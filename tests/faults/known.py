"""The mark of a known fault: the test fails with the router, and passes with stock Django."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

STOCK, ROUTER = "stock", "router"


Errors = type[BaseException] | tuple[type[BaseException], ...]
WRONG = (AssertionError, pytest.fail.Exception)  # "did not raise" is of the second kind


def fault(name: str, *, stock: bool = True, raises: Errors = WRONG) -> Callable[[Any], Any]:
    """Run a test that shows the fault ``name`` on stock Django and with the router.

    On stock Django, with the first node alone as its database, the test must pass: so it is known
    to ask for what stock Django gives. With the router it must fail until the fault is mended;
    then this mark is replaced by ``both``.

    Args:
        name: such as "S1".
        stock: False if the test makes no sense without a cluster; it is run with the router alone.
        raises: how the test fails with the router; another exception, one of the set-up, say, is
            an error as in any test.
    """
    mark = pytest.mark.xfail(strict=True, raises=raises, reason=f"known fault {name}")
    broken = pytest.param(ROUTER, marks=mark)
    return pytest.mark.parametrize("side", [STOCK, broken] if stock else [broken])


def both(*, stock: bool = True) -> Callable[[Any], Any]:
    """Run a test on stock Django and with the router; it must pass on both."""
    return pytest.mark.parametrize("side", [STOCK, ROUTER] if stock else [ROUTER])
