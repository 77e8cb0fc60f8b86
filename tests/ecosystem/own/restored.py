"""Rows of migrations come back after each test; Django allows no other kind of test beside it."""

from __future__ import annotations

from django.contrib.contenttypes.models import ContentType
from django.test import TransactionTestCase

from tests.ecosystem.own.cases import fresh


class Restored(TransactionTestCase):
    serialized_rollback = True

    def test_it_is_on_its_own(self) -> None:
        fresh()
        ContentType.objects.all().delete()

    def test_what_was_deleted_is_back(self) -> None:
        fresh()
        assert ContentType.objects.filter(model="book").exists()
        ContentType.objects.all().delete()
