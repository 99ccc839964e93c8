"""The one way to a Valkey client of our own (the channel layer makes its own from the same address)."""

from __future__ import annotations

from typing import Any, cast

from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster
from redis.asyncio.sentinel import Sentinel

from realtime import config


def connect() -> Redis:
    """Return a client for the configured server. It connects at first use and again after each loss."""
    address, options = config.load().valkey, config.load().valkey_options
    if address.sentinels:
        login = {"username": address.username, "password": address.password}
        guards: Any = Sentinel(list(address.sentinels), **login, **options)  # type: ignore[no-untyped-call]
        return cast(Redis, guards.master_for(address.master, **login, **options))
    if address.cluster:
        shared = {name: options[name] for name in ("retry", "socket_timeout", "socket_connect_timeout")}
        return RedisCluster.from_url(address.url, **shared)  # type: ignore[return-value]
    return Redis.from_url(address.url, **options)
