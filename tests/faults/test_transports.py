"""A page changes its transport, or stops reading: it gets each change once, and the server's memory stays flat."""

from pathlib import Path

import pytest

from tests.demo import until

pytestmark = [pytest.mark.faults, pytest.mark.feature("S4.12")]
ORGANIZATION = "organization/org-aurora"
FLOOD, ZONES = 80, 150_000
"""Changes and their size: together far more than what a socket's buffers take."""
FLAT = 6_000_000
"""Bytes by which the server's memory may differ between two such floods: half of one."""


def memory(process):
    """Return the bytes of memory that a process holds."""
    lines = Path(f"/proc/{process.popen.pid}/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmRSS")).split()[1])


def test_going_over_to_sse_and_back_loses_and_repeats_nothing(people, assert_nothing_lost):
    owner = people.owner
    for transport in ("sse", "ws", "sse", "ws"):
        before, connects, owner.transport = owner.store.new, owner.connects, transport
        owner.drop()
        until(lambda c=connects, b=before: owner.connects > c and owner.store.new > b + 10, f"changes over {transport}")
    assert_nothing_lost(owner=owner)
    shown = owner.store.shown[owner.topic]
    assert shown == list(range(shown[0], shown[-1] + 1))


def test_a_page_that_stops_reading_costs_no_memory_and_is_right_when_it_reads_again(stack, people, assert_nothing_lost):
    viewer, owner = people.viewer, people.owner
    with stack.at_rest():
        _flood(stack, viewer, 0)
        until(lambda: _last_number(owner) == FLOOD - 1, "what everybody reads")
        held, shown = memory(stack.web), owner.store.new
        owner.reading.clear()
        _flood(stack, viewer, FLOOD)
        assert memory(stack.web) < held + FLAT
        assert _last_number(owner) < 2 * FLOOD - 1
        owner.reading.set()
        until(lambda: _last_number(owner) == 2 * FLOOD - 1, "the newest state")
        assert owner.store.new < shown + FLOOD
        stack.operate("set", key=ORGANIZATION, fields={"AIControlSetting": {"number": -1}})
    assert_nothing_lost(**vars(people))


def _flood(stack, page, start):
    """Let the organisation's settings change again and again, and wait until ``page`` has seen the last change."""
    for number in range(start, start + FLOOD):
        settings = {"number": number, "zones": "z" * ZONES}
        stack.operate("set", key=ORGANIZATION, fields={"AIControlSetting": settings})
    until(lambda: _last_number(page) == start + FLOOD - 1, "the end of the flood")


def _last_number(page):
    return (page.value(ORGANIZATION, "AIControlSetting") or {}).get("number")
