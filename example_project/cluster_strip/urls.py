"""Addresses of the strip."""

from __future__ import annotations

from django.urls import path

from cluster_strip import views

app_name = "cluster_strip"
urlpatterns = [
    path("state/", views.state, name="state"),
    path("operate/", views.operate, name="operate"),
]
