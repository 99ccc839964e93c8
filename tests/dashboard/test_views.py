"""Each page for the person it is meant for, a colleague, another organisation, and a stranger."""

import pytest
from django.test import Client

from dashboard import timeline
from dashboard.models import Change, Field, User, Visibility
from realtime.merge import tie
from realtime.models import Gap, Link, Topic
from tests.dashboard.conftest import NOW, link_up, show, signed_in, value_of

PAGES = ["/", "/devices/", "/archives/", "/organization/", "/connection/"]
DEVICE = "/devices/org-aurora/cam-1/"

# What must never reach somebody.
FOREIGN = {
    "viewer": ["Garage camera 2", "cam-2", "clip-2", "Borealis", "Quay camera", "sub-rival"],
    "owner": ["Borealis", "Quay camera", "clip-9"],
    "rival": ["Aurora", "Lobby camera", "clip-1", "sub-owner"],
}


def page(user, address):
    return signed_in(user).get(address)


def html(user, address):
    response = page(user, address)
    assert response.status_code == 200
    return response.content.decode()


@pytest.mark.parametrize("address", [*PAGES, DEVICE, "/devices/cam-1/"])
def test_a_stranger_is_sent_to_the_sign_in_form(db, address):
    response = Client().get(address)
    assert (response.status_code, response["Location"]) == (302, f"/accounts/login/?next={address}")


@pytest.mark.parametrize("address", PAGES)
@pytest.mark.parametrize("who", ["viewer", "owner", "operator", "rival"])
def test_every_page_opens_for_everybody_who_is_signed_in(fleet, who, address):
    assert page(getattr(fleet, who), address).status_code == 200


@pytest.mark.parametrize("address", PAGES)
@pytest.mark.parametrize("who", FOREIGN)
def test_no_page_shows_what_is_anothers(fleet, who, address):
    for key in Field.objects.values_list("key", flat=True).distinct():
        Change.objects.create(key=key, name="name", value='"changed"', time=NOW, recorded_at=NOW, source="events")
    shown = html(getattr(fleet, who), address)
    assert [text for text in FOREIGN[who] if text in shown] == []


@pytest.mark.parametrize(
    ("who", "address", "status"),
    [
        ("viewer", "/devices/org-aurora/cam-1/", 200),
        ("viewer", "/devices/org-aurora/cam-2/", 404),
        ("viewer", "/devices/org-borealis/cam-1/", 404),
        ("viewer", "/devices/org-aurora/cam-404/", 404),
        ("viewer", "/devices/cam-2/", 404),
        ("owner", "/devices/org-aurora/cam-2/", 200),
        ("owner", "/devices/cam-2/", 200),
        ("owner", "/devices/org-borealis/cam-1/", 404),
        ("rival", "/devices/org-borealis/cam-1/", 200),
        ("rival", "/devices/org-aurora/cam-1/", 404),
        ("rival", "/devices/cam-2/", 404),
    ],
)
def test_a_device_that_is_anothers_does_not_exist(fleet, who, address, status):
    assert page(getattr(fleet, who), address).status_code == status


def test_the_short_address_is_ones_own_device_of_that_id(fleet):
    assert "Lobby camera 1" in html(fleet.viewer, "/devices/cam-1/")
    assert "Quay camera" in html(fleet.rival, "/devices/cam-1/")


def test_an_id_of_two_organisations_is_answered_with_the_list(fleet):
    Visibility.objects.create(user=fleet.owner, key="device/org-borealis/cam-1", org_id="org-borealis", granted_at=NOW)
    response = page(fleet.owner, "/devices/cam-1/")
    assert (response.status_code, response["Location"]) == (302, "/devices/?q=cam-1")


def test_what_was_revoked_is_gone_from_the_next_page(fleet):
    client = signed_in(fleet.viewer)
    assert client.get(DEVICE).status_code == 200
    Visibility.objects.filter(user=fleet.viewer, key="device/org-aurora/cam-1").update(ended_at=NOW)
    assert client.get(DEVICE).status_code == 404
    assert "Lobby camera 1" not in client.get("/devices/").content.decode()


@pytest.mark.feature("S4.14")
def test_raising_the_session_epoch_ends_the_session(fleet):
    client = signed_in(fleet.viewer)
    User.objects.filter(pk=fleet.viewer.pk).update(session_epoch=1)
    assert client.get("/").status_code == 302


@pytest.mark.parametrize("address", PAGES)
def test_pages_may_not_be_kept_by_the_browser_for_the_next_person(fleet, address):
    assert "no-store" in page(fleet.viewer, address)["Cache-Control"]


def test_a_page_cannot_be_posted_to(fleet):
    assert signed_in(fleet.viewer).post("/devices/").status_code == 405


def test_a_value_carries_its_version(fleet):
    expected = f'data-field="online" data-format="presence" data-value="true" data-version="{NOW}:{tie("true")}"'
    assert expected in html(fleet.viewer, "/devices/")


def test_a_page_carries_the_cursor_that_was_read_before_its_state(fleet):
    name = f"user.{fleet.viewer.pk}"
    Topic.objects.create(name=name, epoch="0123456789abcdef", head=7)
    shown = html(fleet.viewer, "/")
    broadcast = Topic.objects.get(name="broadcast")
    assert f'data-cursor="{name}:0123456789abcdef:7,broadcast:{broadcast.epoch}:0"' in shown
    assert 'data-live="on"' in shown


def test_a_page_carries_the_state_of_ones_own_link(fleet):
    link_up(fleet.viewer, state="backoff", reason="token refused")
    shown = html(fleet.viewer, "/")
    assert 'data-entity="link/self"' in shown
    assert value_of(shown.split('data-entity="link/self"')[1], "state") == "backoff"


def test_a_ledger_is_at_least_as_new_as_the_version_of_the_link_that_it_carries(fleet, monkeypatch):
    link_up(fleet.viewer, noted_at=NOW)
    read = timeline.gaps

    def read_while_the_link_has_news(user, since):
        rows = read(user, since)
        Link.objects.update(noted_at=NOW + 1)
        return rows

    monkeypatch.setattr(timeline, "gaps", read_while_the_link_has_news)
    shown = html(fleet.viewer, "/connection/")
    assert f'data-link-part="gaps" data-noted="{NOW}"' in shown
    assert f'data-link-part="worker" data-noted="{NOW}"' in shown


def test_hostile_names_are_text(fleet):
    Field.objects.filter(name="name").update(value='"<script>alert(1)</script>"')
    for address in [*PAGES, DEVICE]:
        assert "<script>alert" not in html(fleet.viewer, address)


# ── What the pages say ──────────────────────────────────────────────────────────────────────────────────────


def test_the_overview_counts(fleet):
    shown = html(fleet.owner, "/")
    assert '<span class="counter-value" data-count="devices">2</span>' in shown
    assert '<span class="counter-value" data-count="online">1</span>' in shown
    assert '<span class="counter-value" data-count="offline">1</span>' in shown


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("?q=LOBBY", ["Lobby camera 1"]),
        ("?status=offline", ["Garage camera 2"]),
        ("?site=site-a", ["Lobby camera 1"]),
        ("?q=nothing", []),
        ("?status=invented&site=nowhere&sort=random", ["Garage camera 2", "Lobby camera 1"]),
        ("?sort=site", ["Lobby camera 1", "Garage camera 2"]),
    ],
)
def test_devices_are_filtered_by_the_address_alone(fleet, query, names):
    rows = html(fleet.owner, f"/devices/{query}").split("<tbody", 1)[-1].split("</tbody>", 1)[0]
    shown = sorted((rows.find(name), name) for name in ("Lobby camera 1", "Garage camera 2") if name in rows)
    assert [name for _, name in shown] == names


def test_a_search_without_result_says_what_to_do(fleet):
    shown = html(fleet.viewer, "/devices/?q=nothing")
    assert "No device matches" in shown
    assert "Show all devices" in shown


def test_somebody_without_devices_is_told_why(people):
    assert "No devices yet" in html(people.viewer, "/devices/")


def test_a_device_page_draws_gaps_into_the_timeline(fleet):
    link = link_up(fleet.viewer)
    key = "device/org-aurora/cam-1"
    Change.objects.create(key=key, name="online", value="true", time=NOW, recorded_at=NOW, source="events")
    Gap.objects.create(link=link, cause="socket-closed", started_at=NOW + 10, outcome="repaired", closed_at=NOW + 20)
    shown = html(fleet.viewer, DEVICE)
    assert "Gap: Socket closed" in shown
    assert shown.index("Gap: Socket closed") < shown.index("over events")


def test_the_organisation_page_shows_settings_and_colleagues(fleet):
    shown = html(fleet.viewer, "/organization/")
    assert "Aurora Logistics" in shown
    assert "<b>Detection</b> <ul><li><b>People</b> Yes</li></ul>" in shown
    assert "Oskar" in shown


@pytest.mark.parametrize(
    ("state", "label"), [("open", "Current"), ("backoff", "Upstream down"), ("suspended", "Nobody was watching")]
)
def test_every_row_says_whether_it_is_current(fleet, state, label, monkeypatch):
    monkeypatch.setattr("dashboard.views.now_us", lambda: NOW)
    link_up(fleet.viewer, state=state)
    rows = html(fleet.viewer, "/devices/").split("<tbody", 1)[1]
    assert f">{label}</span>" in rows


def test_without_a_script_a_page_says_that_it_is_not_live(fleet):
    assert "isn't live, because JavaScript is off" in html(fleet.viewer, "/")


@pytest.mark.parametrize("address", PAGES)
def test_the_number_of_queries_does_not_grow_with_the_fleet(people, address, django_assert_max_num_queries):
    for n in range(1000):
        show(f"device/org-aurora/cam-{n}", [], name=f"Camera {n}", siteId=f"site-{n % 9}", online=n % 7 != 0)
    Visibility.objects.bulk_create(
        Visibility(user=people.owner, key=f"device/org-aurora/cam-{n}", org_id="org-aurora", granted_at=NOW)
        for n in range(1000)
    )
    client = signed_in(people.owner)
    client.get(address)  # makes the topics' rows
    with django_assert_max_num_queries(14):
        assert client.get(address).status_code == 200


SWITCH = "/organization/active/"


@pytest.mark.feature("S4.5")
@pytest.mark.parametrize("address", PAGES)
def test_pages_show_the_active_organisation_and_name_the_other_in_the_switcher_alone(manager, address):
    before = html(manager, address)
    assert "Quay camera" not in before
    assert before.count("Borealis Retail") == 1
    assert signed_in(manager).post(SWITCH, {"organization": "org-borealis"}).status_code == 302
    after = html(manager, address)
    assert "Lobby camera" not in after
    assert after.count("Aurora Logistics") == 1


@pytest.mark.feature("S4.5")
def test_who_belongs_to_one_organisation_has_no_switcher(fleet):
    assert SWITCH not in html(fleet.owner, "/")


@pytest.mark.feature("S4.5")
@pytest.mark.parametrize("org_id", ["org-borealis", "org-nowhere", ""])
def test_anothers_organisation_does_not_exist_for_a_switch(fleet, org_id):
    assert signed_in(fleet.owner).post(SWITCH, {"organization": org_id}).status_code == 404
    assert User.objects.get(pk=fleet.owner.pk).organization == ""


@pytest.mark.feature("S4.5")
def test_a_switch_is_a_post_of_somebody_signed_in_with_a_token_against_forgery(manager):
    assert signed_in(manager).get(SWITCH).status_code == 405
    assert Client().post(SWITCH, {"organization": "org-borealis"})["Location"].startswith("/accounts/login/")
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(manager, backend="django.contrib.auth.backends.ModelBackend")
    assert strict.post(SWITCH, {"organization": "org-borealis"}).status_code == 403
    assert User.objects.get(pk=manager.pk).organization == ""


@pytest.mark.feature("S4.5")
@pytest.mark.parametrize(
    ("back", "goes"),
    [("/archives/", "/archives/"), ("https://evil.example/", "/"), ("//evil.example", "/"), ("", "/")],
)
def test_after_a_switch_one_is_on_a_page_of_ours(manager, back, goes):
    answer = signed_in(manager).post(SWITCH, {"organization": "org-borealis", "next": back})
    assert (answer.status_code, answer["Location"]) == (302, goes)


@pytest.mark.feature("S4.5")
def test_a_short_address_means_the_active_organisations_device(manager):
    assert "Lobby camera 1" in html(manager, "/devices/cam-1/")
    signed_in(manager).post(SWITCH, {"organization": "org-borealis"})
    assert "Quay camera" in html(manager, "/devices/cam-1/")


@pytest.mark.feature("S4.5")
@pytest.mark.parametrize("address", ["/devices/org-aurora/cam-2/", "/devices/cam-2/"])
def test_a_device_that_is_put_aside_offers_to_switch_to_its_organisation(manager, address):
    signed_in(manager).post(SWITCH, {"organization": "org-borealis"})
    shown = html(manager, address)
    assert "This device belongs to Aurora Logistics" in shown
    assert "Garage camera 2" not in shown
    assert 'name="organization" value="org-aurora"' in shown
