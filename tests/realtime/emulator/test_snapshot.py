"""What is so, now, for one person."""

import json

import httpx
import pytest

from realtime.emulator.errors import ApiError
from realtime.emulator.http import Request
from realtime.emulator.options import Auth, Fleet
from realtime.emulator.snapshot import SnapshotEndpoint
from realtime.emulator.world import Set

LOBBY = "device/org-aurora/cam-001"
pytestmark = pytest.mark.feature("S4.12")


@pytest.fixture
def snapshot(http, token_of):
    async def get(username, **params):
        headers = {"authorization": token_of(username)["Authorization"]}
        return await http.get("/snapshot", headers=headers, params=params)

    return get


@pytest.mark.parametrize(
    ("username", "org", "role", "devices"),
    [
        ("viewer", "org-aurora", "Viewer", 3),
        ("owner", "org-aurora", "Owner", 8),
        ("operator", "org-aurora", "Admin", 8),
        ("rival", "org-borealis", "Owner", 4),
    ],
)
async def test_each_person_gets_the_own_view_and_nothing_else(snapshot, username, org, role, devices):
    view = (await snapshot(username)).json()
    assert view["user"] == {"userId": f"sub-{username}"}
    assert [(o["orgId"], o["role"]) for o in view["organizations"]] == [(org, role)]
    assert len(view["devices"]) == devices
    assert {d["orgId"] for d in view["devices"] + view["archives"]} == {org}
    assert view["next"] is None


async def test_an_entity_is_told_in_full(snapshot, emulator):
    emulator.fleet.carry_out(Set(LOBBY, {"online": False}))
    view = (await snapshot("owner")).json()
    device = next(d for d in view["devices"] if d["deviceId"] == "cam-001")
    assert device.keys() == {
        *("orgId", "deviceId", "name", "model", "siteId", "online", "recording"),
        *("fwUpdateState", "progress", "version", "changedAt"),
    }
    assert device["online"] is False
    assert view["archives"][0].keys() >= {"orgId", "archiveId", "deviceId", "name", "state", "progress"}
    assert view["organizations"][0].keys() == {
        *("orgId", "name", "role", "licensePhase", "isFreePlan", "AIControlSetting"),
    }


async def test_its_moment_is_after_every_change_in_it_and_before_every_other(snapshot, emulator):
    told = []
    emulator.fleet.listeners.append(lambda notice, payload: told.append(payload["timestamp"]))
    emulator.fleet.carry_out(Set(LOBBY, {"online": False, "recording": False}))
    view = (await snapshot("owner")).json()
    emulator.fleet.carry_out(Set(LOBBY, {"online": True}))
    assert told[0] < told[1] < view["asOf"] < told[2]
    assert max(d.get("changedAt", "") for d in view["devices"]) < view["asOf"]


async def test_pages_show_one_moment_though_the_world_moves_on(started):
    emulator = await started(fleet=Fleet(devices=3000))
    token = emulator.api.issuer.grant("sub-owner").access_token
    clock = [0.0]
    endpoint = SnapshotEndpoint(
        emulator.fleet.world, emulator.fleet.clock, emulator.api.issuer, emulator.api.faults, lambda: clock[0]
    )
    devices, archives, moments, cursor = [], [], set(), None
    while cursor != "end":
        page = page_of(endpoint, token, cursor)
        devices += page["devices"]
        archives += page["archives"]
        moments.add(page["asOf"])
        assert len(page["devices"]) + len(page["archives"]) <= 500
        emulator.fleet.carry_out(Set("device/org-aurora/cam-2000", {"name": f"renamed {len(devices)}"}))
        cursor = page["next"] or "end"
    assert len(devices) == 2000
    assert len(archives) == 334
    assert len(moments) == 1
    assert "renamed" not in devices[-1]["name"]


async def test_a_page_is_kept_for_a_minute_and_for_its_owner(started):
    emulator = await started(fleet=Fleet(devices=3000))
    clock = [0.0]
    endpoint = SnapshotEndpoint(
        emulator.fleet.world, emulator.fleet.clock, emulator.api.issuer, emulator.api.faults, lambda: clock[0]
    )
    owner, rival = (emulator.api.issuer.grant(f"sub-{name}").access_token for name in ("owner", "rival"))
    cursor = page_of(endpoint, owner)["next"]
    with pytest.raises(ApiError, match="begin again"):
        page_of(endpoint, rival, cursor)
    assert page_of(endpoint, owner, cursor)
    clock[0] = 60.0
    with pytest.raises(ApiError, match="begin again"):
        page_of(endpoint, owner, cursor)


@pytest.mark.parametrize("authorization", [None, "nonsense", "Bearer nonsense"])
async def test_a_bad_token_gets_401_and_says_so(http, authorization):
    headers = {} if authorization is None else {"authorization": authorization}
    answer = await http.get("/snapshot", headers=headers)
    assert answer.status_code == 401
    assert answer.json()["errors"][0]["errorType"] == "UnauthorizedException"


async def test_bearer_may_stand_before_the_token(http, token_of):
    headers = {"authorization": "Bearer " + token_of("viewer")["Authorization"]}
    assert (await http.get("/snapshot", headers=headers)).status_code == 200


async def test_a_person_without_organisations_sees_an_empty_view(http, emulator):
    token = emulator.api.issuer.grant("stranger").access_token
    view = (await http.get("/snapshot", headers={"authorization": token})).json()
    assert (view["organizations"], view["devices"], view["archives"]) == ([], [], [])


@pytest.fixture
async def ask(started):
    """Ask an emulator that lets a service in by its token."""
    emulator = await started(auth=Auth(snapshot_token="open sesame"))
    async with httpx.AsyncClient(base_url=emulator.url) as client:

        async def get(token, **params):
            return await client.get("/snapshot", headers={"authorization": token}, params=params)

        yield get


async def test_a_service_asks_for_anybodys_view(ask):
    for name in ("viewer", "rival"):
        view = (await ask("Bearer open sesame", userId=f"sub-{name}")).json()
        assert view["user"] == {"userId": f"sub-{name}"} and view["devices"]


async def test_a_service_has_to_say_whose_view_it_means(ask):
    answer = await ask("open sesame")
    assert answer.status_code == 400 and "userId" in answer.text


async def test_a_wrong_token_of_a_service_gets_401(ask, http):
    assert (await ask("open says me", userId="sub-viewer")).status_code == 401
    nobodys = await http.get("/snapshot", headers={"authorization": "None"}, params={"userId": "sub-viewer"})
    assert nobodys.status_code == 401


async def test_it_can_be_down_for_one_person(snapshot, fault):
    await fault("snapshot-down", user="viewer", status=500)
    assert (await snapshot("viewer")).status_code == 500
    assert (await snapshot("owner")).status_code == 200


def page_of(endpoint, token, cursor=None):
    query = {} if cursor is None else {"next": cursor}
    request = Request("GET", "/snapshot", query, {"authorization": token}, b"", "127.0.0.1")
    return json.loads(endpoint.get(request).body)
