"""``manage.py emulator``: a local AppSync on one port."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import sys
from argparse import ArgumentTypeError
from pathlib import Path
from typing import Any, get_args

from django.core.management.base import CommandError, CommandParser

from realtime.emulator.auth import Mode, OperationName
from realtime.emulator.faults import FaultError, check_close
from realtime.emulator.graphql_schema import SchemaError
from realtime.emulator.issuer import KeptError
from realtime.emulator.journal import JournalError
from realtime.emulator.options import DAY, DEFAULT_API_KEY, PASSWORD, Auth, Fleet, Limits, Options
from realtime.emulator.server import Emulator
from realtime.management import arguments
from realtime.management.base import ExampleCommand

AUTH_MODE_HELP = (
    f"takes an operation ({', '.join(get_args(OperationName))}), in one namespace as publish@rooms, =, and the modes"
    f" that it lets in, of {', '.join(get_args(Mode))}, as connect=jwt,api-key; repeatable"
)

DAY_HELP = (
    "let a day pass in this time: sockets live a day, tokens an hour of it, keep-alives come each minute of it and the"
    " time-out is five; what is given apart stays (24 hours, and sockets that live for ever)"
)
NOT_NEGATIVE = (
    *("keep_alive", "timeout", "lifetime", "day", "max_subscriptions", "max_events", "max_event_bytes"),
    *("max_publish_bytes", "fleet", "rate", "organizations", "publish_limit", "event_limit", "connect_limit"),
)


class JsonLines(logging.Formatter):
    """One JSON object a line, for programs."""

    def format(self, record: logging.LogRecord) -> str:
        return json.dumps({"time": record.created, "level": record.levelname, "message": record.getMessage()})


class Command(ExampleCommand):
    help = (
        "Runs a local AppSync (Events and GraphQL) with a moving fleet, a token issuer and faults to order. When it is"
        " ready it prints one line of JSON with its addresses. Accounts: viewer, owner, operator, rival; password"
        f" {PASSWORD}. API key, unless others are given: {DEFAULT_API_KEY}."
    )
    requires_system_checks: list[str] = []
    examples = """\
  manage.py emulator --port 4100 --fleet 240 --rate 5
  manage.py emulator --organizations 20 --people 5 --fleet 400 --rate 200
  manage.py emulator --keep-alive 500 --faults faults.json
  manage.py emulator --day 300 --rate 50
  manage.py emulator --auth-mode publish=api-key,iam --iam-key AKIDEXAMPLE:secret"""

    def add_arguments(self, parser: CommandParser) -> None:
        add = parser.add_argument
        add("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
        add("--port", type=arguments.port, default=0, help="port to listen on; 0 takes a free one (0)")
        add("--root", default="vortex-app", help="channel root of the fleet (vortex-app)")
        add("--namespace", action="append", default=[], metavar="NAME", help="another namespace; repeatable")
        add("--api-key", action="append", metavar="K", help="an API key; repeatable")
        add("--lambda-token", metavar="T", help="the token that the Lambda authorizer lets in")
        add("--snapshot-token", metavar="T", help="the token with which a service asks for anybody's snapshot")
        add("--iam-key", action="append", default=[], metavar="ID:SECRET", help="an IAM key; repeatable")
        add("--auth-mode", action="append", default=[], metavar="OPERATION=MODES", help=AUTH_MODE_HELP)
        add("--check-host", action="store_true", help="refuse authorization objects that name another host")
        add("--refuse-upgrade", action="store_true", help="answer bad credentials by HTTP, not by a connection_error")
        add("--html-escape", action="store_true", help="check signed WebSocket publishes as if <, > and & were escaped")
        add("--token-ttl", type=int, metavar="SECONDS", help="life of id and access tokens (3600)")
        add("--keep-alive", type=int, metavar="MS", help="interval of keep-alives (60000)")
        add("--early-keep-alive", action="store_true", help="begin keep-alives before connection_init")
        add("--timeout", type=int, metavar="MS", help="connectionTimeoutMs of the ack (300000)")
        add("--lifetime", type=float, metavar="SECONDS", help="close each socket at this age (never)")
        add("--lifetime-code", type=_close_code, default=1000, metavar="CODE", help="close code at that age (1000)")
        add("--day", type=float, metavar="SECONDS", help=DAY_HELP)
        add("--max-subscriptions", type=int, default=200, metavar="N", help="subscriptions on a socket (200)")
        add("--replace-duplicates", action="store_true", help="let a subscription replace the one that has its id")
        add("--require-init", action="store_true", help="ignore Events frames before connection_init")
        add("--max-events", type=int, default=5, metavar="N", help="events in a publish (5)")
        add("--max-event-bytes", type=int, default=240 * 1024, metavar="N", help="bytes of an event (245760)")
        add("--max-publish-bytes", type=int, default=1_200_000, metavar="N", help="bytes of its events (1200000)")
        add("--publish-limit", type=int, default=0, metavar="N", help="publishes a second and socket (no limit)")
        add("--event-limit", type=int, default=0, metavar="N", help="published events a second, in all (no limit)")
        add("--connect-limit", type=int, default=0, metavar="N", help="new connections a second (no limit)")
        add("--schema", type=Path, metavar="FILE", help="a GraphQL schema with @aws_subscribe")
        add("--faults", type=Path, metavar="FILE", help="faults to begin with, as JSON")
        add("--fleet", type=int, default=240, metavar="N", help="devices in all (240)")
        add("--rate", type=float, default=0.0, metavar="R", help="changes a second (0)")
        add("--organizations", type=int, default=0, metavar="N", help="equal organisations instead of the demo's")
        add("--people", type=int, default=5, metavar="N", help="people in each of --organizations (5)")
        add("--state", type=Path, metavar="FILE", help="keep world and signing key here over restarts")
        add("--transcript", type=Path, metavar="FILE", help="append every frame and event to this file, as JSON")
        add("--tls-cert", type=Path, metavar="FILE", help="certificate (and key, if not given apart): serve TLS")
        add("--tls-key", type=Path, metavar="FILE", help="its private key")
        add("--json", action="store_true", help="log lines on standard error as JSON too")

    def handle(self, *args: Any, **given: Any) -> None:
        _log(as_json=given["json"], verbosity=given["verbosity"])
        options = _options(given)
        try:
            asyncio.run(self._serve(options))
        except OSError as error:
            raise CommandError(_explain(error, options)) from error
        except (JournalError, KeptError, FaultError, SchemaError) as error:
            raise CommandError(str(error)) from error

    async def _serve(self, options: Options) -> None:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        emulator = Emulator(options)
        try:
            await emulator.start()
            print(json.dumps(emulator.urls), flush=True)
            waits = [asyncio.ensure_future(stop.wait()), asyncio.ensure_future(emulator.failure())]
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for wait in done:
                wait.result()
        finally:
            await emulator.stop()


def _options(given: dict[str, Any]) -> Options:
    for name in NOT_NEGATIVE:
        if (given[name] or 0) < 0:
            raise CommandError(f"--{name.replace('_', '-')} cannot be negative", returncode=2)
    if given["tls_key"] and not given["tls_cert"]:
        raise CommandError("--tls-key needs --tls-cert", returncode=2)
    for name in ("tls_cert", "tls_key"):  # whose loading would not say which file it missed
        if given[name] and not given[name].is_file():
            raise CommandError(f"--{name.replace('_', '-')}: there is no file {given[name]}", returncode=2)
    return Options(
        host=given["host"],
        port=given["port"],
        root=given["root"],
        namespaces=tuple(given["namespace"]),
        auth=Auth(
            api_keys=tuple(given["api_key"] or (DEFAULT_API_KEY,)),
            lambda_token=given["lambda_token"],
            snapshot_token=given["snapshot_token"],
            iam_keys=dict(_iam_key(pair) for pair in given["iam_key"]),
            modes=dict(_auth_mode(pair) for pair in given["auth_mode"]),
            html_escapes_signed_body=given["html_escape"],
            checks_host=given["check_host"],
            refuses_upgrade=given["refuse_upgrade"],
        ),
        limits=_limits(given),
        fleet=Fleet(given["fleet"], given["organizations"], given["people"], given["rate"]),
        token_ttl=_or(given["token_ttl"], max(1, round(3600 * _pace(given)))),
        schema=given["schema"],
        state=given["state"],
        faults=given["faults"],
        transcript=given["transcript"],
        tls_cert=given["tls_cert"],
        tls_key=given["tls_key"],
    )


def _limits(given: dict[str, Any]) -> Limits:
    pace = _pace(given)
    return Limits(
        keep_alive=given["keep_alive"] or max(1, round(60_000 * pace)),
        connection_timeout=_or(given["timeout"], max(1, round(300_000 * pace))),
        lifetime_seconds=_or(given["lifetime"], given["day"]),
        lifetime_close_code=given["lifetime_code"],
        subscriptions=given["max_subscriptions"],
        events_per_publish=given["max_events"],
        event_bytes=given["max_event_bytes"],
        publish_bytes=given["max_publish_bytes"],
        publishes_per_second=given["publish_limit"],
        events_per_second=given["event_limit"],
        connections_per_second=given["connect_limit"],
        requires_init=given["require_init"],
        early_keep_alive=given["early_keep_alive"],
        replaces_duplicates=given["replace_duplicates"],
    )


def _pace(given: dict[str, Any]) -> float:
    """Return how long the service's times take, as a part of what they take on AWS."""
    return given["day"] / DAY if given["day"] else 1.0


def _or(given: Any, default: Any) -> Any:
    return default if given is None else given


def _close_code(text: str) -> int:
    try:
        code = int(text)
        check_close(code)
    except ValueError as error:
        raise ArgumentTypeError(f"{text!r} is not a code that can stand in a close frame") from error
    return code


def _iam_key(pair: str) -> tuple[str, str]:
    ident, colon, secret = pair.partition(":")
    if not (ident and colon and secret):
        raise CommandError("--iam-key takes ID:SECRET", returncode=2)
    return ident, secret


def _auth_mode(pair: str) -> tuple[str, frozenset[str]]:
    operation, _, modes = pair.partition("=")
    wanted = frozenset(modes.split(","))
    if operation.partition("@")[0] not in get_args(OperationName) or not wanted <= set(get_args(Mode)):
        raise CommandError(f"--auth-mode {AUTH_MODE_HELP}", returncode=2)
    return operation, wanted


def _explain(error: OSError, options: Options) -> str:
    if error.filename:
        return f"{error.filename}: {error.strerror}"
    return (
        f"cannot listen on {options.host} port {options.port}: {error.strerror or error}."
        " Stop what uses that port, choose another with --port, or let --port 0 take a free one."
    )


def _log(*, as_json: bool, verbosity: int) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if as_json else logging.Formatter("%(levelname)s %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.DEBUG if verbosity > 1 else logging.WARNING, force=True)
    logging.getLogger("realtime.emulator.frames").setLevel(logging.WARNING)
