"""Gates for all links: desired state that survives everything, and opens by itself if it was told when."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from django.db import connection

from realtime import gates
from realtime.gates import BadGate, Gate, Gatekeeper

pytestmark = pytest.mark.django_db


class Link:
    def __init__(self):
        self.shut = {}

    def shut_gate(self, name, reason=""):
        self.shut[name] = reason

    def open_gate(self, name):
        del self.shut[name]


def test_a_gate_stays_shut_until_it_is_opened():
    gates.shut_gate("maintenance", "AppSync is being moved")
    gates.shut_gate("licence", "it ran out")
    assert gates.shut() == {"maintenance": Gate("AppSync is being moved"), "licence": Gate("it ran out")}
    assert gates.open_gate("licence") and not gates.open_gate("licence")
    assert set(gates.shut()) == {"maintenance"}


def test_a_gate_with_an_end_opens_by_itself(monkeypatch):
    gates.shut_gate("maintenance", "moving", seconds=60.0)
    until = gates.shut()["maintenance"].until
    monkeypatch.setattr(gates, "now_us", lambda: until)
    assert gates.shut() == {}


@pytest.mark.django_db(transaction=True)
def test_what_two_operators_do_at_once_is_all_done():
    """On PostgreSQL they really meet; SQLite lets one after the other write."""
    gates.shut_gate("before", "moving")
    barrier = Barrier(4, timeout=30)

    def operate(name):
        try:
            barrier.wait()
            for number in range(10):
                gates.shut_gate(f"{name}{number}", "moving")
                gates.shut_gate(f"{name}_{number}", "moving")
                assert gates.open_gate(f"{name}_{number}")
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(operate, "abcd"))
    assert set(gates.shut()) == {"before", *(f"{name}{number}" for name in "abcd" for number in range(10))}


@pytest.mark.parametrize("name", ["auth", "", "two words"])
def test_a_name_that_can_not_be_a_gate_is_refused(name):
    with pytest.raises(BadGate, match="'maintenance'"):
        gates.shut_gate(name, "why")


def test_links_follow_what_changed_and_new_ones_what_is():
    keeper, old, new = Gatekeeper(), Link(), Link()
    keeper.follow({"maintenance": Gate("moving")}, [old])
    keeper.admit(new)
    assert old.shut == new.shut == {"maintenance": "moving"}
    keeper.follow({"maintenance": Gate("still moving")}, [old, new])
    assert old.shut == new.shut == {"maintenance": "still moving"}
    keeper.follow({}, [old, new])
    assert old.shut == new.shut == {}
