"""What an operator reads in ``links show`` while something is wrong: the right reason, on the real worker."""

import json
import threading
from datetime import UTC, datetime

import pytest

from tests.demo import until
from tests.faults.stack import Stack

pytestmark = [pytest.mark.faults, pytest.mark.feature("S3.9")]


def shown(stack, name):
    """What the command prints of a link, as an operator would run it."""
    return json.loads(stack.run_manage("links", "show", name, "--json"))


@pytest.fixture
def says():
    """Wait for a reason that the command prints of a link: of it as it is, or of a transition since the test began.

    What earlier tests did must not have tripped the breaker of that person's link.
    """
    began = datetime.now(UTC).isoformat(timespec="milliseconds")

    def told(stack, name):
        whole = shown(stack, name)
        return [whole["reason"], *(row["reason"] for row in whole["transitions"] if row["at"] >= began)]

    def check(stack, name, text, deadline=30):
        heard = []

        def is_told():
            heard[:] = told(stack, name)
            return any(text in reason for reason in heard)

        try:
            until(is_told, f"{text!r} in links show", deadline)
        except AssertionError as error:
            error.add_note(f"it said: {heard}")
            raise

    return check


def test_a_server_that_accepts_and_then_drops_is_tried_less_and_less(stack, people, assert_nothing_lost):
    """The attempts rise although each connection is accepted: only one that holds would be forgiven."""
    ended = threading.Event()

    def drop_what_is_accepted():
        while not ended.wait(0.05):
            stack.fault("drop", user="viewer", code=1011, reason="overloaded")

    dropping = threading.Thread(target=drop_what_is_accepted)
    dropping.start()
    try:
        until(lambda: shown(stack, "viewer")["attempt"] >= 3, "attempts", 30)
        whole = shown(stack, "viewer")
    finally:
        ended.set()
        dropping.join()
    assert whole["drops"] >= 2 and "overloaded" in whole["last_error"]
    stack.clear_faults()
    assert_nothing_lost(**vars(people))


def test_a_channel_that_is_denied_for_good_is_named_and_the_others_go_on(stack, people, says, assert_nothing_lost):
    stack.fault("subscribe-error", user="viewer", channel="roleChanged", errorType="UnauthorizedException")
    stack.fault("drop", user="viewer")
    says(stack, "viewer", "refused: roleChanged")
    whole = shown(stack, "viewer")
    denied = [row for row in whole["subscriptions"] if row["state"] != "live"]
    assert (whole["state"], whole["live_feeds"]) == ("open", "8/9")
    assert [(row["feed"], "Unauthorized" in row["error"]) for row in denied] == [("roleChanged", True)]
    stack.clear_faults()
    stack.fault("drop", user="viewer")
    assert_nothing_lost(**vars(people))


def test_a_token_that_expires_during_an_outage_is_refreshed_and_that_is_said(stack, people, says, assert_nothing_lost):
    stack.fault("drop", user="owner", **{"for": 2})
    stack.fault("expire-token", user="owner")
    says(stack, "owner", "refreshing the token")
    until(lambda: shown(stack, "owner")["state"] == "open", "the link", 30)
    assert_nothing_lost(**vars(people))


def test_a_close_with_the_normal_code_is_no_farewell(stack, people, says, assert_nothing_lost):
    connects = shown(stack, "rival")["connects"]
    stack.fault("drop", user="rival", code=1000)
    says(stack, "rival", "closed by the service: code 1000")
    until(lambda: shown(stack, "rival")["connects"] > connects, "the next connection", 30)
    assert_nothing_lost(**vars(people))


def test_an_upgrade_refused_with_401_waits_for_other_credentials(stack, people, says, assert_nothing_lost):
    stack.fault("refuse", user="rival", status=401)
    stack.fault("drop", user="rival")
    says(stack, "rival", "the service refuses the credentials: HTTP 401")
    whole = shown(stack, "rival")
    assert whole["state"] == "waiting"
    assert (whole["trouble"]["kind"], whole["trouble"]["code"]) == ("authentication-required", "auth-rejected")
    assert "sign in again" in whole["trouble"]["next"]
    stack.clear_faults()
    stack.run_manage("links", "reconnect", "rival")
    assert shown(stack, "rival")["state"] == "waiting", "insisting does not make credentials better"
    with stack.sign_in("rival"):
        assert_nothing_lost(**vars(people))


def test_an_issuer_that_is_down_is_named(stack, people, says, assert_nothing_lost):
    stack.fault("issuer-down")
    stack.fault("expire-token", user="owner")
    stack.fault("drop", user="owner")
    says(stack, "owner", "the issuer answered HTTP 503")
    is_about = {"kind": "authentication-required"}.items()
    until(
        lambda: is_about <= (shown(stack, "owner")["trouble"] or {}).items(), "what it is about, while it is down", 30
    )
    stack.clear_faults()
    assert_nothing_lost(**vars(people))


def test_a_wrong_key_is_told_from_an_outage(tmp_path, says):
    wrong = {"APPSYNC_AUTH": "api-key", "APPSYNC_API_KEY": "da2-wrong", "SNAPSHOT_URL": ""}
    with Stack(tmp_path, **wrong) as stack, stack.sign_in("viewer"):
        says(stack, "viewer", "the service refuses the credentials")
        assert shown(stack, "viewer")["state"] == "waiting"


@pytest.mark.soak
def test_a_half_open_connection_is_found_by_its_silence(stack, people, says, assert_nothing_lost):
    """Twenty seconds until the next ping, twenty more for its answer."""
    stack.fault("half-open", user="viewer")
    says(stack, "viewer", "ping timeout: no pong within 20 s", 60)
    stack.clear_faults()
    assert_nothing_lost(**vars(people))
