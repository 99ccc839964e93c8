"""The engine's configuration: frozen, typed, read from Django's settings in one place.

A composition root calls `load` and hands each part what it needs; no other module of the engine reads
settings.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from django.conf import settings

from realtime.valkey_address import ValkeyAddress

PER_USER = ("user-pool", "oidc")
"""The ways to authorise in which each link sends its own user's token; in the others all links share one credential."""


class Secret(str):
    """A string that does not show itself in a `repr`, as logs and tracebacks print their values."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'•••'" if self else "''"


@dataclass(frozen=True, slots=True)
class ReconnectConfig:
    """A preset by name, and what is set instead of its own numbers; none leaves them. Times are in seconds.

    0 ``attempts`` or ``elapsed`` is no limit, 0 ``breaker_failures`` no breaker.
    """

    preset: str
    base: float | None = None
    factor: float | None = None
    cap: float | None = None
    attempts: int | None = None
    elapsed: float | None = None
    breaker_failures: int | None = None
    breaker_cool: float | None = None
    connect: float | None = None
    handshake: float | None = None
    sync: float | None = None
    ping: float | None = None
    stable_after: float | None = None


@dataclass(frozen=True, slots=True)
class UpstreamConfig:
    """How to reach AppSync. Empty addresses are not configured; times are in seconds.

    ``links`` tells whose connections there are: one for each ``user``, or one ``service`` link for each worker.
    """

    protocol: str
    links: str
    events_url: str
    events_realtime_url: str
    graphql_url: str
    graphql_realtime_url: str
    auth: str
    api_key: Secret
    lambda_token: Secret
    region: str
    token_use: str
    channel_root: str
    ca_file: Path | None
    allow_plaintext: bool
    snapshot_url: str
    snapshot_token: Secret
    reconnect: ReconnectConfig
    grace: float
    settle: float
    lifetime: float

    @property
    def url(self) -> str:
        """The HTTP address of the protocol in use."""
        return self.events_url if self.protocol == "events" else self.graphql_url

    @property
    def shares_a_connection(self) -> bool:
        """Whether all links of a worker are to hear by one; AppSync has wildcards in Events alone."""
        return self.links == "service" and self.protocol == "events"

    @property
    def realtime_url(self) -> str:
        """The WebSocket address of the protocol in use, when it is not derived from `url`."""
        return self.events_realtime_url if self.protocol == "events" else self.graphql_realtime_url


@dataclass(frozen=True, slots=True)
class IssuerConfig:
    """Who gives users their upstream tokens."""

    token_url: str
    client_id: str
    client_secret: Secret


@dataclass(frozen=True, slots=True)
class DeliveryConfig:
    """Limits of the live doors. Times are in seconds, sizes in bytes."""

    transports: tuple[str, ...]
    heartbeat: float
    sessions: int
    sessions_per_user: int
    commands_per_second: float
    frame_bytes: int
    outbox_entries: int
    stuck_after: float
    drain: float


@dataclass(frozen=True, slots=True)
class RetentionConfig:
    """How long things are kept."""

    feed_hours: float
    feed_entries: int
    timeline_days: float
    diagnostics_days: float


@dataclass(frozen=True, slots=True)
class Config:
    """Everything the engine is configured with."""

    upstream: UpstreamConfig
    issuer: IssuerConfig
    delivery: DeliveryConfig
    retention: RetentionConfig
    valkey: ValkeyAddress
    valkey_options: dict[str, Any]
    token_keys: tuple[Secret, ...]
    metrics_token: Secret
    trust_proxy: bool
    product: str


@cache
def load() -> Config:
    """Return the configuration of this process; the same object each time."""
    return Config(
        upstream=_upstream(),
        issuer=IssuerConfig(
            token_url=settings.OIDC_TOKEN_URL,
            client_id=settings.OIDC_CLIENT_ID,
            client_secret=Secret(settings.OIDC_CLIENT_SECRET),
        ),
        delivery=_delivery(),
        retention=RetentionConfig(
            feed_hours=settings.RETENTION_FEED_HOURS,
            feed_entries=settings.RETENTION_FEED_ENTRIES,
            timeline_days=settings.RETENTION_TIMELINE_DAYS,
            diagnostics_days=settings.RETENTION_DIAGNOSTICS_DAYS,
        ),
        valkey=settings.VALKEY,
        valkey_options=settings.VALKEY_OPTIONS,
        token_keys=tuple(Secret(key) for key in settings.TOKEN_KEY),
        metrics_token=Secret(settings.METRICS_TOKEN),
        trust_proxy=settings.TRUST_PROXY,
        product=settings.FLEETLIGHT_PRODUCT,
    )


def _upstream() -> UpstreamConfig:
    return UpstreamConfig(
        protocol=settings.UPSTREAM_PROTOCOL,
        links=settings.UPSTREAM_LINKS,
        events_url=settings.APPSYNC_EVENTS_URL,
        events_realtime_url=settings.APPSYNC_EVENTS_REALTIME_URL,
        graphql_url=settings.APPSYNC_GRAPHQL_URL,
        graphql_realtime_url=settings.APPSYNC_GRAPHQL_REALTIME_URL,
        auth=settings.APPSYNC_AUTH,
        api_key=Secret(settings.APPSYNC_API_KEY),
        lambda_token=Secret(settings.APPSYNC_LAMBDA_TOKEN),
        region=settings.APPSYNC_REGION,
        token_use=settings.APPSYNC_TOKEN_USE,
        channel_root=settings.APPSYNC_CHANNEL_ROOT,
        ca_file=settings.APPSYNC_CA_FILE,
        allow_plaintext=settings.APPSYNC_ALLOW_PLAINTEXT,
        snapshot_url=settings.SNAPSHOT_URL,
        snapshot_token=Secret(settings.SNAPSHOT_TOKEN),
        reconnect=_reconnect(),
        grace=settings.UPSTREAM_GRACE_SECONDS,
        settle=settings.UPSTREAM_SETTLE_SECONDS,
        lifetime=settings.UPSTREAM_LIFETIME_SECONDS,
    )


def _reconnect() -> ReconnectConfig:
    return ReconnectConfig(
        preset=settings.UPSTREAM_RECONNECT,
        base=settings.UPSTREAM_RECONNECT_BASE_SECONDS,
        factor=settings.UPSTREAM_RECONNECT_FACTOR,
        cap=settings.UPSTREAM_RECONNECT_CAP_SECONDS,
        attempts=settings.UPSTREAM_RECONNECT_ATTEMPTS,
        elapsed=settings.UPSTREAM_RECONNECT_ELAPSED_SECONDS,
        breaker_failures=settings.UPSTREAM_BREAKER_FAILURES,
        breaker_cool=settings.UPSTREAM_BREAKER_COOL_SECONDS,
        connect=settings.UPSTREAM_CONNECT_SECONDS,
        handshake=settings.UPSTREAM_HANDSHAKE_SECONDS,
        sync=settings.UPSTREAM_SYNC_SECONDS,
        ping=settings.UPSTREAM_PING_SECONDS,
        stable_after=settings.UPSTREAM_STABLE_SECONDS,
    )


def _delivery() -> DeliveryConfig:
    return DeliveryConfig(
        transports=tuple(settings.LIVE_TRANSPORTS),
        heartbeat=settings.LIVE_HEARTBEAT_SECONDS,
        sessions=settings.LIVE_SESSIONS,
        sessions_per_user=settings.LIVE_SESSIONS_PER_USER,
        commands_per_second=settings.LIVE_COMMANDS_PER_SECOND,
        frame_bytes=settings.LIVE_FRAME_BYTES,
        outbox_entries=settings.LIVE_OUTBOX_ENTRIES,
        stuck_after=settings.LIVE_STUCK_SECONDS,
        drain=settings.LIVE_DRAIN_SECONDS,
    )
