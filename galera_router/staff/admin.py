"""The page, what it asks for, and what its buttons do."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from galera_router.cluster.drain import CannotDrain, drain, undrain
from galera_router.cluster.failback import move
from galera_router.cluster.node import Node
from galera_router.cluster.registry import cluster_of, clusters
from galera_router.cluster.survey import Survey, surveyor
from galera_router.connections.errors import ERRORS

from . import events
from .models import Cluster

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Cluster]
else:
    ModelAdmin = admin.ModelAdmin

#: Seconds after which the nodes are asked again, and that one which has answered so far is given.
AGE, WAIT = 0.5, 0.25


@admin.register(Cluster)
class ClusterAdmin(ModelAdmin):
    """One page; nothing is added, changed or deleted."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_urls(self) -> list[URLPattern]:
        site = self.admin_site.admin_view
        name = "galera_router_staff_cluster_{}".format
        return [
            path("", site(self._page), name=name("changelist")),
            path("state/", site(require_safe(never_cache(self._state))), name=name("state")),
            path("operate/", site(require_POST(self._operate)), name=name("operate")),
        ]

    def _may_operate(self, request: HttpRequest) -> bool:
        user = request.user
        return user.is_active and user.has_perm("galera_router_staff.operate_cluster")

    def _page(self, request: HttpRequest) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        site = self.admin_site
        context = {
            **site.each_context(request),
            "title": "Cluster",
            "opts": self.opts,
            "state": reverse(f"{site.name}:galera_router_staff_cluster_state"),
            "operate": reverse(f"{site.name}:galera_router_staff_cluster_operate"),
            "may_operate": self._may_operate(request),
            "clusters": [cluster.alias for cluster in clusters()],
        }
        return TemplateResponse(request, "galera_router_staff/cluster.html", context)

    def _state(self, request: HttpRequest) -> HttpResponseBase:
        if not self.has_view_permission(request):
            raise PermissionDenied
        surveys = [surveyor(cluster).look(wait=WAIT, age=AGE) for cluster in clusters()]
        return JsonResponse({"clusters": [_told(survey) for survey in surveys]})

    def _operate(self, request: HttpRequest) -> HttpResponseBase:
        """Status 200 with what was done, 409 with what was in the way, 400 for nonsense."""
        if not self._may_operate(request):
            raise PermissionDenied
        node, action = _node(request), _ACTIONS.get(request.POST.get("action", ""))
        if node is None or action is None:
            return JsonResponse({"error": "There is no such node or action."}, status=400)
        try:
            said = action(node, str(request.user))
        except (CannotDrain, *ERRORS) as error:
            return JsonResponse({"error": f"{node.name}: {error}"}, status=409)
        surveyor(node.cluster).look(wait=WAIT, age=0.0)  # so that the page shows it at once
        return JsonResponse({"said": said})


def _told(survey: Survey) -> dict[str, Any]:
    told = {**survey.as_dict(), "events": events.told(survey)}
    rates = [node["selects_per_second"] for node in told["nodes"]]
    total = sum(rate for rate in rates if rate)
    for node, rate in zip(told["nodes"], rates, strict=True):
        node["share"] = None if rate is None or not total else round(100 * rate / total)
    return told


def _node(request: HttpRequest) -> Node | None:
    cluster = cluster_of(request.POST.get("cluster", ""))
    if cluster is None:
        return None
    name = request.POST.get("node", "")
    return next((node for node in cluster.nodes if node.name == name), None)


def _switch(node: Node, user: str) -> str:
    if not node.config.electable:
        raise CannotDrain("it can never be the primary (ELECTABLE)")
    first = next(other for other in node.cluster.nodes if other.config.electable)
    moved = move(node, f"by {user}", held=node is not first)
    events.note_pause(node.cluster, moved)
    if not moved.seconds:
        return f"{node.name} is the primary already."
    return f"{node.name} is the primary now. Writes have paused for {moved.seconds * 1e3:.0f} ms."


def _drain(node: Node, user: str) -> str:
    moved = drain(node)
    said = f"{node.name} is drained: no new work goes to it. What is open there goes on."
    if moved is None:
        return said
    events.note_pause(node.cluster, moved)
    return f"{node.cluster.epochs.name} is the primary now. {said}"


def _undo(node: Node, user: str) -> str:
    return f"{node.name} {'is not drained any more' if undrain(node) else 'was not drained'}."


_ACTIONS: dict[str, Callable[[Node, str], str]] = {
    "switchover": _switch,
    "drain": _drain,
    "undrain": _undo,
}
