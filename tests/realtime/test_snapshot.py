"""Snapshots over HTTP: whole, of one moment, and read strictly."""

import asyncio
from dataclasses import replace

import msgspec
import pytest

from realtime import config
from realtime.appsync.auth import Token
from realtime.clock import now_us
from realtime.snapshot import AT_ONCE, HttpSnapshots, SnapshotUnavailable, configured
from realtime.upstream import http

pytestmark = pytest.mark.feature("S4.12")
TOKEN = Token("jwt")
AS_OF = "2026-09-20T12:00:00.000001Z"


def page(**parts):
    return msgspec.json.encode({"asOf": AS_OF, "user": {"userId": "u1"}, **parts})


@pytest.fixture
def provider(monkeypatch):
    """Return what makes a provider whose backend answers with these bodies, or raises."""

    def answering(*bodies):
        async def pages(url, headers):
            for body in bodies:
                if isinstance(body, Exception):
                    raise body
                yield body

        monkeypatch.setattr(http, "pages", pages)
        return HttpSnapshots("http://source/snapshot")

    return answering


async def test_only_so_many_are_fetched_at_once(monkeypatch):
    under_way, most, goes_on = 0, 0, asyncio.Event()

    async def pages(url, headers):
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        if under_way == AT_ONCE:
            goes_on.set()
        await goes_on.wait()
        yield page()
        under_way -= 1

    monkeypatch.setattr(http, "pages", pages)
    provider = HttpSnapshots("http://source/snapshot")
    async with asyncio.timeout(10):
        fetched = await asyncio.gather(*(provider.fetch("u1", TOKEN) for _ in range(3 * AT_ONCE)))
    assert (len(fetched), most) == (3 * AT_ONCE, AT_ONCE)


async def refusal(provider):
    with pytest.raises(SnapshotUnavailable) as caught:
        await provider.fetch("u1", TOKEN)
    return caught.value


async def test_pages_are_put_together(provider):
    devices = [{"orgId": "org", "deviceId": f"d{number}", "online": True} for number in range(2)]
    archives = [{"orgId": "org", "archiveId": "a1", "state": "Ready", "changedAt": AS_OF}]
    asked = now_us()
    pages = page(devices=devices[:1]), page(devices=devices[1:], archives=archives)
    snapshot = await provider(*pages).fetch("u1", TOKEN)
    assert [device.device_id for device in snapshot.devices] == ["d0", "d1"]
    assert snapshot.archives[0].changed_at == snapshot.as_of
    assert snapshot.user.user_id == "u1"
    assert asked <= snapshot.asked <= now_us()


async def test_pages_of_different_moments_are_no_snapshot_and_may_be_asked_again(provider):
    later = page().replace(b"000001", b"000002")
    assert (await refusal(provider(page(), later))).retryable


async def test_a_backend_that_does_not_answer_may_be_asked_again(provider):
    error = await refusal(provider(http.HttpError("no answer (ConnectError)")))
    assert error.retryable and "no answer" in str(error)


@pytest.mark.parametrize(
    ("status", "token", "unauthorized"),
    [(401, None, True), (403, None, True), (503, None, False), (None, None, False), (401, "backend", False)],
)
async def test_a_refusal_of_the_users_credentials_is_told_from_an_outage(provider, status, token, unauthorized):
    provider(http.HttpError("no", status))
    error = await refusal(HttpSnapshots("http://source/snapshot", token))
    assert (error.retryable, error.unauthorized) == (True, unauthorized)


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b'{"asOf":"soon","user":{"userId":"u1"}}', page(devices=[{"orgId": "a/b", "deviceId": "d"}])],
)
async def test_what_is_no_snapshot_is_not_asked_for_again(provider, body):
    assert not (await refusal(provider(body))).retryable


# ── As whom ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def asked(monkeypatch):
    """Return what asks a configured provider for a user's view, and gives the address and headers it used."""

    async def ask(subject="sub/1", **settings):
        upstream = replace(config.load().upstream, **{"snapshot_url": "http://source/view", **settings})
        found = []

        async def pages(url, headers):
            found.append((url, headers))
            yield page()

        monkeypatch.setattr(http, "pages", pages)
        await configured(upstream).fetch(subject, TOKEN)
        return found[0]

    return ask


async def test_a_view_is_asked_for_with_the_users_own_token(asked):
    assert await asked(auth="user-pool") == ("http://source/view", {"Authorization": "jwt"})


async def test_the_address_may_name_the_user(asked):
    url, _ = await asked(snapshot_url="http://source/users/{userId}/view")
    assert url == "http://source/users/sub%2F1/view"


@pytest.mark.parametrize("auth", ["user-pool", "oidc", "api-key", "lambda", "iam"])
async def test_a_token_for_the_backend_goes_instead_of_any_other(asked, auth):
    assert await asked(auth=auth, snapshot_token=config.Secret("backend")) == (
        "http://source/view",
        {"Authorization": "backend"},
    )


@pytest.mark.parametrize("auth", ["api-key", "lambda", "iam"])
@pytest.mark.feature("S3.10")
async def test_what_all_links_share_is_not_sent_to_the_backend(asked, auth):
    assert await asked(auth=auth) == ("http://source/view", {})


def test_without_an_address_there_is_no_provider():
    assert configured(replace(config.load().upstream, snapshot_url="")) is None
