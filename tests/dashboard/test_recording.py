"""What copies and snapshots become: fields, timelines, entries; and what does not decide."""

from datetime import UTC, datetime

import msgspec
import pytest
from msgspec.structs import replace

from dashboard import access
from dashboard.models import Change, Field, Membership, Refused, User
from dashboard.recording import FieldRecorder
from realtime.decoding import decode, fact_of
from realtime.feeds import FEEDS
from realtime.snapshot import Snapshot
from tests.dashboard.conftest import NOW, show

pytestmark = [pytest.mark.django_db, pytest.mark.feature("S4.11")]

SECOND = 1_000_000
LATER = NOW + 10 * SECOND
CAM = "device/org-aurora/cam-1"
RECORDER = FieldRecorder(asks=True)


def stamp(at):
    return datetime.fromtimestamp(at / SECOND, UTC).isoformat()


def copy(user, feed, at=LATER, received=None, **payload):
    """One copy on a user's own channel; ``at`` none leaves the source time out."""
    if at is not None:
        payload["timestamp"] = stamp(at)
    event = decode(feed, msgspec.json.encode(payload).decode())
    return fact_of(feed, event).heard(user_id=user.pk, received=received or at or LATER, source="events")


def presence(user, online, at=LATER, device="cam-1", **about):
    return copy(user, "device/presenceChanged", at, orgId="org-aurora", deviceId=device, online=online, **about)


def role(user, word, at=LATER, of=None, org="org-aurora"):
    return copy(user, "roleChanged", at, orgId=org, userId=of or user.subject, role=word)


def snapshot(user, at=LATER, organizations=(), devices=(), archives=()):
    body = {
        "asOf": stamp(at),
        "user": {"userId": user.subject},
        "organizations": organizations,
        "devices": devices,
        "archives": archives,
    }
    return msgspec.convert(body, Snapshot)


AURORA = {"orgId": "org-aurora", "role": "Viewer"}


def device(number, **fields):
    return {"orgId": "org-aurora", "deviceId": f"cam-{number}", **fields}


def value(key, name):
    return msgspec.json.decode(Field.objects.get(key=key, name=name).value)


def facts(draft):
    return {name: msgspec.json.decode(text) for name, text, _, _ in draft.news.fields}


# ── Copies ───────────────────────────────────────────────────────────────────────────────────────────────────

PAYLOADS = {
    "device/presenceChanged": ({"deviceId": "cam-1", "online": False}, {"online": False}),
    "device/recordingStateChanged": ({"deviceId": "cam-1", "recording": "paused"}, {"recording": "paused"}),
    "device/firmwareUpdated": (
        {"deviceId": "cam-1", "fwUpdateState": "Failed", "progress": 40},
        {"fwUpdateState": "Failed", "fwProgress": 40},
    ),
    "archive/stateChanged": ({"archiveId": "clip-1", "state": "Ready", "deviceId": "cam-1"}, {"state": "Ready"}),
    "organization/licensePhaseChanged": ({"licensePhase": "NoticePeriod"}, {"licensePhase": "NoticePeriod"}),
    "organization/planChanged": ({"isFreePlan": True}, {"isFreePlan": True}),
    "organization/aiSettingsChanged": (
        {"AIControlSetting": {"b": 1, "a": [2]}},
        {"AIControlSetting": {"a": [2], "b": 1}},
    ),
    "roleChanged": ({"userId": "sub-viewer", "role": "Admin"}, {"role": "Admin"}),
    "tokenRevoked": ({"userId": "sub-viewer", "reason": "left"}, {"tokenRevoked": "left"}),
}


@pytest.mark.parametrize("feed", [feed.name for feed in FEEDS])
def test_each_event_becomes_fields_and_an_entry_of_its_user(fleet, feed):
    payload, expected = PAYLOADS[feed]
    recorded = copy(fleet.viewer, feed, orgId="org-aurora", **payload)
    (draft, *_) = RECORDER.record([recorded], LATER).drafts
    assert draft.topic == f"user.{fleet.viewer.pk}"
    assert facts(draft).items() >= expected.items()
    assert {name: value(draft.news.key, name) for name in expected} == expected


def test_each_copy_has_an_entry_although_the_fact_is_recorded_once(fleet):
    recording = RECORDER.record([presence(fleet.viewer, False), presence(fleet.owner, False)], LATER)
    assert [draft.topic for draft in recording.drafts] == [f"user.{fleet.viewer.pk}", f"user.{fleet.owner.pk}"]
    assert recording.changed == 1
    assert Change.objects.filter(key=CAM, name="online").count() == 1


def shared(one, *people):
    """One event as it came to these people: their copies share its fact, as those of a batch do."""
    return [replace(one, user_id=user.pk) for user in people]


def test_what_an_event_came_to_is_told_to_all_its_hearers_until_the_entity_changes_again(fleet):
    off, on = presence(fleet.viewer, False, LATER), presence(fleet.viewer, True, LATER + 1)
    batch = [*shared(off, fleet.viewer, fleet.owner), on, *shared(off, fleet.operator)]
    first, second, _, last = RECORDER.record(batch, LATER + 1).drafts
    assert first.news is second.news and facts(first) == {"online": False}
    assert facts(last) == {"online": True}
    assert (Change.objects.filter(key=CAM, name="online").count(), Refused.objects.count()) == (2, 0)


def test_each_hearer_of_a_doubtful_event_asks_the_snapshot(fleet):
    Field.objects.filter(key=CAM, name="online").update(sourced=False, time=LATER + SECOND)
    recording = RECORDER.record(shared(presence(fleet.viewer, False), fleet.viewer, fleet.owner), LATER)
    assert recording.doubtful == {fleet.viewer.pk, fleet.owner.pk}


def test_of_an_event_without_a_time_each_copy_counts_from_its_own_receipt(fleet):
    off = presence(fleet.viewer, False, None, received=LATER)
    batch = [off, presence(fleet.viewer, True, None, received=LATER + 1), replace(off, received=LATER + 2)]
    drafts = FieldRecorder(asks=False).record(batch, LATER + 2).drafts
    assert [facts(draft)["online"] for draft in drafts] == [False, True, False]


def test_a_late_copy_changes_nothing_and_its_entry_tells_what_holds(fleet):
    RECORDER.record([presence(fleet.viewer, False, LATER)], LATER)
    recording = RECORDER.record([presence(fleet.owner, True, LATER - SECOND)], LATER)
    assert value(CAM, "online") is False
    assert facts(recording.drafts[0]) == {"online": False}
    assert Refused.objects.get(key=CAM).reason == Refused.Reason.OLDER


def test_a_colleagues_late_copy_of_an_accepted_fact_is_not_kept_as_refused(fleet):
    RECORDER.record([presence(fleet.viewer, False, LATER)], LATER)
    RECORDER.record([presence(fleet.viewer, True, LATER + 1)], LATER + 2)
    RECORDER.record([presence(fleet.owner, False, LATER)], LATER + 3)
    assert not Refused.objects.exists()


def test_two_values_of_one_moment_end_alike_in_either_order(fleet):
    one, other = presence(fleet.viewer, False), presence(fleet.owner, True)
    RECORDER.record([one], LATER)
    RECORDER.record([other], LATER)
    first = value(CAM, "online")
    Field.objects.filter(key=CAM, name="online").update(time=NOW, tie=0)
    RECORDER.record([other, one], LATER)
    assert value(CAM, "online") == first
    assert Refused.objects.filter(reason=Refused.Reason.TIED).exists()


def test_a_copy_from_far_in_the_future_is_kept_apart_and_the_snapshot_asked(fleet):
    recording = RECORDER.record([presence(fleet.viewer, False, LATER + 6 * 60 * SECOND)], LATER)
    assert value(CAM, "online") is True
    assert Refused.objects.get().reason == Refused.Reason.FUTURE
    assert recording.doubtful == {fleet.viewer.pk}
    assert facts(recording.drafts[0]) == {}


def test_a_role_from_the_future_does_not_lock_the_membership(fleet):
    RECORDER.record([role(fleet.viewer, None, LATER + 6 * 60 * SECOND)], LATER)
    assert access.may_see(fleet.viewer, CAM)
    RECORDER.record([role(fleet.viewer, "Admin", LATER)], LATER)
    assert Membership.objects.get(user=fleet.viewer).role == "Admin"


def test_a_copy_without_time_that_contradicts_asks_the_snapshot_and_decides_nothing(fleet):
    recording = RECORDER.record([presence(fleet.viewer, False, None)], LATER)
    assert value(CAM, "online") is True
    assert recording.doubtful == {fleet.viewer.pk}
    assert facts(recording.drafts[0]) == {"online": True}


def test_a_copy_without_time_that_agrees_confirms_and_does_not_stand_in_the_way_of_later_facts(fleet):
    recording = RECORDER.record([presence(fleet.viewer, True, None, received=LATER + SECOND)], LATER + SECOND)
    assert recording.doubtful == set()
    assert Field.objects.get(key=CAM, name="online").confirmed_at == LATER + SECOND
    RECORDER.record([presence(fleet.viewer, False, LATER)], LATER + SECOND)
    assert value(CAM, "online") is False


def test_a_value_of_unknown_time_is_settled_by_a_snapshot_of_an_earlier_clock(fleet):
    unheard = copy(
        fleet.viewer, "device/recordingStateChanged", None, LATER, orgId="org-aurora", deviceId="cam-2", recording=True
    )
    Field.objects.filter(key="device/org-aurora/cam-2").delete()
    RECORDER.record([unheard], LATER)
    told = snapshot(fleet.viewer, NOW + SECOND, [AURORA], [device(2, recording=False)])
    RECORDER.reconcile(fleet.viewer.pk, told, LATER, LATER)
    assert value("device/org-aurora/cam-2", "recording") is False


def test_without_snapshots_a_copy_without_time_counts_from_its_receipt(fleet):
    FieldRecorder(asks=False).record([presence(fleet.viewer, False, None)], LATER)
    assert value(CAM, "online") is False
    assert Field.objects.get(key=CAM, name="online").sourced is False


def test_an_entity_heard_of_for_the_first_time_comes_with_all_that_is_known_of_it(fleet):
    recording = RECORDER.record([presence(fleet.viewer, True, device="cam-2")], LATER)
    assert facts(recording.drafts[0]) == {"name": "Garage camera 2", "siteId": "site-b", "online": True}
    assert recording.doubtful == {fleet.viewer.pk}
    assert access.may_see(fleet.viewer, "device/org-aurora/cam-2")


# ── Standing ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_ended_membership_takes_its_entities_out_of_the_view_at_once(fleet):
    recording = RECORDER.record([role(fleet.viewer, None)], LATER)
    gone = {draft.news.key for draft in recording.drafts if draft.news.gone}
    assert gone == {CAM, "organization/org-aurora", "archive/org-aurora/clip-1"}
    assert recording.narrowed == {fleet.viewer.pk}
    assert not access.may_see(fleet.viewer, CAM)


def test_who_belongs_nowhere_any_more_is_signed_out(fleet):
    RECORDER.record([role(fleet.viewer, None)], LATER)
    assert User.objects.get(pk=fleet.viewer.pk).session_epoch == fleet.viewer.session_epoch + 1


def test_what_comes_after_the_end_of_a_membership_is_withheld_even_in_the_same_batch(fleet):
    batch = [role(fleet.viewer, None), presence(fleet.viewer, False, LATER + 1)]
    last = RECORDER.record(batch, LATER).drafts[-1]
    assert (last.news.key, facts(last)) == ("withheld", {})
    assert not access.may_see(fleet.viewer, CAM)


def test_a_return_to_the_organization_shows_what_is_news_since(fleet):
    RECORDER.record([role(fleet.viewer, None, LATER), role(fleet.viewer, "Owner", LATER + 5)], LATER)
    RECORDER.record([presence(fleet.viewer, False, LATER - 1)], LATER)
    assert not access.may_see(fleet.viewer, CAM)
    recording = RECORDER.record([presence(fleet.viewer, False, LATER + 6)], LATER)
    assert access.may_see(fleet.viewer, CAM)
    assert facts(recording.drafts[0]).keys() >= {"name", "model", "online"}


def test_a_changed_role_asks_the_snapshot_what_it_shows(fleet):
    assert RECORDER.record([role(fleet.viewer, "Owner")], LATER).doubtful == {fleet.viewer.pk}


def test_a_revoked_token_ends_the_sign_in_sessions_of_its_user_alone(fleet):
    before = dict(User.objects.values_list("username", "session_epoch"))
    revoked = copy(fleet.viewer, "tokenRevoked", userId="sub-viewer")
    recording = RECORDER.record([revoked], LATER)
    assert recording.narrowed == recording.revoked == {fleet.viewer.pk}
    after = dict(User.objects.values_list("username", "session_epoch"))
    assert {name for name in after if after[name] != before[name]} == {"viewer"}


def test_a_colleagues_revoked_token_that_a_subscription_to_the_organization_tells_of_signs_nobody_out(fleet):
    before = dict(User.objects.values_list("username", "session_epoch"))
    told = [
        replace(copy(user, "tokenRevoked", userId="sub-viewer"), source="graphql")
        for user in (fleet.owner, fleet.viewer)
    ]
    recording = RECORDER.record(told, LATER)
    assert recording.narrowed == recording.revoked == {fleet.viewer.pk}
    assert {draft.topic for draft in recording.drafts} == {f"user.{fleet.viewer.pk}"}
    after = dict(User.objects.values_list("username", "session_epoch"))
    assert {name for name in after if after[name] != before[name]} == {"viewer"}


# ── Snapshots ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_snapshot_that_agrees_makes_no_entry(fleet):
    told = snapshot(fleet.viewer, LATER, [AURORA], [device(1, online=True)])
    recording = RECORDER.reconcile(fleet.viewer.pk, told, LATER, LATER)
    assert [draft.news.key for draft in recording.drafts if not draft.news.gone] == []
    assert not Refused.objects.exists()


def test_what_a_snapshot_changed_is_told_to_everybody_who_sees_it(fleet):
    told = snapshot(fleet.viewer, LATER, [AURORA], [device(1, name="Front door")])
    drafts = RECORDER.reconcile(fleet.viewer.pk, told, LATER, LATER).drafts
    named = {draft.topic for draft in drafts if draft.news.key == CAM and facts(draft) == {"name": "Front door"}}
    assert named == {f"user.{person.pk}" for person in (fleet.viewer, fleet.owner, fleet.operator)}


def test_a_backfill_brings_what_another_members_link_recorded_since(fleet):
    RECORDER.record([presence(fleet.owner, False)], LATER)
    told = snapshot(fleet.viewer, LATER + SECOND, [AURORA], [device(1, online=False)])
    recording = RECORDER.reconcile(fleet.viewer.pk, told, LATER, LATER + SECOND)
    assert {"online": False} in [facts(draft) for draft in recording.drafts if draft.news.key == CAM]


def test_a_device_that_is_new_to_the_user_comes_whole_and_one_that_went_is_gone(fleet):
    told = snapshot(fleet.viewer, LATER, [AURORA], [device(2, name="Garage camera 2")])
    drafts = {draft.news.key: draft for draft in RECORDER.reconcile(fleet.viewer.pk, told, LATER, LATER).drafts}
    assert facts(drafts["device/org-aurora/cam-2"]).keys() == {"name", "siteId", "online"}
    assert drafts[CAM].news.gone
    assert not access.may_see(fleet.viewer, CAM)


def test_a_snapshot_from_before_the_end_of_a_membership_brings_nothing_back(fleet):
    told = snapshot(fleet.viewer, LATER - SECOND, [AURORA], [device(7, name="Attic")])
    RECORDER.record([role(fleet.viewer, None, LATER)], LATER)
    recording = RECORDER.reconcile(fleet.viewer.pk, told, NOW, LATER)
    assert not access.may_see(fleet.viewer, "device/org-aurora/cam-7")
    assert "device/org-aurora/cam-7" not in {
        draft.news.key for draft in recording.drafts if draft.topic.endswith(f".{fleet.viewer.pk}")
    }


def test_a_snapshot_of_a_clock_far_ahead_counts_as_of_now(fleet):
    told = snapshot(fleet.viewer, LATER + 3600 * SECOND, [AURORA], [device(1, online=False)])
    RECORDER.reconcile(fleet.viewer.pk, told, LATER, LATER)
    assert Field.objects.get(key=CAM, name="online").time == LATER


@pytest.mark.feature("S4.8")
@pytest.mark.parametrize(("asked", "expected"), [(LATER - SECOND, False), (LATER + SECOND, True)])
def test_an_event_without_a_time_stays_if_it_came_after_the_snapshot_was_asked_for(fleet, asked, expected):
    wide = replace(presence(fleet.viewer, False, None, received=LATER), source="graphql")
    RECORDER.record([wide], LATER)
    told = snapshot(fleet.viewer, LATER - 2 * SECOND, [AURORA], [device(1, online=True)])
    RECORDER.reconcile(fleet.viewer.pk, replace(told, asked=asked), LATER, LATER)
    assert value(CAM, "online") is expected


def test_an_event_younger_than_the_snapshot_stays(fleet):
    RECORDER.record([presence(fleet.viewer, False, LATER)], LATER)
    told = snapshot(fleet.viewer, LATER - SECOND, [AURORA], [device(1, online=True)])
    RECORDER.reconcile(fleet.viewer.pk, told, LATER, LATER)
    assert value(CAM, "online") is False


def test_nobody_elses_entity_is_in_an_entry(fleet):
    show("device/org-borealis/cam-2", [fleet.rival], name="Pier")
    told = snapshot(fleet.viewer, LATER, [AURORA], [device(1, name="Front door")])
    drafts = RECORDER.reconcile(fleet.viewer.pk, told, NOW - SECOND, LATER).drafts
    assert f"user.{fleet.rival.pk}" not in {draft.topic for draft in drafts}
    assert not [draft.news.key for draft in drafts if "borealis" in draft.news.key]
