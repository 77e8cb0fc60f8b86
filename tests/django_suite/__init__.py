"""Django's own test suite, with stock Django on one node and with the router on three.

``python -m tests.django_suite [LABEL ...]`` runs it; docs/differences.md has what came of it.
"""

from __future__ import annotations
