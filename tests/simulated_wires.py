"""The venues of several lanes in the simulator, each with the wire between it and the gateway's link: no sockets.

A frame takes the same time each way, in order on its connection; a request over REST does so too, whatever overtakes
it. Nothing private may leave before the venue's word that it knows us has come: that is checked on every frame.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from fixtures.venues.bybit_instruments import standard_terms as bybit_terms
from fixtures.venues.core.accounts import Account, OwnTrade
from fixtures.venues.core.contracts import decimal_of
from fixtures.venues.core.faults import Fault, Faults, Window
from fixtures.venues.core.makers import Liquidity
from fixtures.venues.core.venue import HttpReply, RefusedConnectionError, SimulatedVenue
from fixtures.venues.core.venue import HttpRequest as VenueRequest
from fixtures.venues.okx_instruments import standard_terms as okx_terms
from fixtures.venues.registry import (
    DEMO_ED25519_KEY,
    DEMO_ED25519_SEED,
    DEMO_KEY,
    DEMO_PASSPHRASE,
    DEMO_SECRET,
)
from gateway.config import Venue
from gateway.venues.kinds import KINDS, dials_of
from gateway.venues.link import SessionLink
from protocols.venues.codec import HttpRequest, HttpResponse, VenueCodec
from protocols.venues.signing import Ed25519Signer, HmacSigner, Keyring
from tests.simulated_expiry import FUTURES, binance_contracts, bybit_listed, okx_listed
from tests.simulated_stalls import Stalls

if TYPE_CHECKING:
    from tests.simulator import World

MS: Final = 1_000_000
START_PAUSE_NS: Final = 1_200 * MS
ADDRESS: Final = "10.0.0.1"
KINDS_SIMULATED: Final = ("binance-usdm", "okx", "bybit")
# As the venue writes them.
SYMBOLS: Final = {
    "binance-usdm": ("BTCUSDT", "ETHUSDT"),
    "okx": ("BTC-USDT-SWAP", "BTC-USD-SWAP", "ETH-USDT-SWAP"),
    "bybit": ("BTCUSDT", "ETHUSDT"),
}
SUFFIXES: Final = {"bybit": ".BYBIT"}
QUIET: Final = Liquidity(levels=4, aggression=0.1)

# Requests that need nobody's name; all others are private.
OPEN_OPS: Final = {
    "okx": frozenset({"login", "subscribe", "unsubscribe"}),
    "bybit": frozenset({"auth", "ping", "subscribe", "unsubscribe"}),
    "binance": frozenset(
        {"time", "ping", "session.logon", "session.status", "session.logout", "userDataStream.start",
         "userDataStream.ping", "userDataStream.stop", "SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS"}
    ),
}  # fmt: skip
# What the answer to a login has, and no other frame of the same connection.
WELCOMES: Final = {"okx": b'"login"', "bybit": b'"auth"', "binance": b'"authorizedSince"'}


def config_text(kinds: Iterable[str], expires: bool = False) -> str:
    """The [[venue]] tables of these venues."""
    return "".join(
        f"""
[[venue]]
name = "{kind}"
kind = "{kind}"
url = "ws://127.0.0.1:1"
rest_url = "http://127.0.0.1:1"
currencies = ["BTC", "ETH", "USDT"]
instruments = [{", ".join(f'"{symbol}"' for symbol in symbols_of(kind, expires))}]
credentials_env = "SIMULATED"
symbol_suffix = "{SUFFIXES.get(kind, "")}"
reconnect_min_ms = 50
reconnect_max_ms = 400
"""
        for kind in kinds
    )


def symbols_of(kind: str, expires: bool) -> tuple[str, ...]:
    """What is traded at a venue, as it writes them; in a world in which contracts end, those too."""
    return SYMBOLS[kind] + (FUTURES[kind] if expires else ())


class LaneWire:
    """One venue, the link of the gateway's present process, and what is between them."""

    def __init__(self, world: World, kind: str) -> None:
        self.world, self.kind = world, kind
        self.config: Venue = next(venue for venue in world.config.venue if venue.name == kind)
        self.random = Random(f"wire:{kind}:{world.seed}")
        self.delay_ns = self.random.randrange(1, 30) * MS // 10
        self.faults = faults_of(world, kind) if world.has_faults else Faults()
        self.venue = build(kind, world, self.faults)
        self.account: Account = next(iter(self.venue.exchange.accounts.values()))
        self.opening = {name: decimal_of(units) for name, units in self.account.balances.items()}
        self.order_check_ns = self.random.choice((0, 500, 2_000)) * MS
        self.order_wait_ns = self.random.choice((0, 200)) * MS
        self.is_asymmetric = kind == "binance-usdm" and self.random.random() < 0.5
        self.stalls = Stalls(kind, world.seed, is_on=world.has_faults and not world.expires)
        self.labels: set[str] = set()
        self.errors: list[str] = []
        self.link: SessionLink

    # -- the gateway's process

    def start(self) -> None:
        """A process has begun: a session of its own, nothing connected."""
        self.conns: dict[str, int] = {}
        self.welcomed: set[int] = set()
        # A process that died is there again after a while: longer than the second in which venues count connections.
        begins_ns = self.world.now_ns + (START_PAUSE_NS if self.world.crashes else 0)
        self.redial_ns: dict[str, int] = dict.fromkeys(self._session().lanes, begins_ns)
        self.looked_ns = 0
        self._due_ns: int | None = None
        self.dials = dials_of(self.config)
        core = self.world.core
        self.link = SessionLink(
            self.kind,
            self._session,
            core.pipeline,
            self.flush,
            symbol_suffix=self.config.symbol_suffix,
            queue_ns=self.order_wait_ns,
            feed_timeout_ns=5_000 * MS,
            order_check_ns=self.order_check_ns,
        )
        core.inquiries.feeds.connect(self.kind, self.link)
        self.link.recover(self.world.now_ns)

    def _session(self) -> VenueCodec:
        if self.is_asymmetric:
            private = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(DEMO_ED25519_SEED))
            pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
            keyring = Keyring(DEMO_ED25519_KEY, Ed25519Signer(pem))
        else:
            keyring = Keyring(DEMO_KEY, HmacSigner(DEMO_SECRET), DEMO_PASSPHRASE if self.kind == "okx" else "")
        wanted = frozenset(symbols_of(self.kind, self.world.expires))
        common = {
            "keyring": keyring,
            "symbols": wanted.__contains__,
            "trades_since_ns": self.world.core.ledger.time_ns - 60_000 * MS,
            "request_timeout_ns": 700 * MS,
            "recv_window_ms": 500,
            "dead_man_s": 30 if self.world.seed % 2 else 0,
            "books_on_demand": True,
        }
        return KINDS[self.kind].make(self.config, common)

    def died(self) -> None:
        """The gateway's process is gone, and its sockets with it; what they had taken may arrive all the same."""
        arrives = self.random.random() < 0.5
        late_ns = self.stalls.of_crash()
        for conn in self.conns.values():
            self._hang_up(conn, after_ns=late_ns or (self.delay_ns if arrives else 0))
        self.conns = {}

    def _hang_up(self, conn: int, after_ns: int) -> None:
        if after_ns:
            self.world.call_in(after_ns, lambda: self.venue.disconnect(conn, self.world.now_ns))
        else:
            self.venue.disconnect(conn, self.world.now_ns)

    # -- time

    @property
    def deadline_ns(self) -> int:
        """When `step` has something to do."""
        times = [self.venue.deadline_ns, *self.redial_ns.values()]
        if (due_ns := self.link.deadline_ns) is not None:
            # What is due and could not be done yet is looked at again, as the transport's timer does.
            due_ns = max(due_ns, self.looked_ns + MS)
            times.append(due_ns)
        self._due_ns = due_ns
        return min(times)

    def step(self) -> None:
        """Let the venue and the session do what is due, and carry what they have for each other."""
        now = self.world.now_ns
        if self.venue.deadline_ns <= now:
            self.venue.tick(now)
        if self._due_ns is not None and self._due_ns <= now:
            self.looked_ns = now
            self.link.tick(now)
            self.world.flush()
        self._dial(now)
        self._carry()

    def is_at_rest(self) -> bool:
        return self.link.session.is_live and self.kind in self.world.core.market.live_venues

    # -- connections

    def _dial(self, now: int) -> None:
        for lane in self.link.session.lanes:
            if lane in self.conns or self.redial_ns.get(lane, 0) > now:
                continue
            self.redial_ns.pop(lane, None)
            url = self.link.url(lane)
            if not url:
                continue
            if self.dials is not None and not self.dials.take(1, now):
                self.redial_ns[lane] = self.dials.available_at_ns(1, now)
                continue
            path, _, query = url.partition("?")
            try:
                self.conns[lane] = self.venue.connect(path, dict(parse_qsl(query)), ADDRESS, now)
            except RefusedConnectionError as error:
                if error.status == 429:
                    self.errors.append("too many connections")
                self._redial(lane)
                continue
            self.link.connected(now, lane)
            self.world.flush()

    def _redial(self, lane: str) -> None:
        self.redial_ns[lane] = self.world.now_ns + self.random.randrange(50, 400) * MS

    def _lost(self, conn: int) -> None:
        lane = self._lane(conn)
        if lane is not None:
            del self.conns[lane]
            self._redial(lane)
            self.link.disconnected(self.world.now_ns, lane)
            self.world.flush()

    def _lane(self, conn: int) -> str | None:
        return next((lane for lane, known in self.conns.items() if known == conn), None)

    def _close_what_is_asked(self) -> None:
        for lane in self.link.lanes_to_close():
            conn = self.conns.get(lane)
            if conn is not None:
                self._hang_up(conn, after_ns=self.delay_ns)
                self._lost(conn)

    # -- frames and requests

    def flush(self) -> None:
        """Send what the session has queued."""
        session = self.link.session
        for lane in session.lanes:
            conn = self.conns.get(lane)
            for frame in session.frames_to_send(lane):
                assert conn is not None, f"{self.kind}: a frame for {lane}, which is not connected"
                is_order = self._check(lane, conn, frame)
                stall_ns = self.stalls.of_order() if is_order else 0
                self.world.call_in(self.delay_ns + stall_ns, partial(self._arrive, conn, frame))
                if stall_ns:
                    self.world.call_in(self.delay_ns, partial(self._break, conn, stall_ns + MS))
        for request in session.http_requests():
            self.world.call_in(self.delay_ns, partial(self._ask, session, request, self.world.crashes))

    def _break(self, conn: int, after_ns: int) -> None:
        """A connection is gone for us, and for the venue a while later."""
        if self._lane(conn) is not None:
            self._hang_up(conn, after_ns)
            self._lost(conn)

    def _check(self, lane: str, conn: int, frame: bytes) -> bool:
        """What must hold of every frame that leaves: we are known where it is private, and each order is ours, once.

        Return whether it is a request of an order.
        """
        if frame == b"ping":
            return False
        message = orjson.loads(frame)
        name = self.venue.name
        what = message.get("op") or message.get("method")
        params = message.get("params")
        is_signed = isinstance(params, dict) and "signature" in params
        is_private = what not in OPEN_OPS[name] or "channel" in str(message.get("args", ""))
        is_public_lane = not self._is_private_lane(lane, conn)
        assert is_public_lane or not is_private or is_signed or conn in self.welcomed, f"{name}: {what} before a login"
        if what in ("order", "order.create", "order.place"):
            label = _label(name, message)
            assert label in self.world.approved or label in self.world.core.ledger.orders, f"{label} was not approved"
            assert label not in self.labels, f"{label} was sent twice"
            self.labels.add(label)
        return str(what).startswith(("order", "amend", "cancel")) and what != "order.status"

    def _is_private_lane(self, lane: str, conn: int) -> bool:
        session = self.venue.sessions.get(conn)
        if session is None:  # the venue has cut it, and we do not know yet: its table says what it was
            return any(spec.name == lane and spec.is_private for spec in KINDS[self.kind].tables.lanes)
        return not any(word in session.path for word in ("/public", "/market", "/ws/"))

    def _arrive(self, conn: int, frame: bytes) -> None:
        self.venue.receive(conn, frame.decode(), self.world.now_ns)

    def _carry(self) -> None:
        """Put on the wire what the venue has sent and ended, and close what the session wants closed."""
        for out in self.venue.outgoing():
            if out.kind == "ping":
                self.world.call_in(self.delay_ns, partial(self._pong, out.conn, out.payload))
            else:
                self.world.call_in(self.delay_ns, partial(self._hear, out.conn, out.payload))
        for closing in self.venue.closings():
            if "oo many" in closing.reason:
                self.errors.append(closing.reason)
            self.world.call_in(self.delay_ns, partial(self._lost, closing.conn))
        self._close_what_is_asked()

    def _pong(self, conn: int, payload: bytes) -> None:
        self.venue.ponged(conn, payload, self.world.now_ns)

    def _hear(self, conn: int, payload: bytes) -> None:
        lane = self._lane(conn)
        if lane is None:
            return
        if WELCOMES[self.venue.name] in payload:
            self.welcomed.add(conn)
        self.link.receive(payload, self.world.now_ns, lane)
        self.world.flush()

    def _ask(self, session: VenueCodec, request: HttpRequest, life: int) -> None:
        path, _, query = request.target.partition("?")
        headers = {name.lower(): value for name, value in request.headers}
        asked = VenueRequest(request.method, path, query, headers, request.body, ADDRESS)
        reply = self.venue.request(asked, self.world.now_ns)
        if reply.is_silent:
            delay_ns = max(0, request.deadline_ns - self.world.now_ns)
        else:
            delay_ns = self.delay_ns + reply.delay_ns
        self.world.call_in(delay_ns, partial(self._answer, session, request, reply, life))

    def _answer(self, session: VenueCodec, request: HttpRequest, reply: HttpReply, life: int) -> None:
        if life != self.world.crashes or session is not self.link.session:
            return
        now = self.world.now_ns
        if reply.is_silent or reply.is_dropped:
            session.http_failed(request.request_id, "no answer", now)
        else:
            headers = {name.lower(): value for name, value in reply.headers.items()}
            session.http_answered(request.request_id, HttpResponse(reply.status, reply.body, headers), now)
        self.link.handle_events(now)
        self.world.flush()

    # -- what the venue knows

    def trades(self) -> dict[str, OwnTrade]:
        """The account's trades by the id that our journal has for them."""
        return {_trade_key(self.kind, trade): trade for trade in self.account.trades}

    def positions(self) -> dict[str, Decimal]:
        """The account's positions by our names, as quantities of our instruments."""
        held = {}
        for symbol, position in self.account.positions.items():
            if position.lots:
                units = self.link.session._market.units[symbol]  # type: ignore[attr-defined]
                held[self.link.symbols.house(symbol)] = position.listing.contract.quantity(position.lots) * units
        return held

    def limits_exceeded(self) -> int:
        """How often the venue has refused something as too much, faults apart."""
        usage = getattr(self.venue, "usage", None) or self.venue.gate  # type: ignore[attr-defined]
        return int(usage.refusals) + len(self.errors)


def _label(name: str, message: dict[str, Any]) -> str:
    if name == "okx":
        client_id = message["args"][0]["clOrdId"]
    elif name == "bybit":
        client_id = message["args"][0]["orderLinkId"]
    else:
        client_id = message["params"]["newClientOrderId"]
    return decoded(name, client_id)


def decoded(name: str, client_id: str) -> str:
    """Our label of a venue's client order id."""
    kind = {"binance": "binance-usdm"}.get(name, name)
    return KINDS[kind].tables.client_ids.decode(client_id)


def _trade_key(kind: str, trade: OwnTrade) -> str:
    from fixtures.venues.bybit_orders import uuid_of

    side = "B" if trade.side == 1 else "S"
    return (
        f"{uuid_of(f'trade:{trade.trade_id}')}-{side}" if kind == "bybit" else f"{trade.name}-{trade.trade_id}-{side}"
    )


def build(kind: str, world: World, faults: Faults) -> SimulatedVenue:
    """A venue with its published limits that lists what is traded here and nothing else."""
    from fixtures.venues.binance import BinanceVenue
    from fixtures.venues.bybit import BybitVenue
    from fixtures.venues.okx import OkxVenue
    from fixtures.venues.registry import ApiKey, BybitKey, OkxKey

    market, start_ns = world.market_of(kind), world.now_ns
    symbols = symbols_of(kind, world.expires)
    common: dict[str, Any] = {"seed": world.seed, "start_ns": start_ns, "faults": faults, "liquidity": QUIET}
    if kind == "okx":
        of_okx = okx_listed(world.seed) if world.expires else okx_terms(market)
        terms = [one for one in of_okx if one.inst_id in symbols]
        return OkxVenue(market, keys=[OkxKey(DEMO_KEY, DEMO_SECRET, DEMO_PASSPHRASE)], terms=terms, **common)
    if kind == "bybit":
        of_bybit = bybit_listed(world.seed) if world.expires else bybit_terms(market)
        listed = [one for one in of_bybit if one.category == "linear" and one.symbol in symbols]
        return BybitVenue(market, keys=[BybitKey(DEMO_KEY, DEMO_SECRET)], terms=listed, **common)
    public = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(DEMO_ED25519_SEED)).public_key().public_bytes_raw()
    keys = [ApiKey(DEMO_KEY, "demo", DEMO_SECRET), ApiKey(DEMO_ED25519_KEY, "demo", public_key=public)]
    if world.expires:
        common["listed"] = binance_contracts(world.seed)
    return BinanceVenue(market, keys=keys, **common)


RARE: Final = {
    Fault.DROP_BEFORE_ACCEPT: (0.0, 0.01, 0.03),
    Fault.DROP_AFTER_ACCEPT: (0.0, 0.01, 0.03),
    Fault.SILENCE: (0.0, 0.0, 0.002),
    Fault.DISCONNECT: (0.0, 0.0, 0.003),
    Fault.KEY_EXPIRED: (0.0, 0.0, 0.002),
    Fault.BOOK_GAP: (0.0, 0.002, 0.01),
    Fault.SEQUENCE_RESET: (0.0, 0.0, 0.005),
    Fault.BOOK_SNAPSHOT_REPEATED: (0.0, 0.0, 0.01),
    Fault.RATE_LIMITED: (0.0, 0.0, 0.01),
    Fault.SERVER_ERROR: (0.0, 0.0, 0.03),
    Fault.FILLED_BEFORE_CANCEL: (0.0, 0.1, 0.3),
    Fault.NOTIFIED_BEFORE_REPLY: (0.0, 0.1, 0.5),
}


def faults_of(world: World, kind: str) -> Faults:
    """Every seed has some faults at each venue, rare enough that trading goes on; any kind may be among them."""
    random = Random(f"faults:{kind}:{world.seed}")
    chances = {fault: random.choice(RARE.get(fault, (0.0, 0.01, 0.05))) for fault in Fault}
    windows = []
    for window, chance in ((Window.SILENCE, 0.1), (Window.SETTLEMENT, 0.1), (Window.MAINTENANCE, 0.15)):
        begin_ns = world.now_ns + random.randrange(500, 2_500) * MS
        if random.random() < chance:
            windows.append((window, begin_ns, begin_ns + random.randrange(100, 1_000) * MS))
    lifetime_ns = random.choice((86_400_000, 86_400_000, 2_000)) * MS
    return Faults(
        world.seed, chances, windows=windows, silence_ns=2_000 * MS, lifetime_ns=lifetime_ns,
        delay_ns=random.choice(((MS, 50 * MS), (MS, 900 * MS))),
    )  # fmt: skip


def calm(faults: Faults) -> None:
    """No more faults from here on."""
    faults.probability.clear()
    faults.schedule.clear()
    faults.lifetime_ns = 86_400_000 * MS
