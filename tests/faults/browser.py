"""A browser without a window: it keeps a store by the wire's rules, comes back after every loss, and starts over when
it is told to. What it was told about the way is kept beside it.
"""

import contextlib
import json
import socket
import threading
import time

import httpx
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from realtime.cursor import parse_cursor
from realtime.merge import newer
from tests.demo import DEADLINE

COME_BACK = 0.1
NOT_COMING_BACK = range(4400, 4500)


class Place:
    """How far it is in a topic: the position, and the offsets seen above it."""

    def __init__(self, epoch, offset):
        self.epoch, self.offset, self.ahead = epoch, offset, {}

    def sees(self, frame):
        """Note a frame; tell whether it is news."""
        offset, position = frame["offset"], frame.get("position", frame["offset"])
        overtaken = any(key == frame["key"] and other > offset for other, key in self.ahead.items())
        news = offset > self.offset and offset not in self.ahead and not overtaken
        if offset > self.offset:
            self.ahead[offset] = frame["key"]
        self.offset = max(self.offset, position)
        self.ahead = {other: key for other, key in self.ahead.items() if other > self.offset}
        while self.ahead.pop(self.offset + 1, None) is not None:
            self.offset += 1
        return news


class Store:
    """Entities by the merge rule, and the cursor."""

    def __init__(self):
        self.entities, self.places, self.resyncs = {}, {}, []
        self.new, self.repeated = 0, 0
        self.shown = {}

    @property
    def cursor(self):
        return ",".join(f"{topic}:{place.epoch}:{place.offset}" for topic, place in self.places.items())

    def meet(self, topics):
        """Go on from the server's places where it can't go on from ours; tell whether something may be missing."""
        missing = False
        for topic, at in topics.items():
            place = self.places.get(topic)
            if place is None or place.epoch != at["epoch"] or not at["recovered"]:
                missing = missing or place is not None
                self.places[topic] = Place(at["epoch"], at["offset"])
        return missing

    def replace(self, state):
        self.entities = {key: dict(fields) for key, fields in state["entities"].items()}
        for topic, (epoch, offset) in parse_cursor(state["cursor"]).items():
            self.places[topic] = Place(epoch, offset)

    def apply(self, frame):
        place = self.places.setdefault(frame["topic"], Place(frame["epoch"], frame["offset"] - 1))
        if place.epoch != frame["epoch"]:
            return False
        if not place.sees(frame):
            self.repeated += 1
            return True
        self.new += 1
        self.shown.setdefault(frame["topic"], []).append(frame["offset"])
        if frame.get("gone"):
            self.entities.pop(frame["key"], None)
        elif frame["fields"]:
            known = self.entities.setdefault(frame["key"], {})
            for name, fact in frame["fields"].items():
                if name not in known or newer(tuple(fact[1:]), tuple(known[name][1:])):
                    known[name] = fact
        return True


class LiveBrowser(threading.Thread):
    """One open page.

    ``client`` is signed in; ``transport`` may be changed while it runs, and `drop` hurries that; while ``reading`` is
    clear it reads nothing, and its socket's buffers fill.
    """

    def __init__(self, client, transport="ws"):
        super().__init__(daemon=True)
        self.client = client
        self.transport = transport
        self.store = Store()
        self.told = {}
        self.closed_for_good = None
        self.connects = 0
        self.keys_shown = set()
        self._ended = threading.Event()
        self._line = None
        self.lock = threading.RLock()
        self.reading = threading.Event()
        self.reading.set()

    def __enter__(self):
        self._start_over(time.monotonic() + DEADLINE)
        self.start()
        return self

    def __exit__(self, *exception):
        self._ended.set()
        self.reading.set()
        self.drop()
        self.join(10)

    @contextlib.contextmanager
    def from_cursor(self, cursor):
        """Come with an old cursor and nothing else, as a page does that slept."""
        for topic, (epoch, offset) in parse_cursor(cursor).items():
            self.store.places[topic] = Place(epoch, offset)
        self.start()
        try:
            yield self
        finally:
            self.__exit__()

    # ── What a test asks ─────────────────────────────────────────────────────────────────────────────────────

    def values(self):
        with self.lock:
            return {
                key: {name: fact[0] for name, fact in fields.items()}
                for key, fields in self.store.entities.items()
                if fields
            }

    def value(self, key, name):
        return self.values().get(key, {}).get(name)

    @property
    def topic(self):
        """The topic of the page's own user."""
        return next(topic for topic in self.store.places if topic.startswith("user."))

    def drop(self):
        """Cut the line; the thread comes back by itself."""
        line = self._line
        if line is not None:
            with contextlib.suppress(OSError, RuntimeError, WebSocketException):
                line.close()

    # ── Its life ─────────────────────────────────────────────────────────────────────────────────────────────

    def come_back(self):
        """Try again although it was told not to: what was in the way is gone."""
        self.closed_for_good = None

    def run(self):
        while not self._ended.is_set():
            if self.closed_for_good is not None:
                self._ended.wait(COME_BACK)
                continue
            with contextlib.suppress(OSError, WebSocketException, httpx.TransportError, httpx.StreamError):
                (self._over_websocket if self.transport == "ws" else self._over_sse)()
            self._line = None
            self._ended.wait(COME_BACK)

    def _over_websocket(self):
        address = str(self.client.base_url).rstrip("/")
        cookies = "; ".join(f"{name}={value}" for name, value in self.client.cookies.items())
        with connect(
            f"{address.replace('http', 'ws', 1)}/ws/live/?cursor={self.store.cursor}",
            additional_headers={"Cookie": cookies},
            origin=address,
            max_size=None,
            max_queue=1,
            ping_interval=None,
            sock=_socket(self.client.base_url),
        ) as line:
            self._line = line
            try:
                for text in line:
                    self.reading.wait()
                    self._take(json.loads(text))
            finally:
                if line.close_code in NOT_COMING_BACK and line.close_code != 4429:
                    self.closed_for_good = line.close_code

    def _over_sse(self):
        with (
            httpx.Client(
                base_url=self.client.base_url, cookies=self.client.cookies, timeout=30, verify=False
            ) as client,
            client.stream("GET", "/live/sse/", params={"cursor": self.store.cursor}) as answer,
        ):
            if answer.status_code in (401, 403):
                self.closed_for_good = answer.status_code
                return
            self._line = answer
            for line in answer.iter_lines():
                if line.startswith("data:"):
                    self._take(json.loads(line[5:]))
                if self.transport != "sse":
                    return

    def _take(self, frame):
        with self.lock:
            kind = frame["type"]
            if kind == "hello":
                self.connects += 1
                if self.store.meet(frame["topics"]):
                    self._resync("cursor")
            elif kind == "batch":
                for event in frame["frames"]:
                    self._event(event)
            elif kind == "event":
                self._event(frame)
            elif kind == "system" and frame["event"] == "resync":
                self.store.places[frame["topic"]] = Place(frame["epoch"], frame["offset"])
                self._resync(frame["cause"])
            elif kind == "system":
                self.told[frame["event"]] = frame

    def _event(self, frame):
        self.keys_shown.add(frame["key"])
        if not self.store.apply(frame):
            self._resync("epoch")

    def _resync(self, cause):
        self.store.resyncs.append(cause)
        self._start_over()

    def _start_over(self, deadline=float("inf")):
        """Fetch the snapshot, until it comes; frames wait meanwhile, so none of them can be older than it."""
        while not self._ended.is_set():
            assert time.monotonic() < deadline, "no snapshot came"
            with contextlib.suppress(httpx.TransportError):
                answer = self.client.get("/live/snapshot/")
                if answer.status_code == 200:
                    with self.lock:
                        self.store.replace(answer.json())
                    return
                if answer.status_code in (401, 403):
                    self.closed_for_good = answer.status_code
                    return
            time.sleep(COME_BACK)


def _socket(url):
    """Connect with a small buffer, so that who reads nothing is soon felt at the other end."""
    line = socket.socket()
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    try:
        line.connect((url.host, url.port))
    except OSError:
        line.close()
        raise
    return line
