"""One emulator: puts the parts together, listens on one port, and routes requests and upgrades by path."""

from __future__ import annotations

import asyncio
import logging
import ssl
from dataclasses import dataclass
from random import Random

from realtime.emulator.api import Api
from realtime.emulator.auth import Authorizer, Identity, of_upgrade
from realtime.emulator.broker import Broker
from realtime.emulator.clock import SourceClock
from realtime.emulator.control import Control
from realtime.emulator.errors import ApiError, bad_request, throttled, unauthorized
from realtime.emulator.events import EventsEndpoint, EventsSession
from realtime.emulator.faults import Faults, decode_faults
from realtime.emulator.fleet import Fleet
from realtime.emulator.graphql import FleetBackend, GraphQLBroker, GraphQLEndpoint, GraphQLSession
from realtime.emulator.graphql_schema import Schema
from realtime.emulator.http import HttpConnection, Request, Response, Router, error_response
from realtime.emulator.issuer import Issuer
from realtime.emulator.journal import Journal, load
from realtime.emulator.oauth import OAuth
from realtime.emulator.options import Options
from realtime.emulator.seed import plant
from realtime.emulator.session import Session
from realtime.emulator.snapshot import SnapshotEndpoint
from realtime.emulator.transcript import Transcript
from realtime.emulator.websocket import WebSocket, handshake
from realtime.emulator.world import World

logger = logging.getLogger("realtime.emulator")
DIALECTS: tuple[type[Session], ...] = (EventsSession, GraphQLSession)


class Emulator:
    """A local AppSync. ``await start()``, then ``urls`` tells where everything is; ``await stop()`` ends it all."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self._live: set[asyncio.Transport] = set()
        self._transcript = Transcript(options.transcript)
        self._faults = Faults()
        self._server: asyncio.Server | None = None
        self._mover: asyncio.Task[None] | None = None
        self._journal: Journal | None = None
        self._sessions: dict[str, Session] = {}

    async def start(self) -> None:
        """Listen. Raises OSError (port taken), or JournalError, KeptError, FaultError, SchemaError for a bad file."""
        options = self.options
        if options.faults is not None:
            for fault in decode_faults(options.faults.read_bytes()):
                self._faults.add(fault)
        graphql = GraphQLBroker(Schema(options.schema), self._transcript)
        world, last = (options.state and load(options.state)) or (plant(options.fleet), 0)
        if last and len(world.devices) != options.fleet.devices:
            logger.warning("%s holds %d devices: that world goes on", options.state, len(world.devices))
        router = Router(self._upgrade)
        self._server = await asyncio.get_running_loop().create_server(
            lambda: HttpConnection(router, self._live), options.host, options.port, ssl=_tls(options)
        )
        self.port: int = self._server.sockets[0].getsockname()[1]
        self.api = self._make_api(graphql, world)
        self.fleet = self._make_fleet(world, SourceClock(last=last))
        self.fleet.listeners.append(FleetBackend(graphql, world))
        self._mount(router)
        self._mover = asyncio.create_task(self.fleet.move(), name="fleet")

    async def failure(self) -> None:
        """Wait until the fleet can go on no more (a full disk), and raise why; for ever if all is well."""
        if self._mover is not None:
            await self._mover

    async def stop(self) -> None:
        """Close every connection and keep the world; harmless if not started."""
        if self._mover is not None:
            self._mover.cancel()
            await asyncio.gather(self._mover, return_exceptions=True)
        if self._server is not None:
            self._server.close()
        for session in tuple(self._sessions.values()):
            session.socket.close(1001, "emulator stops")
        for transport in tuple(self._live):
            transport.close()
        await self._drained()
        if self._journal is not None:
            self._journal.close()
        self._transcript.close()

    @property
    def _name(self) -> str:
        """The host's name in addresses."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.options.host, self.options.host)
        return f"[{host}]" if ":" in host else host

    @property
    def url(self) -> str:
        scheme = "https" if self.options.tls_cert else "http"
        return f"{scheme}://{self._name}:{self.port}"

    @property
    def urls(self) -> dict[str, str]:
        """All addresses, as the command's ready line gives them."""
        http, ws = self.url, self.url.replace("http", "ws", 1)
        return {
            "events_url": f"{http}/event",
            "events_realtime_url": f"{ws}/event/realtime",
            "graphql_url": f"{http}/graphql",
            "graphql_realtime_url": f"{ws}/graphql/realtime",
            "token_url": f"{http}/oauth/token",
            "revoke_url": f"{http}/oauth/revoke",
            "issuer_url": http,
            "snapshot_url": f"{http}/snapshot",
            "control_url": f"{http}/control",
        }

    def _make_api(self, graphql: GraphQLBroker, world: World) -> Api:
        options = self.options
        keys = None if options.state is None else options.state.with_name(options.state.name + ".issuer")
        issuer = Issuer(self.url, ttl=options.token_ttl, path=keys)
        return Api(
            options,
            issuer,
            Authorizer(options.auth, issuer, options.root, f"{self._name}:{self.port}"),
            self._faults,
            self._transcript,
            Broker(self._transcript),
            graphql,
            world,
            self._sessions,
        )

    def _make_fleet(self, world: World, clock: SourceClock) -> Fleet:
        """Bring the world to life; from here on the state file is ours."""
        options = self.options
        if options.state is not None:
            self._journal = Journal(options.state, world, clock)
        return Fleet(
            world,
            clock,
            broker=self.api.broker,
            faults=self._faults,
            root=options.root,
            journal=self._journal,
            rng=Random(options.fleet.seed),
            rate=options.fleet.rate,
        )

    def _mount(self, router: Router) -> None:
        router.add("POST", "/event", EventsEndpoint(self.api).post)
        router.add("POST", "/graphql", GraphQLEndpoint(self.api).post)
        token = self.options.auth.snapshot_token
        snapshot = SnapshotEndpoint(
            self.fleet.world, self.fleet.clock, self.api.issuer, self._faults, service_token=token
        )
        router.add("GET", "/snapshot", snapshot.get)
        OAuth(self.api.issuer, self.fleet.world, self._faults).mount(router)
        Control(self.api, self.fleet).mount(router)

    async def _drained(self) -> None:
        """Give closing connections a moment, then cut them."""
        for _ in range(50):
            if not self._live:
                return
            await asyncio.sleep(0.01)
        for transport in tuple(self._live):
            transport.abort()
        await asyncio.sleep(0)

    # Upgrades

    def _upgrade(self, request: Request, transport: asyncio.Transport) -> asyncio.Protocol | Response:
        answer = self._session_or_refusal(request, transport)
        if isinstance(answer, Response):
            self.api.refused += 1
            told = {"path": request.path, "answer": answer.body.decode()}
            self._transcript.add("refused", code=answer.status, frame=told)
        return answer

    def _session_or_refusal(self, request: Request, transport: asyncio.Transport) -> asyncio.Protocol | Response:
        session_class = next((d for d in DIALECTS if request.path in d.dialect.paths), None)
        try:
            if session_class is None:
                raise bad_request(f"{request.path} takes no WebSocket")
            admission = self._admit(session_class, request)
        except ApiError as error:
            return error_response(error)
        if isinstance(admission, Response):
            return admission
        return self._open(session_class, request, transport, admission)

    def _admit(self, session_class: type[Session], request: Request) -> Admission | Response:
        """Tell who wants in; raises ApiError.

        What is wrong with credentials that are there is told in a frame, unless the options want it told here.
        """
        offered = [name.strip() for name in request.headers.get("sec-websocket-protocol", "").split(",")]
        credentials = of_upgrade(request.headers, request.query, offered)
        if credentials is None:
            raise unauthorized()
        identity, refusal = None, None
        try:
            identity = self.api.authorizer.identify(credentials, session_class.dialect.connect)
        except ApiError as error:
            if self.options.auth.refuses_upgrade:
                raise
            refusal = error
        sub = None if identity is None else identity.sub
        if (refused := self._refuse(sub)) is not None:
            return refused
        if not self.api.connections.takes():
            refusal = throttled()
        if fault := self._faults.match("connection-error", sub=sub):
            refusal = fault.as_error()
        subprotocol = session_class.dialect.subprotocol
        if subprotocol in offered:
            return Admission(subprotocol, identity, refusal)
        word = "SubProtocolNotSupportedError" if any(offered) else "NoProtocolError"
        return Admission(None, None, ApiError(None, word))

    def _refuse(self, sub: str | None) -> Response | None:
        """Return the answer of a standing fault that keeps new connections out."""
        fault = self._faults.match("refuse", sub=sub) or self._faults.match("drop", sub=sub)
        if fault is None:
            return None
        if fault.status == 0:
            return Response(0)
        words = {401: "UnauthorizedException", 403: "ForbiddenException", 429: "LimitExceededError"}
        error_type = words.get(fault.status, "ServiceUnavailable")
        return error_response(ApiError(error_type, fault.message or "Refused by a fault", status=fault.status))

    def _open(
        self,
        session_class: type[Session],
        request: Request,
        transport: asyncio.Transport,
        admission: Admission,
    ) -> asyncio.Protocol | Response:
        answer = handshake(request, admission.subprotocol)
        if answer.status_code != 101:
            return Response(answer.status_code, bytes(answer.body or b""), "text/plain; charset=utf-8")
        transport.write(answer.serialize())
        socket = WebSocket(transport, self._live)
        socket.reader = session_class(self.api, socket, admission.identity, admission.refusal)
        return socket


@dataclass(frozen=True, slots=True)
class Admission:
    """What an upgrade came to: the sub-protocol to name, who it is, and what to tell in a frame instead of an ack."""

    subprotocol: str | None
    identity: Identity | None
    refusal: ApiError | None


def _tls(options: Options) -> ssl.SSLContext | None:
    if options.tls_cert is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(options.tls_cert, options.tls_key)
    return context
