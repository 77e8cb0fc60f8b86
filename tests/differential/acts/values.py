"""The values that programmes use: those of rows that are there, and of rows that are not."""

from __future__ import annotations

NAMES = ("a0", "a1", "c", "d")  # of authors; the first two are there
TITLES = ("b0", "b1", "n0", "n1")  # of books; likewise
TAGS = ("t0", "t1", "n0")
CODES = ("s0", "s1", "n0")  # of shelves
NUMBERS = (0, 1, 5)
ALIASES = ("", "default", "queryset", "manager", "instance", "for_read", "for_write")
