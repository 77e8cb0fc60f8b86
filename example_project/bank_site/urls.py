"""The bank's pages at the root, Django's admin and the strip's answers beside them."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("cluster/", include("cluster_strip.urls")),
    path("", include("bank.urls")),
]
