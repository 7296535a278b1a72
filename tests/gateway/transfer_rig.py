"""An account close to its margin whose collateral the gateway moves by itself: a simulated OKX, and a clearing house.

`TransferFloor.plan` solves what the desk wants solved, `pump` brings requests to the venue and answers back, and bytes
to the house and back; nothing needs a socket or a process. Each crash is a new process on the journal that is there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from fixtures.clearing_house import ClearingHouse
from fixtures.market import Market
from fixtures.venues.core.faults import Fault, Faults
from fixtures.venues.core.venue import HttpRequest as Asked
from fixtures.venues.okx import OkxVenue
from fixtures.venues.okx_signing import Key
from gateway.clearing.counterparties import key_of, open_store, rules_of
from gateway.clearing.link import CounterpartyLink
from gateway.slowside.transfer_plans import solve
from gateway.transfers.channels import VenueChannel
from gateway.transfers.desk import TransferDesk
from gateway.transfers.house_collateral import HouseChannel
from protocols.fix.session import Limits
from protocols.venues.codec import HttpResponse
from protocols.venues.signing import HmacSigner, Keyring
from protocols.venues.transfer_codecs import OkxTransfers
from risk.collateral_ledger import Location, Place, Transfer
from risk.transfer_orders import TransferOrder
from tests.gateway.clearing_rig import HOUSE
from tests.gateway.margin_floor import FIX44, WATCH, Floor, watched
from tests.gateway.rig import BTC, MS, SECOND, START_NS, Rig

WHOLE: Final = 10**8
COLLATERAL: Final = """
[collateral]
automatic_usd = 1000
automatic_hour_usd = 3000
two_person_usd = 5000
approval_timeout_s = 40
answer_timeout_s = 2
lost_after_s = 61
retry_s = 30
[[collateral.channel]]
name = "okx-keys"
kind = "okx"
credentials_env = "TRANSFERS"
[[collateral.route]]
name = "wallet"
channel = "okx-keys"
asset = "USDC"
source = "client:okx"
target = "venue:okx"
accounts = ["alpha"]
source_wallet = "funding"
target_wallet = "trading"
mandate = "4000"
step = "1"
settle_s = 5
[[collateral.route]]
name = "to-house"
channel = "HOUSE"
asset = "USDC"
source = "house"
target = "clearing_house:HOUSE"
accounts = ["alpha"]
step = "1"
settle_s = 5
[[collateral.route]]
name = "from-house"
channel = "HOUSE"
asset = "USDC"
source = "clearing_house:HOUSE"
target = "house"
accounts = ["alpha"]
"""
CLIENT, VENUE = Location(Place.CLIENT, "okx", "alpha"), Location(Place.VENUE, "okx", "alpha")
OURS, THEIRS = Location(Place.HOUSE, "", "alpha"), Location(Place.CLEARING_HOUSE, "HOUSE", "alpha")


def transfer_config(collateral: str = COLLATERAL, watch: str = WATCH) -> str:
    """A configuration whose account alpha has 1000 USDC here, and a wallet at OKX of which we have the use."""
    text = watched(FIX44, watch).replace("[[account]]", HOUSE + "[[account]]", 1)
    return text + collateral


class TransferFloor(Floor):
    """The floor, with a venue and a house around it."""

    def __init__(self, rig: Rig, venue: OkxVenue, house: ClearingHouse) -> None:
        super().__init__(rig)
        self.venue, self.house = venue, house
        self.is_cut = False  # the venue's REST host can not be reached
        self.submissions = 0
        self._wire()

    def _wire(self) -> None:
        rig = self.rig
        desk = self.desk
        self.channel = VenueChannel("okx-keys", OkxTransfers(Keyring("main", HmacSigner("s"), "p")), desk.told)
        desk.connect(self.channel)
        (terms,) = rig.core.config.fix.counterparty
        self.store = open_store(rig.directory, rig.now_ns, segment_bytes=1 << 16)
        state = self.store.state(key_of(rig.core.config, terms), rules_of(terms), rig.now_ns)
        self.house_link = CounterpartyLink(
            terms, state, self.store, rig.pipeline, rig.core.reconciler, lambda now_ns: (), (), Limits(), rig.now_ns
        )
        HouseChannel(self.house_link, rig.pipeline, desk)

    @property
    def desk(self) -> TransferDesk:
        return self.rig.core.transfers

    def dial(self) -> TransferFloor:
        """The house's session is up."""
        self.house.connected()
        self.house_link.connected(self.rig.now_ns)
        self.pump()
        return self

    def crash(self, *, later_s: float = 0.0) -> TransferFloor:
        """A new process: what the venue and the house have done stays done; answers on their way are lost."""
        mark = self.rig.core.market.marks[0]
        assert mark is not None
        self.house_link.disconnected(self.rig.now_ns)
        self.house.disconnected()
        self.store.close()
        self.restart(later_s=later_s)
        self._wire()
        self.rig.mark(BTC, mark.price)
        return self

    def plan(self) -> bool:
        """Let the optimiser have its turn; True where there was something to plan."""
        problem = self.desk.wanted(self.rig.now_ns)
        return problem is not None and self.desk.planned(problem, solve(problem), self.rig.now_ns)

    def step(self) -> None:
        """One turn of the loop, and nothing of the world."""
        self.rig.core.tick(self.rig.now_ns)

    def pump(self) -> None:
        """Bring requests and bytes over, and answers back, until it is quiet."""
        now = self.rig.now_ns
        while True:
            requests = self.channel.http_requests()
            for request in requests:
                self.submissions += request.method == "POST"
                path, _, query = request.target.partition("?")
                headers = {name.lower(): value for name, value in request.headers}
                if self.is_cut:
                    self.channel.http_failed(request.request_id, "no answer in time", now)
                    continue
                reply = self.venue.request(Asked(request.method, path, query, headers, request.body, "10.0.0.1"), now)
                if reply.is_dropped:
                    self.channel.http_failed(request.request_id, "ServerDisconnectedError", now)
                else:
                    self.channel.http_answered(request.request_id, HttpResponse(reply.status, reply.body), now)
            data, back = self.house_link.data_to_send(now), b""
            if data:
                self.house.receive(data, now)
            if back := self.house.data_to_send():
                self.house_link.receive(back, now)
            if not data and not back and not requests:
                break

    def run(self, seconds: float, *, plans: bool = True, turn_ms: int = 500) -> None:
        """Let time pass: the market stands still, and everybody does what is due, once in a turn."""
        end = self.rig.now_ns + int(seconds * SECOND)
        while self.rig.now_ns < end:
            self.rig.now_ns = min(end, self.rig.now_ns + turn_ms * MS)
            self.venue.wallets.tick(self.rig.now_ns)
            self.again()
            if plans:
                self.plan()
            self.step()
            if self.house_link.session is not None:
                self.house_link.tick(self.rig.now_ns)
                self.house.tick(self.rig.now_ns)
            self.pump()
            self.step()
        self.hear()

    def again(self) -> None:
        """The same prices once more, so that they are not too old."""
        mark = self.rig.core.market.marks[0]
        assert mark is not None
        self.move(mark.price)

    def orders(self) -> list[TransferOrder]:
        return list(self.rig.ledger.margin.orders.orders.values())

    def moved(self) -> list[Transfer]:
        """Transfers of ours that have begun."""
        margin = self.rig.ledger.margin
        return [one for key, one in margin.collateral.transfers.items() if key in margin.orders.orders]

    def states(self) -> list[str]:
        return [one.state.value for one in self.moved()]

    def at(self, place: Location) -> int:
        """USDC at a place by our ledger, in whole ones."""
        return self.rig.ledger.margin.collateral.balance("USDC", place) // WHOLE

    def at_venue(self, wallet: str = "main/funding") -> int:
        """USDC in a wallet, by the venue."""
        return self.venue.wallets.units(wallet, "USDC") // 10**12

    def check(self) -> None:
        """Replay is the same, all is conserved, here and there, and nothing was done twice anywhere."""
        super().check()
        self.check_conserved()

    def check_conserved(self) -> None:
        """The same without a replay."""
        collateral = self.rig.ledger.margin.collateral
        assert all(collateral.total(asset) == 0 for asset, _ in collateral.balances)
        assert self.venue.wallets.total("USDC") == self.whole
        assert all(count == 1 for count in self.venue.wallets.executed.values())
        assert all(count == 1 for count in self.venue.wallets.submissions.values()), "asked about, never sent again"

    def check_agreed(self) -> None:
        """When nothing is on its way any more, our ledger has what the venue and the house have."""
        live = [one for one in self.moved() if one.is_live]
        assert not live, [(one.terms.key, one.state) for one in live]
        assert self.at(VENUE) == self.at_venue("main/trading") - self.trading
        assert -self.at(CLIENT) == self.wallet - self.at_venue()
        held = self.house.cash.get("alpha", {}).get("USDC", Decimal(0))
        assert self.rig.ledger.margin.collateral.balance("USDC", THEIRS) == int(held * WHOLE)

    def start(self, wallet: int) -> TransferFloor:
        """The client's wallet at OKX has so much."""
        self.venue.wallets.put("main/funding", "USDC", Decimal(wallet))
        self.wallet, self.trading = wallet, self.at_venue("main/trading")
        self.whole = self.venue.wallets.total("USDC")
        return self


@contextmanager
def transfer_floor(
    directory: Path,
    schedule: dict[Fault, list[int]] | None = None,
    *,
    wallet: int = 10_000,
    collateral: str = COLLATERAL,
    watch: str = WATCH,
    **options: Any,
) -> Iterator[TransferFloor]:
    rig = Rig(directory, config=transfer_config(collateral, watch), **options)
    faults = Faults(1, schedule=schedule or {}, delay_ns=(3 * SECOND, 3 * SECOND))
    venue = OkxVenue(Market(1, START_NS), seed=1, start_ns=START_NS, keys=[Key("main", "s", "p")], faults=faults)
    desk = TransferFloor(rig, venue, ClearingHouse()).start(wallet)
    try:
        yield desk
    finally:
        desk.rig.journal.close()
        desk.store.close()
