"""Where an API is: every form of address that people have, and what is derived from it."""

import pytest

from realtime.appsync.endpoint import derive
from realtime.appsync.exceptions import BadEndpoint

ID = "abcdefghijklmnopqrstuvwx12"
API = f"{ID}.appsync-api.eu-west-1.amazonaws.com"
REALTIME = f"{ID}.appsync-realtime-api.eu-west-1.amazonaws.com"

EVENTS = [
    # address, HTTP, WebSocket, host, region
    (f"https://{API}", f"https://{API}/event", f"wss://{REALTIME}/event/realtime", API, "eu-west-1"),
    (f"https://{API}/", f"https://{API}/event", f"wss://{REALTIME}/event/realtime", API, "eu-west-1"),
    (f"https://{API}/event", f"https://{API}/event", f"wss://{REALTIME}/event/realtime", API, "eu-west-1"),
    (f"https://{API}/event/", f"https://{API}/event", f"wss://{REALTIME}/event/realtime", API, "eu-west-1"),
    (f"https://{REALTIME}/event", f"https://{API}/event", f"wss://{REALTIME}/event/realtime", API, "eu-west-1"),
    (f"wss://{REALTIME}/event/realtime", f"https://{API}/event", f"wss://{REALTIME}/event/realtime", API, "eu-west-1"),
    (f"HTTPS://{API.upper()}/event", f"https://{API}/event", f"wss://{REALTIME}/event/realtime", API, "eu-west-1"),
    (
        f"https://{API}.cn/event",
        f"https://{API}.cn/event",
        f"wss://{REALTIME}.cn/event/realtime",
        f"{API}.cn",
        "eu-west-1",
    ),
    (
        f"https://{ID}.appsync-api.us-gov-west-1.amazonaws.com",
        f"https://{ID}.appsync-api.us-gov-west-1.amazonaws.com/event",
        f"wss://{ID}.appsync-realtime-api.us-gov-west-1.amazonaws.com/event/realtime",
        f"{ID}.appsync-api.us-gov-west-1.amazonaws.com",
        "us-gov-west-1",
    ),
    (
        "https://events.example.com",
        "https://events.example.com/event",
        "wss://events.example.com/event/realtime",
        "events.example.com",
        None,
    ),
    (
        "wss://events.example.com/event/realtime",
        "https://events.example.com/event",
        "wss://events.example.com/event/realtime",
        "events.example.com",
        None,
    ),
    (
        "http://localhost:4000/event",
        "http://localhost:4000/event",
        "ws://localhost:4000/event/realtime",
        "localhost:4000",
        None,
    ),
    (
        "ws://127.0.0.1:4000",
        "http://127.0.0.1:4000/event",
        "ws://127.0.0.1:4000/event/realtime",
        "127.0.0.1:4000",
        None,
    ),
    ("http://[::1]:4000", "http://[::1]:4000/event", "ws://[::1]:4000/event/realtime", "[::1]:4000", None),
    (
        "https://XN--BCHER-KVA.example/event",
        "https://xn--bcher-kva.example/event",
        "wss://xn--bcher-kva.example/event/realtime",
        "xn--bcher-kva.example",
        None,
    ),
    # Whatever is said besides the address is not taken over.
    (
        "https://user:pw@events.example.com/event?x=1#y",
        "https://events.example.com/event",
        "wss://events.example.com/event/realtime",
        "events.example.com",
        None,
    ),
    # Hosts that look like AWS's and are not: one host serves both.
    (
        f"https://short.{API[27:]}",
        f"https://short.{API[27:]}/event",
        f"wss://short.{API[27:]}/event/realtime",
        f"short.{API[27:]}",
        None,
    ),
    (
        "https://x.appsync-realtime-api.example.com/event",
        "https://x.appsync-realtime-api.example.com/event",
        "wss://x.appsync-realtime-api.example.com/event/realtime",
        "x.appsync-realtime-api.example.com",
        None,
    ),
    (
        f"https://{API}.evil.example/event",
        f"https://{API}.evil.example/event",
        f"wss://{API}.evil.example/event/realtime",
        f"{API}.evil.example",
        None,
    ),
]


@pytest.mark.feature("S0.7")
@pytest.mark.parametrize(("url", "http_url", "realtime_url", "host", "region"), EVENTS)
def test_b01_an_events_address_gives_all_the_others(url, http_url, realtime_url, host, region):
    endpoint = derive(url)
    assert (endpoint.http_url, endpoint.realtime_url) == (http_url, realtime_url)
    assert (endpoint.host, endpoint.region, endpoint.dialect) == (host, region, "events")


@pytest.mark.parametrize(
    ("url", "realtime_url"),
    [
        (f"https://{API}/graphql", f"wss://{REALTIME}/graphql"),
        (f"https://{API}", f"wss://{REALTIME}/graphql"),
        ("https://graphql.example.com/graphql", "wss://graphql.example.com/graphql/realtime"),
        ("http://localhost:4000", "ws://localhost:4000/graphql/realtime"),
    ],
)
def test_b01_a_graphql_address_has_its_realtime_path_only_off_the_standard_hosts(url, realtime_url):
    assert derive(url, dialect="graphql").realtime_url == realtime_url


def test_the_realtime_address_can_be_given():
    endpoint = derive("https://events.example.com", realtime_url="wss://sockets.example.com/somewhere")
    assert (endpoint.realtime_url, endpoint.host) == ("wss://sockets.example.com/somewhere", "events.example.com")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "events.example.com",
        "ftp://events.example.com",
        "https://",
        "https:///event",
        "https://events.example.com/other",
        f"https://{API}/graphql",
        "https://events.example.com/event/realtime/more",
        "http://[::1",
        "http://localhost:port",
        "http://localhost:99999",
    ],
)
def test_b01_an_address_that_can_not_be_one_is_refused_with_its_text(url):
    with pytest.raises(BadEndpoint) as caught:
        derive(url)
    assert repr(url) in str(caught.value)
    assert caught.value.scope == "configuration"


def test_b01_a_host_in_letters_that_dns_does_not_know_is_refused_with_the_form_to_give():
    """Which ASCII form it has depends on the edition of IDNA: two libraries might dial two hosts."""
    with pytest.raises(BadEndpoint, match="xn--"):
        derive("https://straße.example/event")


@pytest.mark.feature("S3.10")
@pytest.mark.parametrize(
    ("url", "plaintext", "loopback"),
    [
        ("https://events.example.com", False, False),
        ("http://events.example.com", True, False),
        ("http://localhost:4000", True, True),
        ("http://127.0.0.1:4000", True, True),
        ("http://[::1]:4000", True, True),
        ("http://127.0.0.1.evil.example", True, False),
    ],
)
def test_what_would_travel_in_the_clear_is_known(url, plaintext, loopback):
    endpoint = derive(url)
    assert (endpoint.plaintext, endpoint.loopback) == (plaintext, loopback)


def test_an_override_counts_for_what_travels_in_the_clear():
    endpoint = derive("https://events.example.com", realtime_url="ws://events.example.com/event/realtime")
    assert (endpoint.plaintext, endpoint.loopback) == (True, False)
