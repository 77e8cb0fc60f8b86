"""The alert rules and the dashboard: promtool reads them, and all that they name is there."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter

from galera_router.instrumentation.prometheus import Prometheus

FOLDER = Path(__file__).parents[2] / "docs" / "monitoring"
ALERTS = FOLDER / "alerts.yml"
DASHBOARD: dict[str, Any] = json.loads((FOLDER / "dashboard.json").read_text("utf-8"))
#: What Grafana puts in the place of its variables.
VALUES = {"$__rate_interval": "5m", "$cluster": "default"}


def promtool(*words: str) -> str:
    """What promtool prints; it must end well."""
    program = shutil.which("promtool")
    assert program, "promtool is not installed: run make setup"
    done = subprocess.run(
        [program, *words],
        cwd=FOLDER,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def expressions() -> list[str]:
    """Each expression of the dashboard, as Prometheus gets it."""
    found = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    for name, value in VALUES.items():
        found = [text.replace(name, value) for text in found]
    return found


def exported() -> dict[str, set[str]]:
    """The labels of each sample that there can be, by its name; ``le`` is one of a bucket's."""
    registry = CollectorRegistry()
    found: dict[str, set[str]] = {}
    for metric in vars(Prometheus(registry)).values():
        if hasattr(metric, "_labelnames"):
            name, labels = metric._name, set(metric._labelnames)
            kinds = ["_total"] if isinstance(metric, Counter) else ["", "_count", "_sum"]
            found |= {name + kind: labels for kind in kinds}
            found[f"{name}_bucket"] = labels | {"le"}
    return found


def named(text: str) -> set[str]:
    return set(re.findall(r"galera_router_\w+", text))


def test_promtool_reads_the_rules() -> None:
    assert "11 rules found" in promtool("check", "rules", ALERTS.name)


def test_the_rules_fire_when_they_should() -> None:
    assert "SUCCESS" in promtool("test", "rules", "alerts_test.yml")
    rules = set(re.findall(r"alert: (\w+)", ALERTS.read_text("utf-8")))
    tried = set(re.findall(r"alertname: (\w+)\n *exp", (FOLDER / "alerts_test.yml").read_text()))
    assert rules == tried, "each is seen to fire"


def test_promtool_reads_what_the_dashboard_asks(tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:{number}", "expr": text} for number, text in enumerate(expressions())
    ]
    file = tmp_path / "rules.json"  # JSON is YAML
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert f"{len(rules)} rules found" in promtool("check", "rules", str(file))


@pytest.mark.parametrize("text", [ALERTS.read_text("utf-8"), *expressions()])
def test_what_is_asked_for_is_exported(text: str) -> None:
    known = exported()
    assert named(text) <= known.keys()
    if "alert:" in text:
        return
    for labels in re.findall(r"by \(([\w, ]+)\)", text):
        allowed = set.union(*(known[name] for name in named(text)))
        assert set(labels.split(", ")) <= allowed


def test_the_dashboard_shows_every_metric() -> None:
    shown = named(" ".join(expressions()))
    bare = {re.sub(r"_(count|sum|bucket)$", "", name) for name in shown}
    series = {re.sub(r"_(count|sum|bucket)$", "", name) for name in exported()}
    counters = {name for name in series if name.endswith("_total")}
    left = {name for name in series - bare if f"{name}_total" not in counters}
    assert left == set()


def test_the_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        assert max(x for x, _ in cells) < 24
        taken |= cells
    numbers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(numbers)) == len(numbers)
