"""System checks: settings that would lose changes, leak secrets or fail later are told at the start.

`manage.py check` runs them; those about deployments need `--deploy`. Each has an id and says what to do.
"""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cryptography.fernet import Fernet
from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning

from realtime import config
from realtime.appsync.channels import parse_channel
from realtime.appsync.exceptions import BadEndpoint, ChannelError
from realtime.upstream import endpoints

Apps = Sequence[AppConfig] | None

IN_MEMORY_LAYER = "channels.layers.InMemoryChannelLayer"
CORE_LAYER = "channels_redis.core.RedisChannelLayer"


def check_layer(app_configs: Apps, **kwargs: Any) -> list[CheckMessage]:
    backend = settings.CHANNEL_LAYERS.get("default", {}).get("BACKEND")
    if backend == IN_MEMORY_LAYER:
        return [
            Error(
                "The channel layer is in memory, so no process hears another.",
                hint="Use channels_redis.pubsub.RedisPubSubChannelLayer.",
                id="realtime.E001",
            )
        ]
    if backend == CORE_LAYER:
        return [
            Error(
                "The core Redis layer drops messages above its capacity and loses its groups in a restart.",
                hint="Use channels_redis.pubsub.RedisPubSubChannelLayer.",
                id="realtime.E002",
            )
        ]
    return []


def check_upstream(app_configs: Apps, **kwargs: Any) -> list[CheckMessage]:
    return list(_upstream_problems(config.load().upstream))


def check_stores(app_configs: Apps, **kwargs: Any) -> list[CheckMessage]:
    problems: list[CheckMessage] = []
    if settings.DATABASES["default"].get("CONN_MAX_AGE") != 0:
        problems.append(
            Error(
                "CONN_MAX_AGE is not 0: under ASGI a connection that is kept for a thread leaks.",
                hint="Set it to 0; PostgreSQL connections are pooled instead (DATABASE_POOL_SIZE).",
                id="realtime.E008",
            )
        )
    if not all(_is_fernet_key(key) for key in config.load().token_keys):
        problems.append(
            Error(
                "TOKEN_KEY holds something that is no key, so users' tokens cannot be encrypted.",
                hint="Each key is 32 bytes in base64: `openssl rand -base64 32`. The newest comes first.",
                id="realtime.E006",
            )
        )
    return problems


def check_deployment(app_configs: Apps, **kwargs: Any) -> list[CheckMessage]:
    problems: list[CheckMessage] = []
    if "*" in settings.ALLOWED_HOSTS:
        problems.append(
            Error(
                "ALLOWED_HOSTS answers for every name, so a forged Host header passes as ours.",
                hint="Name the hosts of this site.",
                id="realtime.E007",
            )
        )
    if settings.DATABASES["default"]["ENGINE"].endswith("sqlite3"):
        problems.append(
            Warning(
                "The database is SQLite: one machine, one writer at a time, one worker.",
                hint="Set DATABASE_URL to a PostgreSQL server.",
                id="realtime.W001",
            )
        )
    if not config.load().upstream.url:
        problems.append(
            Warning(
                "No AppSync address is set, so nothing will ever arrive.",
                hint="Set APPSYNC_EVENTS_URL (or APPSYNC_GRAPHQL_URL) to the API's HTTP address.",
                id="realtime.W002",
            )
        )
    return problems


def _upstream_problems(upstream: config.UpstreamConfig) -> Iterator[CheckMessage]:
    for name, address in _addresses(upstream):
        if _is_plain(address) and not upstream.allow_plaintext:
            yield Error(
                f"{name} is not encrypted, and tokens would travel over it.",
                hint="Use https:// or wss://. APPSYNC_ALLOW_PLAINTEXT=true allows it all the same.",
                id="realtime.E003",
            )
    if upstream.auth == "iam" and not upstream.region:
        yield Error(
            "APPSYNC_AUTH is iam, and requests cannot be signed without a region.",
            hint="Set APPSYNC_REGION, such as eu-west-1.",
            id="realtime.E004",
        )
    secrets = {
        "api-key": ("APPSYNC_API_KEY", upstream.api_key),
        "lambda": ("APPSYNC_LAMBDA_TOKEN", upstream.lambda_token),
    }
    name, secret = secrets.get(upstream.auth, ("", "not needed"))
    if not secret:
        yield Error(f"APPSYNC_AUTH is {upstream.auth}, and {name} is not set.", hint=f"Set {name}.", id="realtime.E005")
    if upstream.snapshot_url and upstream.auth not in config.PER_USER and "{userId}" not in upstream.snapshot_url:
        yield Error(
            f"All links share what APPSYNC_AUTH={upstream.auth} sends, so SNAPSHOT_URL has to say whose view is meant.",
            hint="Put {userId} where the user's subject belongs, and set SNAPSHOT_TOKEN to what the backend takes.",
            id="realtime.E010",
        )
    try:
        endpoints.policy(upstream)
    except BadEndpoint as error:
        text, _, hint = str(error).partition(": ")
        yield Error(f"{text}.", hint=f"{hint[0].upper()}{hint[1:]}.", id="realtime.E014")
    if upstream.links == "service":
        yield from _service_link_problems(upstream)
    if upstream.ca_file is not None and not _holds_certificates(upstream.ca_file):
        yield Error(
            "APPSYNC_CA_FILE holds no certificate, so no server could be trusted.",
            hint="Give the authority's certificate as PEM, which begins with -----BEGIN CERTIFICATE-----.",
            id="realtime.E013",
        )
    try:
        parse_channel(f"/{upstream.channel_root}/user/any/device/presenceChanged")
    except ChannelError as error:
        yield Error(
            f"APPSYNC_CHANNEL_ROOT cannot begin a channel: {error}",
            hint="Use letters, digits and dashes.",
            id="realtime.E009",
        )


def _service_link_problems(upstream: config.UpstreamConfig) -> Iterator[CheckMessage]:
    if upstream.auth in config.PER_USER:
        yield Error(
            f"UPSTREAM_LINKS is service, and with APPSYNC_AUTH={upstream.auth} nobody may hear everybody's channels.",
            hint="Set APPSYNC_AUTH to api-key, lambda or iam, or UPSTREAM_LINKS to user.",
            id="realtime.E011",
        )
    if not upstream.snapshot_url:
        yield Error(
            "UPSTREAM_LINKS is service, and without snapshots it is not known who may be told what.",
            hint="Set SNAPSHOT_URL, with {userId} for whose view is meant, and SNAPSHOT_TOKEN.",
            id="realtime.E012",
        )


def _addresses(upstream: config.UpstreamConfig) -> list[tuple[str, str]]:
    return [
        ("APPSYNC_EVENTS_URL", upstream.events_url),
        ("APPSYNC_EVENTS_REALTIME_URL", upstream.events_realtime_url),
        ("APPSYNC_GRAPHQL_URL", upstream.graphql_url),
        ("APPSYNC_GRAPHQL_REALTIME_URL", upstream.graphql_realtime_url),
        ("SNAPSHOT_URL", upstream.snapshot_url),
        ("OIDC_TOKEN_URL", config.load().issuer.token_url),
    ]


def _is_plain(address: str) -> bool:
    parts = urlsplit(address)
    return parts.scheme in ("http", "ws") and not _is_loopback(parts.hostname or "")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _holds_certificates(file: Path) -> bool:
    try:
        ssl.create_default_context(cafile=file)
    except ssl.SSLError:
        return False
    return True


def _is_fernet_key(key: str) -> bool:
    try:
        Fernet(key)
    except ValueError:
        return False
    return True
