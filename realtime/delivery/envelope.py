"""Wire format v1: every frame both ways, every error and every close code, spelt once.

Frames are JSON text, the same on each transport. Server frames are structs that are only encoded; client frames are
structs that are only decoded, strictly: what does not fit is answered with an error and never reaches a session.
``docs/reference/wire-protocol.md`` is the contract for strangers.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from realtime.cursor import MAX_TOPICS

VERSION = 1

RequestId = Annotated[str, Meta(min_length=1, max_length=64)] | int
TopicName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,79}$")]
FieldState = tuple[Raw, int, int]
"""A field's value (JSON), the time in microseconds that decides which value is newer, and the tie-break."""


# ── Server to client ──────────────────────────────────────────────────────────────────────────────────────────


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    v: int = VERSION


class TopicPlace(msgspec.Struct, frozen=True, kw_only=True):
    """Where a session starts in a topic. ``recovered``: everything after the client's cursor follows."""

    epoch: str
    offset: int
    recovered: bool


class Hello(Frame, frozen=True, kw_only=True, tag="hello"):
    """The first frame of every session. ``heartbeat`` is in seconds, ``t`` the server's time in microseconds."""

    session: str
    time: str
    t: int
    capabilities: tuple[str, ...]
    topics: dict[str, TopicPlace]
    cursor: str
    heartbeat: float
    user: int


class Hops(msgspec.Struct, frozen=True, kw_only=True):
    """When the change was made, received from upstream, recorded and relayed; microseconds."""

    source: int | None = None
    received: int = 0
    recorded: int = 0
    relayed: int | UnsetType = UNSET


class Event(Frame, frozen=True, kw_only=True, tag="event"):
    """A change of an entity; ``gone`` says that it left this user's view.

    ``position`` is the highest offset below which everything was sent, or replaced by something that was sent.
    Without one it is the ``offset``.
    """

    topic: str
    epoch: str
    offset: int
    key: str
    event: str
    urgent: bool
    source: str
    fields: dict[str, FieldState]
    gone: bool | UnsetType = UNSET
    at: Hops


class State(Frame, frozen=True, kw_only=True, tag="state"):
    """Everything the user may see, and the cursor from which the feed continues it."""

    id: RequestId | UnsetType = UNSET
    full: bool = True
    cursor: str
    entities: Any
    meta: Any


ResyncCause = Literal["epoch", "floor", "retention", "overflow", "above-head"]


class Resync(Frame, frozen=True, kw_only=True, tag="system"):
    """Entries of this topic up to ``offset`` will not follow: fetch the snapshot and go on from its cursor."""

    event: Literal["resync"] = "resync"
    topic: str
    cause: ResyncCause
    epoch: str
    offset: int


class Moving(Frame, frozen=True, kw_only=True, tag="system"):
    """This process leaves: come back, to whichever process answers, after ``after_ms``."""

    event: Literal["moving"] = "moving"
    after_ms: int


class Upstream(Frame, frozen=True, kw_only=True, tag="system"):
    """Whether any worker that keeps upstream links shows signs of life, and since when (microseconds)."""

    event: Literal["upstream"] = "upstream"
    worker: Literal["alive", "silent"]
    since: int


class Path(Frame, frozen=True, kw_only=True, tag="system"):
    """Whether changes reach this process through the layer; without it they come with each second's look.

    ``since`` is when that was noticed (microseconds).
    """

    event: Literal["path"] = "path"
    layer: Literal["ok", "down"]
    since: int


class Reply(Frame, frozen=True, kw_only=True, tag="reply"):
    id: RequestId
    ok: bool = True
    topics: tuple[str, ...] | UnsetType = UNSET


class Pong(Frame, frozen=True, kw_only=True, tag="pong"):
    """The answer to a ping; on streams that can't be asked it comes by itself at each heartbeat."""

    id: RequestId | UnsetType = UNSET
    t: int


class Error(Frame, frozen=True, kw_only=True, tag="error"):
    """What was refused, why, and what to do next; ``retry_after`` in seconds where waiting helps."""

    id: RequestId | UnsetType = UNSET
    code: str
    cause: str
    next: str
    retry_after: float | UnsetType = UNSET


_encoder = msgspec.json.Encoder()
encode = _encoder.encode


def with_position(body: bytes, position: int) -> bytes:
    """Return an event's JSON text with its position added at the end."""
    return b'%b,"position":%d}' % (body[:-1], position)


# ── Client to server ──────────────────────────────────────────────────────────────────────────────────────────


class Command(msgspec.Struct, frozen=True, kw_only=True):
    id: RequestId


class Sync(Command, frozen=True, kw_only=True):
    """Ask for the whole state; the answer is a ``state`` frame with this id."""


class Ping(Command, frozen=True, kw_only=True):
    """Ask for a sign of life; the answer is a ``pong`` with this id."""


class Subscribe(Command, frozen=True, kw_only=True):
    topics: Annotated[tuple[TopicName, ...], Meta(min_length=1, max_length=MAX_TOPICS)]


class Unsubscribe(Command, frozen=True, kw_only=True):
    topics: Annotated[tuple[TopicName, ...], Meta(min_length=1, max_length=MAX_TOPICS)]


class Visibility(Command, frozen=True, kw_only=True):
    """Tell whether anybody can see the page: a hidden one gets what is not urgent gathered, every few seconds."""

    hidden: bool


COMMANDS: Mapping[str, type[Command]] = {
    "sync": Sync,
    "ping": Ping,
    "subscribe": Subscribe,
    "unsubscribe": Unsubscribe,
    "visibility": Visibility,
}


class _Head(msgspec.Struct):
    type: str
    id: RequestId | UnsetType = UNSET


_head_decoder = msgspec.json.Decoder(_Head)
_command_decoders = {name: msgspec.json.Decoder(kind) for name, kind in COMMANDS.items()}


UNREADABLE = (msgspec.DecodeError, UnicodeError, RecursionError)
"""What reading text that is not ours can raise; the last one from JSON that is nested too deep."""


class Refused(Exception):
    """A client frame that is not obeyed; ``error`` is the answer, ``status`` its HTTP status where it has one."""

    def __init__(self, error: Error, status: int = 400) -> None:
        super().__init__(error.cause)
        self.error = error
        self.status = status


def decode_command(text: bytes | str) -> Command:
    """Return the command that a client frame holds; raises Refused with the answer if it holds none."""
    try:
        head = _head_decoder.decode(text)
    except UNREADABLE as exc:
        raise Refused(MALFORMED.error(detail=str(exc))) from exc
    decoder = _command_decoders.get(head.type)
    if decoder is None:
        raise Refused(UNKNOWN_TYPE.error(head.id))
    try:
        return decoder.decode(text)
    except UNREADABLE as exc:
        raise Refused(MALFORMED.error(head.id, detail=str(exc))) from exc


# ── Errors ────────────────────────────────────────────────────────────────────────────────────────────────────


class Fault(NamedTuple):
    """One kind of refusal: the HTTP status it has at an HTTP door, its code, its cause and the next step."""

    status: int
    code: str
    cause: str
    next: str

    def error(
        self, request: RequestId | UnsetType = UNSET, *, detail: str = "", retry_after: float | UnsetType = UNSET
    ) -> Error:
        """Return the frame that answers a request with this refusal."""
        cause = f"{self.cause}: {detail[:200]}" if detail else self.cause
        return Error(id=request, code=self.code, cause=cause, next=self.next, retry_after=retry_after)


MALFORMED = Fault(
    400, "malformed", "the message does not have the form of its type", "Compare it with the wire protocol."
)
UNKNOWN_TYPE = Fault(400, "unknown-type", "this server knows no message of this type", "See hello's capabilities.")
TOO_LARGE = Fault(413, "too-large", "the message is larger than this server takes", "Send a smaller one.")
TOO_FAST = Fault(429, "too-fast", "more messages than the limit allows", "Wait, then send fewer.")
TOO_MANY = Fault(429, "too-many-connections", "too many live connections", "Close another tab, or wait.")
TOO_MANY_TOPICS = Fault(400, "too-many-topics", f"a session has at most {MAX_TOPICS} topics", "Leave one first.")
NOT_ALLOWED = Fault(403, "not-allowed", "this account may not have that topic", "Ask for topics of your own.")
NEEDS_STREAM = Fault(
    409, "needs-stream", "a posted message can't change a stream", "Open the stream anew with its cursor."
)
UNAVAILABLE = Fault(503, "unavailable", "the database does not answer", "Try again.")
NOT_SIGNED_IN = Fault(401, "not-signed-in", "there is no valid sign-in session", "Sign in.")
ACCESS_ENDED = Fault(403, "access-ended", "this account is not active", "Ask an administrator.")
BAD_ORIGIN = Fault(403, "bad-origin", "the request comes from another site", "Allow its origin in the settings.")
BAD_HOST = Fault(
    400, "bad-host", "this site does not answer for the name in the Host header", "Name it in ALLOWED_HOSTS."
)
BAD_METHOD = Fault(405, "bad-method", "this address does not take that method", "See the wire protocol.")
DRAINING = Fault(503, "draining", "this process is leaving", "Connect again.")

FAULTS = (
    MALFORMED, UNKNOWN_TYPE, TOO_LARGE, TOO_FAST, TOO_MANY, TOO_MANY_TOPICS, NOT_ALLOWED, NEEDS_STREAM,
    UNAVAILABLE, NOT_SIGNED_IN, ACCESS_ENDED, BAD_ORIGIN, BAD_HOST, BAD_METHOD, DRAINING,
)  # fmt: skip


# ── Close codes ───────────────────────────────────────────────────────────────────────────────────────────────


class Close(IntEnum):
    """Why a socket was closed.

    4000-4099: come back with backoff. 4400-4499: not before something has changed, 4429 excepted.
    """

    SLOW = 4001
    """The client stopped reading for too long."""
    HEARTBEAT = 4008
    """A client gives up with this code when the server has been silent."""
    FAILED = 4011
    """The server could not go on with this session."""
    MOVING = 4012
    """The process leaves (daphne can't send 1012)."""
    UNAVAILABLE = 4013
    """The database did not answer at the sign-in check."""
    MALFORMED = 4400
    """Too many messages that made no sense."""
    NOT_SIGNED_IN = 4401
    """There is no sign-in session, or it has ended."""
    ACCESS_ENDED = 4403
    """The account may no longer have the feed."""
    TOO_MANY = 4429
    """Too many connections or messages; come back after the error's ``retry_after``."""
