"""Each part is killed under traffic: the pages say so, and nothing is lost in silence."""

import signal
import sys

import pytest

from tests.demo import until
from tests.faults.crashing_worker import SEAMS

pytestmark = [pytest.mark.faults, pytest.mark.feature("S4.12")]


def test_nothing_is_lost_while_all_is_well(stack, people, assert_nothing_lost):
    until(lambda: people.owner.store.new > 40, "traffic")
    assert len(stack.transcript.published) > 40
    assert_nothing_lost(**vars(people))
    assert people.owner.store.resyncs == []


def test_a_killed_worker_is_shown_and_what_it_missed_is_repaired(stack, people, assert_nothing_lost):
    stack.worker.kill()
    until(lambda: people.viewer.told.get("upstream", {}).get("worker") == "silent", "the news of it", 20)
    stack.worker.start()
    until(lambda: people.viewer.told["upstream"]["worker"] == "alive", "the news of its return", 20)
    assert_nothing_lost(**vars(people))


def test_a_killed_source_is_shown_and_what_happened_meanwhile_is_repaired(stack, people, assert_nothing_lost):
    stack.emulator.kill()
    until(lambda: people.viewer.value("link/self", "state") != "open", "the news of it")
    assert people.viewer.value("link/self", "gap")["cause"]
    stack.start_emulator()
    until(lambda: people.viewer.value("link/self", "gap") is None, "the repair", 30)
    assert people.viewer.value("link/self", "state") == "open"
    assert_nothing_lost(**vars(people))


def test_changes_reach_pages_without_valkey_and_after_it(stack, people, assert_nothing_lost):
    stack.valkey.kill()
    until(lambda: people.owner.told.get("path", {}).get("layer") == "down", "the news of it", 10)
    before = people.owner.store.new
    until(lambda: people.owner.store.new > before + 20, "changes by way of the database")
    stack.valkey.start()
    until(lambda: people.owner.told["path"]["layer"] == "ok", "the news of its return", 10)
    assert_nothing_lost(**vars(people))


def test_pages_go_on_where_they_were_after_the_web_process_was_killed(stack, people, assert_nothing_lost):
    connects, resyncs = people.owner.connects, list(people.owner.store.resyncs)
    stack.web.kill()
    stack.web.start()
    until(lambda: people.owner.connects > connects, "the page's return", 30)
    assert_nothing_lost(**vars(people))
    assert people.owner.store.resyncs == resyncs


@pytest.mark.parametrize("seam", SEAMS)
def test_a_worker_killed_at_any_seam_loses_nothing_in_silence(stack, people, assert_nothing_lost, seam):
    stack.worker.stop()
    options = stack.worker.part.command()[3:]
    stack.worker.start([sys.executable, "-m", "tests.faults.crashing_worker", seam, *options])
    assert stack.worker.popen.wait(30) == -signal.SIGKILL
    stack.worker.start()
    assert_nothing_lost(**vars(people))
