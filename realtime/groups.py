"""The only place where group names and layer message types are spelt, and the one ``send`` to them.

The layer only wakes: nothing is lost when it loses a message, because every entry can be read again by its offset.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from realtime.events import Entry

FEED_ENTRIES = "feed.entries"
FEED_PROBE = "feed.probe"


def topic(name: str) -> str:
    """Return the group of a topic. Topic names hold only what a group's name may hold."""
    return f"fleetlight.topic.{name}"


def entries_message(topic_name: str, epoch: str, entries: Sequence[Entry]) -> dict[str, Any]:
    """Return the layer message that carries a topic's entries, in the order of their offsets."""
    return {
        "type": FEED_ENTRIES,
        "topic": topic_name,
        "epoch": epoch,
        "entries": [[entry.offset, entry.priority, entry.key, entry.body] for entry in entries],
    }


def probe_message(token: str) -> dict[str, Any]:
    """Return the message by which a hub learns that its join took effect: it comes back to who has joined."""
    return {"type": FEED_PROBE, "token": token}


def publication(layer: Any, group: str, message: dict[str, Any]) -> tuple[str, bytes]:
    """Return the Redis channel and the payload that the layer's ``group_send`` would publish.

    The layer sends one message after the other, each with a round trip of its own; a writer that has messages for many
    groups publishes them together. The channel's name is the layer's private affair: a test holds it to that.
    """
    return str(layer._get_group_channel_name(group)), bytes(layer.serialize(message))


async def send(layer: Any, group: str, message: dict[str, Any]) -> None:
    """Send a message to a group; raises what the layer raises when Valkey is away."""
    await layer.group_send(group, message)
