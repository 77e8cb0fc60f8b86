"""The audit at the end of the demo: it must find every kind of damage."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from demo.audit import Ledger, complaints
from demo.tally import Asked

GOOD = Ledger(
    accounts=((1, 1000, 700), (2, 1000, 1300)),
    transfers=((1, "a", 1, 2, 200), (2, "b", 1, 2, 100)),
    entries=((1, 1, -200), (2, 1, 200), (1, 2, -100), (2, 2, 100)),
)
ASKED = (
    Asked("a", 1, 2, 200, "made"),
    Asked("b", 1, 2, 100, "unheard"),
    Asked("c", 1, 2, 300, "unheard"),
    Asked("d", 1, 2, 5000, "refused"),
    Asked("e", 1, 2, 400, "failed"),
)


def test_good_books_are_not_complained_about() -> None:
    """Made is there, refused and failed are not, and what was not heard of may be either."""
    assert complaints(GOOD, ASKED, 2000) == []


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        ({"accounts": ((1, 1000, 700), (2, 1000, 1301))}, "2001 cents together, not 2000"),
        ({"accounts": ((1, 1000, 701), (2, 1000, 1299))}, "account 1 holds 701 cents"),
        ({"entries": GOOD.entries[:3]}, "transfer b is not booked"),
        ({"entries": (*GOOD.entries, (2, 2, 100))}, "transfer b is not booked"),
        ({"transfers": GOOD.transfers[1:]}, "transfer a was acknowledged and is lost"),
        ({"transfers": GOOD.transfers[1:]}, "entries for transfer number 1, but not the"),
        ({"transfers": (*GOOD.transfers, (3, "a", 1, 2, 200))}, "transfer a was made 2 times"),
        ({"transfers": (*GOOD.transfers, (3, "d", 1, 2, 5000))}, "d was answered as refused"),
        ({"transfers": (*GOOD.transfers, (3, "e", 1, 2, 400))}, "e was answered as failed"),
        ({"transfers": (*GOOD.transfers, (3, "x", 1, 2, 1))}, "x was asked for by nobody"),
        ({"transfers": (GOOD.transfers[0], (2, "b", 2, 1, 100))}, "b is not what was asked for"),
    ],
)
def test_damage_is_found(damage: dict[str, Any], text: str) -> None:
    """Each way in which money or a promise can get lost has its complaint."""
    found = complaints(replace(GOOD, **damage), ASKED, 2000)
    assert any(text in complaint for complaint in found), found
