"""Snapshots over HTTP: whole, of one moment, and read strictly."""

import msgspec
import pytest

from realtime.clock import now_us
from realtime.snapshot import HttpSnapshots, SnapshotUnavailable
from realtime.upstream import http

pytestmark = pytest.mark.feature("S4.12")
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


async def refusal(provider):
    with pytest.raises(SnapshotUnavailable) as caught:
        await provider.fetch({})
    return caught.value


async def test_pages_are_put_together(provider):
    devices = [{"orgId": "org", "deviceId": f"d{number}", "online": True} for number in range(2)]
    archives = [{"orgId": "org", "archiveId": "a1", "state": "Ready", "changedAt": AS_OF}]
    asked = now_us()
    snapshot = await provider(page(devices=devices[:1]), page(devices=devices[1:], archives=archives)).fetch({})
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
    "body",
    [b"", b"[]", b'{"asOf":"soon","user":{"userId":"u1"}}', page(devices=[{"orgId": "a/b", "deviceId": "d"}])],
)
async def test_what_is_no_snapshot_is_not_asked_for_again(provider, body):
    assert not (await refusal(provider(body))).retryable
