"""Options that ``listen`` and ``publish`` share: which API, and as whom. What is not given comes from the settings."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django.core.management.base import CommandError, CommandParser

from realtime import config
from realtime.appsync.auth import Token
from realtime.appsync.endpoint import Endpoint
from realtime.appsync.exceptions import BadEndpoint
from realtime.config import Secret, UpstreamConfig
from realtime.upstream import endpoints
from realtime.upstream.credentials import Credentials, StaticCredentials
from realtime.upstream.policy import Policy, preset

TAKES = {"api-key": "api_key", "lambda": "token", "user-pool": "token", "oidc": "token", "iam": "region"}
"""The ways to authorise, and the option that each takes."""


def add_arguments(parser: CommandParser) -> None:
    parser.add_argument("--url", help="HTTP address of the API (APPSYNC_EVENTS_URL or APPSYNC_GRAPHQL_URL)")
    parser.add_argument("--realtime-url", help="WebSocket address, if it is not the derived one")
    parser.add_argument("--auth", choices=TAKES, help="how to authorise (as what is given needs it, else APPSYNC_AUTH)")
    parser.add_argument("--api-key", metavar="KEY", help="the API key (APPSYNC_API_KEY)")
    parser.add_argument("--token", metavar="JWT", help="a user's JWT, or the Lambda token (APPSYNC_LAMBDA_TOKEN)")
    parser.add_argument(
        "--region", help="where to sign for, with AWS credentials of the environment or profile (APPSYNC_REGION)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a line")


def endpoint(options: dict[str, Any]) -> Endpoint:
    """Return the endpoint meant; raises CommandError with what to give."""
    try:
        return endpoints.configured(_upstream(options))
    except BadEndpoint as error:
        raise CommandError(f"{error} (or give --url)", returncode=2) from None


def credentials(options: dict[str, Any]) -> Credentials:
    """Return the way to authorise; raises CommandError with what to give."""
    auth = _auth(options)
    if options["token"]:
        return StaticCredentials(Token(options["token"]))
    try:
        shared = endpoints.shared_credentials(replace(_upstream(options), auth=auth))
    except BadEndpoint as error:
        raise CommandError(f"{error} (or give --{TAKES[auth].replace('_', '-')})", returncode=2) from None
    if shared is None:
        raise CommandError("no credentials: give --api-key KEY, --token JWT or --auth iam", returncode=2)
    return shared


def policy(name: str | None) -> Policy:
    """Return the preset of this name, or the policy that the settings make; raises CommandError with what to set."""
    try:
        return preset(name) if name else endpoints.policy(config.load().upstream)
    except BadEndpoint as error:
        raise CommandError(str(error), returncode=2) from None


def _auth(options: dict[str, Any]) -> str:
    """Return how to authorise: as it is said, else as what is given needs it, else as the settings say."""
    given = {option for option in TAKES.values() if options[option]}
    needed = (auth for auth, option in TAKES.items() if option in given)
    auth: str = options["auth"] or next(needed, config.load().upstream.auth)
    for option in sorted(given - {TAKES[auth]}):
        raise CommandError(
            f"--{option.replace('_', '-')} is not for {auth}: give credentials of one kind", returncode=2
        )
    return auth


def _upstream(options: dict[str, Any]) -> UpstreamConfig:
    """Return the settings, as the options change them."""
    protocol = options.get("protocol") or "events"
    upstream = replace(config.load().upstream, protocol=protocol)
    changes = {}
    if options["url"]:
        changes = {f"{protocol}_url": options["url"], f"{protocol}_realtime_url": ""}
    if options["realtime_url"]:
        changes[f"{protocol}_realtime_url"] = options["realtime_url"]
    return replace(
        upstream,
        api_key=Secret(options["api_key"] or upstream.api_key),
        region=options["region"] or upstream.region,
        **changes,
    )
