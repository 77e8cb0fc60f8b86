"""The log as lines of JSON, with the fields of the events; needs nothing else.

The logger ``galera_router`` writes one line for each event, whatever is in
``GALERA_INSTRUMENTATION``: :mod:`galera_router.signals` does that. A record has the event's fields
as attributes, each with ``galera_`` before its name.
"""

from __future__ import annotations

import json
import logging

_USUAL = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, and whatever ``extra`` has."""

    default_msec_format = "%s.%03d"

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line = {
            "time": self.formatTime(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **{name: value for name, value in vars(record).items() if name not in _USUAL},
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)
