"""Channel names: what the Events API accepts.

https://docs.aws.amazon.com/appsync/latest/eventapi/channel-namespaces.html: one to five segments of 1 to 50 letters,
digits and dashes, each beginning and ending with a letter or digit; a slash at either end may be left out; names are
case-sensitive. A subscription may end in ``*``, which takes in every channel below, at any depth.
"""

from __future__ import annotations

import re

from realtime.appsync.exceptions import ChannelError

MAX_SEGMENTS = 5
MAX_SEGMENT_LENGTH = 50
SEGMENT = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,48}[A-Za-z0-9])?")


def parse_channel(text: str) -> str:
    """Return the channel's one spelling, ``/a/b``. Raises ChannelError, saying which rule the name breaks."""
    segments = _segments(text)
    for segment in segments:
        _check(text, segment)
    return _spelled(text, segments)


def parse_pattern(text: str) -> str:
    """As ``parse_channel``, for a subscription: the last segment may be ``*``, if another one comes before it."""
    *stem, last = _segments(text)
    if last != "*":
        return parse_channel(text)
    if not stem:
        raise ChannelError(f"channel {text!r} names no namespace before the wildcard")
    for segment in stem:
        _check(text, segment)
    return _spelled(text, [*stem, last])


def namespace(channel: str) -> str:
    """Return the first segment of a parsed channel or pattern."""
    return channel.split("/", 2)[1]


def _spelled(text: str, segments: list[str]) -> str:
    """Return the one spelling, which is mostly what was given: thousands of links hold nine of them each."""
    path = "/" + "/".join(segments)
    return text if path == text else path


def _segments(text: str) -> list[str]:
    segments = text.removeprefix("/").removesuffix("/").split("/")
    if len(segments) > MAX_SEGMENTS:
        raise ChannelError(f"channel {text!r} has {len(segments)} segments; at most {MAX_SEGMENTS} are allowed")
    return segments


def _check(text: str, segment: str) -> None:
    if not segment:
        raise ChannelError(f"channel {text!r} has an empty segment")
    if len(segment) > MAX_SEGMENT_LENGTH:
        raise ChannelError(f"channel {text!r}: segment {segment[:20]!r}… is longer than {MAX_SEGMENT_LENGTH}")
    if not SEGMENT.fullmatch(segment):
        raise ChannelError(
            f"channel {text!r}: segment {segment!r} may hold letters, digits and inner dashes only"
            + (" (a wildcard stands last, alone)" if "*" in segment else "")
        )
