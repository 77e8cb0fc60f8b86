"""``manage.py test`` where processes are spawned and not forked, as on macOS."""

from __future__ import annotations

import multiprocessing
import sys

from django.core.management import execute_from_command_line

if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    execute_from_command_line(sys.argv)
