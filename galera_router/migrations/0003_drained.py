from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("galera_router", "0002_epoch")]

    operations = [
        migrations.AddField(
            model_name="epoch",
            name="drained",
            field=models.CharField(db_default="", max_length=4000),
        ),
    ]
