"""What the server runs: the probes, then the live doors, then Django's pages."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
pages = get_asgi_application()  # sets Django up: what is imported below needs its models

from realtime import config, valkey  # noqa: E402
from realtime.delivery import routing  # noqa: E402
from realtime.health import Health, database_check, valkey_check  # noqa: E402
from realtime.probes import Probes  # noqa: E402

health = Health({"database": database_check(), "valkey": valkey_check(valkey.connect())})
probes = Probes(health, config.load().metrics_token)
site = routing.application(pages)


async def application(scope, receive, send):
    """Answer the probes here, and everything else behind: they must not wait for what they ask about."""
    if scope["type"] == "http" and scope["path"] in probes.paths:
        await probes(scope, receive, send)
    else:
        await site(scope, receive, send)
