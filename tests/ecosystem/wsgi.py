"""The WSGI application; loaded ahead of a fork, it has used the database already."""

from __future__ import annotations

from django.core.wsgi import get_wsgi_application

application = get_wsgi_application()

from django.db import transaction  # noqa: E402

from tests.shop.models import Author  # noqa: E402

with transaction.atomic():
    Author.objects.count()
Author.objects.filter(name="nobody").update(name="somebody")
