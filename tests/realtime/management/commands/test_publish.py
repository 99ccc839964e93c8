"""Publishing from a shell, over both transports."""

import pytest

from realtime.emulator.options import DEFAULT_API_KEY
from tests.demo import LOCAL

from .conftest import manage


@pytest.mark.parametrize("over", ["http", "ws"])
def test_each_event_has_its_outcome_also_beyond_five(appsync, over):
    events = [str(number) for number in range(7)]
    done = manage(
        *("publish", "/default/news", *events, "--over", over),
        *("--url", appsync["events_url"], "--api-key", DEFAULT_API_KEY, "--json"),
    )
    assert done.returncode == 0, done.stderr
    assert done.rows == [{"index": number, "outcome": "sent"} for number in range(7)]


@pytest.mark.parametrize("over", ["http", "ws"])
def test_what_the_service_refuses_is_said(appsync, over):
    done = manage(
        *("publish", "/nowhere/news", "1", "--over", over),
        *("--url", appsync["events_url"], "--api-key", DEFAULT_API_KEY),
    )
    assert done.returncode == 1
    assert "Unauthorized" in done.stdout + done.stderr


@pytest.mark.parametrize("over", ["http", "ws"])
def test_an_event_that_a_handler_refuses_does_not_hide_the_others(appsync, over):
    fault = {"kind": "reject-event", "index": 1, "message": "not that one", "count": 1}
    LOCAL.post(f"{appsync['control_url']}/faults", json=fault).raise_for_status()
    done = manage(
        *("publish", "/default/news", "1", "2", "3", "--over", over),
        *("--url", appsync["events_url"], "--api-key", DEFAULT_API_KEY, "--json"),
    )
    assert done.returncode == 1
    assert done.rows == [
        {"index": 0, "outcome": "sent"},
        {"index": 1, "outcome": "failed", "code": "400", "text": "not that one"},
        {"index": 2, "outcome": "sent"},
    ]


@pytest.mark.parametrize("over", ["http", "ws"])
def test_a_publish_that_is_throttled_once_is_made_again(appsync, over):
    fault = {"kind": "throttle", "operation": "publish", "count": 1}
    LOCAL.post(f"{appsync['control_url']}/faults", json=fault).raise_for_status()
    done = manage(
        *("publish", "/default/news", "1", "--over", over),
        *("--url", appsync["events_url"], "--api-key", DEFAULT_API_KEY),
    )
    assert (done.returncode, done.stdout) == (0, "event 0: sent\n")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["/default/x", "not json"], "event 0 is not JSON"),
        (["/default/*", "1"], "wildcard"),
    ],
)
def test_what_can_not_be_published_is_said_before_it_is_tried(arguments, says):
    done = manage("publish", *arguments, "--url", "http://127.0.0.1:1/event", "--api-key", "k")
    assert done.returncode == 2
    assert says in done.stderr
