"""docs/monitoring.md names every signal, event, field and metric, and its examples work."""

from __future__ import annotations

import dataclasses
import logging
import logging.config
import re
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter

from galera_router import signals
from galera_router.instrumentation.prometheus import Prometheus
from galera_router.signals import SIGNALS

TEXT = (Path(__file__).parents[2] / "docs" / "monitoring.md").read_text("utf-8")
EVERYWHERE = {"alias"}


def test_each_event_has_a_line_with_its_fields() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \| [^|]+ \| (.*) \|$", TEXT, re.MULTILINE)
    told = {
        event: (signal, {field for part in fields.split(";") for field in _field(part)})
        for signal, event, fields in rows
    }
    names = {id(value): name for name, value in vars(signals).items()}
    assert told == {
        kind.__name__: (
            names[id(signal)],
            {field.name for field in dataclasses.fields(kind)} - EVERYWHERE,
        )
        for kind, signal in SIGNALS.items()
    }


def _field(part: str) -> list[str]:
    return re.findall(r"^\s*`(\w+)`", part)


def test_each_metric_has_a_line_with_its_labels() -> None:
    rows = re.findall(r"^\| `(galera_router_\w+)` \|(.*)\| .+ \|$", TEXT, re.MULTILINE)
    told = {name: {"cluster", *re.findall(r"`(\w+)`", labels)} for name, labels in rows}
    exported = {}
    for metric in vars(Prometheus(CollectorRegistry())).values():
        if hasattr(metric, "_labelnames"):
            name = metric._name + ("_total" if isinstance(metric, Counter) else "")
            exported[name] = set(metric._labelnames)
    assert told == exported


@pytest.mark.parametrize("level", ["WARNING", "INFO", "DEBUG", "NOTSET"])
def test_the_levels_are_those_of_the_events(level: str) -> None:
    row = re.search(
        rf"^\| {'none' if level == 'NOTSET' else level} \| (.*) \|$", TEXT, re.MULTILINE
    )
    assert row is not None
    told = set(re.findall(r"`(\w+)`", row[1]))
    kinds = {kind.__name__ for kind in SIGNALS if logging.getLevelName(kind.LEVEL) == level}
    kinds = {name for name in kinds if not name.startswith("Node")}
    assert kinds <= told
    assert told - kinds <= {"PrimaryChanged"}, "told of at two levels"


def test_the_examples_of_logging_can_be_used() -> None:
    examples = re.findall(
        r"^(?:LOGGING|logconfig_dict) = (\{.*?^\})$", TEXT, re.MULTILINE | re.DOTALL
    )
    assert len(examples) == 2
    before = logging.root.manager.loggerDict.copy()
    logger = logging.getLogger("galera_router")
    kept = logger.handlers[:], logger.level, logger.propagate, logging.root.handlers[:]
    level = logging.root.level
    try:
        for example in examples:
            logging.config.dictConfig(eval(example))
        assert type(logger.handlers[0].formatter).__name__ == "JsonFormatter"
    finally:
        logger.handlers, logger.level, logger.propagate, logging.root.handlers[:] = kept
        logging.root.setLevel(level)
        for name in ("django", "gunicorn.error", "gunicorn.access"):
            found = logging.getLogger(name)
            found.handlers, found.propagate = [], True
            found.setLevel(logging.NOTSET)
        logging.root.manager.loggerDict.update(before)
