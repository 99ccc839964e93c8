"""Steering and observing by hand."""

import json

import pytest

from realtime.emulator.control import Control
from realtime.emulator.http import Request, Router

from .client import Client, eventually

LOBBY = "device/org-aurora/cam-001"
CHANNEL = "/vortex-app/user/sub-viewer/*"


@pytest.fixture
def world(http):
    async def post(**operation):
        return await http.post("/control/world", json=operation)

    return post


@pytest.fixture
def truth(http):
    async def get(sub):
        return (await http.get("/control/world")).json()["users"][sub]

    return get


async def test_a_change_by_hand_is_published_and_in_the_truth(connect, token_of, world, truth):
    client = await connect(token_of("viewer"))
    await client.subscribed(CHANNEL)
    assert (await world(op="set", key=LOBBY, fields={"online": False})).status_code == 200
    event = json.loads((await client.expect(type="data"))["event"])
    assert (event["deviceId"], event["online"]) == ("cam-001", False)
    view = await truth("sub-viewer")
    device = next(d for d in view["devices"] if d["deviceId"] == "cam-001")
    assert device["online"] is False
    assert event["timestamp"] < view["asOf"]


@pytest.mark.feature("S4.11")
async def test_the_source_time_can_be_left_out(connect, token_of, world, fault):
    client = await connect(token_of("viewer"))
    await client.subscribed(CHANNEL)
    await fault("no-timestamp", channel="presence")
    await world(op="set", key=LOBBY, fields={"online": False, "recording": False})
    presence = json.loads((await client.expect(type="data"))["event"])
    recording = json.loads((await client.expect(type="data"))["event"])
    assert "timestamp" not in presence
    assert "timestamp" in recording


async def test_what_people_see_can_be_changed(world, truth):
    async def devices():
        return {d["deviceId"] for d in (await truth("sub-viewer"))["devices"]}

    before = await devices()
    await world(op="grant", user="sub-viewer", device="device/org-aurora/cam-002")
    assert await devices() == before | {"cam-002"}
    await world(op="revoke", user="sub-viewer", device="device/org-aurora/cam-002")
    await world(op="remove-device", device=LOBBY)
    assert await devices() == before - {"cam-001"}
    device = {"orgId": "org-aurora", "deviceId": "cam-900", "name": "New", "siteId": "site-1"}
    await world(op="add-device", device=device)
    assert "cam-900" in await devices()
    await world(op="role", user="sub-viewer", org="org-aurora", role=None)
    assert await devices() == set()


async def test_the_pace_can_be_changed_while_it_runs(connect, token_of, world, http):
    client = await connect(token_of("owner"))
    await client.subscribed("/vortex-app/user/sub-owner/*")
    assert (await world(op="rate", rate=500)).json() == {"rate": 500, "paused": False}
    await client.expect(type="data")
    assert (await world(op="pause")).json()["paused"] is True
    published = (await http.get("/control/stats")).json()["published"]
    assert (await http.get("/control/stats")).json()["published"] == published
    await world(op="resume")
    await client.until(type="data")


@pytest.mark.parametrize(
    "body", ["", "{}", '{"op":"fly"}', '{"op":"rate"}', '{"op":"rate","rate":-1}', '{"op":"grant","user":"x"}']
)
async def test_what_cannot_be_done_is_refused_with_a_reason(http, body):
    answer = await http.post("/control/world", content=body)
    assert answer.status_code == 400
    assert answer.json()["message"]


@pytest.mark.parametrize(
    ("path", "head"),
    [("/control/publish", '{"channel":"/c","events":'), ("/control/faults", '{"kind":'), ("/oauth/token", "")],
)
async def test_json_without_a_bottom_is_refused(http, path, head):
    headers = {"content-type": "application/json"}
    assert (await http.post(path, content=head + "[" * 5000, headers=headers)).status_code == 400


async def test_publishing_needs_no_credentials(connect, key, http):
    client = await connect(key)
    await client.subscribed("/default/a")
    answer = await http.post("/control/publish", json={"channel": "default/a", "events": [{"n": 1}, "text"]})
    assert answer.json() == {"published": 2}
    await client.expect(type="data", event='{"n":1}')
    await client.expect(type="data", event='"text"')


@pytest.mark.feature("S4.14")
async def test_revoking_a_person_tells_them_and_ends_their_tokens(connect, emulator, token_of, http):
    auth = token_of("viewer")
    client = await connect(auth)
    await client.subscribed("/vortex-app/user/sub-viewer/tokenRevoked")
    assert (await http.post("/control/revoke", json={"sub": "sub-viewer"})).status_code == 200
    event = json.loads((await client.expect(type="data"))["event"])
    assert event["eventType"] == "user/tokenRevoked"
    assert event["userId"] == "sub-viewer"
    await client.subscribe(CHANNEL, "s2")
    await client.expect(type="subscribe_error", id="s2")
    answer = await http.get("/snapshot", headers={"authorization": auth["Authorization"]})
    assert answer.status_code == 401


async def test_c14_stats_count_sockets_subscriptions_and_deliveries_by_subject(connect, token_of, world, http):
    client = await connect(token_of("viewer"))
    await client.subscribed(CHANNEL)
    await world(op="set", key=LOBBY, fields={"online": False})
    await client.expect(type="data")
    stats = (await http.get("/control/stats")).json()
    assert (stats["sockets"], stats["subscriptions"], stats["published"], stats["delivered"]) == (1, 1, 4, 1)
    assert stats["by_sub"] == {"sub-viewer": {"sockets": 1, "subscriptions": 1, "delivered": 1}}
    assert stats["connections"][0]["subscriptions"] == [CHANNEL]
    await client.close()
    stats = (await http.get("/control/stats")).json()
    assert (stats["sockets"], stats["subscriptions"], stats["delivered"]) == (0, 0, 1)


async def test_c14_nothing_stays_behind_of_sockets_that_came_and_went(emulator, key, http, fault):
    for number in range(12):
        client = await Client.ready(emulator, key)
        await client.subscribed(f"/default/{number}")
        if number % 3 == 0:
            await client.close()
        elif number % 3 == 1:
            client.socket.transport.abort()
        else:
            await fault("drop")
            await client.closed()
    await eventually(lambda: not emulator.api.sessions)
    stats = (await http.get("/control/stats")).json()
    assert (stats["sockets"], stats["subscriptions"], stats["connections"]) == (0, 0, [])
    records = (await http.get("/control/transcript")).json()["records"]
    ended = [record["connection"] for record in records if record["kind"] == "closed"]
    assert sorted(ended) == sorted(record["connection"] for record in records if record["kind"] == "opened")
    assert not emulator.api.broker._by_pattern


async def test_c14_the_transcript_accounts_for_each_event_and_each_delivery(connect, token_of, world, http):
    client = await connect(token_of("viewer"))
    await client.subscribed(CHANNEL)
    await world(op="set", key=LOBBY, fields={"online": False})
    await client.expect(type="data")
    await client.close()
    transcript = (await http.get("/control/transcript")).json()
    kinds = [record["kind"] for record in transcript["records"]]
    assert kinds[0] == "opened"
    assert kinds[-1] == "closed"
    published = [r for r in transcript["records"] if r["kind"] == "published"]
    assert [r["sub"] for r in published] == ["sub-viewer", "sub-owner", "sub-operator", "sub-manager"]
    (delivered,) = [r for r in transcript["records"] if r["kind"] == "delivered"]
    assert delivered["number"] == published[0]["n"]
    assert (delivered["subscription"], delivered["sub"]) == ("s1", "sub-viewer")
    rest = (await http.get("/control/transcript", params={"since": transcript["next"]})).json()
    assert rest["records"] == []
    only = (await http.get("/control/transcript", params={"kind": "published", "limit": 2})).json()
    assert [r["n"] for r in only["records"]] == [r["n"] for r in published[:2]]
    assert only["next"] == published[1]["n"]


async def test_faults_are_listed_with_their_hits_and_unknown_users_refused(http, fault):
    await fault("lose", user="viewer")
    (listed,) = (await http.get("/control/faults")).json()["faults"]
    assert (listed["kind"], listed["sub"], listed["hits"]) == ("lose", "sub-viewer", 0)
    assert (await http.delete("/control/faults", params={"kind": "stall"})).json()["faults"] == [listed]
    answer = await http.post("/control/faults", json={"kind": "lose", "user": "nobody"})
    assert answer.status_code == 400
    assert "nobody" in answer.json()["message"]


async def test_a_page_in_a_browser_cannot_steer_it(http):
    answer = await http.post("/control/world", content='{"op":"pause"}', headers={"origin": "http://evil.test"})
    assert answer.status_code == 403


@pytest.mark.parametrize(("peer", "status"), [("127.0.0.1", 200), ("::1", 200), ("192.0.2.1", 403), ("", 403)])
async def test_answers_this_machine_only(emulator, peer, status):
    router = Router(lambda *_: None)
    Control(emulator.api, emulator.fleet).mount(router)
    answer = router.answer(Request("GET", "/control/stats", {}, {}, b"", peer))
    assert answer.status == status
