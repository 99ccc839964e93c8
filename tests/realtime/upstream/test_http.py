"""What a snapshot's pages and other answers may not do."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from realtime.appsync.auth import Token
from realtime.snapshot import HttpSnapshots, SnapshotUnavailable
from realtime.upstream import http

PAGE = '{"asOf":"2026-01-01T00:00:00Z","user":{"userId":"u"}%s}'


@asynccontextmanager
async def answering(*bodies):
    """A server that answers each request with the next body; gives its address and the heads it read."""
    heads, left = [], list(bodies)

    async def answer(reader, writer):
        heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        body = left.pop(0).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/snapshot", heads
    finally:
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize("following", ['"2"', "2", '"/snapshot?next=2"', '"?next=/2"'])
async def test_pages_are_followed_with_the_token(following):
    async with answering(PAGE % f',"next":{following}', PAGE % "") as (url, heads):
        bodies = [body async for body in http.pages(url, {"authorization": "token-1"})]
    assert len(bodies) == 2
    assert all("token-1" in head for head in heads)


@pytest.mark.parametrize(
    "following",
    ["https://127.0.0.1/2", "http://127.0.0.1:1/2", "http://other.example/2", "//other.example/2", "http://[::1/2"],
)
@pytest.mark.feature("S3.10")
async def test_the_token_follows_to_no_other_origin(following):
    async with answering(PAGE % f',"next":"{following}"') as (url, heads):
        with pytest.raises(http.HttpError, match="next page"):
            [body async for body in http.pages(url, {"authorization": "token-1"})]
    assert len(heads) == 1


@pytest.mark.parametrize("body", ["", "<html>", "[]", '{"a":' * 5000])
async def test_an_answer_that_is_no_object_is_an_error_with_words(body):
    async with answering(body) as (url, _):
        with pytest.raises(http.HttpError, match="not a JSON object"):
            [page async for page in http.pages(url, {})]


@pytest.mark.parametrize(
    "body",
    ["<html>", "{}", PAGE % (',"organizations":[{"orgId":"o","AIControlSetting":' + '{"a":' * 40 + "1" + "}" * 42)],
)
async def test_a_snapshot_in_another_form_is_unavailable(body):
    async with answering(body) as (url, _):
        with pytest.raises(SnapshotUnavailable):
            await HttpSnapshots(url).fetch("u", Token("t"))
