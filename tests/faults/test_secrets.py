"""A real run with secrets that can be recognized; afterwards none of them is where somebody could read it."""

import re
import sqlite3
import subprocess
from base64 import b64encode, urlsafe_b64encode
from contextlib import ExitStack
from types import SimpleNamespace

import pytest
from redis import Redis

from tests.demo import LOCAL, ROOT, until
from tests.faults.browser import LiveBrowser
from tests.faults.canaries import PLANTED, SETTINGS, found_in, tokens
from tests.faults.stack import Stack, _inherited
from tests.faults.talkative import CRASH

pytestmark = [pytest.mark.faults, pytest.mark.feature("S3.10")]

PAGES = ["/", "/devices/", "/archives/", "/organization/", "/connection/", "/live/snapshot/", "/healthz", "/readyz"]
KINDS = ["link", "transition", "gap", "undecodablepayload", "worker", "switch", "topic"]
ADMIN = ["/admin/", *(f"/admin/realtime/{kind}/" for kind in KINDS)]
SHARED = {
    "api-key": PLANTED["the API key"],
    "lambda": PLANTED["the Lambda token"],
    "iam": PLANTED["the AWS secret"],
}


class TalkativeStack(Stack):
    """The product with every logger at DEBUG, and an emulator that takes the planted credentials."""

    def __init__(self, folder):
        super().__init__(folder, devices=12, rate=5.0, LOG_LEVEL="DEBUG", **SETTINGS)
        for process in (self.worker, self.web):
            process.part.command = self._talking(process.part.command)
        command = self.emulator.part.command
        accepted = (
            *("--api-key", PLANTED["the API key"], "--lambda-token", PLANTED["the Lambda token"]),
            *("--iam-key", f"AKIDCANARY:{PLANTED['the AWS secret']}"),
        )
        self.emulator.part.command = lambda: [*command(), *accepted]

    @staticmethod
    def _talking(command):
        def talking():
            python, _, *arguments = command()
            return [python, "-m", "tests.faults.talkative", *arguments]

        return talking

    def run(self, *arguments):
        """Run a command as somebody at a terminal does, all loggers on; return what it printed."""
        python, _, *_ = self.worker.part.command()
        environment = {**_inherited(), **self.worker.part.environment(), **self._extra}
        command = [python, "-m", "tests.faults.talkative", *arguments]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, timeout=60, check=False)
        return done.stdout + done.stderr

    def restart_worker(self, **settings):
        self.worker.stop()
        self.worker._extra = {**self._extra, **settings}
        self.worker.start()

    def stored_tokens(self):
        key = self._demo._options.token_key
        return tokens([row["sealed"] for row in self.query("SELECT sealed FROM realtime_credential")], key)


# The run is played in chapters, each a fixture that goes on where the one before ended.


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    """Two people are signed in, with open pages and live links."""
    with TalkativeStack(tmp_path_factory.mktemp("secrets")) as stack, ExitStack() as exits:
        run = SimpleNamespace(stack=stack, evidence={}, secrets=dict(PLANTED), people={})
        for who in ("viewer", "operator"):
            client = run.people[who] = exits.enter_context(stack.sign_in(who))
            exits.enter_context(LiveBrowser(client, "ws"))
            run.secrets[f"the {who}'s session"] = client.cookies["sessionid"]
        until(lambda: both_live(stack), "live links")
        run.secrets |= {f"{what}, first": token for what, token in stack.stored_tokens().items()}
        yield run


@pytest.fixture(scope="module")
def hurt_links(started):
    hurt(started.stack)
    return started


@pytest.fixture(scope="module")
def commanded(hurt_links):
    hurt_links.evidence |= commands(hurt_links.stack)
    tokens_now = hurt_links.stack.stored_tokens()
    hurt_links.secrets |= {f"{what}, later": token for what, token in tokens_now.items()}
    return hurt_links


@pytest.fixture(scope="module")
def otherwise_authorized(commanded):
    for mode in SHARED:
        commanded.evidence |= shared_credential(commanded.stack, mode)
    return commanded


@pytest.fixture(scope="module")
def run(otherwise_authorized):
    """The whole run: what it left behind by where that is, and the secrets that were used in it."""
    run, stack = otherwise_authorized, otherwise_authorized.stack
    stack.restart_worker(UPSTREAM_PROTOCOL="graphql")
    until(lambda: stack.is_live("sub-viewer"), "a link that speaks GraphQL")
    run.evidence |= pages("viewer", run.people["viewer"], PAGES)
    run.evidence |= pages("operator", run.people["operator"], [*PAGES, *ADMIN])
    run.evidence |= {"/metrics": metrics(stack), **stores(stack)}
    run.evidence |= {f"the log of {name}": stack._log(name).read_bytes() for name in ("worker", "web", "valkey")}
    return run


def hurt(stack):
    """Refusals, bad frames, a session that fails with a token in its hands, a token that expires, no issuer."""
    stack.fault("refuse", status=401, count=1, user="operator")
    stack.fault("drop", user="operator")
    until(lambda: not stack.control("faults")["faults"], "the refusal", 20)
    stack.fault("malformed")
    stack.fault("malformed", frame=f'{{"type":"{CRASH}"}}')
    until(lambda: "planted, with a Token at hand" in stack.worker.said(), "the failure", 20)
    stack.fault("issuer-down", **{"for": 2})
    stack.fault("expire-token", user="viewer")
    stack.fault("drop", user="viewer")
    until(lambda: both_live(stack), "links that are live again")
    stack.fault("subscribe-error", errorType="UnauthorizedException", count=1, user="viewer")
    stack.fault("snapshot-down", count=2)
    stack.fault("drop")
    until(lambda: not stack.control("faults")["faults"] and both_live(stack), "links that are live once more")


def both_live(stack):
    return stack.is_live("sub-viewer") and stack.is_live("sub-operator")


def commands(stack):
    jwt = stack.stored_tokens()["the ID token 0"]
    url, graphql = stack._demo._endpoints["events_url"], stack._demo._endpoints["graphql_url"]
    document = "subscription s($orgId: ID!) { onRoleChange(orgId: $orgId) { role } }"
    subscription = ("--query", document, "--variables", '{"orgId": "org-aurora"}')
    listening = ("listen", "--protocol", "graphql", *subscription, "--url", graphql, "--carrier", "query")
    return {
        "publish over HTTP": stack.run("publish", "/default/a", "1", "--url", url, "--api-key", SHARED["api-key"]),
        "publish over a socket": stack.run("publish", "/default/a", "1", "--over", "ws", "--url", url, "--token", jwt),
        "publish with a signature": stack.run("publish", "/default/a", "1", "--url", url, "--auth", "iam"),
        "publish to nobody": stack.run("publish", "/a/b", "1", "--url", "http://127.0.0.1:1/event", "--token", jwt),
        "listen, as a query": stack.run(*listening, "--token", jwt, "--seconds", "1"),
        "doctor": stack.run("doctor", "--user", "viewer"),
        "doctor with a token": stack.run("doctor", "--token", jwt),
        "links": stack.run("links", "show", "viewer"),
        "retention": stack.run("retention"),
        "check": stack.run("check", "--deploy"),
    }


def shared_credential(stack, mode):
    """Let the worker authorise otherwise, with a snapshot token of its own."""
    before = len(stack.worker.said())
    stack.restart_worker(
        APPSYNC_AUTH=mode,
        SNAPSHOT_URL=stack._demo._endpoints["snapshot_url"] + "?user={userId}",
        SNAPSHOT_TOKEN=PLANTED["the snapshot's token"],
    )
    until(lambda: "HTTP 401" in stack.worker.said()[before:], f"a snapshot asked for with {mode}")
    return {f"the link with {mode}": stack.run("links", "show", "viewer")}


def pages(who, client, addresses):
    """Return every page that somebody sees at these addresses, and each row's page of a list."""
    evidence, seen = {}, list(addresses)
    for address in addresses:
        text = client.get(address).text
        rows = re.findall(rf'href="({re.escape(address)}[^"?]+/)"', text) if address in [*ADMIN, "/devices/"] else []
        seen += rows[:5]
    for address in seen:
        answer = client.get(address)
        evidence[f"{who}'s {address}"] = answer.content + repr(answer.headers).encode()
    return evidence


def metrics(stack):
    authorization = {"Authorization": f"Bearer {PLANTED['the metrics token']}"}
    answer = LOCAL.get(f"{stack.address}/metrics", headers=authorization)
    assert answer.status_code == 200
    return answer.content


def stores(stack):
    """Return what the database holds, table by table and byte by byte, and what Valkey holds."""
    with sqlite3.connect(f"file:{stack.database}?mode=ro", uri=True) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        evidence = {f"the table {name}": _everything(connection, name) for name in tables}
    connection.close()
    for file in stack.state_dir.glob("db.sqlite3*"):
        evidence[f"the file {file.name}"] = file.read_bytes()
    with Redis.from_url(f"unix://{stack.socket}") as client:
        for key in client.scan_iter():
            evidence[f"the key {key!r}"] = key + _value(client, key)
    return evidence


def _everything(connection, table):
    return b"\n".join(repr(row).encode() for row in connection.execute(f'SELECT * FROM "{table}"'))


def _value(client, key):
    kind = client.type(key)
    readers = {b"stream": client.xrange, b"string": client.get, b"hash": client.hgetall, b"set": client.smembers}
    return repr(readers[kind](key)).encode() if kind in readers else repr(client.zrange(key, 0, -1)).encode()


USED = ("the viewer's session", "the ID token 0, first", "the refresh token 0, first")


def test_links_are_refused_and_fail_and_recover(hurt_links):
    log = hurt_links.stack.worker.said()
    for happened in ("planted, with a Token at hand", "HTTP 503", " DEBUG "):
        assert happened in log


def test_commands_use_every_credential(commanded):
    for how in ("over HTTP", "over a socket", "with a signature"):
        assert b"event 0:" in commanded.evidence[f"publish {how}"]
    assert b"event 0: sent" in commanded.evidence["publish with a signature"]
    assert b"state=live" in commanded.evidence["listen, as a query"]
    assert {what.partition(" token")[0] for what in commanded.secrets} >= {"the ID", "the access", "the refresh"}


def test_links_authorise_in_every_way(otherwise_authorized):
    assert {f"the link with {mode}" for mode in SHARED} <= otherwise_authorized.evidence.keys()


def test_no_secret_is_where_somebody_could_read_it(run):
    leaks = found_in(run.evidence, run.secrets)
    assert not leaks, leaks


def test_the_search_looked_where_there_is_something(run):
    assert b" DEBUG " in run.evidence["the log of worker"] and b" DEBUG " in run.evidence["the log of web"]
    assert b"realtime_credential" in run.evidence["the file db.sqlite3"]
    assert b"unreadable frame" in run.evidence["the table realtime_transition"] + run.evidence["the log of worker"]
    assert "operator's /admin/realtime/undecodablepayload/" in run.evidence


@pytest.mark.parametrize("spelling", ["plain", "cut", "header", "address", "column"])
@pytest.mark.parametrize(
    "what", [*PLANTED, "the viewer's session", "the ID token 0, first", "the refresh token 0, first"]
)
def test_a_secret_that_is_somewhere_is_found(run, what, spelling):
    """The search is shown to be able to fail, for each secret and each way it may be spelt."""
    secret = run.secrets[what]
    carried = f'{{"host":"h","Authorization":"{secret}"}}'.encode()
    leak = {
        "plain": f"INFO asked with {secret}".encode(),
        "cut": f"ERROR refused: …{secret[-20:]}".encode(),
        "header": b"Sec-WebSocket-Protocol: header-" + urlsafe_b64encode(carried).rstrip(b"="),
        "address": b"GET /graphql?header=" + b64encode(carried),
        "column": repr((7, f'{{"headers": {{"authorization": "{secret}"}}}}')).encode(),
    }[spelling]
    assert (what, "planted here") in found_in({"planted here": leak}, run.secrets)
