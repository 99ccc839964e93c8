"""From the configuration to an endpoint, and to an authorization that needs no user."""

from __future__ import annotations

from realtime.appsync.auth import ApiKey, Authorization, Token
from realtime.appsync.endpoint import Dialect, Endpoint, derive
from realtime.appsync.exceptions import BadEndpoint
from realtime.config import UpstreamConfig


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


def static_authorization(upstream: UpstreamConfig) -> Authorization | None:
    """Return what all links use alike, or none if each user has own tokens."""
    if upstream.auth == "api-key":
        return ApiKey(upstream.api_key)
    if upstream.auth == "lambda":
        return Token(upstream.lambda_token)
    return None
