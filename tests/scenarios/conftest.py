"""A link whose world is the scripted server: real sockets, and time that moves only when a test moves it."""

import pytest

from realtime.upstream import transport
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
