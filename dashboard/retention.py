"""How the product's timelines are shortened. The state itself is never deleted by age."""

from __future__ import annotations

from dashboard.models import Change, Refused


class ChangeTimeline:
    """`realtime.product.Timeline` over changes and refused updates."""

    def forget(self, before: int, limit: int) -> int:
        deleted = 0
        for model in (Change, Refused):
            old = model.objects.filter(recorded_at__lt=before).values_list("pk", flat=True)
            deleted += model.objects.filter(pk__in=list(old[: limit - deleted])).delete()[0]
        return deleted
