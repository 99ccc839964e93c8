"""Where Valkey is, as the settings write it."""

import pytest

from realtime import valkey_address


@pytest.mark.parametrize("url", ["redis://host:6379/1", "rediss://:pw@host", "unix:///run/valkey.sock"])
def test_a_single_server_is_handed_on_as_it_is(url):
    assert valkey_address.parse(url).layer_host(retry=1) == {"address": url, "retry": 1}


def test_sentinels_are_listed_with_the_name_of_their_master():
    host = valkey_address.parse("sentinel://:p%40ss@a:1,b/main").layer_host()
    assert host["sentinels"] == [("a", 1), ("b", 26379)]
    assert host["master_name"] == "main"
    assert host["password"] == "p@ss"


def test_any_node_of_a_cluster_will_do():
    address = valkey_address.parse("cluster://host:7000")
    assert address.cluster
    assert address.layer_host() == {"address": "redis://host:7000"}


@pytest.mark.parametrize("url", ["http://host", "sentinel://host:1", "sentinel:///main", "redis://host/main"])
def test_what_cannot_be_an_address_is_refused(url):
    with pytest.raises(ValueError, match=r"names|begins with none"):
        valkey_address.parse(url)
