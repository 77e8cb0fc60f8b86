"""The example project's folder is on the path, as it is for ``manage.py``."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "example_project"))
