"""What could not be handed on is remembered with whom it may have concerned, and asked about at the right times."""

import pytest

from realtime.doubts import ASK_AFTER, EVERYBODY, SAMPLES, UNKNOWN, UNREADABLE, Doubts, Sample, Unseen

pytestmark = pytest.mark.feature("S4.4")


def test_what_could_not_be_read_concerned_an_organisation_or_everybody():
    doubts = Doubts(1.0, 1_000_000)
    doubts.unreadable("org", Sample(1_000_000, "no", "{"))
    assert (doubts.organizations, doubts.cause) == ({"org"}, UNREADABLE)
    doubts.unreadable(None, Sample(2_000_000, "no", "["))
    assert doubts.organizations == {"org", EVERYBODY}


def test_only_some_samples_are_kept_the_first_ones():
    doubts = Doubts(1.0, 1_000_000)
    for number in range(SAMPLES + 3):
        doubts.unreadable("org", Sample(number, "no", "{"))
    assert [sample.at for sample in doubts.samples] == list(range(SAMPLES))


def test_an_unknown_entity_concerned_the_members_of_its_organisation():
    doubts = Doubts(1.0, 1_000_000)
    doubts.unknown({1, 2})
    doubts.unknown({3})
    assert (doubts.people, doubts.cause) == ({1, 2, 3}, UNKNOWN)


def test_it_is_asked_at_once_soon_again_and_then_seldom():
    unseen, asked = Unseen(), []
    for second in range(0, 8 * 3600, 30):
        if unseen.is_due("device/org/new", float(second)):
            asked.append(second)
    soon, seldom = round(ASK_AFTER[1]), round(ASK_AFTER[2])
    assert asked == [0, soon, soon + seldom, soon + 2 * seldom]
    assert unseen.is_due("device/org/other", 1.0)
