"""Options that ``listen`` and ``publish`` share: which API, and as whom. What is not given comes from the settings."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django.core.management.base import CommandError, CommandParser

from realtime import config
from realtime.appsync.auth import ApiKey, Authorization, Token
from realtime.appsync.endpoint import Endpoint
from realtime.appsync.exceptions import BadEndpoint
from realtime.upstream import endpoints
from realtime.upstream.credentials import Credentials, StaticCredentials, TokenRefused, TokenUnavailable
from realtime.upstream.iam import IamCredentials


def add_arguments(parser: CommandParser) -> None:
    parser.add_argument("--url", help="HTTP address of the API (APPSYNC_EVENTS_URL or APPSYNC_GRAPHQL_URL)")
    parser.add_argument("--realtime-url", help="WebSocket address, if it is not the derived one")
    parser.add_argument("--api-key", help="authorise with this API key (APPSYNC_API_KEY)")
    parser.add_argument("--token", help="authorise with this JWT or Lambda token")
    parser.add_argument("--iam", metavar="REGION", help="sign with the AWS credentials of the environment or profile")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")


def endpoint(options: dict[str, Any]) -> Endpoint:
    """Return the endpoint meant; raises CommandError with what to give."""
    protocol = options.get("protocol") or "events"
    upstream = replace(config.load().upstream, protocol=protocol)
    changes = {}
    if options["url"]:
        changes = {f"{protocol}_url": options["url"], f"{protocol}_realtime_url": ""}
    if options["realtime_url"]:
        changes[f"{protocol}_realtime_url"] = options["realtime_url"]
    upstream = replace(upstream, **changes)
    try:
        return endpoints.configured(upstream)
    except BadEndpoint as error:
        raise CommandError(f"{error} (or give --url)") from None


def credentials(options: dict[str, Any]) -> Credentials:
    """Return the way to authorise; raises CommandError with what to give."""
    if options["api_key"]:
        return StaticCredentials(ApiKey(options["api_key"]))
    if options["token"]:
        return StaticCredentials(Token(options["token"]))
    if options["iam"]:
        return IamCredentials(options["iam"])
    try:
        shared = endpoints.shared_credentials(config.load().upstream)
    except BadEndpoint as error:
        raise CommandError(str(error)) from None
    if shared is None:
        raise CommandError("no credentials: give --api-key KEY, --token JWT or --iam REGION")
    return shared


async def authorization(options: dict[str, Any]) -> Authorization:
    """Return one authorization of those credentials; raises CommandError if none can be had."""
    try:
        return await credentials(options).get()
    except (TokenRefused, TokenUnavailable) as error:
        raise CommandError(str(error)) from None
