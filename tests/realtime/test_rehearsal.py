"""The upstream tried once, on an emulator: how far it goes, and what is said of the step that fails."""

from contextlib import asynccontextmanager

import pytest

from realtime import documents, feeds, rehearsal
from realtime.appsync.auth import ApiKey, Token
from realtime.appsync.endpoint import derive
from realtime.emulator.faults import Fault
from realtime.emulator.options import DEFAULT_API_KEY, Auth, Fleet, Limits, Options
from realtime.emulator.server import Emulator
from realtime.rehearsal import Part, rehearse
from realtime.upstream.transport import WebSocketTransport

pytestmark = pytest.mark.feature("S0.7")

KEY = ApiKey(DEFAULT_API_KEY)
HEARD = feeds.channels("vortex-app", "sub-owner")["device/presenceChanged"]
OWN = "/vortex-app/user/sub-owner/doctor/now"


@asynccontextmanager
async def started(**options):
    """An emulator in whose namespace *locked* nobody publishes with an API key."""
    auth = Auth(modes={"publish@locked": frozenset({"iam"})})
    emulator = Emulator(Options(fleet=Fleet(devices=6), auth=auth, namespaces=("locked",), **options))
    await emulator.start()
    try:
        yield emulator
    finally:
        await emulator.stop()


@pytest.fixture
async def emulator():
    async with started() as emulator:
        yield emulator


@pytest.fixture
def owner(emulator):
    return Token(emulator.api.issuer.grant("sub-owner").id_token)


async def found(emulator, authorization, *, target=HEARD, channel=OWN):
    part = Part(authorization, "presence", target, channel, settle=0)
    findings = await rehearse(derive(emulator.urls["events_url"]), WebSocketTransport(), part)
    return {finding.check: finding for finding in findings}


async def found_in_graphql(emulator, authorization, organization):
    name = f"onDeviceState {organization}"
    part = Part(authorization, name, documents.subscriptions([organization]).get(name), "", settle=0)
    findings = await rehearse(derive(emulator.urls["graphql_url"], dialect="graphql"), WebSocketTransport(), part)
    return {finding.check: finding for finding in findings}


def verdicts(findings):
    return {check: finding.verdict for check, finding in findings.items()}


async def test_a_sound_upstream_goes_all_the_way_and_back(emulator, owner):
    findings = await found(emulator, owner)
    assert verdicts(findings) == dict.fromkeys(("connect", "auth", "subscribe", "round trip"), "ok")
    assert "aws-appsync-event-ws" in findings["connect"].seen


async def test_over_graphql_a_document_is_subscribed_to_and_nothing_is_published(emulator, owner):
    findings = await found_in_graphql(emulator, owner, "org-aurora")
    assert verdicts(findings) == {"connect": "ok", "auth": "ok", "subscribe": "ok", "round trip": "skipped"}
    assert findings["connect"].seen.endswith("speaks graphql-ws")
    assert findings["subscribe"].seen == "onDeviceState org-aurora is live"


async def test_over_graphql_somebody_elses_organisation_is_refused_with_what_to_look_at(emulator, owner):
    findings = await found_in_graphql(emulator, owner, "org-borealis")
    assert (findings["subscribe"].verdict, "schema" in findings["subscribe"].remedy) == ("failed", True)


async def test_without_anything_to_subscribe_to_that_is_said_and_it_ends(emulator, owner):
    findings = await found(emulator, owner, target=None)
    assert verdicts(findings) == {"connect": "ok", "auth": "ok", "subscribe": "skipped"}


async def test_bad_credentials_and_foreign_channels_are_told_apart(emulator):
    findings = await found(emulator, ApiKey("da2-wrong"))
    assert (findings["auth"].verdict, "check the key" in findings["auth"].remedy) == ("failed", True)
    findings = await found(emulator, Token(emulator.api.issuer.grant("sub-rival").id_token))
    assert verdicts(findings) == {"connect": "ok", "auth": "ok", "subscribe": "failed"}
    assert "authorizer" in findings["subscribe"].remedy


async def test_nobody_listening_is_told_with_a_remedy():
    endpoint = derive("http://127.0.0.1:1/event")
    (finding,) = await rehearse(endpoint, WebSocketTransport(), Part(KEY, "presence", HEARD, OWN, 0))
    assert (finding.check, finding.verdict, "proxy" in finding.remedy) == ("connect", "failed", True)


async def test_a_refusal_by_http_points_at_the_credentials(emulator):
    emulator.api.faults.add(Fault("refuse", status=401))
    findings = await found(emulator, KEY)
    assert (findings["connect"].verdict, "APPSYNC_AUTH" in findings["connect"].remedy) == ("failed", True)


async def test_a_channel_that_no_service_would_take_is_told_as_such(emulator):
    findings = await found(emulator, KEY, target="/vortex-app/user/a.b/c")
    assert (findings["subscribe"].verdict, "a.b" in findings["subscribe"].seen) == ("failed", True)


@pytest.mark.parametrize("channel", ["/nowhere/doctor", "/locked/doctor"])
async def test_who_may_not_publish_or_subscribe_has_no_round_trip_and_no_failure(emulator, channel):
    findings = await found(emulator, KEY, channel=channel)
    assert verdicts(findings) == {"connect": "ok", "auth": "ok", "subscribe": "ok", "round trip": "skipped"}
    assert (channel in findings["round trip"].seen, "Unauthorized" in findings["round trip"].seen) == (True, True)


async def test_an_own_channel_that_can_not_be_had_for_another_reason_is_a_failure(emulator):
    emulator.api.faults.add(Fault("subscribe-error", channel="doctor"))
    findings = await found(emulator, KEY)
    assert verdicts(findings) == {"connect": "ok", "auth": "ok", "subscribe": "ok", "round trip": "failed"}


async def test_a_handler_that_refuses_what_is_published_is_a_failure(emulator):
    emulator.api.faults.add(Fault("reject-event", message="not that one"))
    trip = (await found(emulator, KEY))["round trip"]
    assert (trip.verdict, "not that one" in trip.seen, "handlers" in trip.remedy) == ("failed", True, True)


@pytest.mark.parametrize(
    ("fault", "step"), [(Fault("stall"), "auth"), (Fault("drop-reply", operation="subscribe"), "subscribe")]
)
async def test_no_answer_is_told_of_the_step_that_waits_for_it(emulator, monkeypatch, fault, step):
    monkeypatch.setattr(rehearsal, "PATIENCE", 0.3)
    emulator.api.faults.add(fault)
    last = list((await found(emulator, KEY)).values())[-1]
    assert (last.check, last.verdict, last.seen) == (step, "failed", "no answer within 0.3 s")


async def test_what_is_published_and_never_comes_back_is_a_failure(emulator, monkeypatch):
    monkeypatch.setattr(rehearsal, "PATIENCE", 0.3)
    emulator.api.faults.add(Fault("lose"))
    trip = (await found(emulator, KEY))["round trip"]
    assert (trip.verdict, "handlers" in trip.remedy) == ("failed", True)


async def test_a_connection_that_ends_is_told_of_the_step_it_cuts_off():
    async with started(limits=Limits(lifetime_seconds=0.05)) as emulator:
        emulator.api.faults.add(Fault("drop-reply", operation="subscribe"))
        findings = await found(emulator, KEY)
    assert verdicts(findings) == {"connect": "ok", "auth": "ok", "subscribe": "failed"}
    assert "closed by the service" in findings["subscribe"].seen
