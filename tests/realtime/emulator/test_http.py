"""HTTP/1.1 without an upgrade."""

import asyncio

import pytest

from realtime.emulator.http import MAX_BODY


async def raw(emulator, text):
    """Send bytes and return all that comes until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", emulator.port)
    writer.write(text)
    async with asyncio.timeout(5):
        answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


async def test_speaks_plain_http_clearly(http):
    assert (await http.get("/nothing")).status_code == 404
    answer = await http.get("/event")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


async def test_answers_what_is_no_http_and_closes(emulator):
    assert (await raw(emulator, b"GARBAGE\r\n\r\n")).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("header", ["Connection: close\r\n", ""])
async def test_answers_requests_in_a_row_until_asked_to_close(emulator, header):
    one = b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n"
    last = f"GET /last HTTP/1.{int(bool(header))}\r\nHost: x\r\n{header}\r\n".encode()
    answer = await raw(emulator, one + one + last)
    assert answer.count(b"HTTP/1.1 404 ") == 3
    assert answer.endswith(b'{"message":"nothing is at /last"}')


async def test_refuses_a_body_that_is_too_large(emulator):
    head = f"POST /event HTTP/1.1\r\nHost: x\r\nContent-Length: {MAX_BODY + 1}\r\n\r\n".encode()
    assert (await raw(emulator, head + b"x" * (MAX_BODY + 1))).startswith(b"HTTP/1.1 413 ")


@pytest.mark.feature("S3.14")
async def test_an_answer_can_be_slow(http, fault):
    await fault("slow-http", delay=50, count=1)
    answer = await http.post("/oauth/token", json={"sub": "anybody"})
    assert answer.status_code == 200
    assert answer.elapsed.total_seconds() >= 0.05
