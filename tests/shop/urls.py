"""Views that the middleware tests call; each does one thing."""

from __future__ import annotations

from django.contrib import admin
from django.urls import path

from . import views

urlpatterns = [
    path("admin/", admin.site.urls),
    path("nothing/", views.nothing),
    path("ten/", views.ten_reads),
    path("five-and-save/", views.five_reads_and_a_save),
    path("read/", views.read),
    path("conflict/", views.conflict),
    path("conflict-non-atomic/", views.conflict_non_atomic),
    path("conflict-stream/", views.conflict_consumed),
    path("async/", views.read_async),
    path("add/", views.add),
    path("add-async/", views.add_async),
    path("primary-async/", views.primary_async),
    path("any-async/", views.any_async),
    path("list/", views.Authors.as_view()),
    path("stream/", views.stream),
    path("stream-async/", views.stream_async),
    path("sign-in/", views.sign_in),
    path("who/", views.who),
]
