"""The engine as a Django application."""

from django.apps import AppConfig
from django.core.checks import Tags, register


class RealtimeConfig(AppConfig):
    name = "realtime"
    verbose_name = "Upstream and delivery"

    def ready(self) -> None:
        from realtime import checks

        register(checks.check_layer, Tags.caches)
        register(checks.check_upstream, Tags.compatibility)
        register(checks.check_stores, Tags.database)
        register(checks.check_deployment, Tags.security, deploy=True)
