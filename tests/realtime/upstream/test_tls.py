"""The upstream's certificate: trusted by the authority that is pinned, and by no other."""

import asyncio
import contextlib

import pytest

from realtime.appsync.auth import ApiKey
from realtime.appsync.endpoint import derive
from realtime.appsync.events_session import EventsSession
from realtime.appsync.exceptions import NotSent
from realtime.emulator.options import DEFAULT_API_KEY, Fleet, Options
from realtime.emulator.server import Emulator
from realtime.upstream import http
from realtime.upstream.clock import SystemClock
from realtime.upstream.pace import Pace
from realtime.upstream.publish_http import HttpWay
from realtime.upstream.publish_socket import SocketWay
from realtime.upstream.transport import TransportError, WebSocketTransport, tls_context
from tests.certificates import Authority

pytestmark = pytest.mark.feature("S3.10")

KEY = ApiKey(DEFAULT_API_KEY)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("authorities")


@pytest.fixture(scope="module")
def authority(folder):
    return Authority(folder)


@pytest.fixture(scope="module")
def strangers(folder):
    """The authorities that did not issue the server's certificate: another one, and the system's."""
    return {"another": str(Authority(folder, "another").file), "the system's": None}


@pytest.fixture
async def endpoint(authority):
    cert, key = authority.issue()
    emulator = Emulator(Options(fleet=Fleet(devices=1), tls_cert=cert, tls_key=key))
    await emulator.start()
    yield derive(emulator.urls["events_url"])
    await emulator.stop()


async def connect(endpoint, ca_file):
    """Return the first frame that a connection brings."""
    session = EventsSession(endpoint)
    socket = await WebSocketTransport(tls_context(ca_file)).open(session.opening(KEY))
    async with contextlib.aclosing(aiter(socket)) as frames:
        session.opened()
        for text in session.data_to_send():
            await socket.send(text)
        async with asyncio.timeout(10):
            frame = await anext(frames)
    await socket.close()
    return frame


async def publish(endpoint, ca_file, over):
    clock = SystemClock()
    pace, tls = Pace(clock), tls_context(ca_file)
    ways = {
        "http": lambda: HttpWay(endpoint, http.Client(tls), pace, clock),
        "ws": lambda: SocketWay(endpoint, WebSocketTransport(tls), pace, clock),
    }
    async with contextlib.AsyncExitStack() as stack:
        way = ways[over]()
        stack.push_async_callback(way.close)
        (outcome,) = await way.publish("/default/news", ["1"], KEY)
    return outcome.status


async def test_the_pinned_authority_is_trusted(endpoint, authority):
    assert endpoint.realtime_url.startswith("wss://")
    assert "connection_ack" in await connect(endpoint, str(authority.file))


@pytest.mark.parametrize("whose", ["another", "the system's"])
async def test_a_certificate_of_nobody_who_is_trusted_is_refused_with_the_setting(endpoint, strangers, whose):
    with pytest.raises(TransportError, match=r"not trusted \(.+\): .*APPSYNC_CA_FILE"):
        await connect(endpoint, strangers[whose])


async def test_a_certificate_of_another_host_is_refused_though_its_authority_is_trusted(endpoint, authority):
    elsewhere = derive(endpoint.http_url.replace("127.0.0.1", "localhost"))
    with pytest.raises(TransportError, match=r"not trusted .*localhost"):
        await connect(elsewhere, str(authority.file))


@pytest.mark.parametrize("over", ["http", "ws"])
async def test_what_is_published_goes_to_whom_the_pinned_authority_vouches_for(endpoint, authority, over):
    assert await publish(endpoint, str(authority.file), over) == "sent"


@pytest.mark.parametrize("over", ["http", "ws"])
@pytest.mark.parametrize("whose", ["another", "the system's"])
async def test_nothing_is_published_to_somebody_else(endpoint, strangers, whose, over):
    with pytest.raises(NotSent, match="certificate"):
        await publish(endpoint, strangers[whose], over)
