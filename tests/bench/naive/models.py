"""What the naive peer keeps when it saves."""

from django.db import models


class Newest(models.Model):
    """The newest payload of an entity on a feed."""

    entity = models.CharField(max_length=200)
    feed = models.CharField(max_length=60)
    payload = models.JSONField()

    class Meta:
        app_label = "naive"
        constraints = [models.UniqueConstraint(fields=["entity", "feed"], name="one_newest")]

    def __str__(self):
        return f"{self.entity} {self.feed}"
