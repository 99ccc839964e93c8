"""The operators' pages: who may open them, what they show, what is asked of a link, and who is noted for it."""

import re

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission

from dashboard import diagnostics
from dashboard.models import User
from realtime import dualrun
from realtime.clock import now_us
from realtime.comparing import Results, Sample, Tally
from realtime.dualrun import Findings
from realtime.linkbook import LinkBook
from realtime.models import Gap, Lease, Link, Transition, UndecodablePayload, Worker
from tests.dashboard.conftest import NOW, link_up, signed_in

LINKS = "/admin/realtime/link/"
RECORDS = ["link", "gap", "worker", "undecodablepayload", "drift", "topic", "switch"]


@pytest.fixture
def link(people):
    link = link_up(
        people.viewer,
        state="backoff",
        reason="token refused",
        subscriptions=[
            {"channel": "/vortex-app/user/sub-viewer/roleChanged", "state": "live", "connection": 1},
            {
                "channel": "/vortex-app/user/sub-viewer/tokenRevoked",
                "state": "refused",
                "error": "Unauthorized",
                "connection": 2,
            },
        ],
    )
    Transition.objects.create(link=link, at=NOW, state="connecting", reason="sign-in")
    Gap.objects.create(link=link, cause="never-connected", started_at=NOW)
    return link


def page(user, address):
    response = signed_in(user).get(address)
    assert response.status_code == 200
    return response.content.decode()


def operate(user, link, wish):
    return signed_in(user).post(f"{LINKS}{link.pk}/operate/", {"wish": wish})


@pytest.mark.parametrize("record", RECORDS)
def test_operators_may_look_at_every_record(people, record):
    assert page(people.operator, f"/admin/realtime/{record}/")


@pytest.mark.parametrize("who", ["viewer", "owner", "rival"])
@pytest.mark.parametrize("record", RECORDS)
def test_nobody_else_may(people, who, record):
    response = signed_in(getattr(people, who)).get(f"/admin/realtime/{record}/", follow=True)
    assert response.status_code == 403


@pytest.mark.parametrize("record", RECORDS)
def test_no_record_can_be_made_changed_or_deleted_by_hand(people, link, record):
    client = signed_in(people.operator)
    assert client.get(f"/admin/realtime/{record}/add/").status_code == 403
    assert client.post(f"{LINKS}{link.pk}/change/", {"state": "open"}).status_code == 403
    assert client.post(f"{LINKS}{link.pk}/delete/", {"post": "yes"}).status_code == 403


@pytest.mark.feature("S2.13")
def test_a_links_page_shows_its_state_transitions_and_gaps(people, link):
    shown = page(people.operator, f"{LINKS}{link.pk}/change/")
    assert 'class="node lit"' in shown
    assert "token refused" in shown
    assert "sign-in" in shown
    assert "never-connected" in shown


@pytest.mark.feature("S0.3")
def test_a_links_page_shows_its_subscriptions_one_by_one(people, link):
    Link.objects.update(state="open")
    shown = page(people.operator, f"{LINKS}{link.pk}/change/")
    assert "Subscriptions: 1 of 2 live, on 2 connections" in shown
    assert "/vortex-app/user/sub-viewer/tokenRevoked" in shown
    assert "Unauthorized" in shown


def test_of_a_link_that_is_down_no_subscription_is_live(people, link):
    assert "Subscriptions: 0 of 2 live</h2>" in page(people.operator, f"{LINKS}{link.pk}/change/")
    assert "0 / 2" in page(people.operator, LINKS)


def test_only_the_current_state_is_lit(people, link):
    shown = page(people.operator, f"{LINKS}{link.pk}/change/")
    assert shown.count("node lit") == 1
    assert "lit" in shown.split(">backoff</text>")[0].rsplit("<g ", 1)[1]


@pytest.mark.parametrize(
    ("wish", "desire", "reconnects"), [("reconnect", "auto", 1), ("suspend", "suspended", 0), ("resume", "auto", 0)]
)
def test_a_wish_is_written_down_for_the_worker_and_for_the_audit(people, link, wish, desire, reconnects):
    assert operate(people.operator, link, wish).status_code == 302
    link.refresh_from_db()
    assert (link.desire, link.reconnect_wanted, link.desired_revision) == (desire, reconnects, 1)
    entry = LogEntry.objects.get()
    assert (entry.user, entry.object_id) == (people.operator, str(link.pk))
    assert entry.get_change_message() == f"Asked to {wish}."


def test_what_means_nothing_for_a_link_is_said_and_asked_of_the_others(people, link):
    other = link_up(people.owner)
    answer = signed_in(people.operator).post(
        LINKS, {"action": "rotate", "_selected_action": [link.pk, other.pk]}, follow=True
    )
    shown = answer.content.decode()
    assert "Not asked to rotate: sub-viewer, as the link is backoff: token refused; it has no connection" in shown
    assert "Asked to rotate: sub-owner." in shown
    assert list(Link.objects.filter(rotate_wanted=1)) == [other] and LogEntry.objects.count() == 1


def test_the_list_takes_wishes_for_many_links(people, link):
    other = link_up(people.owner)
    signed_in(people.operator).post(LINKS, {"action": "suspend", "_selected_action": [link.pk, other.pk]})
    assert set(Link.objects.values_list("desire", flat=True)) == {"suspended"}
    assert LogEntry.objects.count() == 2


@pytest.mark.parametrize("wish", ["", "delete", "operate"])
def test_an_unknown_wish_is_refused(people, link, wish):
    assert operate(people.operator, link, wish).status_code == 403
    assert not LogEntry.objects.exists()


def test_an_unknown_link_is_not_found(people, link):
    assert signed_in(people.operator).post(f"{LINKS}999999/operate/", {"wish": "reconnect"}).status_code == 404


def test_staff_who_may_only_look_cannot_operate(people, link):
    onlooker = User.objects.create_user("onlooker", password="x", is_staff=True)
    onlooker.user_permissions.add(Permission.objects.get(codename="view_link"))
    shown = page(onlooker, f"{LINKS}{link.pk}/change/")
    assert 'value="reconnect"' not in shown
    assert "Suspend" not in page(onlooker, LINKS)
    assert operate(onlooker, link, "reconnect").status_code == 403
    signed_in(onlooker).post(LINKS, {"action": "suspend", "_selected_action": [link.pk]})
    link.refresh_from_db()
    assert link.desired_revision == 0


def test_a_wish_needs_a_post(people, link):
    assert signed_in(people.operator).get(f"{LINKS}{link.pk}/operate/").status_code == 405


def test_links_can_be_found_by_state_and_text(people, link):
    link_up(people.owner)
    assert "sub-owner" not in page(people.operator, f"{LINKS}?state=backoff")
    assert "sub-viewer" in page(people.operator, f"{LINKS}?q=refused")


def test_the_list_of_links_is_paged_by_the_server(people, django_assert_max_num_queries):
    users = User.objects.bulk_create(User(username=f"u{n}", subject=f"s{n:04}") for n in range(300))
    Link.objects.bulk_create(Link(user=user, subject=user.subject) for user in users)
    client = signed_in(people.operator)
    with django_assert_max_num_queries(16):
        shown = client.get(LINKS).content.decode()
    assert shown.count('name="_selected_action"') == 50


@pytest.mark.feature("S4.10")
def test_payloads_that_nobody_understood_are_shown_as_text(people, link):
    UndecodablePayload.objects.create(
        link=link, feed="roleChanged", at=NOW, error="missing field", payload="<script>alert(1)</script>"
    )
    payload = UndecodablePayload.objects.get()
    assert "missing field" in page(people.operator, "/admin/realtime/undecodablepayload/")
    shown = page(people.operator, f"/admin/realtime/undecodablepayload/{payload.pk}/change/")
    assert "<script>alert" not in shown
    assert "&lt;script&gt;alert" in shown


def test_the_workers_are_listed_with_what_each_owns_and_whether_it_lives(people, link):
    Worker.objects.update(beat=now_us())
    Worker.objects.create(name="w2", beat=1)
    Worker.objects.create(name="w3", beat=now_us(), stopped=True)
    Lease.objects.bulk_create([Lease(bucket=bucket, owner="w2" if bucket < 9 else "w1") for bucket in range(64)])
    text = re.sub(r"<[^>]+>", " ", page(people.operator, "/admin/realtime/worker/"))
    rows = [" ".join(text.split()).partition(f" {name} ")[2].split()[:3] for name in ("w1", "w2", "w3")]
    assert rows == [["alive", "55", "1"], ["silent", "9", "0"], ["stopped", "0", "0"]]


@pytest.mark.feature("S4.4")
def test_a_workers_service_link_is_shown_beside_it(people, link):
    told = {"state": "backoff", "reason": "HTTP 503 <b>", "links": 0}
    Worker.objects.create(name="w4", beat=now_us(), service_link=told)
    shown = page(people.operator, "/admin/realtime/worker/")
    assert "backoff, 0 links: HTTP 503 &lt;b&gt;" in shown


def test_the_summary_names_the_silent_worker(people, link):
    Worker.objects.create(name="w2", beat=NOW - 60_000_000)
    summary = diagnostics.summary(NOW)
    assert (summary.workers_alive, summary.workers_silent) == (1, ["w2"])
    assert (summary.links, summary.states, summary.open_gaps) == (1, [("backoff", 1)], 1)


@pytest.mark.feature("S3.12")
def test_the_first_page_shows_the_engine_at_a_glance(people, link):
    shown = page(people.operator, "/admin/")
    assert "1 backoff" in shown
    assert "open gaps" in shown


@pytest.mark.feature("B6")
def test_a_link_that_was_never_compared_says_how_to(people, link):
    assert "manage.py dualrun start sub-viewer" in page(people.operator, f"{LINKS}{link.pk}/change/")


@pytest.mark.feature("B6")
def test_a_links_page_shows_how_both_dialects_compare(people, link):
    dualrun.start([link.pk], 30.0)
    tally = Tally(matched=1234, alone={"events": 1, "graphql": 0})
    results = Results(
        {"roleChanged": tally}, samples=[Sample("alone", "events", "roleChanged", NOW, "member/o/u", NOW)]
    )
    sides = {"graphql": {"state": "failed", "reason": "APPSYNC_GRAPHQL_URL is not set", "live": False}}
    Worker.objects.create(name="w7", beat=now_us())
    Link.objects.update(worker="w7")
    since = dualrun.wanted()[link.pk].since
    Findings(link.pk, since, "events", sides, dualrun.stored(results)).apply(NOW, LinkBook())
    shown = page(people.operator, f"{LINKS}{link.pk}/change/")
    assert "Shadow: graphql" in shown
    assert "APPSYNC_GRAPHQL_URL is not set" in shown
    assert "1234" in shown
    assert "missing on graphql" in shown
    assert "member/o/u" in shown
