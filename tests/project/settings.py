"""Settings of a project in a process of its own, on the cluster of the tests."""

from __future__ import annotations

import json
import os

import galera_router
from tests.settings import *  # noqa: F403

DATABASES = galera_router.expand(json.loads(os.environ["PROJECT_DATABASES"]))
globals().update(json.loads(os.environ.get("PROJECT_SETTINGS", "{}")))
