"""How one emulator is set up; the command's options, as a value."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

# 26 characters after the prefix, as the service's own keys have.
DEFAULT_API_KEY = "da2-fleetlightlocalemulatorkey"
# Everyone's password: these accounts exist in the emulator only.
PASSWORD = "fleetlight"


@dataclass(frozen=True, slots=True)
class Auth:
    """What the API accepts: API keys, one Lambda token, IAM keys by id, and the issuer's own JWTs."""

    api_keys: tuple[str, ...] = (DEFAULT_API_KEY,)
    lambda_token: str | None = None
    iam_keys: dict[str, str] = field(default_factory=dict)
    # Modes that an operation takes (`api-key`, `jwt`, `lambda`, `iam`), for all namespaces or, as `publish@rooms`, for
    # one; an operation that is not named takes all.
    modes: dict[str, frozenset[str]] = field(default_factory=dict)
    # What lets a service ask the snapshot for anybody's view.
    snapshot_token: str | None = None
    # Reproduces a signature mismatch that WebSocket publishes with <, > or & have met on the service.
    html_escapes_signed_body: bool = False
    # Whether the signed or sent `host` has to be this server's own; a client behind a proxy sends the proxy's.
    checks_host: bool = False
    # Whether bad credentials are told by refusing the upgrade over HTTP; both ways have been seen on the service.
    refuses_upgrade: bool = False


DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class Limits:
    """The service's quotas and timers; times in milliseconds unless the name says otherwise."""

    keep_alive: int = 60_000
    connection_timeout: int = 300_000
    # DAY on the service. None: sockets live as long as both ends want.
    lifetime_seconds: float | None = None
    lifetime_close_code: int = 1000
    subscriptions: int = 200
    events_per_publish: int = 5
    event_bytes: int = 240 * 1024
    publish_bytes: int = 1_200_000
    # The service is reported to take 25 publishes a second and connection, 10 000 events and 2 000 new connections a
    # second in all; what it answers above is not known. 0: no limit.
    publishes_per_second: int = 0
    events_per_second: int = 0
    connections_per_second: int = 0
    # `connection_init` is documented as optional on Events; True ignores what comes before it.
    requires_init: bool = False
    # On the service keep-alives begin with the acknowledgement; True begins them with the upgrade.
    early_keep_alive: bool = False
    # An id that is taken is an error on the service; other emulators let the new subscription replace the old one.
    replaces_duplicates: bool = False


@dataclass(frozen=True, slots=True)
class Fleet:
    """The size and pace of the world: devices in all, organisations and people (0: the demo's), changes a second."""

    devices: int = 240
    organizations: int = 0
    people: int = 0
    rate: float = 0.0
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Options:
    """Everything that ``manage.py emulator`` can be told."""

    host: str = "127.0.0.1"
    port: int = 0
    root: str = "vortex-app"
    namespaces: tuple[str, ...] = ()
    auth: Auth = field(default_factory=Auth)
    limits: Limits = field(default_factory=Limits)
    fleet: Fleet = field(default_factory=Fleet)
    token_ttl: int = 3600
    schema: Path | None = None
    state: Path | None = None
    faults: Path | None = None
    transcript: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None

    @property
    def known_namespaces(self) -> frozenset[str]:
        """``default``, the channel root, and those that were asked for."""
        return frozenset({"default", self.root, *self.namespaces})
