"""A switch is one transaction: the choice, an entry, the feed's floor and the wish to the link."""

import msgspec
import pytest

from dashboard import access, switching
from dashboard.models import Membership, User
from dashboard.product import recorder
from realtime import feed
from realtime.events import Recording
from realtime.models import FeedEntry, Link, Topic
from tests.dashboard.conftest import NOW, link_up

pytestmark = pytest.mark.feature("S4.5")


def topic(user):
    return Topic.objects.get(name=f"user.{user.pk}")


def choices(user):
    return switching.choices(user, access.organizations(user.pk))


def test_all_tabs_are_told_and_none_may_go_on_from_before(manager):
    switching.switch(manager, "org-borealis")
    row = topic(manager)
    assert (row.head, row.floor, row.access_version) == (1, 1, 1)
    entry = msgspec.json.decode(FeedEntry.objects.get(topic=row).body)
    assert (entry["key"], entry["event"]) == ("view/self", "view/changed")
    assert {name: field[0] for name, field in entry["fields"].items()} == {
        "organization": "org-borealis",
        "aside": ["org-aurora"],
    }


def test_the_link_is_asked_to_subscribe_anew(manager):
    link = link_up(manager)
    switching.switch(manager, "org-borealis")
    link.refresh_from_db()
    assert (link.switch_wanted, link.desired_revision) == (1, 1)
    assert recorder.organizations(manager.pk) == ["org-borealis"]


def test_to_choose_what_is_active_changes_nothing(manager):
    link_up(manager)
    switching.switch(manager, "org-aurora")
    assert not FeedEntry.objects.exists()
    assert Link.objects.get(user=manager).desired_revision == 0


def test_a_switch_there_and_back_has_a_later_version_each_time(manager):
    versions = []
    for org_id in ("org-borealis", "org-aurora", "org-borealis"):
        switching.switch(manager, org_id)
        versions.append(switching.view(access.organizations(manager.pk)).fields["organization"].time)
    assert versions == sorted(set(versions))


def test_nothing_of_it_stays_when_the_feed_cannot_be_written(manager, monkeypatch):
    def full(drafts, now):
        raise OSError("disk full")

    monkeypatch.setattr(switching.feed, "append", full)
    with pytest.raises(OSError, match="disk full"):
        switching.switch(manager, "org-borealis")
    assert User.objects.get(pk=manager.pk).organization == ""


def test_choices_are_ones_own_organisations_by_name(manager):
    assert choices(manager) == [
        ("org-aurora", "Aurora Logistics", True),
        ("org-borealis", "Borealis Retail", False),
    ]


def test_an_organisation_whose_name_is_not_known_goes_by_its_id(manager):
    Membership.objects.create(user=manager, org_id="org-new")
    assert choices(manager)[-1] == ("org-new", "org-new", False)


def test_who_has_no_choice_is_offered_none(fleet):
    assert choices(fleet.owner) == []


def test_a_person_who_belongs_nowhere_has_no_news_to_hear(fleet):
    Membership.objects.filter(user=fleet.viewer).update(ended_at=1)
    assert recorder.organizations(fleet.viewer.pk) == []
    assert access.organizations(fleet.viewer.pk).active == ""


def told(user):
    """What the newest entry says that `user` looks at; nothing without an entry."""
    entry = FeedEntry.objects.filter(topic_id=f"user.{user.pk}", key="view/self").order_by("offset").last()
    return entry and {name: field[0] for name, field in msgspec.json.decode(entry.body)["fields"].items()}


def change_memberships(user, joins=(), leaves=()):
    """Let the memberships change as the recorder does, and tell of it."""
    before = {user.pk: access.organizations(user.pk)}
    for org_id in joins:
        Membership.objects.update_or_create(user=user, org_id=org_id, defaults={"ended_at": None})
    Membership.objects.filter(user=user, org_id__in=leaves).update(ended_at=NOW)
    recording = Recording()
    switching.follow_memberships(before, NOW, recording)
    feed.append(recording.drafts, NOW)
    return recording


def test_who_joins_another_organisation_goes_on_looking_at_the_same(fleet):
    """Whatever its id: Aurora comes before Borealis."""
    recording = change_memberships(fleet.rival, joins=["org-aurora"])
    assert told(fleet.rival) == {"organization": "org-borealis", "aside": ["org-aurora"]}
    assert recording.narrowed == {fleet.rival.pk}


def test_who_switches_while_the_memberships_change_looks_at_what_was_chosen(manager):
    before = {manager.pk: access.organizations(manager.pk)}
    switching.switch(manager, "org-borealis")
    chosen = access.organizations(manager.pk).since
    Membership.objects.create(user=manager, org_id="org-corona")
    recording = Recording()
    switching.follow_memberships(before, NOW, recording)
    feed.append(recording.drafts, NOW)
    assert told(manager) == {"organization": "org-borealis", "aside": ["org-aurora", "org-corona"]}
    assert access.organizations(manager.pk).since > chosen


def test_whose_active_organisation_ends_looks_at_the_next(manager):
    recording = change_memberships(manager, leaves=["org-aurora"])
    assert told(manager) == {"organization": None, "aside": []}
    assert access.organizations(manager.pk).active == "org-borealis"
    assert recording.narrowed == {manager.pk}


def test_who_had_no_choice_and_has_none_now_is_told_nothing(fleet):
    for user, joins, leaves in ((fleet.operator, ["org-aurora"], []), (fleet.viewer, [], ["org-aurora"])):
        recording = change_memberships(user, joins, leaves)
        assert (told(user), recording.narrowed) == (None, set())


def test_memberships_that_stay_are_no_news(manager):
    assert change_memberships(manager).drafts == []
    assert told(manager) is None


def test_each_change_of_the_memberships_has_a_later_version(manager):
    versions = []
    for joins, leaves in (((), ("org-aurora",)), (("org-aurora",), ()), ((), ("org-borealis",))):
        change_memberships(manager, joins, leaves)
        versions.append(access.organizations(manager.pk).since)
    assert versions == sorted(set(versions))


def test_a_choice_that_ends_with_all_memberships_has_a_later_version_too(manager):
    change_memberships(manager, leaves=["org-aurora", "org-borealis"])
    assert told(manager) == {"organization": None, "aside": []}
    assert access.organizations(manager.pk) == access.Organizations(since=NOW)
