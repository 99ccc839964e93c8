"""Sleep and routes, seen from outside; and what this very machine says of its own."""

from types import SimpleNamespace

import pytest

from realtime.upstream import machine
from realtime.upstream.machine import NOTHING, Happened, Machine
from tests.fakes import ManualClock

HERE, THERE = frozenset({("eth0", "010011AC")}), frozenset({("wlan0", "0100A8C0")})


def looks(*routes):
    """Return what is seen at each look, as the routes are then."""
    left = list(routes)
    seen = Machine(ManualClock(), 2.0, lambda: left.pop(0))
    return [seen.look() for _ in routes]


@pytest.mark.feature("S0.4")
def test_a_network_that_goes_and_comes_is_told_once_each():
    gone, back = Happened(network=False), Happened(network=True)
    assert looks(HERE, HERE, frozenset(), frozenset(), HERE) == [NOTHING, NOTHING, gone, NOTHING, back]


def test_another_way_out_is_told_and_a_return_by_another_way_is_a_return():
    assert looks(HERE, THERE) == [NOTHING, Happened(rerouted=True)]
    assert looks(HERE, frozenset(), THERE)[-1] == Happened(network=True)


@pytest.mark.parametrize("unknown", [None, frozenset()])
def test_a_machine_that_never_had_a_way_out_has_not_lost_it(unknown):
    assert looks(unknown, unknown, HERE) == [NOTHING] * 3


@pytest.mark.feature("S0.4")
def test_a_sleep_is_told_once_and_small_differences_are_none():
    clock = ManualClock()
    seen = Machine(clock, 2.0, lambda: HERE)
    clock.sleep(1.5)
    assert seen.look() == NOTHING
    clock.sleep(100.0)
    assert (seen.look(), seen.look()) == (Happened(slept=101.5), NOTHING)


def test_a_link_is_told_all_of_it():
    told = []
    link = SimpleNamespace(woke=lambda gap: told.append(gap), network=lambda there: told.append(there))
    Happened(slept=5.0, network=True).tell(link)
    Happened(rerouted=True).tell(link)
    NOTHING.tell(link)
    assert told == [5.0, True, False, True]


def test_the_routes_of_a_linux_machine_are_read(tmp_path, monkeypatch):
    four, six = tmp_path / "route", tmp_path / "ipv6_route"
    head = "Iface\tDestination\tGateway\tFlags\n"
    four.write_text(f"{head}eth0\t00000000\t010011AC\t0003\neth0\t000011AC\t00000000\t0001\neth1\t00000000\t0A\t0002\n")
    zero = "0" * 32
    six.write_text(f"{zero} 00 {zero} 00 fe80 0400 1 0 3 eth0\n{zero} 00 {zero} 00 {zero} ffff 1 0 200200 lo\n")
    monkeypatch.setattr(machine, "ROUTES", four)
    monkeypatch.setattr(machine, "ROUTES_6", six)
    assert machine.default_routes() == {("eth0", "010011AC"), ("eth0", "fe80")}
    monkeypatch.setattr(machine, "ROUTES", tmp_path / "none")
    assert machine.default_routes() is None


@pytest.mark.parametrize(
    ("happened", "said"),
    [
        (Happened(slept=599.7), "the machine slept for 600 s"),
        (Happened(network=False), "the network is gone"),
        (Happened(slept=5.0, network=True), "the machine slept for 5 s; the network is back"),
        (Happened(rerouted=True), "the way out changed"),
    ],
)
def test_it_is_said_in_words(happened, said):
    assert str(happened) == said
