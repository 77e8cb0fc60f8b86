from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Marker",
            fields=[
                ("worker", models.CharField(max_length=32, primary_key=True, serialize=False)),
                ("seq", models.BigIntegerField()),
                ("found_rows", models.BigIntegerField(default=0)),
                ("inserted_key", models.BigIntegerField(default=0)),
                ("touched", models.DateTimeField()),
            ],
            options={
                "db_table": "galera_router_marker",
                "default_permissions": (),
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("seq__gte", 0)), name="galera_router_marker_seq"
                    )
                ],
            },
        ),
    ]
