"""A conversation with a session: what the service says goes in, what the session says and tells comes out."""

import json

from realtime.appsync.auth import ApiKey
from realtime.appsync.endpoint import derive
from realtime.appsync.events_session import EventsSession

KEY = ApiKey("da2-key")


class Talk:
    """One Events session with ids that can be foreseen: ``id-1``, ``id-2``, …"""

    def __init__(self, opened=True, prefix="id"):
        numbers = iter(range(1, 1_000))
        self.session = EventsSession(
            derive("http://localhost:4000/event"), fresh_id=lambda: f"{prefix}-{next(numbers)}"
        )
        if opened:
            self.session.opened()
            self.session.data_to_send()

    @classmethod
    def open(cls, prefix="id"):
        """Return one that the service has accepted."""
        talk = cls(prefix=prefix)
        talk.hear(type="connection_ack", connectionTimeoutMs=300_000)
        talk.events()
        return talk

    def hear(self, now=0.0, **frame):
        self.session.receive(json.dumps(frame), now)

    def events(self):
        return self.session.events_received()

    def told(self, kind):
        """The events of one kind since the last look."""
        return [event for event in self.events() if isinstance(event, kind)]

    def sent(self):
        return [json.loads(text) for text in self.session.data_to_send()]

    def subscribe(self, channel, now=0.0):
        return self.session.subscribe(channel, KEY, now)

    def live(self, channel):
        ident = self.subscribe(channel)
        self.hear(type="subscribe_success", id=ident)
        self.events()
        self.session.data_to_send()
        return ident

    def publish(self, channel, *events, now=0.0):
        return self.session.publish(channel, list(events), KEY, now)
