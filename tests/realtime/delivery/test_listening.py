"""Both listeners keep the same promise, on a real Valkey."""

import asyncio
import signal
from contextlib import asynccontextmanager

import pytest
from channels.layers import get_channel_layer
from django.conf import settings

from realtime import groups
from realtime.delivery.listening import LayerListener, ValkeyListener, listener
from realtime.valkey_address import parse

DEADLINE = 10


class Heard:
    """What a listener brought, with ways to wait for it."""

    def __init__(self):
        self.messages = asyncio.Queue()
        self.reports = asyncio.Queue()

    def report(self, ok, why):
        self.reports.put_nowait((ok, why))

    async def message(self):
        async with asyncio.timeout(DEADLINE):
            return await self.messages.get()

    async def path(self):
        async with asyncio.timeout(DEADLINE):
            return await self.reports.get()


@pytest.fixture(params=["valkey", "layer"])
def running(request, valkey):
    @asynccontextmanager
    async def run():
        layer, heard = get_channel_layer(), Heard()
        if request.param == "valkey":
            listener = ValkeyListener(layer, parse(settings.REDIS_URL), heard.messages.put_nowait, heard.report)
        else:
            listener = LayerListener(layer, heard.messages.put_nowait, heard.report)
        task = asyncio.create_task(listener.run())
        yield listener, layer, heard
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await layer.flush()

    return run


async def entered(listener, group):
    listener.enter(group)
    async with asyncio.timeout(DEADLINE):
        await listener.entered(group)


def note(n):
    return {"type": "note", "n": n, "body": b"\x00\xff"}


async def test_what_is_sent_to_an_entered_group_comes(running):
    async with running() as (listener, layer, heard):
        for n in range(20):
            await entered(listener, f"g{n}")
            await groups.send(layer, f"g{n}", note(n))
            assert await heard.message() == note(n)
    assert heard.reports.empty()


async def test_messages_come_in_the_order_they_were_sent(running):
    async with running() as (listener, layer, heard):
        await entered(listener, "g")
        for n in range(200):
            await groups.send(layer, "g", note(n))
        assert [(await heard.message())["n"] for _ in range(200)] == list(range(200))


async def test_a_group_that_was_left_is_silent_and_can_be_entered_again(running):
    async with running() as (listener, layer, heard):
        await entered(listener, "a")
        await entered(listener, "b")
        listener.leave("a")
        await entered(listener, "c")  # both listeners do one thing after the other
        await groups.send(layer, "a", note(1))
        await groups.send(layer, "b", note(2))
        assert (await heard.message())["n"] == 2
        await entered(listener, "a")
        await groups.send(layer, "a", note(3))
        assert (await heard.message())["n"] == 3


@pytest.mark.faults
async def test_a_valkey_that_dies_is_reported_and_found_again(running, valkey):
    async with running() as (listener, layer, heard):
        await entered(listener, "g")
        await asyncio.to_thread(valkey.kill)
        ok, why = await heard.path()
        assert not ok and why
        await asyncio.to_thread(valkey.start)
        assert await heard.path() == (True, "")
        await entered(listener, "g")
        await groups.send(layer, "g", note(1))
        assert (await heard.message())["n"] == 1


@pytest.mark.faults
async def test_a_valkey_that_stalls_is_reported(running, valkey):
    async with running() as (listener, _, heard):
        await entered(listener, "g")
        valkey.process.send_signal(signal.SIGSTOP)
        try:
            assert (await heard.path())[0] is False
        finally:
            valkey.process.send_signal(signal.SIGCONT)
        assert (await heard.path())[0] is True


async def test_it_can_begin_before_valkey(running, valkey):
    await asyncio.to_thread(valkey.kill)
    async with running() as (listener, layer, heard):
        listener.enter("g")
        assert (await heard.path())[0] is False
        await asyncio.to_thread(valkey.start)
        assert (await heard.path())[0] is True
        await entered(listener, "g")
        await groups.send(layer, "g", note(1))
        assert (await heard.message())["n"] == 1


async def test_a_password_is_shown(valkey):
    with valkey.client() as client:
        client.execute_command("ACL", "SETUSER", "ears", "on", ">secret", "allchannels", "+subscribe", "+ping")
    heard = Heard()
    for password, works in (("secret", True), ("wrong", False)):
        address = parse(settings.REDIS_URL.replace("unix://", f"unix://ears:{password}@"))
        ears = ValkeyListener(get_channel_layer(), address, heard.messages.put_nowait, heard.report)
        task = asyncio.create_task(ears.run())
        if works:
            await entered(ears, "g")
        else:
            ok, why = await heard.path()
            assert not ok and "WRONGPASS" in why
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("redis://localhost:6379", ValkeyListener),
        ("unix:///run/valkey.sock", ValkeyListener),
        ("rediss://localhost:6379", LayerListener),
        ("cluster://localhost:6379", LayerListener),
        ("sentinel://localhost:26379/main", LayerListener),
    ],
)
async def test_the_listener_fits_the_address(url, kind):
    assert type(listener(None, parse(url), print, print)) is kind
