"""One wildcard connection for everybody, on real processes: the ends are those of links of their own."""

import json

import pytest

from tests.demo import until
from tests.faults.service_stack import ServiceStack

pytestmark = [pytest.mark.faults, pytest.mark.feature("S4.4")]

NEW = "device/org-aurora/cam-new"
CAMERA = "device/org-aurora/cam-001"
PATTERN = "/vortex-app/user/*"
SUBS = ("sub-viewer", "sub-owner", "sub-rival")


@pytest.fixture(scope="module")
def shared_stack(tmp_path_factory):
    """In the place of the stack of the other faults: one whose workers have a service link."""
    with ServiceStack(tmp_path_factory.mktemp("service-link"), UPSTREAM_LINKS="service") as stack:
        yield stack


def sockets(stack):
    return stack.control("stats")["connections"]


def service(stack):
    """How the worker says that its service link is."""
    return json.loads(stack.query("SELECT service_link FROM realtime_worker WHERE name = 'demo'")[0]["service_link"])


def test_one_socket_serves_everybody_and_nothing_is_lost(stack, people, assert_nothing_lost):
    until(lambda: people.owner.store.new > 40, "traffic")
    assert_nothing_lost(**vars(people))
    (socket,) = sockets(stack)
    assert socket["subscriptions"] == [PATTERN]
    until(lambda: service(stack)["links"] == 3, "the news for operators")
    told = service(stack)
    assert (told["state"], told["channel"]) == ("open", PATTERN) and told["copies"] > 0


def test_nobody_hears_of_what_is_not_theirs(stack, people):
    """What the rival sees next is the sign that whatever came before it went by."""
    with stack.at_rest():
        wanted = not people.viewer.value(CAMERA, "recording")
        stack.operate("set", key=CAMERA, fields={"recording": wanted})
        until(lambda: people.viewer.value(CAMERA, "recording") is wanted, "the change")
        theirs = next(key for key in people.rival.values() if key.startswith("device/org-borealis/"))
        online = not people.rival.value(theirs, "online")
        stack.operate("set", key=theirs, fields={"online": online})
        until(lambda: people.rival.value(theirs, "online") is online, "what the rival may see")
        assert not [key for key in people.rival.values() if "org-aurora" in key]


def test_a_lost_socket_is_a_window_of_every_link_with_the_reason_and_is_repaired(stack, people, assert_nothing_lost):
    stack.fault("drop", **{"for": 3})
    for page in vars(people).values():
        until(lambda page=page: page.value("link/self", "state") == "waiting", "the news of it")
        assert "the service link is" in page.value("link/self", "reason")
        assert page.value("link/self", "gap")["cause"]
    until(lambda: service(stack)["links"] == 0, "the news for operators")
    assert_nothing_lost(**vars(people))
    assert len(sockets(stack)) == 1


def test_a_killed_worker_loses_nothing_in_silence(stack, people, assert_nothing_lost):
    stack.worker.kill()
    until(lambda: people.viewer.told.get("upstream", {}).get("worker") == "silent", "the news of it", 20)
    stack.worker.start()
    assert_nothing_lost(**vars(people))


def test_a_killed_source_is_shown_and_what_happened_meanwhile_is_repaired(stack, people, assert_nothing_lost):
    stack.emulator.kill()
    until(lambda: people.viewer.value("link/self", "state") == "waiting", "the news of it")
    stack.start_emulator()
    assert_nothing_lost(**vars(people))


def test_a_device_that_nobody_ever_saw_appears_with_its_first_event(stack, people, assert_nothing_lost):
    with stack.at_rest():
        new = {"orgId": "org-aurora", "deviceId": "cam-new", "name": "New", "model": "FC-1", "siteId": "aurora-north"}
        stack.operate("add-device", device=new)
        stack.operate("set", key=NEW, fields={"online": True})
        until(lambda: people.owner.value(NEW, "online") is True, "the new device")
    assert_nothing_lost(**vars(people))


def test_an_event_that_does_not_say_what_it_is_is_kept_and_everybody_is_repaired(stack, people, assert_nothing_lost):
    before = len(stack.query("SELECT 1 FROM realtime_gap WHERE cause = 'undecodable payload'"))
    stack.control("publish", {"channel": "/vortex-app/user/sub-viewer/roleChanged", "events": [{"role": "Owner"}]})
    until(
        lambda: len(stack.query("SELECT 1 FROM realtime_gap WHERE cause = 'undecodable payload'")) == before + 3,
        "a window of each link",
    )
    (kept,) = stack.query("SELECT * FROM realtime_undecodablepayload WHERE link_id IS NULL")
    assert "no eventType" in kept["error"] and kept["payload"] == '{"role":"Owner"}'
    assert_nothing_lost(**vars(people))


def test_the_links_go_over_to_graphql_one_by_one_and_back(stack, people, assert_nothing_lost):
    stack.run_manage("dualrun", "switch", "graphql")
    until(lambda: len([s for s in sockets(stack) if s["dialect"] == "graphql-ws"]) == 3, "a socket for each link")
    until(lambda: all(stack.is_live(sub) for sub in SUBS), "the repairs")
    stack.run_manage("dualrun", "switch", "events")
    until(lambda: [s["subscriptions"] for s in sockets(stack)] == [[PATTERN]], "the one socket", 30)
    assert_nothing_lost(**vars(people))
