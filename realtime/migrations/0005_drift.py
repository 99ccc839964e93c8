"""Where a payload could not be read, and what payloads hold that is not known here."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("realtime", "0004_switch_wanted")]

    operations = [
        migrations.AddField(
            model_name="undecodablepayload",
            name="path",
            field=models.CharField(blank=True, default="", help_text="what does not fit, as a JSON path", max_length=100),
            preserve_default=False,
        ),
        migrations.CreateModel(
            name="Drift",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("feed", models.CharField(max_length=100)),
                ("path", models.CharField(help_text="as a JSON path", max_length=100)),
                ("word", models.CharField(blank=True, help_text="a word that no list has", max_length=100)),
                ("count", models.BigIntegerField(help_text="payloads that held it")),
                ("first_at", models.BigIntegerField()),
                ("last_at", models.BigIntegerField(db_index=True)),
                ("sample", models.TextField(help_text="at most the first 2 000 characters of the newest one")),
            ],
            options={
                "verbose_name_plural": "drift",
                "constraints": [models.UniqueConstraint(fields=("feed", "path", "word"), name="realtime_drift_kind")],
            },
        ),
    ]
