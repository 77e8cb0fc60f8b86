"""What the strip shows, and what its buttons do."""

from __future__ import annotations

from io import StringIO
from typing import TYPE_CHECKING, Any

from django.core.management import CommandError, call_command
from django.db import connections, transaction
from django.http import HttpResponseForbidden, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.http import require_GET, require_POST

from cluster_strip import control, counts
from galera_router.cluster.registry import clusters
from galera_router.cluster.survey import Survey, surveyor

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest, HttpResponseBase

LOOPBACK = ("127.0.0.1", "::1")
#: Seconds after which the nodes are asked again, and that one which has answered so far is given.
AGE, WAIT = 0.4, 0.25
WELL, BETWEEN, LOST = 0, 1, 2


def outside_transactions(
    view: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """These views ask the nodes by themselves, and never the database."""
    for alias in connections:
        view = transaction.non_atomic_requests(using=alias)(view)
    return view


@outside_transactions
@require_GET
@never_cache
def state(request: HttpRequest) -> HttpResponseBase:
    """All that the strip shows. A node that does not answer is not waited for."""
    processes = _processes()
    nodes = [_told(node, processes.get(node["name"], "")) for node in _survey().as_dict()["nodes"]]
    return JsonResponse({"nodes": nodes, **counts.counted(), "buttons": bool(processes)})


@outside_transactions
@require_POST
@csrf_protect
def operate(request: HttpRequest) -> HttpResponseBase:
    """Status 200 with what was done, 409 with what is in the way, 403 without the demo."""
    if not control.there() or request.META.get("REMOTE_ADDR") not in LOOPBACK:
        return HttpResponseForbidden("There are no buttons here.")
    action, node = request.POST.get("action", ""), request.POST.get("node", "")
    try:
        said = _switch_over() if action == "switchover" else control.do(action, node)
    except (control.Refused, CommandError) as error:
        return JsonResponse({"error": str(error)}, status=409)
    return JsonResponse({"said": said})


def _survey() -> Survey:
    return surveyor(clusters()[0]).look(wait=WAIT, age=AGE)


def _processes() -> dict[str, str]:
    try:
        return control.processes()
    except control.Refused:  # it is about to end
        return {}


def _told(node: dict[str, Any], process: str) -> dict[str, Any]:
    """One node as the strip shows it; ``process`` is empty where nobody knows of it."""
    lost = bool(node["error"]) or process in ("killed", "frozen")
    well = not lost and node["state"] in ("Synced", "alone") and not node["drained"]
    return {
        "name": node["name"],
        "role": "" if lost else node["role"],
        "state": process if process not in ("", "running") else node["state"].partition("/")[0],
        "level": LOST if lost and process != "starting" else WELL if well else BETWEEN,
        "process": process,
    }


def _switch_over() -> str:
    """Make the next node that is well the primary."""
    reports = _survey().reports
    names = [report.node.name for report in reports]
    primary = _survey().primary
    start = names.index(primary.node.name) + 1 if primary else 0
    turn = reports[start:] + reports[:start] if isinstance(reports, list) else reports
    for report in turn:
        if report.synced and report is not primary:
            said = StringIO()
            call_command("galera_switchover", report.node.name, stdout=said, stderr=StringIO())
            return said.getvalue().strip()
    raise control.Refused("No other node can be the primary now.")
