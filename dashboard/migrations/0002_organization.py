from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('dashboard', '0001_initial'),
    ]

    operations = [
        migrations.AddField(
            model_name='user',
            name='organization',
            field=models.CharField(blank=True, help_text='the one that this person looks at', max_length=64),
        ),
        migrations.AddField(
            model_name='user',
            name='organization_at',
            field=models.BigIntegerField(default=0, help_text='when that, or the choice there is, last changed'),
        ),
    ]
