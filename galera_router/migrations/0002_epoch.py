from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("galera_router", "0001_initial")]

    operations = [
        migrations.CreateModel(
            name="Slot",
            fields=[("slot", models.BigIntegerField(primary_key=True, serialize=False))],
            options={"db_table": "galera_router_slot", "default_permissions": ()},
        ),
        migrations.CreateModel(
            name="Epoch",
            fields=[
                ("cluster", models.CharField(max_length=255, primary_key=True, serialize=False)),
                ("epoch", models.BigIntegerField()),
                ("server", models.CharField(max_length=255)),
                ("address", models.CharField(default="", max_length=255)),
                ("member", models.CharField(default="", max_length=64)),
                ("changed_at", models.DateTimeField()),
                ("flips", models.IntegerField(default=0)),
                ("held", models.BooleanField(default=False)),
                ("reason", models.CharField(default="", max_length=255)),
            ],
            options={"db_table": "galera_router_epoch", "default_permissions": ()},
        ),
        migrations.AddField(
            model_name="marker",
            name="slot",
            field=models.ForeignKey(
                db_column="epoch_slot",
                null=True,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                to="galera_router.slot",
            ),
        ),
    ]
