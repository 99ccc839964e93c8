import asyncio

import pytest

from realtime.delivery import routing


@pytest.fixture
def shared(monkeypatch):
    class Hub:
        started = 0

        def start(self):
            self.started += 1

    class Shared:
        hub = Hub()

    monkeypatch.setattr(routing, "live", lambda: Shared)
    return Shared


async def call(application, scope, *received):
    sent, waiting = [], list(received)

    async def receive():
        return waiting.pop(0)

    async def send(message):
        sent.append(message)

    await application(scope, receive, send)
    return sent


async def pages(scope, receive, send):
    await send({"type": "page", "path": scope["path"]})


@pytest.mark.parametrize("path", ["/", "/live/", "/live/sse", "/ws/live/"])
async def test_what_is_no_door_is_a_page(shared, path):
    assert await call(routing.application(pages), {"type": "http", "path": path}) == [{"type": "page", "path": path}]
    assert shared.hub.started == 0


@pytest.mark.parametrize(
    ("kind", "path", "table"),
    [
        ("http", "/live/sse/", routing.HTTP_DOORS),
        ("http", "/live/snapshot/", routing.HTTP_DOORS),
        ("http", "/live/send/", routing.HTTP_DOORS),
        ("websocket", "/ws/live/", routing.SOCKET_DOORS),
    ],
)
async def test_a_door_gets_what_all_doors_share_and_the_hub_lives(shared, monkeypatch, kind, path, table):
    entered = []

    async def door(live, scope, receive, send):
        entered.append((live, scope["path"]))
        await asyncio.sleep(0)

    monkeypatch.setitem(table, path, door)
    await call(routing.application(pages), {"type": kind, "path": path})
    assert entered == [(shared, path)]
    assert shared.hub.started == 1


async def test_a_socket_at_another_address_is_refused(shared):
    scope = {"type": "websocket", "path": "/ws/other/"}
    assert await call(routing.application(pages), scope, {"type": "websocket.connect"}) == [{"type": "websocket.close"}]


def test_the_configured_limits_reach_the_sessions(settings):
    from realtime import config

    limits = routing._limits(config.load().delivery)
    assert limits.heartbeat_seconds == settings.LIVE_HEARTBEAT_SECONDS
    assert limits.outbox_entries == settings.LIVE_OUTBOX_ENTRIES
    assert limits.stuck_seconds == settings.LIVE_STUCK_SECONDS
    assert limits.command_bytes == settings.LIVE_FRAME_BYTES
