"""Tokens: kept while they are good, refreshed once for all who wait, never mixed up between sign-ins."""

import asyncio
from dataclasses import replace

import pytest

from realtime.appsync.auth import ApiKey, Request, Token
from realtime.upstream.credentials import (
    StaticCredentials,
    TokenRefused,
    Tokens,
    TokenUnavailable,
    UserCredentials,
)
from tests.fakes import settle, tasks_but_mine

HOUR = 3_600.0
NOW = 1_700_000_000.0


def tokens(number, *, generation=1, at=NOW):
    return Tokens(f"id-{number}", f"access-{number}", f"refresh-{number}", at + HOUR, at, generation)


class MemoryVault:
    """One user's row, as the database keeps it. With ``slow`` every access lets others run first."""

    def __init__(self, stored, slow=False):
        self.stored = stored
        self.refused = ""
        self.slow = slow

    def sign_in(self, number):
        self.stored = tokens(number, generation=self.stored.generation + 1)
        self.refused = ""

    async def load(self):
        await self._wait()
        if self.refused:
            raise TokenRefused(self.refused)
        return self.stored

    async def save(self, fresh):
        await self._wait()
        if fresh.generation != self.stored.generation:
            return False
        self.stored = fresh
        return True

    async def refuse(self, generation, reason):
        await self._wait()
        if generation == self.stored.generation:
            self.refused = reason

    async def _wait(self):
        if self.slow:
            await asyncio.sleep(0)


class OneTimeIssuer:
    """Takes each refresh token once, as issuers that rotate them do; answers when ``gate`` is open."""

    def __init__(self):
        self.used = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.failure = None
        self.keeps_refresh_token = False

    async def refresh(self, refresh_token):
        if refresh_token in self.used and not self.keeps_refresh_token:
            raise TokenRefused("this refresh token was used before")
        self.used.append(refresh_token)
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        fresh = tokens(f"{len(self.used)}-new", generation=0)
        return replace(fresh, refresh_token="") if self.keeps_refresh_token else fresh


class Desk:
    """A user's credentials with what is behind them, at a time that the test sets."""

    def __init__(self, use="id", slow=False):
        self.now = NOW
        self.vault = MemoryVault(tokens("first"), slow)
        self.issuer = OneTimeIssuer()
        self.credentials = UserCredentials(self.vault, self.issuer, lambda: self.now, use)

    async def get(self, **options):
        return (await self.credentials.get(**options)).token


@pytest.fixture
async def desk():
    return Desk()


async def test_a_good_token_is_used_as_it_is(desk):
    assert await desk.get() == "id-first"
    assert desk.issuer.used == []


async def test_the_api_gets_the_kind_of_token_that_it_wants():
    assert await Desk(use="access").get() == "access-first"


@pytest.mark.parametrize(("left", "refreshed"), [(361.0, False), (359.0, True), (-10.0, True)])
async def test_a_token_is_refreshed_a_tenth_of_its_life_before_its_end(desk, left, refreshed):
    desk.now = NOW + HOUR - left
    await desk.get()
    assert bool(desk.issuer.used) is refreshed


async def test_a_token_with_a_short_life_is_not_refreshed_all_the_time(desk):
    desk.vault.stored = replace(desk.vault.stored, expires_at=NOW + 20.0)
    assert await desk.get() == "id-first"
    desk.now += 11.0
    assert await desk.get() == "id-1-new"


async def test_a_refreshed_token_is_stored_under_the_same_sign_in(desk):
    assert await desk.get(refresh=True) == "id-1-new"
    assert desk.vault.stored == replace(tokens("1-new"), generation=1)


async def test_an_issuer_that_gives_no_new_refresh_token_means_the_old_one(desk):
    desk.issuer.keeps_refresh_token = True
    await desk.get(refresh=True)
    await desk.get(refresh=True)
    assert desk.issuer.used == ["refresh-first", "refresh-first"]


@pytest.mark.parametrize("slow", [False, True])
async def test_all_who_ask_during_a_refresh_get_its_result(slow):
    desk = Desk(slow=slow)
    desk.issuer.gate.clear()
    asking = [asyncio.create_task(desk.get(refresh=n % 2 == 0)) for n in range(6)]
    await settle()
    desk.issuer.gate.set()
    answers = await asyncio.gather(*asking)
    assert desk.issuer.used == ["refresh-first"]
    assert set(answers) <= {"id-1-new", "id-first"} and answers[0::2] == ["id-1-new"] * 3


async def test_a_refresh_token_is_never_used_twice_however_callers_interleave():
    """Who looked at the stored tokens before a refresh and asks after it must not send the one that is spent."""
    for delay in range(12):
        desk = Desk(slow=True)
        first = asyncio.create_task(desk.get(refresh=True))
        for _ in range(delay):
            await asyncio.sleep(0)
        second = asyncio.create_task(desk.get(refresh=True))
        await asyncio.gather(first, second)
        assert len(set(desk.issuer.used)) == len(desk.issuer.used)


async def test_a_refresh_goes_on_when_who_asked_for_it_is_gone(desk):
    desk.issuer.gate.clear()
    asking = asyncio.create_task(desk.get(refresh=True))
    await settle()
    asking.cancel()
    await settle()
    closing = asyncio.create_task(desk.credentials.close())
    await settle()
    assert not closing.done()
    desk.issuer.gate.set()
    await closing
    assert desk.vault.stored.id_token == "id-1-new"
    await settle()
    assert tasks_but_mine() == set()


async def test_a_close_with_nothing_under_way_returns_at_once(desk):
    await desk.credentials.close()
    await StaticCredentials(ApiKey("key")).close()


async def test_a_refresh_that_nobody_waits_for_may_fail_quietly(desk):
    desk.issuer.gate.clear()
    desk.issuer.failure = TokenUnavailable("away")
    asking = asyncio.create_task(desk.get(refresh=True))
    await settle()
    asking.cancel()
    desk.issuer.gate.set()
    await settle()
    assert tasks_but_mine() == set()


async def test_an_issuer_that_is_away_is_told_to_all_and_asked_again_by_the_next(desk):
    desk.issuer.failure = TokenUnavailable("away")
    desk.issuer.keeps_refresh_token = True
    with pytest.raises(TokenUnavailable, match="away"):
        await desk.get(refresh=True)
    desk.issuer.failure = None
    assert await desk.get(refresh=True) == "id-2-new"


async def test_a_refusal_is_stored_with_its_sign_in_and_told(desk):
    desk.issuer.failure = TokenRefused("revoked")
    with pytest.raises(TokenRefused, match="revoked"):
        await desk.get(refresh=True)
    with pytest.raises(TokenRefused, match="revoked"):
        await desk.get()
    assert desk.issuer.used == ["refresh-first"]


async def test_what_comes_back_for_an_earlier_sign_in_is_thrown_away(desk):
    desk.issuer.gate.clear()
    asking = asyncio.create_task(desk.get(refresh=True))
    await settle()
    desk.vault.sign_in("second")
    desk.issuer.gate.set()
    assert await asking == "id-second"
    assert desk.vault.stored.id_token == "id-second"


async def test_a_refusal_of_an_earlier_sign_in_does_not_stop_the_new_one(desk):
    """Else a link would wait for a sign-in that has already happened."""
    desk.issuer.gate.clear()
    desk.issuer.failure = TokenRefused("revoked")
    asking = asyncio.create_task(desk.get(refresh=True))
    await settle()
    desk.vault.sign_in("second")
    desk.issuer.gate.set()
    assert await asking == "id-second"
    assert desk.vault.refused == ""


async def test_an_api_key_is_given_as_it_is_also_when_a_new_one_is_asked_for():
    credentials = StaticCredentials(ApiKey("da2-key"))
    for refresh in (False, True):
        authorization = await credentials.get(refresh=refresh)
        assert authorization.headers(Request("host", "/event", "{}"))["x-api-key"] == "da2-key"


def test_b83_no_token_is_shown():
    shown = repr([tokens("secret"), Token("secret"), ApiKey("secret")])
    assert "secret" not in shown
