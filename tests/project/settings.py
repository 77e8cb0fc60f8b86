"""Settings of a project whose own tests are run, in a process of their own, on the cluster."""

from __future__ import annotations

import json
import os

import galera_router
from tests.settings import *  # noqa: F403

DATABASES = galera_router.expand(json.loads(os.environ["PROJECT_DATABASES"]))
