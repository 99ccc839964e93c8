"""Each check finds what is wrong, and says what to do."""

from collections import Counter

import httpx
import pytest

from realtime import credentials, doctor
from realtime.appsync.auth import ApiKey, Token
from realtime.appsync.endpoint import derive
from realtime.models import BUCKETS, Lease, Worker
from realtime.snapshot import HttpSnapshots
from realtime.upstream.transport import WebSocketTransport
from realtime.valkey import connect

OWN = "/vortex-app/user/sub-owner/roleChanged"
CLOSED = "http://127.0.0.1:1/event"


async def verdicts(appsync, authorization, channel=OWN):
    endpoint = derive(appsync["events_url"])
    findings = await doctor.upstream_findings(endpoint, WebSocketTransport(), authorization, channel)
    return {finding.check: finding for finding in findings}


async def test_a_sound_upstream_is_connected_accepted_and_subscribed(appsync, token):
    found = await verdicts(appsync, Token(token("sub-owner")))
    assert {check: finding.verdict for check, finding in found.items()} == {
        "connect": "ok",
        "auth": "ok",
        "subscribe": "ok",
    }


async def test_bad_credentials_and_foreign_channels_are_told_apart(appsync, token):
    found = await verdicts(appsync, ApiKey("da2-wrong"))
    assert (found["auth"].verdict, "check the key" in found["auth"].remedy) == ("failed", True)
    found = await verdicts(appsync, Token(token("sub-rival")))
    assert (found["auth"].verdict, found["subscribe"].verdict) == ("ok", "failed")
    assert "authorizer" in found["subscribe"].remedy


async def test_nobody_listening_is_told_with_a_remedy():
    findings = await doctor.upstream_findings(derive(CLOSED), WebSocketTransport(), ApiKey("k"), OWN)
    assert [(f.check, f.verdict, bool(f.remedy)) for f in findings] == [("connect", "failed", True)]


async def test_a_refusal_by_http_points_at_the_credentials(appsync):
    fault = {"kind": "refuse", "status": 401, "count": 1}
    async with httpx.AsyncClient() as client:
        assert (await client.post(f"{appsync['control_url']}/faults", json=fault)).is_success
    found = await verdicts(appsync, ApiKey("k"))
    assert "APPSYNC_AUTH" in found["connect"].remedy


async def test_a_snapshot_is_counted_or_its_refusal_told(appsync, token):
    provider = HttpSnapshots(appsync["snapshot_url"])
    assert "4 devices" in (await doctor.snapshot_finding(provider, "sub-owner", Token(token("sub-owner")))).seen
    assert (await doctor.snapshot_finding(provider, "sub-owner", Token("bad"))).verdict == "failed"


async def test_valkey_must_answer_and_should_evict_nothing(valkey):
    async with connect() as redis:
        assert (await doctor.valkey_finding(redis)).verdict == "ok"
        await redis.config_set("maxmemory-policy", "allkeys-lru")
        finding = await doctor.valkey_finding(redis)
        await redis.config_set("maxmemory-policy", "noeviction")
    assert (finding.verdict, "noeviction" in finding.remedy) == ("warning", True)


@pytest.mark.django_db
def test_the_worker_must_have_shown_itself_lately():
    assert doctor.worker_finding().verdict == "failed"
    row = Worker.objects.create(name="w", beat=1)
    assert "silent" in doctor.worker_finding().seen
    row.beat = 10**18
    row.save()
    Lease.objects.bulk_create([Lease(bucket=bucket, owner="w") for bucket in range(BUCKETS)])
    assert doctor.worker_finding().verdict == "ok"


@pytest.mark.django_db
def test_every_bucket_of_links_must_have_a_living_owner():
    for name, beat in (("alive", 10**18), ("dead", 1), ("beside", 10**18)):
        Worker.objects.create(name=name, beat=beat)
    owners = ["alive"] * 40 + ["beside"] * 20 + ["dead"] * 3 + [""]
    Lease.objects.bulk_create([Lease(bucket=bucket, owner=owner) for bucket, owner in enumerate(owners)])
    finding = doctor.worker_finding()
    assert (finding.verdict, finding.seen) == ("warning", "4 of 64 buckets of links have no owner")
    Lease.objects.exclude(owner="beside").update(owner="alive")
    assert doctor.worker_finding().seen.endswith("alive 44, beside 20")


@pytest.mark.parametrize(
    ("seals", "verdict", "says"),
    [
        (Counter(newest=3), "ok", "all 3"),
        (Counter(), "ok", "all 0"),
        (Counter(newest=1, older=2), "warning", "2 of 3 users' tokens still need an older"),
        (Counter(newest=1, older=2, lost=4), "warning", "4 of 7 users' tokens were sealed with a key"),
    ],
)
def test_it_is_told_when_an_old_key_may_be_dropped(seals, verdict, says, monkeypatch):
    monkeypatch.setattr(credentials, "seals", lambda: seals)
    finding = doctor.tokens_finding()
    assert (finding.verdict, says in finding.seen, bool(finding.remedy)) == (verdict, True, verdict != "ok")


async def test_a_name_that_does_not_exist_is_found_out():
    assert (await doctor.name_finding("wss://nowhere.invalid/event")).verdict == "failed"
    assert (await doctor.name_finding("wss://127.0.0.1/event")).verdict == "ok"
