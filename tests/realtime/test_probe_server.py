"""The worker's small HTTP server."""

import asyncio
from contextlib import asynccontextmanager

import httpx
import pytest

from realtime import probe_server
from realtime.health import Health
from realtime.probes import Probes


@asynccontextmanager
async def serving(health):
    server = await probe_server.start(Probes(health), "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    async with server, httpx.AsyncClient(base_url=f"http://{host}:{port}") as client:
        yield client


async def test_answers_probes():
    async with serving(Health({})) as client:
        assert (await client.get("/healthz")).json() == {"alive": True}
        assert (await client.get("/readyz?verbose")).json()["ready"] is True
        assert "python_info" in (await client.get("/metrics")).text


async def test_knows_nothing_else():
    async with serving(Health({})) as client:
        assert (await client.get("/")).status_code == 404


@pytest.mark.parametrize("sent", [b"", b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\n"])
async def test_closes_on_what_is_no_request(sent):
    server = await probe_server.start(Probes(Health({})), "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(sent)
        writer.write_eof()
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()


async def test_does_not_wait_for_ever_for_a_request(monkeypatch):
    monkeypatch.setattr(probe_server, "IDLE", 0.05)
    server = await probe_server.start(Probes(Health({})), "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()
