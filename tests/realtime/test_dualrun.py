"""Dual runs as they are kept, and what is said of them."""

import pytest

from realtime import dualrun
from realtime.clock import now_us
from realtime.comparing import Results, Sample, Tally
from realtime.digest import Digest
from realtime.dualrun import Findings
from realtime.linkbook import LinkBook
from realtime.models import DualRun, Link, Worker

pytestmark = [pytest.mark.feature("B6"), pytest.mark.django_db]

PRESENCE = "device/presenceChanged"
OPEN = {"state": "open", "reason": "", "live": True}


@pytest.fixture
def link(django_user_model):
    Worker.objects.create(name="w1", beat=now_us())
    user = django_user_model.objects.create_user("viewer", subject="sub-viewer")
    return Link.objects.create(user=user, subject="sub-viewer", worker="w1")


def tally():
    lag = Digest()
    for seconds in (0.1, 0.2, 3.0):
        lag.add(seconds)
    return Tally(
        matched=3,
        alone={"events": 1, "graphql": 2},
        late={"events": 0, "graphql": 1},
        repeated={"events": 3, "graphql": 4},
        apart={"events": 5, "graphql": 6},
        lag=lag,
    )


def found(link, *samples, recorded="events"):
    """Note what was found on the link's running comparison, and return the report of it."""
    wish = dualrun.wanted()[link.pk]
    results = dualrun.stored(Results({PRESENCE: tally()}, samples=list(samples)))
    Findings(link.pk, wish.since, recorded, {"events": OPEN, "graphql": OPEN}, results).apply(now_us(), LinkBook())
    return report(link)


def report(link):
    return dualrun.report(DualRun.objects.select_related("link").get(link=link), now_us())


def test_a_dual_run_is_wanted_until_it_is_stopped_and_its_results_stay(link):
    dualrun.start([link.pk], 30.0)
    found(link)
    assert dualrun.wanted()[link.pk].window == 30.0
    assert dualrun.stop([link.pk]) == 1
    assert dualrun.stop([link.pk]) == 0
    assert dualrun.wanted() == {}
    assert report(link).channels[0].matched == 3
    assert report(link).recorded.state == "stopped"


def test_a_worker_goes_on_with_what_was_found_before_it(link):
    dualrun.start([link.pk], 30.0)
    found(link)
    assert dualrun.found(dualrun.wanted()[link.pk]).channels == {PRESENCE: tally()}


def test_starting_again_begins_at_zero_and_late_notes_of_the_earlier_run_change_nothing(link):
    dualrun.start([link.pk], 30.0)
    earlier = dualrun.wanted()[link.pk]
    dualrun.start([link.pk], 10.0)
    Findings(link.pk, earlier.since, "events", {}, dualrun.stored(Results({PRESENCE: tally()}))).apply(
        now_us(), LinkBook()
    )
    assert report(link).channels == []


def test_the_shadow_is_judged_by_the_side_that_is_recorded(link):
    dualrun.start([link.pk], 30.0)
    (row,) = found(link).channels
    assert (row.missing, row.extra, row.late, row.early) == (1, 2, 1, 0)
    assert (row.repeated, row.apart) == (7, 11)
    assert row.lag_max == 3000.0


def test_after_a_switch_the_same_results_are_read_from_the_other_side(link):
    dualrun.start([link.pk], 30.0)
    shown = found(link, recorded="graphql")
    (row,) = shown.channels
    assert (shown.recorded.dialect, shown.shadow.dialect) == ("graphql", "events")
    assert (row.missing, row.extra, row.late, row.early) == (2, 1, 0, 1)
    assert row.lag_p50 == pytest.approx(-200, rel=0.051)
    assert row.lag_max == -100.0


@pytest.mark.parametrize(
    ("kind", "side", "what", "on", "lag"),
    [
        ("alone", "events", "missing", "graphql", None),
        ("alone", "graphql", "extra", "graphql", None),
        ("late", "graphql", "late", "graphql", 2000.0),
        ("late", "events", "early", "graphql", -2000.0),
        ("unreadable", "events", "unreadable", "events", None),
    ],
)
def test_each_difference_says_what_it_is_and_on_which_dialect(link, kind, side, what, on, lag):
    dualrun.start([link.pk], 30.0)
    sample = Sample(kind, side, PRESENCE, 1, "device/org/d", 7, 2.0 if kind == "late" else None)
    (difference,) = found(link, sample).differences
    assert (difference.what, difference.on, difference.lag) == (what, on, lag)


def test_the_newest_difference_comes_first(link):
    dualrun.start([link.pk], 30.0)
    samples = [Sample("alone", "events", PRESENCE, received) for received in (1, 2)]
    assert [d.received for d in found(link, *samples).differences] == [2, 1]


def test_both_sides_are_live_only_while_a_worker_lives_that_says_so(link):
    dualrun.start([link.pk], 30.0)
    assert (report(link).recorded.state, report(link).recorded.live) == ("unknown", False)
    assert found(link).shadow.live
    Worker.objects.update(beat=1)
    assert (report(link).shadow.state, report(link).shadow.live) == ("unknown", False)
