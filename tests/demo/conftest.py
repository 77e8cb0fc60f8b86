"""The example project's folder is on the path, as it is for ``manage.py``."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.browser import browser, browser_of_the_session

__all__ = ["browser", "browser_of_the_session"]

sys.path.append(str(Path(__file__).parents[2] / "example_project"))
