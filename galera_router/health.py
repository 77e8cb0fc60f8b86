"""Probes for whoever runs the processes: does this one live, and can it serve?

``path("health/", include("galera_router.health"))`` gives ``health/live/`` and ``health/ready/``.
``live`` answers at once, ``ready`` within some 0.25 s. A node is asked once a second in each
process at most, on a connection of its own, and one that does not answer is not waited for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db import connections, transaction
from django.http import HttpRequest, HttpResponseBase, JsonResponse
from django.urls import path
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from galera_router.cluster import monitor
from galera_router.cluster.nodes import Cluster
from galera_router.cluster.registry import cluster_of, clusters
from galera_router.cluster.survey import Survey, surveyor

#: Seconds that a probe waits for nodes that have answered so far.
WAIT = 0.25


@dataclass(frozen=True)
class Readiness:
    """Can this process serve?

    Attributes:
        ready: every cluster that was asked for can be used.
        surveys: what is known of each, by its alias.
        clusters: for each alias, ``ready``, the number of its ``nodes``, how many of them are
            ``usable``, and its ``status``: 0 all is well, 1 something is wrong, 2 no primary now.
    """

    ready: bool
    surveys: Mapping[str, Survey] = field(repr=False)
    clusters: Mapping[str, Mapping[str, Any]]


def liveness() -> bool:
    """Returns True unless this process should be started anew. No node is asked.

    It is False if the thread has ended that frees statements from dead nodes.
    """
    return monitor.lives()


def readiness(alias: str | None = None, *, writes: bool = False) -> Readiness:
    """Find out if this process can serve. Without a cluster in DATABASES it can.

    Args:
        alias: of one cluster; None for all in DATABASES.
        writes: a node that may be the primary, and is not read-only, must take statements. It need
            not be the primary now: the first write makes it so.

    Returns:
        What was found out, after 0.25 s at most for each cluster.

    Raises:
        ValueError: ``alias`` is no cluster's.
    """
    found = clusters() if alias is None else [_cluster(alias)]
    surveys = {cluster.alias: surveyor(cluster).look(wait=WAIT) for cluster in found}
    told = {name: _told(survey, writes) for name, survey in surveys.items()}
    return Readiness(all(each["ready"] for each in told.values()), surveys, told)


def _cluster(alias: str) -> Cluster:
    cluster = cluster_of(alias)
    if cluster is None or cluster.alias != alias:
        raise ValueError(f"{alias!r} is no cluster in DATABASES")
    return cluster


def _told(survey: Survey, writes: bool) -> dict[str, Any]:
    usable = [report for report in survey.reports if report.takes_statements]
    could_lead = [r for r in usable if r.node.config.electable and not r.read_only]
    return {
        "ready": bool(could_lead if writes else usable),
        "nodes": len(survey.reports),
        "usable": len(usable),
        "status": survey.exit_status,
    }


# --- views --------------------------------------------------------------------------------

_View = Callable[..., HttpResponseBase]


def _outside_transactions(view: _View) -> _View:
    for alias in connections:
        view = transaction.non_atomic_requests(using=alias)(view)
    return view


def live(request: HttpRequest) -> HttpResponseBase:
    """Status 200, or 503 if this process should be started anew."""
    lives = liveness()
    return JsonResponse({"live": lives}, status=200 if lives else 503)


def ready(request: HttpRequest, alias: str | None = None, writes: bool = False) -> HttpResponseBase:
    """Status 200, or 503 if this process cannot serve now; takes what :func:`readiness` takes."""
    found = readiness(alias, writes=writes)
    body = {"ready": found.ready, "clusters": found.clusters}
    return JsonResponse(body, status=200 if found.ready else 503)


live = _outside_transactions(require_safe(never_cache(live)))
ready = _outside_transactions(require_safe(never_cache(ready)))

urlpatterns = [path("live/", live, name="live"), path("ready/", ready, name="ready")]
app_name = "galera_health"
