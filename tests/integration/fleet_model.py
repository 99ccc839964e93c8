"""The whole way in memory: a source world, users' upstream links, the bridge, the feed, and browsers.

Everything of ours is real but for sockets, tasks and clocks: `Bridge.transact`, the recorder, the gap ledger, the feed
in a database. The source is the emulator's world, so what it publishes and what its snapshots say agree as they do
there. What the network does to copies on their way is for the test to decide.
"""

from dataclasses import dataclass, field

import msgspec

from dashboard import access, switching
from dashboard.models import User
from dashboard.recording import FieldRecorder
from dashboard.state import CurrentState
from realtime import feed, gaps
from realtime.bridge import Bridge, Pending, RawCopy
from realtime.emulator.clock import iso
from realtime.emulator.options import Fleet
from realtime.emulator.seed import plant
from realtime.emulator.snapshot import snapshot_of
from realtime.emulator.world import token_revoked
from realtime.linkbook import LinkValues
from realtime.merge import newer
from realtime.models import FeedEntry, Link
from realtime.notes import Backfill, LinkState
from realtime.snapshot import Snapshot

SECOND = 1_000_000
START = 1_790_000_000 * SECOND
AHEAD = 10 * 60 * SECOND
"""How far a source's clock runs ahead when it does."""

OVERTAKING = 1_500_000
"""Microseconds by which copies may overtake each other on the wire; windows allow for a little more."""


class ManualClock:
    def __init__(self):
        self.now = START

    def tick(self):
        """Return the time, never the same twice."""
        self.now += 1
        return self.now

    def advance(self, microseconds):
        self.now += microseconds


@dataclass
class Line:
    """One user's upstream link, with the copies that are on their way."""

    user: User
    link: Link
    up: bool = False
    heard_at: int = START
    flight: list = field(default_factory=list)
    snapshot: Snapshot | None = None
    first: Backfill | None = None
    repairing: bool = False
    again: bool = False
    compared_at: int | None = None

    @property
    def topic(self):
        return f"user.{self.user.pk}"


class Browser:
    """What a page keeps: entities by the merge rule, and the cursor from which it goes on."""

    def __init__(self, user):
        self.user = user
        self.topic = f"user.{user.pk}"
        self.resyncs = 0
        self.start_over()

    def start_over(self):
        """Read the position; `finish` reads the state, and whatever happens in between is in both or harmless."""
        self.user.refresh_from_db()
        self.session_epoch = self.user.session_epoch
        feed.ensure([self.topic])
        self.head = feed.heads([self.topic])[self.topic]
        self.entities = None

    def finish(self):
        entities = CurrentState().snapshot(self.user)["entities"]
        self.entities = {key: dict(fields) for key, fields in entities.items()}
        self.epoch, self.offset = self.head.epoch, self.head.head

    def pull(self, limit=10_000):
        """Apply the next entries; what can't be had any more is answered by starting over, as on any resync."""
        self.user.refresh_from_db()
        if self.user.session_epoch != self.session_epoch:
            self.start_over()
        if self.entities is None:
            self.finish()
        try:
            entries = feed.read(self.topic, self.epoch, self.offset, limit)
        except feed.CursorLost:
            self.resyncs += 1
            self.start_over()
            return
        for entry in entries:
            self.apply(msgspec.json.decode(entry.body))
            self.offset = entry.offset

    def apply(self, frame):
        if is_aside(frame["key"], self.entities["view/self"]["aside"][0]):
            return
        if frame.get("gone"):
            self.entities.pop(frame["key"], None)
        elif frame["fields"]:
            known = self.entities.setdefault(frame["key"], {})
            for name, fact in frame["fields"].items():
                if name not in known or newer(tuple(fact[1:]), tuple(known[name][1:])):
                    known[name] = fact


def is_aside(key, aside):
    """Tell whether an entity is one of the organisations that are put aside."""
    kind, org, *_ = f"{key}/".split("/")
    return kind in ("device", "archive", "organization") and org in aside


class FleetModel:
    """`clock.tick` must stand in for the bridge's clock."""

    def __init__(self, clock, *, asks=True):
        self.clock = clock
        self.world = plant(Fleet(devices=6))
        self.recorder = FieldRecorder(asks=asks)
        self.bridge = Bridge(None, self.recorder, lambda entries: None, set, lambda *about: None, None)
        self.lines = {}
        for sub, person in self.world.people.items():
            user = User.objects.create(username=person.username, subject=sub)
            self.lines[sub] = Line(user, Link.objects.create(user=user, subject=sub))
        self.browsers = [Browser(line.user) for line in self.lines.values()]
        self.shown_ever = {sub: set() for sub in self.lines}
        self._note_views()

    # ── The source ───────────────────────────────────────────────────────────────────────────────────────────

    def carry_out(self, operation, *, stamp="sourced"):
        """Let something happen in the world; whoever is connected has a copy of it on the way."""
        for notice in self.world.apply(operation, self.clock.tick):
            self._publish(notice, stamp)
        self._note_views()

    def revoke_token(self, sub):
        self._publish(token_revoked(sub, "left", self.clock.tick), "sourced")

    def _note_views(self):
        for sub, line in self.lines.items():
            self.shown_ever[sub] |= self.true_for(line).keys()

    def _publish(self, notice, stamp):
        published = notice.payload["timestamp"]
        payload = {**notice.payload, "timestamp": iso(published + (AHEAD if stamp == "ahead" else 0))}
        if stamp == "unsourced":
            del payload["timestamp"]
        for sub in notice.subs:
            if self.lines[sub].up:
                text = msgspec.json.encode(payload).decode()
                self.lines[sub].flight.append((published, notice.feed, text))

    def snapshot_of(self, sub):
        body = snapshot_of(self.world, sub, self.clock.tick())
        return msgspec.json.decode(msgspec.json.encode(body), type=Snapshot)

    # ── Links ────────────────────────────────────────────────────────────────────────────────────────────────

    def advance(self, microseconds):
        """Let time pass; copies that would be on their way for too long arrive first."""
        until = self.clock.now + microseconds - OVERTAKING
        for line in self.lines.values():
            if any(published < until for published, _, _ in line.flight):
                self.arrive(line, list(line.flight))
        self.clock.advance(microseconds)

    def connect(self, line):
        if line.up:
            return
        line.up, line.heard_at = True, self.clock.tick()
        self._note(self._state(line, "connecting", ("not connected yet", line.heard_at - gaps.MARGIN)))
        self._note(self._state(line, "open", None))
        self.ask(line)

    def drop(self, line):
        """Lose the connection and all copies that are still on their way."""
        if not line.up:
            return
        line.up, line.flight = False, []
        line.repairing, line.again, line.snapshot, line.first = False, False, None, None
        self._note(self._state(line, "backoff", ("connection lost", line.heard_at - gaps.MARGIN)))

    def arrive(self, line, copies):
        """Let these copies reach the worker, in this order, in one batch."""
        for copy in copies:
            if copy in line.flight:
                line.flight.remove(copy)
        self.record([self.raw(line, feed_name, text) for _, feed_name, text in copies])

    def raw(self, line, feed_name, text):
        line.heard_at = self.clock.tick()
        return RawCopy(line.link.pk, line.user.pk, feed_name, text, line.heard_at, "events")

    def record(self, batch):
        written = self.bridge.transact(batch)
        for line in self.lines.values():
            if line.link.pk in written.doubtful:
                self.ask(line)

    # ── Repair, in the keeper's steps ────────────────────────────────────────────────────────────────────────

    def fetch(self, line):
        """Ask for the snapshot that is due."""
        if line.up and line.repairing and line.snapshot is None:
            line.snapshot = self.snapshot_of(line.user.subject)

    def compare(self, line):
        """Record the snapshot that was fetched; the second one closes the window."""
        if line.snapshot is None:
            return
        note = Backfill(
            line.link.pk, line.user.pk, self.recorder, line.snapshot, None, None, compared_at=line.compared_at
        )
        line.snapshot = None
        if line.first is None:
            line.first = note
        else:
            note.since, note.closes, note.live_at = line.first.applied_at + 1, [gaps.WHOLE_LINK], self.clock.now
        self._note(note)
        if note.closes:
            line.first, line.repairing, line.compared_at = None, False, note.applied_at
            if line.again:
                line.again = False
                self.ask(line)

    def finish_repairs(self, line):
        while line.repairing:
            self.fetch(line)
            self.compare(line)

    def ask(self, line):
        """Have the line compare itself with the source; when it does already, once more after that."""
        if not line.up:
            return
        line.again = line.repairing
        line.repairing = True

    def _state(self, line, state, not_live):
        values = LinkValues(state, since=self.clock.now)
        return LinkState(line.link.pk, line.user.pk, "w1", values, 1, "", self.clock.now, not_live, True)

    def _note(self, note):
        self.record([Pending(note, None, self.clock.now)])

    # ── At rest ──────────────────────────────────────────────────────────────────────────────────────────────

    def settle(self, line):
        """Bring the line up, let everything arrive, and finish what is to be repaired."""
        self.connect(line)
        while line.flight or line.repairing:
            self.arrive(line, list(line.flight))
            self.finish_repairs(line)

    def forget(self, line, kept):
        """Keep only the newest entries of the line's user."""
        head = feed.heads([line.topic]).get(line.topic)
        if head is not None:
            FeedEntry.objects.filter(topic_id=line.topic, offset__lte=head.head - kept).delete()

    def seen_by(self, browser):
        while True:
            before = browser.resyncs
            browser.pull()
            if browser.entities is not None and browser.resyncs == before:
                return values_of(browser.entities)

    def recorded_for(self, line):
        return values_of(CurrentState().snapshot(line.user)["entities"])

    def true_for(self, line):
        """What the source says that this user may see, in our words."""
        return truth_of(snapshot_of(self.world, line.user.subject, self.clock.tick()))

    def switch(self, line, org_id):
        """Let the user look at this organisation, if it is one of the user's."""
        if access.may_choose(line.user, org_id):
            switching.switch(line.user, org_id)


def truth_of(body):
    """Return a snapshot of the source in our words."""
    truth, sub = {}, body["user"]["userId"]
    for organization in body["organizations"]:
        org = organization.pop("orgId")
        truth[f"member/{org}/{sub}"] = {"role": organization.pop("role")}
        truth[f"organization/{org}"] = organization
    for device in body["devices"]:
        key = f"device/{device.pop('orgId')}/{device.pop('deviceId')}"
        truth[key] = {"fwProgress": device.pop("progress"), "fwVersion": device.pop("version"), **device}
    for archive in body["archives"]:
        truth[f"archive/{archive.pop('orgId')}/{archive.pop('archiveId')}"] = archive
    for fields in truth.values():
        fields.pop("changedAt", None)
    return truth


def values_of(entities):
    """Return the values that are shown; an entity of which nothing is known is none."""
    return {key: {name: fact[0] for name, fact in fields.items()} for key, fields in entities.items() if fields}


def shared(values):
    """Leave out what the source's snapshot does not tell: the own link and view, and that tokens were revoked."""
    return {key: fields for key, fields in values.items() if not key.startswith(("link/", "user/", "view/"))}
