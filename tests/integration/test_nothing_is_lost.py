"""Snapshot + entries = later snapshot, for every event type, whatever happens to copies, links, feeds and browsers."""

from unittest import mock

import pytest
from django.db import transaction
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from realtime import feed
from realtime.emulator.world import AddDevice, Device, Grant, RemoveDevice, Revoke, Set, SetRole
from tests.integration.fleet_model import FleetModel, ManualClock, is_aside, shared

pytestmark = [pytest.mark.feature("S4.12"), pytest.mark.django_db]

SUBS = ("sub-viewer", "sub-owner", "sub-operator", "sub-manager", "sub-rival")
ORGS = ("org-aurora", "org-borealis")

subs = st.sampled_from(SUBS)
stamps = st.sampled_from(["sourced"] * 4 + ["unsourced", "ahead"])
device_fields = st.one_of(
    st.builds(lambda on: {"online": on}, st.booleans()),
    st.builds(lambda on: {"recording": on}, st.booleans()),
    st.builds(
        lambda state, progress: {"fwUpdateState": state, "progress": progress},
        st.sampled_from(["Idle", "Downloading", "Failed", "Succeeded"]),
        st.integers(0, 100),
    ),
    st.builds(lambda word: {"name": word}, st.sampled_from(["Gate", "Yard"])),
)
archive_fields = st.builds(
    lambda state, progress: {"state": state, "progress": progress},
    st.sampled_from(["Queued", "Processing", "Ready", "Failed", "Expired"]),
    st.integers(0, 100),
)
organization_fields = st.one_of(
    st.builds(lambda phase: {"licensePhase": phase}, st.sampled_from(["Valid", "NoticePeriod", "Suspended"])),
    st.builds(lambda free: {"isFreePlan": free}, st.booleans()),
    st.builds(lambda days: {"AIControlSetting": {"retentionDays": days, "zones": [days]}}, st.sampled_from([7, 30])),
)


class Fleet(RuleBasedStateMachine):
    """Every rule is something that happens on some hop; `at_rest` may come at any moment, and comes at the end."""

    def __init__(self):
        super().__init__()
        self.atomic = transaction.atomic()
        self.atomic.__enter__()
        self.clock = ManualClock()
        self.patch = mock.patch("realtime.sql.now_us", self.clock.tick)
        self.patch.start()
        self.model = FleetModel(self.clock)
        self.added = 0

    def teardown(self):
        try:
            self.everything_comes_to_rest()
        finally:
            self.patch.stop()
            transaction.set_rollback(True)
            self.atomic.__exit__(None, None, None)

    def line(self, sub):
        return self.model.lines[sub]

    # ── The source ───────────────────────────────────────────────────────────────────────────────────────────

    @rule(number=st.integers(0, 40), fields=device_fields, stamp=stamps)
    def a_device_changes(self, number, fields, stamp):
        keys = sorted(self.model.world.devices)
        if keys:
            self.model.carry_out(Set(keys[number % len(keys)], fields), stamp=stamp)
            if "name" in fields:
                self.compare_all()

    @rule(number=st.integers(0, 40), fields=archive_fields, stamp=stamps)
    def an_archive_changes(self, number, fields, stamp):
        keys = sorted(self.model.world.archives)
        if keys:
            self.model.carry_out(Set(keys[number % len(keys)], fields), stamp=stamp)

    @rule(org=st.sampled_from(ORGS), fields=organization_fields, stamp=stamps)
    def an_organization_changes(self, org, fields, stamp):
        self.model.carry_out(Set(f"organization/{org}", fields), stamp=stamp)

    @rule(sub=subs, org=st.sampled_from(ORGS), role=st.sampled_from([None, "Viewer", "Owner"]), stamp=stamps)
    def a_role_changes(self, sub, org, role, stamp):
        self.model.carry_out(SetRole(sub, org, role), stamp=stamp)

    @rule(sub=subs)
    def a_token_is_revoked(self, sub):
        self.model.revoke_token(sub)

    @rule(sub=subs, number=st.integers(0, 40), grant=st.booleans())
    def a_view_changes_in_silence(self, sub, number, grant):
        world = self.model.world
        keys = sorted(key for key in world.devices if world.devices[key].org_id in world.people[sub].roles)
        if keys:
            key = keys[number % len(keys)]
            self.model.carry_out(Grant(sub, key) if grant else Revoke(sub, key))
            self.compare_all()

    @rule(org=st.sampled_from(ORGS), add=st.booleans())
    def a_device_comes_or_goes(self, org, add):
        keys = sorted(self.model.world.devices)
        if add:
            self.added += 1
            self.model.carry_out(AddDevice(Device(org, f"new-{self.added}", "New")))
        elif keys:
            self.model.carry_out(RemoveDevice(keys[0]))
        self.compare_all()

    def compare_all(self):
        """What no channel tells of is found by the next comparison: links that are up make it now."""
        for line in self.model.lines.values():
            if line.up:
                self.model.ask(line)
                self.model.finish_repairs(line)

    # ── Links ────────────────────────────────────────────────────────────────────────────────────────────────

    @rule(microseconds=st.sampled_from([1, 1_000, 700_000, 3_000_000, 60_000_000]))
    def time_passes(self, microseconds):
        self.model.advance(microseconds)

    @rule(sub=subs)
    def a_link_comes_up(self, sub):
        self.model.connect(self.line(sub))

    @rule(sub=subs)
    def a_link_drops(self, sub):
        self.model.drop(self.line(sub))

    @rule(sub=subs, count=st.integers(1, 5), order=st.randoms(use_true_random=False), twice=st.booleans())
    def copies_arrive(self, sub, count, order, twice):
        """Some of those on their way, in any order, perhaps twice, in one batch."""
        copies = list(self.line(sub).flight)
        order.shuffle(copies)
        copies = copies[:count]
        self.model.arrive(self.line(sub), copies + copies[:1] if twice else copies)

    @rule()
    def copies_of_all_arrive_in_one_batch(self):
        batch = []
        for line in self.model.lines.values():
            batch += [self.model.raw(line, name, text) for _, name, text in line.flight]
            line.flight = []
        self.model.record(batch)

    @rule(sub=subs)
    def a_snapshot_is_fetched(self, sub):
        self.model.fetch(self.line(sub))

    @rule(sub=subs)
    def a_snapshot_is_compared(self, sub):
        self.model.compare(self.line(sub))

    @rule(sub=subs, org=st.sampled_from(ORGS))
    def a_person_switches(self, sub, org):
        self.model.switch(self.line(sub), org)

    # ── Feeds and browsers ───────────────────────────────────────────────────────────────────────────────────

    @rule(sub=subs, kept=st.integers(0, 3))
    def retention_takes_entries(self, sub, kept):
        self.model.forget(self.line(sub), kept)

    @rule(sub=subs)
    def a_topic_begins_a_new_life(self, sub):
        topic = self.line(sub).topic
        head = feed.heads([topic]).get(topic)
        if head is not None:
            feed.renew_epoch(topic, head.epoch)

    @rule(number=st.integers(0, 4), limit=st.integers(1, 4))
    def a_browser_takes_some(self, number, limit):
        self.model.browsers[number].pull(limit)

    @rule(number=st.integers(0, 4))
    def a_browser_begins_to_start_over(self, number):
        self.model.browsers[number].start_over()

    # ── What must hold ───────────────────────────────────────────────────────────────────────────────────────

    @rule(sub=subs)
    def one_user_comes_to_rest(self, sub):
        """Whatever the others' links do: all of this user's copies came, and the window is closed."""
        self.model.settle(self.line(sub))
        self.compare_views(sub)

    def everything_comes_to_rest(self):
        for _ in range(2):
            for line in self.model.lines.values():
                self.model.settle(line)
        for sub in SUBS:
            self.compare_views(sub)

    def compare_views(self, sub):
        line = self.line(sub)
        browser = next(browser for browser in self.model.browsers if browser.user == line.user)
        seen, recorded = self.model.seen_by(browser), self.model.recorded_for(line)
        assert seen == recorded
        aside = recorded["view/self"]["aside"]
        truth = {key: told for key, told in self.model.true_for(line).items() if not is_aside(key, aside)}
        shown = shared(recorded)
        ended = {key for key in shown if key.startswith("member/") and shown[key] == {"role": None}}
        assert {key: fields for key, fields in shown.items() if key not in ended} == truth

    @invariant()
    def nobody_sees_what_the_source_never_showed_them(self):
        for browser in self.model.browsers:
            sub = browser.user.subject
            own = {"link/self", "view/self", f"user/{sub}", *(f"member/{org}/{sub}" for org in ORGS)}
            assert (browser.entities or {}).keys() <= self.model.shown_ever[sub] | own


def play(examples, steps):
    run_state_machine_as_test(
        Fleet,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.feature("S1.13")
def test_snapshot_and_entries_make_the_later_snapshot():
    play(examples=60, steps=40)


@pytest.mark.soak
def test_snapshot_and_entries_make_the_later_snapshot_at_length():
    play(examples=3_000, steps=120)
