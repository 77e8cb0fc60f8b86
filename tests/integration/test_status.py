"""``manage.py galera_status``, and the survey behind it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from galera_router.cluster.survey import Survey, Surveyor
from tests.integration.support import Shop
from tests.integration.test_drain import OTHER
from tests.shop.models import Tag


def status(*args: str) -> tuple[int, str]:
    """The exit status, and what the command says."""
    out = StringIO()
    try:
        call_command("galera_status", *args, stdout=out, no_color=True)
    except SystemExit as end:
        return int(end.code or 0), out.getvalue()
    return 0, out.getvalue()


def told(*args: str) -> dict[str, Any]:
    code, text = status("--json", *args)
    (found,) = json.loads(text)
    assert found["status"] == code
    return dict(found)


@pytest.fixture
def begun(shop: Shop) -> Shop:
    """Something was written: db1 is the primary."""
    shop.configure(OPTIONS={"failback_delay": None})
    Tag.objects.create(name="first")
    shop.settle()
    return shop


def test_all_is_well(begun: Shop) -> None:
    found = told()
    assert (found["status"], found["primary"], found["complaints"]) == (0, "db1", [])
    assert found["epoch"]["reason"] == "it is the first"
    assert abs(found["at"] - found["epoch"]["since"]) < 60
    roles = {node["name"]: (node["role"], node["state"]) for node in found["nodes"]}
    assert roles == {
        "db1": ("primary", "Synced"), "db2": ("secondary", "Synced"), "db3": ("secondary", "Synced")
    }  # fmt: skip
    for node in found["nodes"]:
        assert node["own"]["size"] == 3
        assert node["epoch"] == found["epoch"]["number"]
        assert "MariaDB" in node["version"]
        assert node["galera"].startswith("26.4") or node["galera"]
        assert node["markers"] > 0
        assert node["here"]["reachable"]


def test_a_person_sees_a_table(begun: Shop) -> None:
    code, text = status()
    lines = text.splitlines()
    assert code == 0
    assert lines[0] == "default: all is well"
    assert lines[1].startswith("Epoch ")
    assert lines[3].split()[:4] == ["node", "role", "state", "zone"]
    assert lines[4].split()[:3] == ["db1", "primary", "Synced"]


def test_a_dead_node_is_degraded_and_is_not_waited_for(begun: Shop) -> None:
    begun.galera["db3"].kill()
    found = told()
    assert (found["status"], found["primary"]) == (1, "db1")
    assert found["nodes"][2]["state"] == "unreachable"
    assert any(text.startswith("db3: ") for text in found["complaints"])


def test_a_frozen_node_does_not_answer(begun: Shop) -> None:
    begun.galera["db2"].freeze()
    surveyor = Surveyor(begun.session.cluster)
    surveyor.look(age=0.0)
    waits, survey = [], surveyor.look()
    for _ in range(3):
        began = time.perf_counter()
        survey = surveyor.look(age=0.0)
        waits.append(time.perf_counter() - began)
    begun.galera["db2"].thaw()
    frozen = survey.reports[1]
    assert not frozen.answered
    assert frozen.error.startswith("no answer for ")
    assert max(waits) < 0.2  # it was waited for once


def test_no_node_is_the_primary(begun: Shop) -> None:
    for node in begun.galera.nodes:
        node.reject_queries()
    found = told()
    assert (found["status"], found["primary"]) == (2, None)
    assert "No node is the primary." in found["complaints"]
    assert {node["state"] for node in found["nodes"]} == {"not in the cluster"}
    begun.accept_queries()


def test_the_primary_is_dead(begun: Shop) -> None:
    """Until somebody writes, nobody has taken over."""
    begun.galera["db1"].kill()
    assert status()[0] == 2
    Tag.objects.create(name="second")
    found = told()
    assert (found["status"], found["primary"]) == (1, begun.writing.name)


@pytest.mark.parametrize(
    ("spoil", "mend", "said"),
    [
        ("SET GLOBAL read_only = 1", "SET GLOBAL read_only = 0", "db2: it is read-only"),
        (
            "SET GLOBAL wsrep_desync = 1",
            "SET GLOBAL wsrep_desync = 0",
            "db2: it is Donor/Desynced, not Synced",
        ),
    ],
)
def test_what_is_wrong_is_said(begun: Shop, spoil: str, mend: str, said: str) -> None:
    begun.galera["db2"].query(spoil)
    try:
        found = told()
    finally:
        begun.galera["db2"].query(mend)
    assert found["status"] == 1
    assert said in found["complaints"]


def test_a_drained_node_is_shown(begun: Shop) -> None:
    call_command("galera_drain", "db3", "--timeout", "0", stdout=StringIO())
    found = told()
    assert found["nodes"][2]["role"] == "drained"
    assert "db3: it is drained" in found["complaints"]


def test_a_node_that_lags_is_measured(begun: Shop) -> None:
    surveyor = Surveyor(begun.session.cluster)
    survey = surveyor.look(age=0.0, wait=2.0)
    with begun.galera["db2"].hold_applier():
        for number in range(4):
            Tag.objects.create(name=f"more {number}")
            survey = surveyor.look(age=0.0, wait=2.0)
            time.sleep(0.2)
    behind = survey.reports[1]
    assert behind.lag > 0.2
    assert behind.behind >= 1
    assert survey.reports[0].lag == 0.0


def test_the_reads_of_each_node_are_counted(begun: Shop) -> None:
    surveyor = Surveyor(begun.session.cluster)
    surveyor.look(age=0.0, wait=2.0)
    for _ in range(200):
        begun.galera["db3"].query("SELECT 1")
    survey = surveyor.look(age=0.0, wait=2.0)
    rates = [report.select_rate or 0.0 for report in survey.reports]
    assert rates[2] > 10 * max(rates[0], rates[1])


def test_nobody_is_asked_twice_in_a_second(begun: Shop) -> None:
    surveyor = Surveyor(begun.session.cluster)
    with begun.traffic() as sent:
        survey = surveyor.look()
        until = time.monotonic() + 2.5
        while time.monotonic() < until:
            survey = surveyor.look()
            time.sleep(0.01)
    assert survey.exit_status == 0
    for statements in sent.values():
        assert 2 <= sum("Com_select" in text for text in statements) <= 3


def test_a_node_without_tables(begun: Shop) -> None:
    begun.galera["db1"].query("RENAME TABLE galera_router.galera_router_epoch TO galera_router.x")
    try:
        code, text = status()
    finally:
        begun.galera["db1"].query(
            "RENAME TABLE galera_router.x TO galera_router.galera_router_epoch"
        )
    assert "There is no table that names the primary: run migrate." in text
    assert code == 0


def test_watching_ends_after_a_count(begun: Shop) -> None:
    code, text = status("--watch", "0.1", "--count", "3")
    assert code == 0
    assert text.count("default: all is well") == 3


def test_on_a_terminal_it_is_shown_in_place_and_in_colours(begun: Shop) -> None:
    """By rich, in a process that has a terminal."""
    script = OTHER.replace('"galera_drain"', '"galera_status"')
    databases = json.dumps(begun.galera.databases())
    command = [sys.executable, "-c", script, databases, "--watch", "0.2", "--count", "2"]
    line = " ".join("'" + part.replace("'", "'\\''") + "'" for part in command)
    done = subprocess.run(
        ["script", "-qec", line, "/dev/null"],
        capture_output=True, text=True, timeout=60, env={**os.environ, "TERM": "xterm"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "all is well" in done.stdout
    assert "\033[32;1mall is well" in done.stdout or "\033[1;32mall is well" in done.stdout


def test_a_wrong_alias_is_told(begun: Shop) -> None:
    with pytest.raises(CommandError, match="'other' is no cluster in DATABASES"):
        status("--database", "other")


def test_the_survey_is_plain_data(begun: Shop) -> None:
    survey = Surveyor(begun.session.cluster).look(age=0.0, wait=2.0)
    assert isinstance(survey, Survey)
    assert json.loads(json.dumps(survey.as_dict())) == survey.as_dict()
