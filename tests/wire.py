"""What the service says, spelled in each dialect, so that one test can hold for both."""

import json


class EventsWire:
    """The Events API's frames, as text. A target is a channel."""

    dialect = "events"
    subscribes, unsubscribes = "subscribe", "unsubscribe"

    def targets(self, *feeds):
        """Return something to subscribe to for each feed."""
        return {feed: f"/app/sub-1/{feed}" for feed in feeds}

    def target(self, frame):
        """Return what a subscribe asks for."""
        return frame["channel"]

    def authorization(self, frame):
        return frame["authorization"]

    def ack(self, timeout_ms=300_000):
        return json.dumps({"type": "connection_ack", "connectionTimeoutMs": timeout_ms})

    def connection_error(self, kind, **more):
        return json.dumps({"type": "connection_error", "errors": [{"errorType": kind, **more}]})

    def accepted(self, ident):
        return json.dumps({"type": "subscribe_success", "id": ident})

    def refused(self, ident, kind):
        return json.dumps({"type": "subscribe_error", "id": ident, "errors": [{"errorType": kind}]})

    def ended(self, ident):
        return json.dumps({"type": "unsubscribe_success", "id": ident})

    def error(self, kind, ident=None):
        """An error out of the blue, of one subscription or of none."""
        about = {} if ident is None else {"id": ident}
        return json.dumps({"type": "error", **about, "errors": [{"errorType": kind}]})

    def data(self, ident, payload):
        """One event; ``payload`` is its text."""
        return json.dumps({"type": "data", "id": ident, "event": payload})


class GraphQLWire:
    """The GraphQL API's frames, as text. A target is the JSON text of a query and its variables."""

    dialect = "graphql"
    subscribes, unsubscribes = "start", "stop"

    def targets(self, *feeds):
        return {feed: json.dumps({"query": f"subscription {{ {feed} {{ id }} }}", "variables": {}}) for feed in feeds}

    def target(self, frame):
        return frame["payload"]["data"]

    def authorization(self, frame):
        return frame["payload"]["extensions"]["authorization"]

    def ack(self, timeout_ms=300_000):
        return json.dumps({"type": "connection_ack", "payload": {"connectionTimeoutMs": timeout_ms}})

    def connection_error(self, kind, **more):
        return json.dumps({"type": "connection_error", "payload": {"errors": [{"errorType": kind, **more}]}})

    def accepted(self, ident):
        return json.dumps({"type": "start_ack", "id": ident})

    def refused(self, ident, kind):
        return self.error(kind, ident)

    def ended(self, ident):
        return json.dumps({"type": "complete", "id": ident})

    def error(self, kind, ident=None):
        about = {} if ident is None else {"id": ident}
        return json.dumps({"type": "error", **about, "payload": {"errors": [{"errorType": kind}]}})

    def data(self, ident, payload):
        """One result; ``payload`` is the JSON text of its data."""
        return f'{{"type":"data","id":{json.dumps(ident)},"payload":{{"data":{payload}}}}}'


EVENTS, GRAPHQL = EventsWire(), GraphQLWire()
WIRES = [EVENTS, GRAPHQL]
