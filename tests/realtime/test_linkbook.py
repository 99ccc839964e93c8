"""What many notes write together is what they would write one after the other."""

import pytest
from django.contrib.auth import get_user_model
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from realtime.gaps import WHOLE_LINK
from realtime.linkbook import Change, LinkBook, LinkValues
from realtime.models import Gap, Link, Transition
from realtime.notes import CloseUnknown, FeedsState, LinkState

pytestmark = [pytest.mark.django_db, pytest.mark.feature("S4.12")]
NOW = 1_790_000_000_000_000
FEEDS = ("roleChanged", "tokenRevoked")


@pytest.fixture
def links():
    users = [get_user_model().objects.create_user(name, subject=f"sub-{name}") for name in ("viewer", "owner")]
    return [Link.objects.create(user=user, subject=user.subject, state="open", live=True) for user in users]


@st.composite
def told(draw):
    """What a link may tell: which of two, and how to make its note of the link's ids and a number."""
    which = draw(st.integers(0, 1))
    kind = draw(st.sampled_from(["open", "lost", "deaf", "closed", "closed feeds"]))
    return which, kind, draw(st.booleans())


def note(link, kind, flag, n):
    at = NOW + n
    if kind == "open":
        values = LinkValues("open", since=at if flag else None, connects=n, next_try_at=at if flag else None)
        return LinkState(link.pk, link.user_id, "w1", values, n, f"open {n}", at, None, flag)
    if kind == "lost":
        values = LinkValues("backoff", reason=f"lost {n}", since=at, attempt=n)
        return LinkState(link.pk, link.user_id, "w1", values, n, f"lost {n}", at, (f"lost {n}", at), True)
    if kind == "deaf":
        opened = [(feed, f"deaf {n}", at) for feed in FEEDS[: 1 + flag]]
        return FeedsState(link.pk, link.user_id, [{"feed": "roleChanged", "error": "", "since": at}], opened)
    closes = FEEDS if kind == "closed feeds" else (WHOLE_LINK, *FEEDS)
    return CloseUnknown(link.pk, link.user_id, closes, f"closed {n}", at)


def tables():
    gaps = Gap.objects.order_by("link_id", "feed", "pk").values_list(
        "link_id", "feed", "cause", "started_at", "live_at", "closed_at", "outcome", "note"
    )
    transitions = Transition.objects.order_by("link_id", "pk").values_list(
        "link_id", "at", "state", "reason", "session"
    )
    return list(Link.objects.order_by("pk").values()), list(gaps), list(transitions)


def write(notes, apart):
    """Write the notes, each apart or all together; return who is to be told and the tables after it."""
    told_of, book = set(), LinkBook()
    for n, each in enumerate(notes):
        told_of |= each.apply(NOW + n, book).links
        if apart:
            told_of |= book.write()
    told_of |= book.write()
    return told_of, tables()


@given(st.lists(told(), max_size=12))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_together_is_one_after_the_other(links, happened):
    notes = [note(links[which], kind, flag, n) for n, (which, kind, flag) in enumerate(happened)]
    written = []
    for apart in (True, False):
        with transaction.atomic():
            written.append(write(notes, apart))
            transaction.set_rollback(True)
    assert written[0] == written[1]


def test_many_links_cost_as_many_statements_as_one(links, django_assert_num_queries):
    notes = [note(link, kind, True, n) for link in links for n, kind in enumerate(["lost", "open", "deaf", "closed"])]
    with django_assert_num_queries(8):
        write_only(notes)


def write_only(notes):
    book = LinkBook()
    for n, each in enumerate(notes):
        each.apply(NOW + n, book)
    book.write()


def test_what_a_service_says_is_held_whatever_is_in_it(links):
    """PostgreSQL takes no NUL, and a note that can't be written takes its window with it."""
    book = LinkBook()
    said = "HTTP 502: \0 binary"
    book.state(links[0].pk, "w1", LinkValues("backoff", reason=said, last_error=said, since=NOW))
    book.transition(Change(links[0].pk, NOW, "backoff", said, 1, 1, said))
    book.subscriptions(links[0].pk, [{"feed": "roleChanged", "error": said}])
    book.open_window(links[0].pk, WHOLE_LINK, said, NOW)
    book.write()
    link, change = Link.objects.get(pk=links[0].pk), Transition.objects.latest("pk")
    told = [link.reason, link.last_error, link.subscriptions[0]["error"], change.reason, change.detail]
    told.append(Gap.objects.latest("pk").cause)
    assert told == ["HTTP 502: \\u0000 binary"] * 6


def test_what_the_book_has_of_a_window_counts_when_it_is_asked_for(links):
    book = LinkBook()
    book.open_window(links[0].pk, WHOLE_LINK, "lost", NOW)
    assert [gap.started_at for gap in book.open_windows(links[0].pk)] == [NOW]
