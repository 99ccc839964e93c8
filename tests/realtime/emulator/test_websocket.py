"""Frames in and out of one socket."""

import asyncio
import json

import pytest
from websockets.protocol import CLIENT, Protocol

from realtime.emulator.websocket import text_frame

from .client import Client, encoded


@pytest.mark.parametrize("length", [0, 125, 126, 65_535, 65_536])
def test_a_text_frame_is_what_a_client_reads_at_every_length(length):
    client = Protocol(CLIENT, max_size=None)
    client.receive_data(text_frame(b"x" * length))
    (frame,) = client.events_received()
    assert (frame.fin, bytes(frame.data)) == (True, b"x" * length)


async def test_declines_compression(emulator, key):
    client = await Client.ready(emulator, key, compression="deflate")
    assert "Sec-WebSocket-Extensions" not in client.socket.response.headers
    await client.close()


async def test_answers_pings_and_closes(connect, key):
    client = await connect(key)
    async with asyncio.timeout(5):
        await (await client.socket.ping(b"are you there"))
    await client.socket.close(4001, "enough")
    assert client.socket.close_code == 4001


async def test_takes_fragmented_messages_and_refuses_broken_frames(connect, key):
    client = await connect(key)
    text = json.dumps({"type": "subscribe", "id": "s1", "channel": "/default/a", "authorization": key})
    await client.socket.send([text[:10], text[10:50], text[50:]])
    await client.expect(type="subscribe_success")
    client.socket.transport.write(b"\xff\xff")
    assert await client.closed() == 1002


@pytest.mark.parametrize("padding", ["", "=", "=="])
async def test_c01_what_follows_the_upgrade_in_the_same_packet_is_not_lost(emulator, key, padding):
    reader, writer = await asyncio.open_connection("127.0.0.1", emulator.port)
    init = b'{"type":"connection_init"}'
    frame = bytes([0x81, 0x80 | len(init), 0, 0, 0, 0]) + init
    head = (
        "GET /event/realtime HTTP/1.1\r\nHost: x\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        f"Sec-WebSocket-Protocol: aws-appsync-event-ws,{encoded(key)}{padding}\r\n\r\n"
    )
    writer.write(head.encode() + frame)
    async with asyncio.timeout(5):
        answer = await reader.readuntil(b'{"type":"ka"}')
    assert b"101 Switching Protocols" in answer
    assert b"connection_ack" in answer
    writer.close()
