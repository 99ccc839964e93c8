"""Each check finds what is wrong, and says what to do."""

import asyncio
import io
import json
import ssl
from collections import Counter
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import OperationalError
from django.db.migrations.executor import MigrationExecutor

from dashboard.models import Membership
from realtime import config, credentials, doctor, sql, switches
from realtime.appsync.auth import Token
from realtime.clock import now_us
from realtime.doctor import Host
from realtime.emulator.options import Fleet, Options
from realtime.emulator.server import Emulator
from realtime.models import BUCKETS, Drift, Lease, Link, UndecodablePayload, Worker
from realtime.snapshot import HttpSnapshots
from realtime.upstream.transport import tls_context
from realtime.valkey import connect
from tests.certificates import DAY, Authority


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


# ── Settings and database ────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(autouse=True)
def _fresh_configuration():
    config.load.cache_clear()
    yield
    config.load.cache_clear()


def test_what_the_system_checks_say_is_told_with_their_hints(settings):
    assert [finding.verdict for finding in doctor.settings_findings()] == ["ok"]
    settings.APPSYNC_AUTH = "iam"
    config.load.cache_clear()
    (finding,) = doctor.settings_findings()
    assert (finding.verdict, finding.seen.split()[0], "APPSYNC_REGION" in finding.remedy) == (
        "failed",
        "realtime.E004",
        True,
    )


@pytest.mark.django_db
def test_a_database_must_answer_and_have_every_migration(monkeypatch):
    assert doctor.database_finding().verdict == "ok"
    monkeypatch.setattr(MigrationExecutor, "migration_plan", lambda *_: ["one", "another"])
    finding = doctor.database_finding()
    assert (finding.verdict, finding.seen.split()[0], "migrate" in finding.remedy) == ("failed", "2", True)
    monkeypatch.setattr(MigrationExecutor, "migration_plan", _away)
    finding = doctor.database_finding()
    assert (finding.verdict, "DATABASE_URL" in finding.remedy) == ("failed", True)


def _away(*_):
    raise OperationalError("it is away")


@pytest.mark.django_db
def test_this_machines_clock_is_the_databases():
    assert doctor.database_clock_finding().verdict == "ok"


@pytest.mark.parametrize(
    ("seconds", "verdict", "says"),
    [
        (0.2, "ok", "behind"),
        (1.5, "ok", "1.5 s behind"),
        (-1.5, "ok", "1.5 s ahead of"),
        (2.5, "warning", "2.5 s behind"),
        (-60, "warning", "60.0 s ahead of"),
    ],
)
def test_clocks_that_differ_by_more_than_a_windows_margin_are_warned_of(monkeypatch, seconds, verdict, says):
    monkeypatch.setattr(sql, "now_us", lambda: now_us() + round(seconds * 1e6))
    finding = doctor.database_clock_finding()
    assert (finding.verdict, says in finding.seen, "NTP" in finding.remedy) == (verdict, True, verdict != "ok")


def test_without_a_database_its_clock_is_not_compared(monkeypatch):
    monkeypatch.setattr(sql, "now_us", _away)
    assert doctor.database_clock_finding().verdict == "skipped"


@pytest.mark.feature("S4.10")
@pytest.mark.django_db
def test_payloads_that_drift_or_can_not_be_read_are_told():
    assert doctor.payloads_finding().verdict == "ok"
    Drift.objects.create(feed="roleChanged", path="$.role", word='"Guest"', count=3, first_at=1, last_at=2, sample="{}")
    finding = doctor.payloads_finding()
    assert (finding.verdict, finding.seen[0], "schema check" in finding.remedy) == ("warning", "1", True)
    for at, error in ((2, "the newest"), (1, "an older one")):
        UndecodablePayload.objects.create(feed="roleChanged", at=at, error=error, payload="{}")
    finding = doctor.payloads_finding()
    assert (finding.verdict, "2 could not be read" in finding.seen) == ("warning", True)
    assert finding.seen.endswith("on roleChanged: the newest")


# ── Hosts ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


@asynccontextmanager
async def secured(authority, **issued):
    """Give the address of an emulator that speaks TLS."""
    cert, key = authority.issue(**issued)
    emulator = Emulator(Options(fleet=Fleet(devices=1), tls_cert=cert, tls_key=key))
    await emulator.start()
    try:
        yield emulator.urls["events_url"]
    finally:
        await emulator.stop()


async def hosts(url, ca_file):
    host = Host(url, tls_context(ca_file and str(ca_file)), "APPSYNC_CA_FILE")
    return await doctor.host_findings([host, host._replace(url=url.replace("https", "wss"))])


async def test_a_host_is_looked_at_once_and_its_certificate_by_who_is_pinned(authority, tmp_path):
    async with secured(authority) as url:
        names, tls = await hosts(url, authority.file)
        assert (names.check, names.verdict) == ("dns 127.0.0.1", "ok")
        assert (tls.verdict, tls.seen) == ("ok", "trusted for 90 more days")
        for other in (Authority(tmp_path, "another").file, None):
            _, tls = await hosts(url, other)
            assert (tls.verdict, "CERTIFICATE_VERIFY_FAILED" in tls.seen) == ("failed", True)
            assert "APPSYNC_CA_FILE" in tls.remedy


async def test_a_certificate_that_ends_soon_is_a_warning(authority):
    async with secured(authority, lasts=10 * DAY) as url:
        _, tls = await hosts(url, authority.file)
    assert (tls.verdict, tls.seen, bool(tls.remedy)) == ("warning", "trusted for 10 more days", True)


async def test_what_is_not_encrypted_has_no_certificate(authority):
    _, tls = await hosts("http://127.0.0.1:1/event", authority.file)
    assert tls.verdict == "skipped"


async def test_a_name_that_does_not_exist_is_found_out(authority):
    name, _ = await hosts("http://nowhere.invalid/event", authority.file)
    assert (name.check, name.verdict, "APPSYNC_CA_FILE" in name.remedy) == ("dns nowhere.invalid", "failed", True)


@asynccontextmanager
async def dated(*headers, tls=None):
    """Give the address of a server that answers everything with these headers."""

    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write("\r\n".join(["HTTP/1.1 404 Not Found", "Content-Length: 0", *headers, "", ""]).encode())
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=tls) as server:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{server.sockets[0].getsockname()[1]}/event"


@pytest.mark.parametrize(("seconds", "verdict"), [(0, "ok"), (-100, "warning"), (100, "warning"), (-400, "failed")])
async def test_this_machines_clock_is_compared_with_the_apis(seconds, verdict):
    theirs = datetime.now(UTC) + timedelta(seconds=seconds)
    async with dated(f"Date: {format_datetime(theirs)}") as url:
        finding = await doctor.clock_finding(url, tls_context(None))
    assert (finding.verdict, "NTP" in finding.remedy) == (verdict, verdict != "ok")


async def test_the_clock_of_an_api_with_a_private_authority_is_asked_by_who_pins_it(authority):
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    serving.load_cert_chain(*authority.issue())
    async with dated(f"Date: {format_datetime(datetime.now(UTC))}", tls=serving) as url:
        assert (await doctor.clock_finding(url, tls_context(str(authority.file)))).verdict == "ok"
        assert (await doctor.clock_finding(url, tls_context(None))).verdict == "skipped"


@pytest.mark.parametrize("headers", [[], ["Date: yesterday"]])
async def test_an_api_that_tells_no_time_is_not_compared(headers):
    async with dated(*headers) as url:
        assert (await doctor.clock_finding(url, tls_context(None))).verdict == "skipped"


# ── The command ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def site(appsync, settings, valkey, django_user_model):
    """A site on whose links a worker looks, and a viewer; the address of GraphQL is known too."""
    settings.APPSYNC_EVENTS_URL, settings.APPSYNC_GRAPHQL_URL = appsync["events_url"], appsync["graphql_url"]
    settings.SNAPSHOT_URL, settings.UPSTREAM_SETTLE_SECONDS = appsync["snapshot_url"], 0
    viewer = django_user_model.objects.create_user("viewer", subject="sub-viewer")
    Link.objects.create(user=viewer, subject="sub-viewer")
    Membership.objects.create(user=viewer, org_id="org-aurora")
    Worker.objects.create(name="w", beat=now_us())
    Lease.objects.bulk_create([Lease(bucket=bucket, owner="w") for bucket in range(BUCKETS)])
    return settings


def told(*arguments):
    out = io.StringIO()
    try:
        call_command("doctor", "--json", *arguments, stdout=out)
        status = 0
    except CommandError as error:
        status = error.returncode
    return status, {row["check"]: row for row in map(json.loads, out.getvalue().splitlines())}


@pytest.mark.django_db
def test_a_sound_site_is_told_so_check_by_check(site, token):
    status, rows = told("--user", "viewer", "--token", token("sub-viewer"))
    verdicts = {check: row["verdict"] for check, row in rows.items()}
    assert (status, set(verdicts.values())) == (0, {"ok", "skipped"})
    skipped = [check.partition(" ")[0] for check, verdict in verdicts.items() if verdict == "skipped"]
    assert skipped == ["tls", "clock"]  # the emulator does not encrypt, and tells no time
    assert list(rows)[-5:] == ["connect", "auth", "subscribe", "round trip", "snapshot"]
    assert rows["subscribe"]["seen"] == "/vortex-app/user/sub-viewer/device/presenceChanged is live"
    assert rows["snapshot"].keys() == {"check", "verdict", "seen", "remedy"}


@pytest.mark.feature("S4.15")
@pytest.mark.django_db
def test_the_dialect_is_the_one_that_the_links_were_switched_to(site, token):
    switches.put(switches.PROTOCOL, "graphql")
    status, rows = told("--user", "viewer", "--token", token("sub-viewer"))
    assert (status, rows["connect"]["seen"]) == (0, "the socket is open and speaks graphql-ws")
    assert rows["subscribe"]["seen"] == "onDeviceState org-aurora is live"
    _, rows = told("--token", token("sub-viewer"))
    assert (rows["subscribe"]["verdict"], "--user" in rows["subscribe"]["seen"]) == ("skipped", True)


@pytest.mark.django_db
def test_every_host_is_looked_at(site):
    site.APPSYNC_EVENTS_REALTIME_URL = "ws://socket.invalid/event/realtime"
    site.SNAPSHOT_URL, site.OIDC_TOKEN_URL = "https://backend.invalid/{userId}", "https://issuer.invalid/token"
    site.APPSYNC_ALLOW_PLAINTEXT = True
    status, rows = told()
    dns = {check.removeprefix("dns "): row["verdict"] for check, row in rows.items() if check.startswith("dns ")}
    assert dns == {"127.0.0.1": "ok"} | dict.fromkeys(("socket.invalid", "backend.invalid", "issuer.invalid"), "failed")
    assert "SNAPSHOT_URL" in rows["dns backend.invalid"]["remedy"]
    assert (status, rows["auth"]["verdict"]) == (1, "skipped")


@pytest.mark.django_db
def test_what_is_wrong_with_credentials_is_a_finding_like_any_other(site):
    status, rows = told("--user", "viewer")
    assert (status, rows["auth"]["verdict"], "sign in" in rows["auth"]["seen"]) == (1, "failed", True)
    site.APPSYNC_AUTH = "api-key"
    config.load.cache_clear()
    status, rows = told()
    assert (status, "APPSYNC_API_KEY" in rows["auth"]["seen"], rows["settings"]["verdict"]) == (1, True, "failed")


@pytest.mark.django_db
def test_a_site_without_an_upstream_is_told_which_setting_it_lacks(site, capsys):
    site.APPSYNC_EVENTS_URL = ""
    with pytest.raises(CommandError, match="1 of the checks failed"):
        call_command("doctor")
    last, remedy = capsys.readouterr().out.splitlines()[-2:]
    assert last.startswith("FAILED  upstream: APPSYNC_EVENTS_URL is not set")
    assert remedy.strip().startswith("→")
