"""The composition of this room: what all doors share, and which address is which door."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import cache, partial
from typing import Any

from channels.layers import get_channel_layer

from realtime import config, product, valkey
from realtime.database import DatabaseThread
from realtime.delivery import http, listening
from realtime.delivery.admission import Admission
from realtime.delivery.connection import Live
from realtime.delivery.hub import Hub
from realtime.delivery.limits import Limits, Occupancy
from realtime.delivery.websocket import websocket

Asgi = Callable[[Any, Any, Any], Awaitable[None]]

HTTP_DOORS = {"/live/sse/": http.stream, "/live/snapshot/": http.snapshot, "/live/send/": http.post}
SOCKET_DOORS = {"/ws/live/": websocket}


@cache
def live() -> Live:
    """Return what this process's doors share. It begins to live with the first request, in that one's loop."""
    configuration = config.load()
    limits = _limits(configuration.delivery)
    database = DatabaseThread("delivery")
    listen = partial(listening.listener, get_channel_layer(), configuration.valkey)
    hub = Hub(listen, valkey.connect(), database, product.load())
    return Live(hub=hub, admission=Admission(database), occupancy=Occupancy(limits), limits=limits)


def application(pages: Asgi) -> Asgi:
    """Return the ASGI application that serves the live doors, and everything else with ``pages``."""

    async def serve(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            door = SOCKET_DOORS.get(scope["path"])
        else:
            door = HTTP_DOORS.get(scope["path"])
        if door is not None:
            shared = live()
            shared.hub.start()
            await door(shared, scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close"})
        else:
            await pages(scope, receive, send)

    return serve


def _limits(settings: config.DeliveryConfig) -> Limits:
    return Limits(
        sessions=settings.sessions,
        sessions_per_user=settings.sessions_per_user,
        commands_per_second=settings.commands_per_second,
        command_bytes=settings.frame_bytes,
        outbox_entries=settings.outbox_entries,
        stuck_seconds=settings.stuck_after,
        heartbeat_seconds=settings.heartbeat,
    )
