"""Payload → event → copy. What can't be decoded is an error with its place in the payload, never a loss in silence."""

from __future__ import annotations

import msgspec

from realtime import clock
from realtime.events import Event, Fact, Id
from realtime.feeds import ABSENT, BY_NAME, BY_TYPE, FEEDS, Feed
from realtime.merge import canonical

UNREADABLE = (msgspec.DecodeError, UnicodeError, RecursionError)
"""What reading a payload can raise; the last one from JSON that is nested too deep."""


AT = " - at `"
"""What stands in a text between what is wrong and where that is."""


class Undecodable(ValueError):
    """A payload that is not what its feed holds; the text says what is wrong, and where."""


class OfNoFeed(Exception):
    """An event of a type that no feed has; the text is the type."""


def path_in(text: str) -> str:
    """Return the JSON path that the text of an Undecodable names, or nothing."""
    return text.rpartition(AT)[2].rstrip("`") if AT in text else ""


_decoders = {feed.name: msgspec.json.Decoder(feed.event) for feed in FEEDS}


def decode(feed_name: str, payload: str) -> Event:
    """Return the event in a payload of the Events dialect; raises Undecodable.

    The channel decides which event it is; a payload that calls itself by another feed's name is refused, because
    whoever published it was mistaken about one of the two.
    """
    feed = BY_NAME[feed_name]
    try:
        event = _decoders[feed_name].decode(payload)
    except UNREADABLE as error:
        raise Undecodable(str(error)) from error
    if event.event_type not in (None, feed.event_type, feed.name):
        raise Undecodable(f"eventType is {event.event_type!r}, not {feed.event_type!r} - at `$.eventType`")
    return event


class _Label(msgspec.Struct, rename="camel"):
    """What of a payload says what it is, and whose."""

    event_type: str | None = None


class _Owner(msgspec.Struct, rename="camel"):
    org_id: Id
    event_type: str | None = None


def fact_of(feed_name: str, event: Event) -> Fact:
    """Return what the event says, reduced to the fields it sets."""
    feed: Feed = BY_NAME[feed_name]
    fields = tuple((name, canonical(value)) for name, value in feed.fields(event).items() if value is not ABSENT)
    time = None if event.timestamp is None else clock.to_us(event.timestamp)
    return Fact(feed_name, feed.event_type, feed.key(event), fields, time, feed.urgent(event))


def fact_by_type(payload: str) -> Fact:
    """Return what an event says that came without the name of its channel: ``eventType`` says of which feed it is.

    Raises OfNoFeed for one that is of no feed of ours, and Undecodable.
    """
    try:
        event_type = _label.decode(payload).event_type
    except UNREADABLE as error:
        raise Undecodable(str(error)) from error
    if event_type is None:
        raise Undecodable(f"no eventType, without which nobody can tell what it is{AT}$.eventType`")
    feed = BY_TYPE.get(event_type)
    if feed is None:
        raise OfNoFeed(event_type)
    return fact_of(feed.name, decode(feed.name, payload))


def organization_in(payload: str) -> str | None:
    """Return the organisation whose members alone a payload concerned that could not be read, if that can be known.

    What is about a person concerns that person too, who may be no member.
    """
    try:
        owner = _owner.decode(payload)
    except UNREADABLE:
        return None
    feed = BY_TYPE.get(owner.event_type or "")
    return None if feed is None or feed.personal else owner.org_id


_label = msgspec.json.Decoder(_Label)
_owner = msgspec.json.Decoder(_Owner)
