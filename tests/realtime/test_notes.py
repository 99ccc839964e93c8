"""What a link's life writes, and that its user's page is told of each window that opens and closes."""

import json

import pytest
from django.contrib.auth import get_user_model

from realtime import gaps
from realtime.linkbook import LinkBook, LinkValues
from realtime.models import Gap, Link, Transition, UndecodablePayload
from realtime.notes import LINK_KEY, CloseUnknown, FeedsState, LinkState, Unreadable, link_drafts

pytestmark = [pytest.mark.django_db, pytest.mark.feature("S4.12")]
NOW = 1_790_000_000_000_000


@pytest.fixture
def link():
    user = get_user_model().objects.create_user("viewer", subject="sub-viewer")
    return Link.objects.create(user=user, subject=user.subject, state="open", live=True)


def state(link, word, not_live=None, news=True):
    values = LinkValues(word, reason="why", attempt=2, since=NOW)
    return LinkState(link.pk, link.user_id, "w1", values, 1, "", NOW, not_live, news)


def applied(note, now):
    """Write a note by itself; return the links of which people are to be told."""
    book = LinkBook()
    recording = note.apply(now, book)
    return recording.links | book.write()


def told(links):
    """What the page of the link's user is told, or None."""
    if not links:
        return None
    (draft,) = link_drafts(links, NOW)
    assert draft.news.key == LINK_KEY
    return {name: json.loads(text) for name, text, _, _ in draft.news.fields}


def test_a_loss_opens_a_window_is_a_transition_and_is_told(link):
    news = told(applied(state(link, "backoff", ("lost", NOW - 5)), NOW))
    assert (news["state"], news["reason"], news["gap"]) == ("backoff", "why", {"since": NOW - 5, "cause": "lost"})
    assert Transition.objects.get().state == "backoff"
    assert not Link.objects.get().live


def test_what_is_no_news_is_neither_told_nor_kept_as_a_transition(link):
    applied(state(link, "backoff", ("lost", NOW)), NOW)
    assert told(applied(state(link, "backoff", ("lost", NOW), news=False), NOW + 1)) is None
    assert Transition.objects.count() == 1


def test_a_window_of_one_feed_is_told_when_it_opens_and_only_then(link):
    note = FeedsState(link.pk, link.user_id, [], [("roleChanged", "refused", NOW)])
    assert told(applied(note, NOW))["gap"] == {"since": NOW, "cause": "refused"}
    assert told(applied(note, NOW + 1)) is None


def test_an_unreadable_payload_is_kept_short_and_its_window_is_told(link):
    note = Unreadable(link.pk, link.user_id, "roleChanged", NOW, "no JSON", "\x00" + "x" * 20_000)
    assert told(applied(note, NOW))["gap"]["cause"] == "undecodable payload"
    kept = UndecodablePayload.objects.get()
    assert kept.payload.startswith("\\u0000x") and len(kept.payload) < 8_100
    assert Gap.objects.get().started_at == NOW - gaps.MARGIN


def test_a_window_that_closes_as_unknown_is_told_and_the_link_is_live(link):
    applied(state(link, "backoff", ("lost", NOW)), NOW)
    applied(state(link, "open"), NOW + 1)
    note = CloseUnknown(link.pk, link.user_id, [gaps.WHOLE_LINK], "no provider", NOW)
    assert told(applied(note, NOW + 2))["gap"] is None
    assert Link.objects.get().live
    assert Gap.objects.get().outcome == "unknown"


def test_a_link_that_fell_again_is_not_live_by_a_late_closing(link):
    applied(state(link, "backoff", ("lost", NOW)), NOW)
    applied(CloseUnknown(link.pk, link.user_id, [gaps.WHOLE_LINK], "", NOW), NOW + 2)
    assert not Link.objects.get().live


def test_later_news_has_the_later_version(link):
    applied(state(link, "connecting", ("lost", NOW)), NOW)
    (first,) = link_drafts({link.pk}, NOW)
    applied(state(link, "open"), NOW + 1)
    (second,) = link_drafts({link.pk}, NOW + 1)
    assert min(field[2] for field in second.news.fields) > max(field[2] for field in first.news.fields)
    assert Link.objects.get().noted_at == NOW + 1


def test_what_is_told_of_many_links_is_told_of_each_with_the_window_that_began_first(link):
    other = get_user_model().objects.create_user("owner", subject="sub-owner")
    second = Link.objects.create(user=other, subject=other.subject, state="open", live=True)
    windows = [("", "lost", NOW), ("roleChanged", "refused", NOW - 9), ("tokenRevoked", "refused", NOW - 9)]
    gaps.open_window([(link.pk, feed, cause, at) for feed, cause, at in windows])
    drafts = link_drafts({second.pk, link.pk}, NOW)
    assert [draft.topic for draft in drafts] == [f"user.{link.user_id}", f"user.{other.pk}"]
    assert [told_gap(draft) for draft in drafts] == [{"since": NOW - 9, "cause": "refused"}, None]


def told_gap(draft):
    return next(json.loads(text) for name, text, _, _ in draft.news.fields if name == "gap")
