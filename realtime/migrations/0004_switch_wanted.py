from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ("realtime", "0003_dual_run"),
    ]

    operations = [
        migrations.AddField(
            model_name='link',
            name='switch_wanted',
            field=models.BigIntegerField(default=0, help_text='rises when its user switches to another organisation'),
        ),
    ]
