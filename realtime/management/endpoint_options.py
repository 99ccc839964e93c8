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


def add_arguments(parser: CommandParser) -> None:
    parser.add_argument("--url", help="HTTP address of the API (APPSYNC_EVENTS_URL)")
    parser.add_argument("--realtime-url", help="WebSocket address, if it is not the derived one")
    parser.add_argument("--api-key", help="authorise with this API key (APPSYNC_API_KEY)")
    parser.add_argument("--token", help="authorise with this JWT or Lambda token")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")


def endpoint(options: dict[str, Any]) -> Endpoint:
    """Return the endpoint meant; raises CommandError with what to give."""
    upstream = config.load().upstream
    if options["url"]:
        upstream = replace(upstream, protocol="events", events_url=options["url"], events_realtime_url="")
    if options["realtime_url"]:
        upstream = replace(upstream, events_realtime_url=options["realtime_url"])
    try:
        return endpoints.configured(upstream)
    except BadEndpoint as error:
        raise CommandError(f"{error} (or give --url)") from None


def authorization(options: dict[str, Any]) -> Authorization:
    """Return the way to authorise; raises CommandError with what to give."""
    if options["api_key"]:
        return ApiKey(options["api_key"])
    if options["token"]:
        return Token(options["token"])
    static = endpoints.static_authorization(config.load().upstream)
    if static is None:
        raise CommandError("no credentials: give --api-key KEY or --token JWT")
    return static
