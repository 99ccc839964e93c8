"""From the configuration to an endpoint, to credentials that need no user, and to a policy."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from realtime.appsync.auth import ApiKey, Token
from realtime.appsync.endpoint import Dialect, Endpoint, derive
from realtime.appsync.exceptions import BadEndpoint
from realtime.config import ReconnectConfig, UpstreamConfig
from realtime.upstream.credentials import Credentials, StaticCredentials
from realtime.upstream.iam import IamCredentials
from realtime.upstream.policy import PRESETS, Breaker, Lifetime, Policy


def configured(upstream: UpstreamConfig) -> Endpoint:
    """Return the endpoint that the settings name; raises BadEndpoint, naming the variable to set."""
    if not upstream.url:
        variable = "APPSYNC_EVENTS_URL" if upstream.protocol == "events" else "APPSYNC_GRAPHQL_URL"
        raise BadEndpoint(f"{variable} is not set: give the HTTP address of the AppSync API")
    dialect: Dialect = "events" if upstream.protocol == "events" else "graphql"
    endpoint = derive(upstream.url, dialect=dialect, realtime_url=upstream.realtime_url)
    if endpoint.plaintext and not endpoint.loopback and not upstream.allow_plaintext:
        raise BadEndpoint(
            f"{endpoint.realtime_url} is not encrypted and not on this machine: use https, or set "
            "APPSYNC_ALLOW_PLAINTEXT=true if you know the network"
        )
    return endpoint


def shared_credentials(upstream: UpstreamConfig) -> Credentials | None:
    """Return the credentials that all links use alike, or none if each user has own tokens.

    Raises BadEndpoint when they lack what they need, naming the variable to set.
    """
    if upstream.auth == "api-key":
        return StaticCredentials(ApiKey(_given("APPSYNC_API_KEY", upstream.api_key)))
    if upstream.auth == "lambda":
        return StaticCredentials(Token(_given("APPSYNC_LAMBDA_TOKEN", upstream.lambda_token)))
    if upstream.auth == "iam":
        return IamCredentials(upstream.region or _given("APPSYNC_REGION", configured(upstream).region or ""))
    return None


def policy(upstream: UpstreamConfig) -> Policy:
    """Return the preset as the settings change it; what was replaced is heard until its successor is live.

    Raises BadEndpoint when the preset has no such number, naming the variable to unset.
    """
    reconnect, preset = upstream.reconnect, PRESETS[upstream.reconnect.preset]
    numbers = {
        "stable_after": reconnect.stable_after,
        "connect_timeout": reconnect.connect,
        "auth_timeout": reconnect.handshake,
        "sync_timeout": reconnect.sync,
        "ping_every": reconnect.ping,
    }
    changes: dict[str, Any] = {name: value for name, value in numbers.items() if value is not None}
    limits = {"max_attempts": reconnect.attempts, "max_elapsed": reconnect.elapsed}
    changes |= {name: value or None for name, value in limits.items() if value is not None}
    return replace(
        preset,
        backoff=_changed(preset.backoff, reconnect),
        breaker=_breaker(preset.breaker, reconnect),
        lifetime=Lifetime(upstream.lifetime) if upstream.lifetime else None,
        drain=max(preset.drain, 2 * upstream.settle),
        **changes,
    )


def _changed(backoff: Any, reconnect: ReconnectConfig) -> Any:
    """Return the schedule with the numbers that are set."""
    variables = {"base": "BASE_SECONDS", "factor": "FACTOR", "cap": "CAP_SECONDS"}
    changes = {name: value for name in variables if (value := getattr(reconnect, name)) is not None}
    for name in changes.keys() - {field.name for field in fields(backoff)}:
        variable = f"UPSTREAM_RECONNECT_{variables[name]}"
        raise BadEndpoint(f"UPSTREAM_RECONNECT={reconnect.preset} has no {name}: unset {variable}")
    return replace(backoff, **changes)


def _breaker(breaker: Breaker | None, reconnect: ReconnectConfig) -> Breaker | None:
    failures, cool = reconnect.breaker_failures, reconnect.breaker_cool
    if failures is not None:
        breaker = replace(breaker or Breaker(), failures=failures) if failures else None
    if cool is None:
        return breaker
    if breaker is None:
        raise BadEndpoint("UPSTREAM_BREAKER_COOL_SECONDS is set and there is no breaker: set UPSTREAM_BREAKER_FAILURES")
    return replace(breaker, cool=cool, cap=max(breaker.cap, cool))


def _given(variable: str, value: str) -> str:
    if not value:
        raise BadEndpoint(f"{variable} is not set, and APPSYNC_AUTH needs it")
    return str(value)  # a Secret of the configuration goes into no frame
