"""A topic's truth, a layer that misbehaves, and a client that follows the wire protocol: all in memory."""

from datetime import UTC, datetime

import msgspec

from realtime.cursor import parse_cursor
from realtime.delivery.continuity import Repair
from realtime.delivery.limits import Limits
from realtime.delivery.run import Run
from realtime.delivery.session import Session
from realtime.events import Entry, Head

NOW = 1_760_000_000.0


def make_entry(offset, key="a", fields=None, *, topic="user.1", epoch="e1", priority=2, gone=False):
    """Return an entry as the feed writes it; fields are name → (value, time)."""
    body = {
        "v": 1,
        "type": "event",
        "topic": topic,
        "epoch": epoch,
        "offset": offset,
        "key": key,
        "event": "device/presenceChanged",
        "urgent": priority <= 1,
        "source": "events",
        "fields": {name: [value, time, value] for name, (value, time) in (fields or {}).items()},
        **({"gone": True} if gone else {}),
        "at": {"source": None, "received": 1, "recorded": 2},
    }
    return Entry(topic, epoch, offset, key, priority, msgspec.json.encode(body))


def frames(items):
    """Return the decoded frames of what a session gave out."""
    texts = []
    for item in items:
        texts += [entry.body for entry in item.entries] if isinstance(item, Run) else [item]
    return [msgspec.json.decode(text) for text in texts]


class Truth:
    """What the database has: entries without a hole, from the floor on, in one epoch."""

    topic = "user.1"

    def __init__(self):
        self.epoch = "e1"
        self.entries = []
        self.floor = 0

    def append(self, **options):
        entry = make_entry(len(self.entries) + 1, epoch=self.epoch, **options)
        self.entries.append(entry)
        return entry

    @property
    def head(self):
        return Head(self.epoch, len(self.entries), self.floor, 0)

    @property
    def heads(self):
        return {self.topic: self.head}

    def since(self, after, upto):
        return self.entries[after:upto]

    def state(self, upto=None):
        """Return key → fields after the entries up to an offset."""
        state = {}
        for entry in self.entries[:upto]:
            fold(state, msgspec.json.decode(entry.body))
        return state

    def revoke(self):
        self.floor = len(self.entries)

    def restore(self, keep):
        """Play a database restored from an older copy, whose topic then begins another life."""
        self.entries = [
            msgspec.structs.replace(entry, epoch="e2", body=entry.body.replace(b'"e1"', b'"e2"'))
            for entry in self.entries[:keep]
        ]
        self.epoch, self.floor = "e2", keep


def fold(state, event):
    """Apply an event to key → fields by the merge rule."""
    if event.get("gone"):
        state.pop(event["key"], None)
        return
    fields = state.setdefault(event["key"], {})
    for name, field in event["fields"].items():
        if name not in fields or field[1:] > fields[name][1:]:
            fields[name] = field


class Client:
    """Follows the wire protocol: drops what it has seen, keeps the position, starts over on a resync."""

    def __init__(self, truth):
        self.truth = truth
        self.state, self.epoch, self.position = truth.state(), truth.epoch, len(truth.entries)
        self.above = set()
        self.base = self.position
        self.covered = []
        self.resyncs = []
        self.sent = []

    @property
    def cursor(self):
        return f"{self.truth.topic}:{self.epoch}:{self.position}"

    def take(self, items):
        for frame in frames(items):
            if frame["type"] == "event":
                self._event(frame)
            elif frame["type"] == "system" and frame["event"] == "resync":
                self.resyncs.append(frame["cause"])
                self.fetch()

    def fetch(self):
        """Replace everything by the snapshot, as of now."""
        self.state, self.epoch, self.position = self.truth.state(), self.truth.epoch, len(self.truth.entries)
        self.base = self.position
        self.above.clear()
        self.covered.clear()

    def _event(self, frame):
        if frame["epoch"] != self.epoch:
            return
        self.sent.append(frame["offset"])
        if frame["offset"] > self.position and frame["offset"] not in self.above:
            fold(self.state, frame)
            self.above.add(frame["offset"])
        self.covered.append(frame)
        self.position = max(self.position, frame.get("position", frame["offset"]))
        self.above = {offset for offset in self.above if offset > self.position}


class Line:
    """A session and its owner: it answers repairs from the truth when told to, and sends what is taken."""

    def __init__(self, truth, client, limits=None):
        self.truth = truth
        self.client = client
        self.session = Session("s1", 1, parse_cursor(client.cursor), limits or Limits())
        self.session.open(truth.heads)
        self.repairs = []
        self.greeted = False
        self.act()

    def act(self, room=65_536):
        if not self.greeted:
            assert self.session.take(room) == [], "something was sent before the hello"
        while self.session.asks:
            ask = self.session.asks.pop(0)
            assert isinstance(ask, Repair), ask
            self.repairs.append(ask)
        if not self.greeted and not self.session.recovering:
            self.session.greet(datetime.fromtimestamp(NOW, UTC))
            self.greeted = True
        if not self.session.blocked:
            self.client.take(self.session.take(room))

    def hear(self, *entries):
        self.session.deliver(Run(list(entries)))
        self.act()

    def block(self):
        self.session.blocked = True

    def unblock(self, room=65_536):
        self.session.blocked = False
        self.act(room)

    def answer(self, part=None):
        """Answer the oldest repair, perhaps only its first part, or report that it is lost."""
        repair = self.repairs.pop(0)
        found = self.truth.since(repair.after, repair.upto)
        if repair.epoch != self.truth.epoch:
            self.session.lost(repair.topic, "epoch", self.truth.head)
        elif repair.after < self.truth.floor:
            self.session.lost(repair.topic, "floor", self.truth.head)
        else:
            self.session.repaired(repair, found[:part])
        self.act()

    def fail(self):
        self.session.repair_failed(self.repairs.pop(0))
        self.act()

    def look(self, *, trusted=True):
        self.session.look(self.truth.heads, trusted=trusted)
        self.session.tick(NOW)
        self.act()

    def settle(self):
        """Let everything that is under way end well."""
        self.unblock()
        for _ in range(20):
            while self.repairs:
                self.answer()
            self.look()
            self.act()
        assert self.greeted and not self.session.waiting, "it does not come to rest"
