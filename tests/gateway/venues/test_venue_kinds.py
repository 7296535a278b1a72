"""Each kind of venue as it is configured: addresses, keys, limits; and what a session does over a day."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from gateway.config import Credentials, CredentialsError, Venue, load_credentials
from gateway.config.venue_rules import VENUE_RULES
from gateway.venues.kinds import KINDS, dials_of, make_session, rest_of, url_of
from protocols.venues.deribit import Deribit
from protocols.venues.lanes import RENEWAL_MARGIN_NS
from tests.gateway.lane_rig import BINANCE, CASES, S, venue
from tests.gateway.rig import shown
from tests.protocols.venues.cases import Case

each = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
SECRET = "s3cr3t-hunter2"


def config(kind: str, **changes: Any) -> Venue:
    values: dict[str, Any] = {"name": "V", "kind": kind, "currencies": ("BTC", "USDT"), "instruments": ("BTC*",)}
    if kind == "deribit":
        values["url"] = "wss://v/ws"
    return Venue(**(values | {"credentials_env": "V"} | changes))


KEYS = Credentials("key", SECRET, "phrase")


@pytest.mark.parametrize("kind", VENUE_RULES)
def test_every_kind_has_a_session_that_shows_no_secret(kind: str) -> None:
    session = make_session(config(kind), KEYS, 5)
    assert SECRET not in repr(session) and not session.is_live
    assert set(session.vital_lanes) <= set(session.lanes) and session.order_lane in session.vital_lanes
    assert session.clock_offset_ns is None and not session.book("BTCUSDT").is_usable
    address = url_of(config(kind))
    for lane in session.lanes:
        assert address(lane, session.url(lane)).startswith("wss://")
    assert (rest_of(config(kind)) == "") is (kind == "deribit") is (dials_of(config(kind)) is None)
    assert isinstance(session, Deribit) is (kind not in KINDS)


@pytest.mark.parametrize(
    ("kind", "changes", "wanted"),
    [
        ("binance-usdm", {}, {"trade": "wss://ws-fapi.binance.com/p", "public": "wss://fstream.binance.com/p"}),
        ("binance-coinm", {}, {"trade": "wss://ws-dapi.binance.com/p", "market": "wss://dstream.binance.com/p"}),
        ("okx", {}, {"private": "wss://ws.okx.com:8443/p", "public": "wss://ws.okx.com:8443/p"}),
        ("okx", {"private_url": "ws://localhost:1", "trade_url": "ws://localhost:9"}, {"private": "ws://localhost:1/p"}),
        ("bybit", {"trade_url": "ws://localhost:1/"}, {"trade": "ws://localhost:1/p", "linear": "wss://stream.bybit.com/p"}),
        ("bybit", {"url": "ws://localhost:1", "public_url": "ws://localhost:2"},
         {"trade": "ws://localhost:1/p", "private": "ws://localhost:1/p", "linear": "ws://localhost:2/p"}),
        ("deribit", {}, {"main": "wss://v/ws"}),
    ],
)  # fmt: skip
def test_where_lanes_lead(kind: str, changes: dict[str, Any], wanted: dict[str, str]) -> None:
    address = url_of(config(kind, **changes))
    assert {lane: address(lane, "/p") for lane in wanted} == wanted


def test_an_accounts_own_limits_keep_the_same_part_for_cancels() -> None:
    session: Any = make_session(config("binance-usdm", budgets={"weight": 6_000, "orders_10s": 10}), KEYS, None)
    weight = session._budgets._budgets["weight"]
    assert (weight.limit, weight.reserve, weight.vital) == (6_000, 1_000, 375)
    assert session._budgets._budgets["orders_10s"].limit == 10
    assert session._budgets._budgets["orders_1m"].limit == 1_200


def test_dead_man_timers_are_armed_where_the_venue_is_to_cancel() -> None:
    armed: Any = make_session(config("okx", dead_man_s=30), KEYS, None)
    idle: Any = make_session(config("okx", cancel_on_disconnect=False), KEYS, None)
    assert (armed._settings.dead_man_s, idle._settings.dead_man_s) == (30, 0)


def test_a_private_key_in_pem_signs_by_ed25519() -> None:
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    session: Any = make_session(config("binance-usdm"), Credentials("key", pem), None)
    assert session._keyring.signer.is_asymmetric
    with pytest.raises(CredentialsError, match="V: client_secret is no Ed25519 private key") as caught:
        make_session(config("binance-usdm"), Credentials("key", f"-----BEGIN {SECRET}"), None)
    assert SECRET not in str(caught.value) and caught.value.__cause__ is None


def test_products_and_coins_say_what_is_listed() -> None:
    bybit: Any = make_session(config("bybit", products=("inverse", "option"), currencies=("ETH", "USDC")), KEYS, None)
    assert set(bybit.lanes) == {"private", "trade", "inverse", "option"}
    assert (bybit._config.settle_coins, bybit._config.option_coins) == (("USDC",), ("ETH",))
    okx: Any = make_session(config("okx", products=("SWAP", "OPTION"), currencies=("BTC", "ETH")), KEYS, None)
    assert (okx._config.inst_types, okx._config.option_families) == (("SWAP",), ("BTC-USD", "ETH-USD"))


def test_okx_needs_its_passphrase(tmp_path: Path) -> None:
    environ = {"V_CLIENT_ID": "key", "V_CLIENT_SECRET": SECRET, "V_PASSPHRASE": "phrase"}
    assert load_credentials(config("okx"), environ).passphrase == "phrase"
    assert load_credentials(config("bybit"), environ).passphrase == ""
    del environ["V_PASSPHRASE"]
    with pytest.raises(CredentialsError, match="V_PASSPHRASE is not set"):
        load_credentials(config("okx"), environ)
    path = tmp_path / "okx.toml"
    path.write_text(f'client_id = "key"\nclient_secret = "{SECRET}"\n')
    path.chmod(0o600)
    with pytest.raises(CredentialsError, match=r"three lines client_id = .* and client_secret = .* and passphrase"):
        load_credentials(config("okx", credentials_env=None, credentials_file=path))


# -- over a day ------------------------------------------------------------------------------------------------------


def test_a_lane_is_renewed_before_the_venue_cuts_it_and_orders_are_refused_in_the_gap(tmp_path: Path) -> None:
    """adr/0040: one lane after the other, each with a gap of its own; market data does not stop orders."""
    with venue(tmp_path, BINANCE) as one:
        desk = one.rig.desk().log_on()
        renewed: list[str] = []
        for name, lane in one.link.session._lanes.items():
            age_ns = lane.spec.lifetime_s * S - RENEWAL_MARGIN_NS - lane.stagger_ns
            lane.connected_ns = one.rig.now_ns - age_ns
            one.link.tick(one.rig.now_ns)
            assert one.obey() == [name]
            renewed.append(name)
            one.mark()
            told = desk.order(symbol=one.symbol, quantity="0.1", price="50000", tif=3)[-1:]
            if name in BINANCE.vital:
                assert shown(told, 20001) == [("8", "203")]
            else:
                one.pump()
                assert told == []
            one.connect()
            assert one.is_live
            one.mark()
        assert renewed == ["trade", "private", "public", "market"]


@each
def test_the_venues_timer_is_put_off_as_long_as_we_are_here(tmp_path: Path, case: Case) -> None:
    """Bybit's is set once: the connection itself is what it watches."""
    path = {
        "binance": "/fapi/v1/countdownCancelAll",
        "okx": "/api/v5/trade/cancel-all-after",
        "bybit": "/v5/order/disconnected-cancel-all",
    }[case.name]
    with venue(tmp_path, case) as one:
        one.rest(one.rig.desk().log_on())
        for _ in range(12):
            one.pass_time(5 * S)
            assert one.obey() == []
        asked = [request for request in one.peer.asked if request.target.startswith(path)]
        assert len(asked) >= (1 if case.name == "bybit" else 3)


@each
def test_reconciliation_asks_for_all_before_new_risk(tmp_path: Path, case: Case) -> None:
    with venue(tmp_path, case) as one:
        one.hang_up(one.stream)
        one.peer.asked.clear()
        one.peer.sent.clear()
        one.connect()
        names = [request.target.partition("?")[0] for request in one.peer.asked]
        names += [one.peer.name_of(lane, frame) for lane, frame in one.peer.sent]
        wanted = {
            "binance": ("/fapi/v1/userTrades", "/fapi/v1/openOrders", "v2/account.position", "v2/account.status"),
            "okx": ("/api/v5/trade/fills", "/api/v5/trade/orders-pending", "/api/v5/account/positions",
                    "/api/v5/account/balance"),
            "bybit": ("/v5/execution/list", "/v5/order/realtime", "/v5/position/list", "/v5/account/wallet-balance"),
        }[case.name]  # fmt: skip
        assert set(wanted) <= set(names) and one.is_live
