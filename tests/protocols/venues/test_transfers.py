"""Transfers at the four simulated venues, by our codecs: submitted once, asked about by id, and every answer read."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.market import Market
from fixtures.venues.binance import BinanceVenue
from fixtures.venues.binance_auth import ApiKey
from fixtures.venues.bybit import BybitVenue
from fixtures.venues.bybit_signing import Key as BybitKey
from fixtures.venues.core.faults import Fault, Faults
from fixtures.venues.core.venue import HttpRequest as Asked
from fixtures.venues.deribit import DeribitVenue
from fixtures.venues.okx import OkxVenue
from fixtures.venues.okx_signing import Key as OkxKey
from protocols.venues.codec import HttpRequest, HttpResponse
from protocols.venues.signing import HmacSigner, Keyring
from protocols.venues.transfer_codecs import BinanceTransfers, BybitTransfers, DeribitTransfers, OkxTransfers
from protocols.venues.transfers import Ending, Outcome, TransferAsk, TransferCodec, units_of

START_NS = 1_760_000_000_000_000_000
SECOND = 1_000_000_000


class Bench:
    """One simulated venue with two wallets, and our codec for its key."""

    def __init__(self, kind: str, schedule: dict[Fault, list[int]] | None = None) -> None:
        faults = Faults(1, schedule=schedule or {})
        market = Market(1, START_NS)
        self.now_ns = START_NS
        self.count = 0
        make: dict[str, Callable[[Market, Faults], None]] = {
            "deribit": self._deribit, "binance": self._binance, "okx": self._okx, "bybit": self._bybit,
        }  # fmt: skip
        self.venue: Any
        self.codec: TransferCodec
        make[kind](market, faults)
        self.venue.wallets.put(self.names[0], "USDC", Decimal(1_000))
        self.before = self.venue.wallets.total("USDC")

    def _deribit(self, market: Market, faults: Faults) -> None:
        secrets = {"main": "secret", "sub": "other"}
        self.venue = DeribitVenue(market, seed=1, start_ns=START_NS, credentials=secrets, wallet_faults=faults)
        self.codec = DeribitTransfers(Keyring("main", HmacSigner("secret")), "secret", lambda size: b"\7" * size)
        ids = [str(self.venue.account(name).user_id) for name in secrets]
        self.names = self.wallets = (ids[0], ids[1])

    def _binance(self, market: Market, faults: Faults) -> None:
        keys = [ApiKey("key", "main@x.example", "secret"), ApiKey("key2", "sub@x.example", "secret2")]
        self.venue = BinanceVenue(market, seed=1, start_ns=START_NS, keys=keys, faults=faults)
        self.codec = BinanceTransfers(Keyring("key", HmacSigner("secret")))
        self.names = "main@x.example/SPOT", "sub@x.example/USDT_FUTURE"
        self.wallets = "/SPOT", "sub@x.example/USDT_FUTURE"

    def _okx(self, market: Market, faults: Faults) -> None:
        keys = [OkxKey("main", "secret", "phrase"), OkxKey("sub", "secret2", "phrase2")]
        self.venue = OkxVenue(market, seed=1, start_ns=START_NS, keys=keys, faults=faults)
        self.codec = OkxTransfers(Keyring("main", HmacSigner("secret"), "phrase"))
        self.names = "main/funding", "sub/trading"
        self.wallets = "funding", "sub/trading"

    def _bybit(self, market: Market, faults: Faults) -> None:
        keys = [BybitKey("main", "secret"), BybitKey("sub", "secret2")]
        self.venue = BybitVenue(market, seed=1, start_ns=START_NS, keys=keys, faults=faults)
        self.codec = BybitTransfers(Keyring("main", HmacSigner("secret")))
        uids = [str(account.settings["uid"]) for account in self.venue.exchange.accounts.values()]
        self.names = self.wallets = (f"{uids[0]}/FUND", f"{uids[1]}/UNIFIED")

    def ask(self, units: int = 250 * 10**8, key: str = "r-T1") -> TransferAsk:
        return TransferAsk(key, "USDC", units, *self.wallets, self.now_ns)

    def send(self, request: HttpRequest) -> HttpResponse | None:
        path, _, query = request.target.partition("?")
        headers = {name.lower(): value for name, value in request.headers}
        asked = Asked(request.method, path, query, headers, request.body, "10.0.0.1")
        reply = self.venue.request(asked, self.now_ns)
        return None if reply.is_dropped or reply.is_silent else HttpResponse(reply.status, reply.body)

    def submit(self, ask: TransferAsk) -> Outcome | None:
        self.count += 1
        answer = self.send(self.codec.submit(self.count, ask, self.now_ns, self.now_ns + SECOND))
        return None if answer is None else self.codec.submitted(ask, answer)

    def query(self, ask: TransferAsk) -> Outcome | None:
        self.count += 1
        answer = self.send(self.codec.query(self.count, ask, self.now_ns, self.now_ns + SECOND))
        return None if answer is None else self.codec.queried(ask, answer)

    def moved(self) -> Decimal:
        held = self.venue.wallets.units(self.names[0], "USDC") - self.left
        assert self.venue.wallets.total("USDC") == self.before, "not a unit more, not a unit less"
        return -Decimal(held).scaleb(-12)

    def __enter__(self) -> Bench:
        self.left = self.venue.wallets.units(self.names[0], "USDC")
        return self

    def __exit__(self, *arguments: object) -> None:
        assert self.venue.wallets.total("USDC") == self.before
        assert all(count == 1 for count in self.venue.wallets.executed.values()), "never twice"


KINDS = ("deribit", "binance", "okx", "bybit")
# Whose answer to a submission says already that it is done.
SAYS_AT_ONCE = ("deribit", "bybit")


@pytest.mark.parametrize("kind", KINDS)
def test_a_transfer_is_made_and_told_of(kind: str) -> None:
    with Bench(kind) as bench:
        ask = bench.ask()
        told = bench.submit(ask)
        assert told is not None and told.reference
        assert told.ending is (Ending.SETTLED if kind in SAYS_AT_ONCE else Ending.PENDING)
        asked = bench.query(ask)
        assert asked is not None and (asked.ending, asked.units) == (Ending.SETTLED, ask.units)
        assert asked.reference == told.reference and bench.moved() == 250


@pytest.mark.parametrize("kind", KINDS)
def test_one_that_takes_time_is_pending_and_then_done(kind: str) -> None:
    with Bench(kind, {Fault.TRANSFER_SLOW: [1]}) as bench:
        ask = bench.ask()
        assert (told := bench.submit(ask)) is not None and told.ending is Ending.PENDING
        assert (told := bench.query(ask)) is not None and told.ending is Ending.PENDING and bench.moved() == 250
        bench.now_ns += SECOND
        assert (told := bench.query(ask)) is not None and told.ending is Ending.SETTLED


@pytest.mark.parametrize("kind", KINDS)
def test_one_that_is_refused_or_fails_moves_nothing(kind: str) -> None:
    with Bench(kind) as bench:
        told = bench.submit(bench.ask(10**9 * 10**8))
        assert told is not None and told.ending is Ending.REFUSED and told.text
        assert bench.moved() == 0
    with Bench(kind, {Fault.TRANSFER_FAILS: [1]}) as bench:
        ask = bench.ask()
        bench.submit(ask)
        assert (told := bench.query(ask)) is not None and told.ending is Ending.REFUSED and bench.moved() == 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("fault", "ending"),
    [(Fault.TRANSFER_NEVER_TAKEN, Ending.NOT_FOUND), (Fault.TRANSFER_UNANSWERED, Ending.SETTLED)],
)
def test_an_answer_that_was_lost_is_asked_for_by_id(kind: str, fault: Fault, ending: Ending) -> None:
    with Bench(kind, {fault: [1]}) as bench:
        ask = bench.ask()
        assert bench.submit(ask) is None
        assert (told := bench.query(ask)) is not None and told.ending is ending
        assert bench.moved() == (250 if ending is Ending.SETTLED else 0)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_id_again_moves_nothing_again(kind: str) -> None:
    """We do not send it twice; were we to, the venue would not do it twice, and its refusal would be no word on it."""
    with Bench(kind) as bench:
        ask = bench.ask()
        bench.submit(ask)
        again = bench.submit(ask)
        assert again is not None and again.ending is not Ending.REFUSED
        assert bench.moved() == 250


@pytest.mark.parametrize("kind", KINDS)
def test_a_wrong_key_is_refused_without_our_secret(kind: str) -> None:
    with Bench(kind) as bench:
        wrong = Keyring("main" if kind != "binance" else "key", HmacSigner("hunter2-canary"), "phrase")
        made: dict[str, TransferCodec] = {
            "deribit": DeribitTransfers(wrong, "hunter2-canary", lambda size: b"\7" * size),
            "binance": BinanceTransfers(wrong), "okx": OkxTransfers(wrong), "bybit": BybitTransfers(wrong),
        }  # fmt: skip
        bench.codec = made[kind]
        told = bench.submit(bench.ask())
        assert told is not None and told.ending is Ending.REFUSED and "hunter2" not in told.text
        request = bench.codec.submit(9, bench.ask(), bench.now_ns, 0)
        assert "hunter2" not in repr(request) + repr(bench.codec)


GARBAGE = [
    b"", b"null", b"[]", b"{}", b"<html>", b'{"code":"0","data":[]}', b'{"code":"50004","msg":"x","data":[]}',
    b'{"retCode":0,"result":{}}', b'{"retCode":10000,"retMsg":"timeout"}', b'{"code":-1007,"msg":"unknown"}',
    b'{"error":{"code":13888,"message":"timed_out"}}', b'{"result":{"state":"confirmed","amount":1}}',
    b'{"result":[{"clientTranId":1}]}', b'{"result":{"list":[1],"data":[null]}}', b'{"result":"x","data":"x"}',
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("body", GARBAGE)
@pytest.mark.parametrize("status", [200, 400, 503])
def test_what_is_no_answer_is_never_taken_for_one(kind: str, body: bytes, status: int) -> None:
    """Neither done nor refused: a submission may have been made; and only a whole answer says that there is none."""
    bench = Bench(kind)
    ask = bench.ask()
    said = bench.codec.submitted(ask, HttpResponse(status, body))
    assert said.ending is Ending.UNKNOWN
    asked = bench.codec.queried(ask, HttpResponse(status, body))
    assert asked.ending in (Ending.UNKNOWN, Ending.NOT_FOUND)


@given(value=st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8), lambda inner:
       st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
           ["code", "data", "result", "retCode", "list", "error", "state", "status", "amount", "nonce"]), inner,
           max_size=5), max_leaves=12))  # fmt: skip
def test_any_json_is_read_without_an_exception(value: Any) -> None:
    body = orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS) if _is_plain(value) else b"1"
    for kind in KINDS:
        bench = BENCHES[kind]
        for read in (bench.codec.submitted, bench.codec.queried):
            assert read(bench.ask(), HttpResponse(200, body)).ending is not Ending.SETTLED


def _is_plain(value: Any) -> bool:
    try:
        orjson.dumps(value)
    except (TypeError, ValueError):
        return False
    return True


BENCHES = {kind: Bench(kind) for kind in KINDS}


@given(units=st.integers(1, 10**18))
def test_amounts_go_there_and_back(units: int) -> None:
    ask = TransferAsk("k", "USDC", units, "a", "b", 0)
    assert units_of(ask.amount) == units and "E" not in ask.amount
    assert units_of(Decimal(ask.amount)) == units
    for wrong in ("", "-1", "1e3", "0.000000001", "nan", None, True, Decimal("NaN"), "1" * 40):
        assert units_of(wrong) is None


@given(one=st.text(min_size=1, max_size=20), other=st.text(min_size=1, max_size=20))
def test_ids_are_of_the_key_alone(one: str, other: str) -> None:
    first, second = (TransferAsk(key, "USDC", 1, "a", "b", 0) for key in (one, other))
    assert (first.client_id == second.client_id) == (one == other) == (first.uuid == second.uuid)
    assert len(first.client_id) == 32 and first.client_id.isalnum() and len(first.uuid) == 36


def test_wallets_are_the_venues_words() -> None:
    cases = {
        "deribit": (("10", "20"), [("10", "10"), ("a", "20"), ("", "1")]),
        "binance": (("/SPOT", "a@x/USDT_FUTURE"), [("SPOT", "/SPOT"), ("/SPOT", "/SPOT"), ("/SPOT", "x&y/SPOT")]),
        "okx": (("funding", "trading"), [("a/trading", "b/trading"), ("6", "18"), ("funding", "funding")]),
        "bybit": (("FUND", "UNIFIED"), [("1/FUND", "UNIFIED"), ("FUND", "FUND"), ("x/FUND", "1/FUND")]),
    }
    for kind, (good, bad) in cases.items():
        assert BENCHES[kind].codec.wallet_fault(*good) is None
        for pair in bad:
            assert BENCHES[kind].codec.wallet_fault(*pair)
