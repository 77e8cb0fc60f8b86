from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Cluster",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
            ],
            options={
                "verbose_name": "cluster",
                "verbose_name_plural": "cluster",
                "permissions": (("operate_cluster", "Can move the primary and drain nodes"),),
                "managed": False,
                "default_permissions": ("view",),
            },
        ),
    ]
