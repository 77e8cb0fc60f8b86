"""Addresses of the bank's pages."""

from __future__ import annotations

from django.urls import path

from bank import views

urlpatterns = [
    path("", views.overview, name="overview"),
    path("accounts/<int:pk>/", views.account, name="account"),
    path("transfer/", views.transfer, name="transfer"),
    path("transfers/<slug:reference>/", views.receipt, name="receipt"),
    path("books/", views.books, name="books"),
    path("health/", views.health, name="health"),
]
