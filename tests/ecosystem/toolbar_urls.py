"""The site with django-debug-toolbar, which must be an installed app: a ROOT_URLCONF."""

from __future__ import annotations

from django.urls import include, path

urlpatterns = [
    path("", include("tests.ecosystem.site")),
    path("__debug__/", include("debug_toolbar.urls")),
]
