from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ("realtime", "0007_draining"),
    ]

    operations = [
        migrations.RenameField(model_name="link", old_name="signed_in_at", new_name="wanted_at"),
        migrations.AlterField(
            model_name="link",
            name="wanted_at",
            field=models.BigIntegerField(
                db_index=True, default=0, help_text="a sign-in, or a wish to reconnect, wants it at once"
            ),
        ),
    ]
