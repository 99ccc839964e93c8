"""Three workers on PostgreSQL under traffic: one is killed, held still, stopped, joined by a fourth."""

import time
from contextlib import ExitStack

import pytest

from realtime.clock import now_us
from tests import on_postgres
from tests.demo import until
from tests.faults.conftest import page_of
from tests.faults.workers import NAMES, SUBJECTS, SharedStack

pytestmark = [
    pytest.mark.faults,
    pytest.mark.feature("S4.12"),
    pytest.mark.skipif(bool(on_postgres.absent()), reason=on_postgres.absent() or "-"),
]
OWNED_WITHIN, LIVE_WITHIN = 10, 20
HANDED_OVER_WITHIN = 5


@pytest.fixture(scope="module")
def shared_stack(tmp_path_factory):
    with (
        on_postgres.cluster() as database_url,
        SharedStack(tmp_path_factory.mktemp("workers"), database_url, devices=12, rate=10.0) as stack,
    ):
        yield stack


@pytest.fixture(scope="module")
def pages(shared_stack):
    """Everybody's open page."""
    with ExitStack() as exits:
        yield {name: exits.enter_context(page_of(shared_stack, f"user-{name}", exits)) for name in SUBJECTS}


@pytest.fixture
def three(stack, pages):
    """The names of three workers that share the links evenly, all of them live."""
    names = stack.fair(3)
    for name in names:
        if name not in stack.workers or stack.workers[name].popen.poll() is not None:
            stack.start_worker(name)
    stack.wait_shared(names, 30)
    return names


@pytest.fixture
def traffic(stack, pages, three):
    """Everybody hears of changes."""
    before = {name: page.store.new for name, page in pages.items()}
    until(lambda: all(page.store.new > before[name] + 5 for name, page in pages.items()), "traffic")


@pytest.fixture
def victim(stack, three, traffic):
    name = three[0]
    assert stack.links_of(name)
    return name


def assert_taken_over(stack, victim, links, began):
    """Each of the links is owned by another worker, and live, in time."""
    until(lambda: not stack.links_of(victim), "the take-over", OWNED_WITHIN)
    owned = time.monotonic() - began
    until(lambda: all(stack.is_live(link) for link in links), "the links", LIVE_WITHIN - owned)
    print(f"owned after {owned:.1f} s, live after {time.monotonic() - began:.1f} s")
    assert {stack.link(link)["worker"] for link in links}.isdisjoint({victim, ""})


def assert_one_window_each(stack, links, since, cause, down=None):
    """The ledger has each link's downtime since then, closed, and no window of any other link.

    Each began before the link was ``down``, which is at once if it is not said.
    """
    for subject in [f"sub-{name}" for name in SUBJECTS]:
        gaps = stack.gaps(subject, since)
        wanted = [cause] if subject in links else []
        assert [gap["cause"] for gap in gaps] == wanted, subject
        assert all(gap["outcome"] in ("repaired", "nothing-missed") for gap in gaps)
        assert all(gap["started_at"] < (down or since) for gap in gaps)


def test_the_links_of_a_killed_worker_are_live_again_with_the_others(stack, pages, victim, assert_nothing_lost):
    links, since, began = stack.links_of(victim), now_us(), time.monotonic()
    stack.workers[victim].kill()
    assert_taken_over(stack, victim, links, began)
    assert_one_window_each(stack, links, since, "the worker died")
    assert_nothing_lost(**pages)


def test_a_worker_that_was_held_still_may_write_no_more_for_what_it_lost_and_goes_on(
    stack, pages, three, victim, assert_nothing_lost
):
    worker, links, since, began = stack.workers[victim], stack.links_of(victim), now_us(), time.monotonic()
    dropped = worker.said().count("dropped")
    with worker.frozen():
        assert_taken_over(stack, victim, links, began)
        assert_one_window_each(stack, links, since, "the worker died")
        heard = {name: page.store.new for name, page in pages.items()}
        until(lambda: all(page.store.new > heard[name] + 5 for name, page in pages.items()), "traffic meanwhile")
        stack.operate("pause")
        until(lambda: not behind(stack), "rest")
        woken = now_us()
    until(lambda: worker.said().count("dropped") > dropped, "its late writes", 10)
    stack.wait_shared(three)
    late = stack.query("SELECT * FROM realtime_feedentry WHERE at >= ? AND body LIKE ?", woken, '%"source":"events"%')
    assert late == []
    stack.operate("resume")
    before = {link: stack.link(link)["received"] for link in links}
    until(lambda: all(stack.link(link)["received"] > before[link] for link in links), "what it hears again")
    assert stack.links_of(victim) == links
    assert_nothing_lost(**pages)


def behind(stack):
    """Tell whether anything was recorded within the last second."""
    return stack.query("SELECT 1 FROM realtime_feedentry WHERE at > ? LIMIT 1", now_us() - 1_000_000)


def test_a_worker_that_stops_hands_its_links_over_and_one_that_comes_gets_its_share(
    stack, pages, three, victim, assert_nothing_lost
):
    links, since = stack.links_of(victim), now_us()
    stack.workers[victim].stop()
    began = time.monotonic()
    until(lambda: not set(stack.owners().values()) - set(three[1:]), "the hand-over", HANDED_OVER_WITHIN)
    until(lambda: all(stack.is_live(link) for link in links), "the links", LIVE_WITHIN)
    print(f"live {time.monotonic() - began:.1f} s after the stop")
    assert_one_window_each(stack, links, since, "the worker stopped")
    assert_nothing_lost(**pages)

    fourth = next(name for name in NAMES if name not in three and name in stack.due((*three[1:], name)).values())
    since = now_us()
    stack.start_worker(fourth)
    until(lambda: stack.links_of(fourth), "the hand-over", 30)
    down = now_us()
    stack.wait_shared((*three[1:], fourth))
    moved = stack.links_of(fourth)
    assert_one_window_each(stack, moved, since, "handed over to another worker", down)
    assert_nothing_lost(**pages)
    stack.workers[fourth].stop()


def test_an_operators_wish_reaches_whichever_worker_owns_the_link(stack, three, traffic):
    for name in SUBJECTS:
        connects = stack.link(f"sub-{name}")["connects"]
        stack.run_manage("links", "reconnect", f"sub-{name}")
        until(lambda n=name, c=connects: stack.link(f"sub-{n}")["connects"] > c, "its new connection", 10)
    stack.wait_shared(three)
