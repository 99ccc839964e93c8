"""A switch is one transaction: the choice, an entry, the feed's floor and the wish to the link."""

import msgspec
import pytest

from dashboard import access, switching
from dashboard.models import Membership, User
from dashboard.product import recorder
from realtime.models import FeedEntry, Link, Topic
from tests.dashboard.conftest import link_up

pytestmark = pytest.mark.feature("S4.5")


def topic(user):
    return Topic.objects.get(name=f"user.{user.pk}")


def test_all_tabs_are_told_and_none_may_go_on_from_before(manager):
    switching.switch(manager, "org-borealis")
    row = topic(manager)
    assert (row.head, row.floor, row.access_version) == (1, 1, 1)
    entry = msgspec.json.decode(FeedEntry.objects.get(topic=row).body)
    assert (entry["key"], entry["event"]) == ("view/self", "organization/switched")
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
        versions.append(switching.view(manager).fields["organization"].time)
    assert versions == sorted(set(versions))


def test_nothing_of_it_stays_when_the_feed_cannot_be_written(manager, monkeypatch):
    def full(drafts, now):
        raise OSError("disk full")

    monkeypatch.setattr(switching.feed, "append", full)
    with pytest.raises(OSError, match="disk full"):
        switching.switch(manager, "org-borealis")
    assert User.objects.get(pk=manager.pk).organization == ""


def test_choices_are_ones_own_organisations_by_name(manager):
    assert switching.choices(manager) == [
        ("org-aurora", "Aurora Logistics", True),
        ("org-borealis", "Borealis Retail", False),
    ]


def test_an_organisation_whose_name_is_not_known_goes_by_its_id(manager):
    Membership.objects.create(user=manager, org_id="org-new")
    assert switching.choices(manager)[-1] == ("org-new", "org-new", False)


def test_who_has_no_choice_is_offered_none(fleet):
    assert switching.choices(fleet.owner) == []


def test_a_person_who_belongs_nowhere_has_no_news_to_hear(fleet):
    Membership.objects.filter(user=fleet.viewer).update(ended_at=1)
    assert recorder.organizations(fleet.viewer.pk) == []
    assert access.organizations(fleet.viewer.pk).active == ""
