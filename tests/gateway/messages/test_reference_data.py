"""SecurityListRequest(x) and SecurityDefinitionRequest(c), in every version, as bytes."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from gateway.messages.reference_data import LIST_FRAGMENT, MAX_LISTS
from gateway.messages.security_terms import terms
from protocols.fix.codec import Message
from protocols.fix.dictionary import FIX44, FIX50SP2
from protocols.fix.grouped import entries_of
from risk.instrument import Kind, make_instrument
from tests.gateway.readers import VERSIONS, Client, config_of, shown
from tests.gateway.rig import BTC, ETH, START_NS, Rig, listed, opened

D = Decimal
CALL, FUTURE, SPOT = "BTC-26DEC25-100000-C", "BTC-26DEC25", "BTC_USDC"
EXPIRY_NS = 1_766_736_000_000_000_000  # 2025-12-26 08:00
DAY_NS = 86_400_000_000_000


def list_all(rig: Rig) -> None:
    """Besides the perpetuals: an option with tick steps, a future, spot."""
    terms_of = {"min_trade_amount": D("0.1"), "contract_size": D(1), "expiration_ns": EXPIRY_NS}
    rig.hear(
        listed(CALL, kind="option", quote_currency="BTC", tick_size=D("0.0001"), strike=D(100_000), option_type="call",
               tick_steps=((D("0.005"), D("0.0005")),), **terms_of),
        listed(FUTURE, kind="future", expiration_ns=EXPIRY_NS),
        listed(SPOT, kind="spot", is_inverse=False, quote_currency="USDC", settlement_currency="USDC",
               tick_size=D("0.01"), min_trade_amount=D("0.0001")),
    )  # fmt: skip


def body(message: Message) -> bytes:
    """From the first body field on, readable."""
    fields = [(tag, value) for tag, value in message.fields() if tag not in (8, 9, 35, 34, 49, 52, 56, 10)]
    return b"|".join(b"%d=%b" % field for field in fields)


def symbols_of(client: Client, told: list[Message]) -> list[str]:
    return [s.decode() for m in told for s in entries_of(client.state.dictionary, m, 146, 55)]


@pytest.fixture(params=VERSIONS[1:])
def client(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Client]:
    with opened(tmp_path, config=config_of(request.param)) as rig:
        list_all(rig)
        yield Client(rig, request.param)
        rig.check_replay()


def test_a_security_list(client: Client) -> None:
    assert client.ask("x", (320, b"r1"), (559, 4)) == []
    (told,) = client.turn()
    assert shown(told, 320, 560, 393, 893) == (b"y", b"r1", b"0", b"5", b"Y")
    assert symbols_of(client, [told]) == [BTC, ETH, CALL, FUTURE, SPOT]
    assert client.turn() == []


def test_the_terms_of_an_option(client: Client) -> None:
    client.ask("x", (55, CALL.encode()), (320, b"r1"), (559, 0))
    (told,) = client.turn()
    text = body(told)
    assert b"|55=BTC-26DEC25-100000-C|48=BTC-26DEC25-100000-C|22=8|460=4|461=OCECCS|167=OPT|200=202512|" in text
    attributes = b"|".join(
        b"871=99|872=" + attribute
        for attribute in (
            b"SettlCurrency=BTC", b"QtyUnit=BTC", b"MinTradeVol=0.1", b"MinPriceIncrement=0.0001",
            b"MinPriceIncrement=0.0005 above 0.005",
        )
    )  # fmt: skip
    assert b"870=5|" + attributes in text
    if client.state.dictionary.begin_string == "FIX.4.4":
        assert b"541=20251226|201=1|202=100000|947=USD|231=1|207=deribit|" in text
        assert b"|711=1|311=BTC|15=BTC|561=0.1|562=0.1" in text
        assert b"969=" not in text
        assert b"1205=" not in text
    else:
        assert b"541=20251226|202=100000|947=USD|231=1|969=0.0001|201=1|207=deribit|" in text
        assert (
            b"|1205=2|1206=0|1207=0.005|1208=0.0001|1209=0|1206=0.005|1208=0.0005|1209=0"
            b"|1234=1|1093=2|1231=0.1|562=0.1|561=0.1|711=1|311=BTC|15=BTC"
        ) in text


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        (((559, 1), (167, b"FUT")), [BTC, ETH, FUTURE]),
        (((461, b"OC"), (559, 1)), [CALL]),
        (((461, b"FF"), (167, b"OPT"), (559, 1)), None),
        (((461, b"IFXXXP"), (559, 1)), [SPOT]),
        (((460, 4), (559, 2)), [BTC, ETH, CALL, FUTURE, SPOT]),
        (((460, 5), (559, 2)), None),
        (((336, b"deribit"), (559, 3)), [BTC, ETH, CALL, FUTURE, SPOT]),
        (((336, b"elsewhere"), (559, 3)), None),
        (((55, b"DOGE"), (559, 0)), None),
    ],
)
def test_what_is_asked_for(
    client: Client, fields: tuple[tuple[int, bytes | int], ...], found: list[str] | None
) -> None:
    told = client.ask("x", (320, b"r"), *fields) + client.turn()
    if found is None:
        assert [shown(m, 560, 320) for m in told] == [(b"y", b"2", b"r")]
    else:
        assert symbols_of(client, told) == found


@pytest.mark.parametrize("fields", [((559, 0),), ((559, 1),), ((559, 2),), ((559, 3),), ((263, 1), (559, 4))])
def test_what_is_not_supported(client: Client, fields: tuple[tuple[int, int], ...]) -> None:
    (told,) = client.ask("x", (320, b"r"), *fields)
    assert shown(told, 560) == (b"y", b"1")


def test_a_long_list_comes_in_pieces_as_it_is_read(client: Client) -> None:
    rig = client.rig
    count = 2 * LIST_FRAGMENT + 3
    rig.hear(*(listed(f"BTC-{n}", kind="future", expiration_ns=EXPIRY_NS) for n in range(count - 5)))
    backlog = 0
    rig.core.inquiries.watch_backlogs(lambda session: backlog)
    for number in range(MAX_LISTS):
        assert client.ask("x", (320, b"r%d" % number), (559, 4)) == []
    (refusal,) = client.ask("x", (320, b"more"), (559, 4))
    assert shown(refusal, 560, 320) == (b"y", b"4", b"more")
    backlog = 1 << 20
    assert client.turn() == []
    assert rig.core.inquiries.is_urgent
    backlog = 65_536 - 1  # room for one piece
    (piece,) = client.turn()
    assert shown(piece, 320, 393, 893) == (b"y", b"r0", b"%d" % count, b"N")
    backlog = 0
    told = [piece]
    while more := client.turn():
        told += more
    assert len(told) == 3 * MAX_LISTS
    lists = {m.get(320): symbols_of(client, [t for t in told if t.get(320) == m.get(320)]) for m in told}
    assert all(symbols == list(rig.ledger.by_symbol) for symbols in lists.values())
    assert [m.get(893) for m in told if m.get(320) == b"r3"] == [b"N", b"N", b"Y"]
    assert not rig.core.inquiries.is_urgent


def test_a_list_ends_with_its_connection(client: Client) -> None:
    client.ask("x", (320, b"r"), (559, 4))
    client.disconnect()
    client.connect()
    assert client.turn() == []
    assert not client.rig.core.inquiries.is_urgent


# -- definitions


@pytest.mark.parametrize("version", VERSIONS)
def test_a_definition_in_every_version(tmp_path: Path, version: str) -> None:
    with opened(tmp_path, config=config_of(version)) as rig:
        list_all(rig)
        client = Client(rig, version)
        (told,) = client.ask("c", (55, CALL.encode()), (320, b"r1"), (321, 0))
        assert shown(told, 320, 323, 55, 167, 202, 201, 207) == (
            b"d", b"r1", b"1", CALL.encode(), b"OPT", b"100000", b"1", b"deribit"
        )  # fmt: skip
        text = told.get(58) or b""
        assert b"MinPriceIncrement=0.0005 above 0.005" in text
        if version == "FIX.4.2":
            assert shown(told, 393, 200, 205) == (b"d", b"1", b"202512", b"26")
            assert entries_of(client.state.dictionary, told, 146, 311) == [b"BTC"]
        elif version == "FIXT.1.1":
            assert b"|1310=1|1301=deribit|1205=2|1206=0|" in body(told)
            assert told.get(969) == b"0.0001"
        else:
            assert shown(told, 561, 562, 541) == (b"d", b"0.1", b"0.1", b"20251226")
        rig.check_replay()


@pytest.mark.parametrize("version", VERSIONS)
def test_definitions_of_all_that_fit(tmp_path: Path, version: str) -> None:
    with opened(tmp_path, config=config_of(version)) as rig:
        list_all(rig)
        client = Client(rig, version)
        assert client.ask("c", (167, b"FUT"), (320, b"r1"), (321, 3)) == []
        told = client.turn()
        assert [shown(m, 323, 55) for m in told] == [
            (b"d", b"1" if version == "FIX.4.4" else b"4", symbol.encode()) for symbol in (BTC, ETH, FUTURE)
        ]
        assert len({m.get(322) for m in told}) == 1


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("fields", "response"),
    [
        (((55, b"DOGE"), (321, 0)), b"6"),
        (((321, 1),), b"6"),
        (((167, b"CS"), (321, 3)), b"6"),
        (((55, b"BTC-PERPETUAL"), (321, 2)), b"5"),
    ],
)
def test_definitions_that_there_are_none_of(
    tmp_path: Path, version: str, fields: tuple[tuple[int, bytes | int], ...], response: bytes
) -> None:
    with opened(tmp_path, config=config_of(version)) as rig:
        client = Client(rig, version)
        (told,) = client.ask("c", (320, b"r1"), *fields)
        assert shown(told, 320, 323) == (b"d", b"r1", response)
        assert told.get(58)


def test_fix_42_has_no_security_lists(tmp_path: Path) -> None:
    with opened(tmp_path, config=config_of("FIX.4.2")) as rig:
        client = Client(rig, "FIX.4.2")
        client.ask("x", (320, b"r"), (559, 4))
        assert client.session.is_logged_on
        assert not rig.core.inquiries.is_urgent


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("is_call", [True, False])
def test_terms_are_values_of_the_dictionaries(kind: Kind, is_call: bool) -> None:
    is_option, has_end = kind is Kind.OPTION, kind in (Kind.OPTION, Kind.FUTURE)
    instrument = make_instrument(
        index=0, symbol="S", venue="V", kind=kind, is_inverse=False, underlying="BTC", base_currency="BTC",
        quote_currency="USD", settlement_currency="BTC", tick_size=D("0.5"), lot_size=D(10),
        strike=D(1) if is_option else None, is_call=is_call if is_option else None,
        expiry_ns=START_NS + DAY_NS if has_end else None,
    )  # fmt: skip
    told = terms(instrument)
    for dictionary in (FIX44, FIX50SP2):
        for tag, value in told.items():
            field = dictionary.fields.get(tag)
            if field is not None and field.values:
                assert str(value if isinstance(value, int) else bytes(value or b"").decode()).encode() in field.values  # type: ignore[arg-type]
    assert len(bytes(told[461] or b"")) == 6  # type: ignore[arg-type]
