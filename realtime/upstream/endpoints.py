"""From the configuration to an endpoint, and to credentials that need no user."""

from __future__ import annotations

from realtime.appsync.auth import ApiKey, Token
from realtime.appsync.endpoint import Dialect, Endpoint, derive
from realtime.appsync.exceptions import BadEndpoint
from realtime.config import UpstreamConfig
from realtime.upstream.credentials import Credentials, StaticCredentials
from realtime.upstream.iam import IamCredentials


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


def _given(variable: str, value: str) -> str:
    if not value:
        raise BadEndpoint(f"{variable} is not set, and APPSYNC_AUTH needs it")
    return str(value)  # a Secret of the configuration goes into no frame
