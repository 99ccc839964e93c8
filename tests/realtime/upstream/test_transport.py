"""The socket, against real servers on this machine: how a connection is had, refused, and ended."""

import asyncio
from contextlib import asynccontextmanager, suppress

import pytest
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

from realtime.appsync.session import Opening
from realtime.upstream import transport as module
from realtime.upstream.transport import MAX_FRAME, TransportError, WebSocketTransport

OURS = "aws-appsync-event-ws"


def opening(port, **headers):
    return Opening(f"ws://127.0.0.1:{port}/event/realtime", (OURS, "header-secret"), OURS, headers)


@asynccontextmanager
async def websocket_server(handler, **options):
    """A WebSocket server that selects our subprotocol; gives its port."""
    options.setdefault("subprotocols", [OURS])
    async with serve(handler, "127.0.0.1", 0, **options) as server:
        yield server.sockets[0].getsockname()[1]


@asynccontextmanager
async def raw_server(answer):
    """A server that reads a request and then does what ``answer(writer)`` does; gives its port and the requests."""
    requests = []

    async def serve_one(reader, writer):
        with suppress(asyncio.IncompleteReadError):
            requests.append((await reader.readuntil(b"\r\n\r\n")).decode())
            await answer(writer)
        writer.close()

    server = await asyncio.start_server(serve_one, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], requests


def http(status, *headers, body=b""):
    """An HTTP answer, as something for ``raw_server`` to do."""

    async def answer(writer):
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers, "", ""]
        writer.write("\r\n".join(lines).encode("latin-1") + body)
        await writer.drain()

    return answer


async def idle(connection):
    await connection.wait_closed()


async def failure(port):
    """Return why a connection could not be had."""
    with pytest.raises(TransportError) as caught:
        await WebSocketTransport().open(opening(port))
    return caught.value


async def end_of(socket):
    """Read until the connection ends; return what arrived, and how it ended."""
    arrived = []
    with pytest.raises(TransportError) as caught:
        async for text in socket:
            arrived.append(text)
    return arrived, caught.value


# ── Opening ──────────────────────────────────────────────────────────────────────────────────────────────────


async def test_frames_go_both_ways():
    async def echo(connection):
        async for text in connection:
            await connection.send(text)

    async with websocket_server(echo) as port:
        socket = await WebSocketTransport().open(opening(port))
        await socket.send('{"type":"ka"}')
        assert await anext(aiter(socket)) == '{"type":"ka"}'
        await socket.close()


async def test_the_upgrade_offers_the_subprotocols_and_carries_the_headers():
    async with raw_server(http("401 Unauthorized")) as (port, requests):
        with pytest.raises(TransportError):
            await WebSocketTransport().open(opening(port, Authorization="jwt"))
    assert f"Sec-WebSocket-Protocol: {OURS}, header-secret\r\n" in requests[0]
    assert "Authorization: jwt\r\n" in requests[0]
    assert "permessage-deflate" not in requests[0]


@pytest.mark.parametrize("selected", [None, "header-secret"])
async def test_a_server_that_selects_another_subprotocol_is_left(selected):
    closed = asyncio.Event()

    async def watch(connection):
        await connection.wait_closed()
        closed.set()

    async with websocket_server(watch, select_subprotocol=lambda *_: selected) as port:
        error = await failure(port)
        await closed.wait()
    assert error.kind == "connect failed"
    assert "subprotocol" in error.text


@pytest.mark.parametrize("status", ["401 Unauthorized", "403 Forbidden", "400 Bad Request"])
async def test_b12_a_refused_upgrade_tells_its_status_and_text(status):
    async with raw_server(http(status, body=b"no such token")) as (port, _):
        error = await failure(port)
    assert (error.status, error.text, error.retry_after) == (int(status[:3]), "no such token", 0.0)


@pytest.mark.parametrize(
    ("hint", "seconds"),
    [("7", 7.0), ("99999999999", 300.0), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0), ("-1", 0.0), ("\xb2", 0.0)],
)
async def test_b12_503_tells_how_long_to_stay_away(hint, seconds):
    async with raw_server(http("503 Service Unavailable", f"Retry-After: {hint}")) as (port, _):
        error = await failure(port)
    assert (error.status, error.retry_after) == (503, seconds)


async def test_a_redirect_is_not_followed_with_the_token():
    async with raw_server(http("101 Switching Protocols")) as (other, requests):
        location = f"Location: ws://127.0.0.1:{other}/event/realtime"
        async with raw_server(http("307 Temporary Redirect", location)) as (port, _):
            error = await failure(port)
    assert (error.status, requests) == (307, [])


@pytest.mark.feature("S2.6")
async def test_a_port_that_nobody_listens_on_is_a_failed_connect():
    async with websocket_server(idle) as port:
        pass
    error = await failure(port)
    assert (error.kind, error.status) == ("connect failed", None)


async def test_a_server_that_hangs_up_in_the_handshake_is_a_failed_connect():
    async def nothing(writer):
        pass

    async with raw_server(nothing) as (port, _):
        assert (await failure(port)).kind == "connect failed"


async def test_a_server_that_speaks_no_http_is_a_failed_connect():
    async def greet(writer):
        writer.write(b"220 mail.example ESMTP\r\n\r\n")
        await writer.drain()

    async with raw_server(greet) as (port, _):
        assert (await failure(port)).kind == "connect failed"


async def test_an_address_that_can_not_be_one_is_a_failed_connect():
    with pytest.raises(TransportError, match="connect failed"):
        await WebSocketTransport().open(Opening("ws://" + "a" * 70 + ".invalid/", (OURS,), OURS))


async def test_a_dial_that_is_cancelled_leaves_no_connection():
    """A handshake that hangs is ended by the manager's timer: the server has to see it end."""
    asked, hung_up = asyncio.Event(), asyncio.Event()

    async def hang(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        assert await reader.read() == b""
        hung_up.set()
        writer.close()

    async with await asyncio.start_server(hang, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        dial = asyncio.create_task(WebSocketTransport().open(opening(port)))
        await asked.wait()
        dial.cancel()
        with suppress(asyncio.CancelledError):
            await dial
        async with asyncio.timeout(5):
            await hung_up.wait()


# ── The end ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1001, "going away"), (1011, "oops"), (4000, "own")])
async def test_a_close_tells_its_code_and_reason(code, reason):
    async def close(connection):
        await connection.send("last words")
        await connection.close(code, reason)

    async with websocket_server(close) as port:
        socket = await WebSocketTransport().open(opening(port))
        arrived, error = await end_of(socket)
        await socket.close()
    assert arrived == ["last words"]
    assert (error.kind, error.code, error.text) == ("closed by the service", code, reason or f"code {code}")


async def test_a_drop_without_a_close_frame_is_a_lost_connection():
    async def drop(connection):
        connection.transport.abort()

    async with websocket_server(drop) as port:
        socket = await WebSocketTransport().open(opening(port))
        _, error = await end_of(socket)
        with pytest.raises(TransportError):
            await socket.send("too late")
        await socket.close()
    assert (error.kind, error.code) == ("connection lost", None)


async def test_b38_a_large_event_arrives_whole():
    text = "ü" * 240_000

    async def send(connection):
        await connection.send(text)

    async with websocket_server(send) as port:
        socket = await WebSocketTransport().open(opening(port))
        assert await anext(aiter(socket)) == text
        await socket.close()


async def test_an_oversized_frame_ends_the_connection_and_is_named():
    async def send(connection):
        with suppress(ConnectionClosed):
            await connection.send("x" * (MAX_FRAME + 1))

    async with websocket_server(send) as port:
        socket = await WebSocketTransport().open(opening(port))
        _, error = await end_of(socket)
        await socket.close()
    assert (error.kind, error.code) == ("broken frame", 1009)
    assert "exceeds limit" in error.text or "too big" in error.text, error.text


async def test_a_binary_frame_is_read_as_text():
    async def send(connection):
        await connection.send(b'{"type":"ka"}\xff')

    async with websocket_server(send) as port:
        socket = await WebSocketTransport().open(opening(port))
        assert await anext(aiter(socket)) == '{"type":"ka"}\N{REPLACEMENT CHARACTER}'
        await socket.close()


@pytest.mark.feature("S3.3")
async def test_b45_a_peer_that_answers_no_ping_is_found_out(monkeypatch):
    monkeypatch.setattr(module, "CLOSE_TIMEOUT", 0.05)
    silent = asyncio.Event()

    async def freeze(connection):
        connection.transport.pause_reading()
        await silent.wait()
        connection.transport.abort()

    async with websocket_server(freeze) as port:
        socket = await WebSocketTransport(ping_every=0.05).open(opening(port))
        async with asyncio.timeout(5):
            _, error = await end_of(socket)
        silent.set()
        await socket.close()
    assert error.kind == "ping timeout"


async def test_a_peer_that_answers_is_pinged_again_and_again(monkeypatch):
    pinged = asyncio.Queue()

    async with websocket_server(idle) as port:
        socket = await WebSocketTransport(ping_every=0.01).open(opening(port))
        ping = socket._connection.ping

        async def noted():
            pinged.put_nowait(None)
            return await ping()

        monkeypatch.setattr(socket._connection, "ping", noted)
        async with asyncio.timeout(5):
            for _ in range(3):
                await pinged.get()
        await socket.close()


async def test_a_close_is_bounded_and_may_be_repeated(monkeypatch):
    monkeypatch.setattr(module, "CLOSE_TIMEOUT", 0.05)
    done = asyncio.Event()

    async def ignore(connection):
        connection.transport.pause_reading()
        await done.wait()
        connection.transport.abort()

    async with websocket_server(ignore) as port:
        socket = await WebSocketTransport().open(opening(port))
        async with asyncio.timeout(5):
            await socket.close()
            await socket.close()
        done.set()


def test_the_authorization_is_not_shown():
    shown = repr(Opening("wss://host/?header=secret", (OURS, "header-secret"), OURS, {"Authorization": "secret"}))
    assert "secret" not in shown
