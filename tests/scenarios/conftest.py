"""A link whose world is the scripted server, or the emulator: real sockets, and time that moves only by the test."""

import json

import pytest

from realtime.emulator.options import Auth, Fleet, Limits, Options
from realtime.emulator.server import Emulator
from realtime.upstream import transport
from realtime.upstream.credentials import StaticCredentials
from realtime.upstream.transport import WebSocketTransport
from tests.fakes import tasks_but_mine
from tests.links import Link
from tests.scenarios.scripted_server import ScriptedServer
from tests.wire import WIRES


@pytest.fixture(params=WIRES, ids=lambda wire: wire.dialect)
def wire(request):
    return request.param


@pytest.fixture
async def server(wire):
    server = ScriptedServer(wire)
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def made(server, monkeypatch):
    """Make links to the server. None leaves a task, a timer or a socket behind."""
    monkeypatch.setattr(transport, "CLOSE_TIMEOUT", 0.05)
    links = []

    def make(**options):
        links.append(Link(server, wire=server.wire, host=server.host, **options))
        return links[-1]

    yield make
    for link in links:
        await link.manager.stop()
        assert link.clock.armed == []
    await server.stop()
    assert tasks_but_mine() == set()


@pytest.fixture
async def link(made):
    return made()


# ── The emulator as the service ──────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def limits():
    """Five subscriptions on a connection, unless a test says otherwise."""
    return Limits(subscriptions=5)


@pytest.fixture
async def emulator(limits):
    """A service that verifies what it is sent."""
    auth = Auth(lambda_token="open sesame", iam_keys={"AKIDEXAMPLE": "secret"})
    emulator = Emulator(Options(auth=auth, limits=limits, fleet=Fleet(devices=1)))
    await emulator.start()
    yield emulator
    await emulator.stop()


@pytest.fixture
async def verified(emulator, wire):
    """Make a link to the emulator, with these credentials, that wants this."""
    links = []

    def make(authorization, wanted=None):
        link = Link(
            WebSocketTransport(),
            StaticCredentials(authorization),
            wire=wire,
            feeds=(),
            host=f"127.0.0.1:{emulator.port}",
        )
        link.connection.want(wanted or {})
        links.append(link)
        return link

    yield make
    for link in links:
        await link.manager.stop()


@pytest.fixture
def target(wire):
    """Something that everyone may listen to there."""
    document = 'subscription { onRoleChange(orgId: "org-aurora") { role } }'
    return "/default/any" if wire.dialect == "events" else json.dumps({"query": document})
