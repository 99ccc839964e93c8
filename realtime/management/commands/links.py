"""``manage.py links``: operators' view of the upstream links, and their wishes."""

from __future__ import annotations

import time
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db.models import Q, QuerySet

from realtime import control, gates, leases
from realtime.clock import now_us
from realtime.management import shown
from realtime.management.arguments import count, rate
from realtime.management.base import ExampleCommand
from realtime.models import LISTENING, Link, Worker
from realtime.upstream.failures import SCOPES
from realtime.upstream.model import Failure
from realtime.upstream.states import State
from realtime.upstream.troubles import AT_REST, Kind, Trouble, next_step

RECENT = 20
DRAIN_SECONDS = 30.0


class Command(ExampleCommand):
    help = "Show upstream links, or ask something of one. A link is named by its id, subject or user name."
    examples = """\
  manage.py links list --state backoff --limit 20
  manage.py links show viewer
  manage.py links reconnect sub-viewer --json
  manage.py links shut maintenance --reason 'AppSync is being moved' --for 1800
  manage.py links gates
  manage.py links service"""

    def add_arguments(self, parser: CommandParser) -> None:
        commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
        listing = commands.add_parser("list", help="a line each")
        listing.add_argument("--state", help="only links in this state")
        listing.add_argument("--search", default="", help="part of the subject, user name, reason or last error")
        listing.add_argument("--limit", type=count, default=50)
        listing.add_argument("--offset", type=count, default=0)
        for name in ("show", *control.OPERATIONS):
            single = commands.add_parser(name, help="all about one link" if name == "show" else f"{name} one link")
            single.add_argument("link", metavar="LINK")

        draining = commands.add_parser(
            "drain", help="have a worker hand over its links, and take none until it restarts"
        )
        draining.add_argument("worker", metavar="WORKER")
        commands.add_parser("service", help="the connection that a worker's links share, if they do")
        commands.add_parser("gates", help="the gates that are shut for all links")
        shutting = commands.add_parser("shut", help="close all links, and keep them closed, for a reason that is shown")
        shutting.add_argument("gate", metavar="GATE", help="a word, such as maintenance")
        shutting.add_argument("--reason", required=True)
        shutting.add_argument("--for", type=rate, dest="seconds", metavar="SECONDS", help="then open by itself")
        commands.add_parser("open", help="open a gate again").add_argument("gate", metavar="GATE")
        for command in commands.choices.values():
            command.add_argument("--json", action="store_true", help="one JSON object a line")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["command"] == "list":
            self._list(options)
        elif options["command"] == "drain":
            self._drain(options["worker"], options["json"])
        elif options["command"] == "service":
            self._show_services(options["json"])
        elif options["command"] == "gates":
            self._show_gates(options["json"])
        elif options["command"] in ("shut", "open"):
            self._move_gate(options)
        elif options["command"] == "show":
            self._show(shown.find_link(options["link"]), options["json"])
        else:
            self._ask(shown.find_link(options["link"]), options["command"], options["json"])

    def _list(self, options: dict[str, Any]) -> None:
        links = _matching(options["state"], options["search"])
        page = links[options["offset"] : options["offset"] + options["limit"]]
        for link in page:
            shown.row(self.stdout, _summary(link), as_json=options["json"])
        if not options["json"]:
            self.stdout.write(f"{len(page)} of {links.count()} links")

    def _show(self, link: Link, as_json: bool) -> None:
        gaps = [shown.gap(gap) for gap in link.gaps.order_by("-started_at")[:RECENT]]
        transitions = [
            {"at": shown.time(row.at), "state": row.state, "reason": row.reason, "attempt": row.attempt}
            for row in link.transitions.order_by("-at", "-pk")[:RECENT]
        ]
        trouble = _trouble(link)
        subscriptions = [{**row, "since": shown.time(row["since"])} for row in link.feeds()]
        if as_json:
            whole = {
                **_summary(link),
                "trouble": trouble,
                "subscriptions": subscriptions,
                "gaps": gaps,
                "transitions": transitions,
            }
            shown.row(self.stdout, whole, as_json=True)
            return
        for name, value in _summary(link).items():
            self.stdout.write(f"{name:>14}  {value}")
        if trouble:
            self.stdout.write("\nwhy it is not open")
            for name, value in trouble.items():
                self.stdout.write(f"{name:>14}  {value}")
        for title, rows in (("subscriptions", subscriptions), ("gaps", gaps), ("transitions", transitions)):
            self.stdout.write(f"\n{title}")
            for row in rows:
                self.stdout.write("  " + "  ".join(f"{k}={v}" for k, v in row.items() if v not in (None, "")))

    def _drain(self, worker: str, as_json: bool) -> None:
        """Ask for it and wait until the others have everything, or say what is left."""
        try:
            leases.drain(worker)
        except leases.CanNotDrain as error:
            raise CommandError(str(error)) from None
        for _ in range(round(DRAIN_SECONDS / control.POLL_SECONDS)):
            if not leases.left(worker):
                if as_json:
                    shown.row(self.stdout, {"worker": worker, "buckets": 0}, as_json=True)
                else:
                    self.stdout.write(f"worker {worker} has handed everything over; it may be stopped")
                return
            time.sleep(control.POLL_SECONDS)
        raise CommandError(f"worker {worker} still has {leases.left(worker)} buckets after {DRAIN_SECONDS:g} s")

    def _show_services(self, as_json: bool) -> None:
        told = Worker.objects.filter(stopped=False).exclude(service_link={}).order_by("name")
        for name, values in told.values_list("name", "service_link"):
            shown.row(self.stdout, {"worker": name, **values, "since": shown.time(values["since"])}, as_json=as_json)
        if not told and not as_json:
            self.stdout.write("no worker that runs has a service link: see UPSTREAM_LINKS in the settings")

    def _show_gates(self, as_json: bool) -> None:
        for name, gate in gates.shut().items():
            values = {"gate": name, "reason": gate.reason, "until": shown.time(gate.until)}
            shown.row(self.stdout, values, as_json=as_json)

    def _move_gate(self, options: dict[str, Any]) -> None:
        try:
            if options["command"] == "shut":
                gates.shut_gate(options["gate"], options["reason"], options["seconds"])
            elif not gates.open_gate(options["gate"]):
                raise CommandError(f"the gate {options['gate']!r} is not shut; see `manage.py links gates`")
        except gates.BadGate as error:
            raise CommandError(str(error), returncode=2) from None
        self._show_gates(options["json"])

    def _ask(self, link: Link, operation: str, as_json: bool) -> None:
        try:
            revision = control.wish(link.pk, operation)
            shown.row(self.stdout, _summary(control.wait_applied(link.pk, revision)), as_json=as_json)
        except (control.NotNow, control.NotApplied) as error:
            raise CommandError(str(error)) from None


def _matching(state: str | None, search: str) -> QuerySet[Link]:
    links = Link.objects.select_related("user").order_by("subject")
    if state:
        links = links.filter(state=state)
    if search:
        links = links.filter(
            Q(subject__icontains=search)
            | Q(user__username__icontains=search)
            | Q(reason__icontains=search)
            | Q(last_error__icontains=search)
        )
    return links


def _trouble(link: Link) -> dict[str, str] | None:
    """Say why a link is not open: kind and code of what is wrong, if anything, its cause, and what to do."""
    state = State(link.state)
    if state is State.OPEN:
        return None
    if not link.error_kind:
        at_rest = AT_REST.get(state, "Nothing: it is on its way.")
        return {"kind": "", "code": link.state, "scope": "link", "cause": link.reason, "next": at_rest}
    trouble = Trouble(Kind(link.error_kind), Failure(link.error_class))
    return {
        "kind": link.error_kind,
        "code": link.error_class,
        "scope": SCOPES[trouble.failure],
        "cause": link.reason or link.last_error,
        "next": next_step(trouble),
    }


def _lag(link: Link) -> float | None:
    """For how many seconds it is not known of a link that is up that all is recorded; while it is quiet, since when."""
    if link.state not in LISTENING or not link.proven_at:
        return None
    return round((now_us() - link.proven_at) / 1_000_000, 1)


def _summary(link: Link) -> dict[str, Any]:
    return {
        "id": link.pk,
        "subject": link.subject,
        "user": link.user.get_username(),
        "state": link.state,
        "reason": link.reason,
        "live": link.live,
        "desire": link.desire,
        "since": shown.time(link.since),
        "attempt": link.attempt,
        "next_try_at": shown.time(link.next_try_at),
        "worker": link.worker,
        "protocol": link.protocol,
        "live_feeds": f"{sum(row['state'] == 'live' for row in link.feeds())}/{len(link.subscriptions)}",
        "connections": link.connections,
        "received": link.received,
        "connects": link.connects,
        "drops": link.drops,
        "rotations": link.rotations,
        "rotates_at": shown.time(link.rotates_at),
        "silences": link.silences,
        "recorded_to": shown.time(link.proven_at),
        "lag": _lag(link),
        "health": link.health,
        "breaker": link.breaker,
        "last_error": link.last_error,
    }
