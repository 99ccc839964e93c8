"""One spelling of where Valkey is, for the channel layer and for our own clients.

`redis://` and `rediss://` name a server, `unix://` a socket, `sentinel://host:port,host:port/master` the
guards of one with replicas, `cluster://host:port` any node of a cluster (pub/sub works through each).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

SCHEMES = ("redis", "rediss", "unix", "sentinel", "cluster")
SENTINEL_PORT = 26379


@dataclass(frozen=True, slots=True)
class ValkeyAddress:
    """Where Valkey is: a `url` for redis-py, or `sentinels` that know where `master` is."""

    url: str = ""
    cluster: bool = False
    sentinels: tuple[tuple[str, int], ...] = ()
    master: str = ""
    username: str | None = None
    password: str | None = None

    def layer_host(self, **options: Any) -> dict[str, Any]:
        """Return this address as one entry of the channel layer's `hosts`, with redis-py's `options`."""
        if not self.sentinels:
            return {"address": self.url, **options}
        login = {"username": self.username, "password": self.password}
        return {"sentinels": list(self.sentinels), "master_name": self.master, **login, **options}


def parse(url: str) -> ValkeyAddress:
    """Read an address as written in the settings.

    Raises:
        ValueError: the scheme is not one of `SCHEMES`, or a part that it needs is missing.
    """
    scheme = urlsplit(url).scheme
    if scheme not in SCHEMES:
        raise ValueError(f"begins with none of {', '.join(SCHEMES)}")
    if scheme == "sentinel":
        return _parse_sentinels(url)
    database = urlsplit(url).path.strip("/")
    if scheme != "unix" and database and not database.isdecimal():
        raise ValueError("names a database that is no number; write redis://host:6379/0")
    if scheme == "cluster":
        return ValkeyAddress(url=url.replace("cluster", "redis", 1), cluster=True)
    return ValkeyAddress(url=url)


def _parse_sentinels(url: str) -> ValkeyAddress:
    rest = url.removeprefix("sentinel://")
    places, _, master = rest.partition("/")
    login, _, hosts = places.rpartition("@")
    if not hosts or not master:
        raise ValueError("names no sentinel or no master; write sentinel://host:26379,host:26379/master")
    username, _, password = login.partition(":")
    return ValkeyAddress(
        sentinels=tuple(_host_and_port(host) for host in hosts.split(",")),
        master=master,
        username=unquote(username) or None,
        password=unquote(password) or None,
    )


def _host_and_port(text: str) -> tuple[str, int]:
    host, _, port = text.partition(":")
    return host, int(port or SENTINEL_PORT)
