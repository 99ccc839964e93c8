"""`manage.py fault`: make the running demo's AppSync misbehave."""

from __future__ import annotations

import json
from typing import Any, cast, get_args

import httpx
import msgspec
from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from realtime.emulator.faults import Fault, Kind
from realtime.management.base import ExampleCommand

TIMEOUT = 10.0
OPTIONS: dict[str, tuple[type, str]] = {
    "user": (str, "only this account's sockets, as viewer"),
    "sub": (str, "only this subject's sockets, as sub-viewer"),
    "connection": (str, "only this connection"),
    "channel": (str, "only channels with this in their name"),
    "operation": (str, "subscribe, unsubscribe or publish"),
    "index": (int, "only this event of a publish, from 0"),
    "count": (int, "how often it hits before it ends"),
    "for": (float, "seconds until it ends"),
    "status": (int, "HTTP status of a refusal; 0 resets the connection"),
    "code": (int, "close code of a drop; none leaves without a close frame"),
    "reason": (str, "what the close frame of a drop says"),
    "delay": (int, "milliseconds"),
    "limit": (int, "bytes"),
    "frame": (str, "what a malformed frame holds; none is the beginning of one"),
    "event": (str, "what a handler makes of an event, as JSON text"),
    "errorType": (str, "what an error calls itself, as UnauthorizedException"),
    "message": (str, "what an error says"),
}


class Command(ExampleCommand):
    help = "Plays a fault on the running demo. It stands until its count or time is over, or it is cleared."
    requires_system_checks: list[str] = []
    examples = """\
  manage.py fault drop --user viewer            cut the viewer's link
  manage.py fault drop --user viewer --for 30   and let it not come back for half a minute
  manage.py fault refuse --status 503 --for 20  refuse every new connection
  manage.py fault silence --for 120             say nothing more, keep-alives included
  manage.py fault expire-token --user viewer    let the viewer's tokens expire
  manage.py fault subscribe-error --user viewer --channel roleChanged --error-type UnauthorizedException
  manage.py fault reject-event --index 1 --message "Not this one"
  manage.py fault list
  manage.py fault clear"""

    def add_arguments(self, parser: CommandParser) -> None:
        kinds = [*get_args(Kind), "list", "clear"]
        parser.add_argument("kind", choices=kinds, metavar="KIND", help=f"one of: {', '.join(kinds)}")
        for name, (kind, about) in OPTIONS.items():
            flag = "--error-type" if name == "errorType" else f"--{name}"
            parser.add_argument(flag, dest=name, type=kind, help=about)
        parser.add_argument("--json", action="store_true", help="print the emulator's answer as it is")

    def handle(self, *args: Any, **options: Any) -> None:
        faults = f"{self._control_url()}/faults"
        if options["kind"] == "list":
            answer = self._ask("GET", faults)
        elif options["kind"] == "clear":
            answer = self._ask("DELETE", faults)
        else:
            given = {name: options[name] for name in OPTIONS if options[name] is not None}
            answer = self._ask("POST", faults, {"kind": options["kind"], **given})
        self._show(answer, options["json"])

    def _control_url(self) -> str:
        record = settings.STATE_DIR / "demo.json"
        if not record.exists():
            raise CommandError(f"No demo is running: there is no {record}. Start one with `make demo`.")
        return cast(str, json.loads(record.read_text())["control_url"])

    def _ask(self, method: str, url: str, fault: dict[str, Any] | None = None) -> dict[str, Any]:
        try:
            answer = httpx.request(method, url, json=fault, timeout=TIMEOUT)
        except httpx.TransportError as error:
            raise CommandError(f"The demo does not answer ({error}). Is it still running?") from error
        if answer.is_error:
            raise CommandError(answer.text)
        return cast(dict[str, Any], answer.json())

    def _show(self, answer: dict[str, Any], as_json: bool) -> None:
        if as_json:
            self.stdout.write(json.dumps(answer))
            return
        for fault in answer["faults"]:
            usual = msgspec.to_builtins(Fault(fault["kind"]))
            if fault["user"]:
                usual["sub"] = fault["sub"]  # which is what the name was resolved to
            told = {name: value for name, value in fault.items() if name in OPTIONS and value != usual[name]}
            where = " ".join(f"{name}={value}" for name, value in told.items())
            self.stdout.write(f"{fault['kind']} {where}".rstrip())
        if "hit" in answer:
            self.stdout.write(f"{len(answer['hit'])} connections hit at once")
        elif not answer["faults"]:
            self.stdout.write("no fault stands")
