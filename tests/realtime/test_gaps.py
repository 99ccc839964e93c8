"""The ledger: at most one open window a link and feed, begun at the last proof of life, and each one closed."""

import pytest
from django.contrib.auth import get_user_model

from realtime import gaps, sql
from realtime.models import BUCKETS, Gap, Link, bucket_of

pytestmark = [pytest.mark.django_db, pytest.mark.feature("S4.12")]
NOW = 1_790_000_000_000_000
EVERY = range(BUCKETS)


@pytest.fixture
def links():
    users = [get_user_model().objects.create_user(name, subject=f"sub-{name}") for name in ("viewer", "owner")]
    return [Link.objects.create(user=user, subject=user.subject, worker="w1", live=True) for user in users]


def close(link, *feeds, **about):
    given = {"known": True, "live_at": NOW, "now": NOW + 5, **about}
    return gaps.close([gaps.Closing(link.pk, feeds, **given)])


def test_a_window_of_the_whole_link_ends_its_being_live(links):
    assert gaps.open_window([(links[0].pk, gaps.WHOLE_LINK, "lost", NOW)]) == {links[0].pk}
    live = dict(Link.objects.values_list("pk", "live"))
    assert live == {links[0].pk: False, links[1].pk: True}


def test_an_open_window_keeps_its_beginning_and_its_cause(links):
    gaps.open_window([(links[0].pk, gaps.WHOLE_LINK, "lost", NOW)])
    assert gaps.open_window([(links[0].pk, gaps.WHOLE_LINK, "later", NOW + 9)]) == set()
    (gap,) = gaps.open_of(links[0].pk)
    assert (gap.cause, gap.started_at) == ("lost", NOW)


def test_what_a_clock_tells_that_is_ahead_is_put_back_to_the_databases(links, monkeypatch):
    """What was recorded since is asked for by the database's clock: a window may begin too early, never too late."""
    monkeypatch.setattr("realtime.gaps.now_us", lambda: sql.now_us() + 5_000_000)
    gaps.open_window([(links[0].pk, gaps.WHOLE_LINK, "lost", NOW)])
    gaps.prove([(links[1].pk, NOW, 1)])
    (gap,) = gaps.open_of(links[0].pk)
    proven = Link.objects.get(pk=links[1].pk).proven_at
    assert all(0 <= told - (NOW - 5_000_000) < 1_000_000 for told in (gap.started_at, proven))


def test_a_clock_that_is_behind_is_left_as_it_is(links, monkeypatch):
    monkeypatch.setattr("realtime.gaps.now_us", lambda: sql.now_us() - 5_000_000)
    gaps.open_window([(links[0].pk, gaps.WHOLE_LINK, "lost", NOW)])
    assert gaps.open_of(links[0].pk)[0].started_at == NOW


def test_each_feed_has_a_window_of_its_own_beside_the_links(links):
    gaps.open_window([(links[0].pk, "roleChanged", "refused", NOW + 1), (links[0].pk, gaps.WHOLE_LINK, "lost", NOW)])
    assert [gap.feed for gap in gaps.open_of(links[0].pk)] == ["", "roleChanged"]
    assert close(links[0], gaps.WHOLE_LINK) == [(links[0].pk, "nothing-missed")]
    assert [gap.feed for gap in gaps.open_of(links[0].pk)] == ["roleChanged"]


@pytest.mark.parametrize(
    ("known", "differences", "outcome"),
    [(True, 3, "repaired"), (True, 0, "nothing-missed"), (False, 0, "unknown")],
)
def test_a_closed_window_says_what_came_of_it(links, known, differences, outcome):
    gaps.open_window([(links[0].pk, gaps.WHOLE_LINK, "lost", NOW)])
    close(links[0], gaps.WHOLE_LINK, known=known, differences=differences)
    gap = Gap.objects.get()
    assert (gap.outcome, gap.differences, gap.live_at, gap.closed_at) == (outcome, differences, NOW, NOW + 5)


def test_after_one_is_closed_another_may_open(links):
    for start in (NOW, NOW + 10):
        gaps.open_window([(links[0].pk, gaps.WHOLE_LINK, "lost", start)])
        close(links[0], gaps.WHOLE_LINK)
    assert Gap.objects.count() == 2


def test_what_a_dead_worker_left_live_is_open_since_its_last_proof(links):
    Link.objects.filter(pk=links[0].pk).update(proven_at=NOW)
    Link.objects.filter(pk=links[1].pk).update(live=False)
    assert gaps.adopt(EVERY, "w2", NOW + 60) == 1
    (gap,) = gaps.open_of(links[0].pk)
    assert gap.started_at == NOW - gaps.MARGIN
    assert gaps.open_of(links[1].pk) == []


def test_a_link_that_had_ended_in_order_keeps_its_reason(links):
    Link.objects.filter(pk=links[0].pk).update(state="open", live=True, proven_at=NOW)
    Link.objects.filter(pk=links[1].pk).update(state="stopped", live=False, reason="nobody is watching", since=NOW)
    gaps.adopt(EVERY, "w2", NOW + 60)
    died, ended = Link.objects.get(pk=links[0].pk), Link.objects.get(pk=links[1].pk)
    assert (died.state, died.reason, died.since) == ("stopped", "the worker died", NOW + 60)
    assert (died.worker, ended.worker) == ("w2", "w1")
    assert (ended.state, ended.reason, ended.since) == ("stopped", "nobody is watching", NOW)


def test_nothing_is_adopted_from_another_bucket(links):
    taken = {bucket_of(links[0].pk)}
    assert gaps.adopt(taken, "w2", NOW) == 1
    assert dict(Link.objects.values_list("pk", "live")) == {links[0].pk: False, links[1].pk: True}


def test_proof_moves_the_mark_and_counts(links):
    gaps.prove([(links[0].pk, NOW, 3), (links[1].pk, NOW, 1)])
    gaps.prove([(links[0].pk, NOW + 5, 2)])
    link = Link.objects.get(pk=links[0].pk)
    assert (link.proven_at, link.received) == (NOW + 5, 5)
