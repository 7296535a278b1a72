"""The small parts that venues share: numbers, client ids, clocks, keys, windows, tables."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import LocalProtocolError
from protocols.venues import fields, rate_limit
from protocols.venues.binance_tables import TABLES as BINANCE
from protocols.venues.bybit_tables import TABLES as BYBIT
from protocols.venues.client_ids import ClientIds
from protocols.venues.clock_offset import ClockOffset
from protocols.venues.codec import HttpRequest, HttpResponse
from protocols.venues.fields import (
    FieldError,
    decimal_of,
    optional,
    optional_real,
    pairs,
    plain_text,
    positive,
    positive_real,
    time_of,
    whole,
)
from protocols.venues.jsonrpc import Request, RequestTable
from protocols.venues.okx_tables import TABLES as OKX
from protocols.venues.rate_limit import Budget, Budgets, Rank, RateLimitError, Window
from protocols.venues.requests import Kind, RequestDesk
from protocols.venues.signing import Ed25519Signer, HmacSigner, Keyring, iso_text
from protocols.venues.tables import VenueTables

TABLES = (BINANCE, OKX, BYBIT)
tables = pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
S = 1_000_000_000

# -- numbers

NUMBERS = ["0", "-1", "12.50", "0.00000001", "1e-8", "1E+3", "-0.5", "000", "99999999999999999999.99999999"]
NOT_NUMBERS = ["", "NaN", "nan", "sNaN", "Infinity", "-inf", "1_000", " 1", "1 ", "+1", ".5", "5.", "1e999", "0x1", "१",
               "1" * 60, "1,5", "1\n"]  # fmt: skip


@pytest.mark.parametrize("text", NUMBERS)
def test_numbers_are_exact(text: str) -> None:
    for _ in range(2):
        value = decimal_of(text, "px")
        assert value == Decimal(text)
        assert value.as_tuple() == Decimal(text).as_tuple()


@pytest.mark.parametrize("text", NOT_NUMBERS)
def test_what_is_no_number_names_its_field(text: str) -> None:
    for read in (decimal_of, positive, positive_real):
        with pytest.raises(FieldError, match=r"^px: "):
            read(text, "px")
    with pytest.raises(FieldError, match=r"^bids: "):
        pairs([("1", "2"), (text, "1")], "bids")
    with pytest.raises(FieldError, match=r"^bids: "):
        pairs([("1", "2"), ("1", text)], "bids")


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=0, max_value=10**15, places=8))
def test_digits_are_kept(value: Decimal) -> None:
    """A checksum is over the text: what comes out is what went in, zeros at the end too."""
    text = format(value, "f")
    assert plain_text(decimal_of(text, "px")) == text


def test_absent_numbers() -> None:
    assert optional("", "px") is None
    assert optional(None, "px") is None
    assert optional("1.5", "px") == Decimal("1.5")
    assert [optional_real(text, "px") for text in ("", "0", "2.5")] == [None, None, 2.5]
    for text in ("0", "-1"):
        with pytest.raises(FieldError, match=f"^px: {text}"):
            positive(text, "px")
        with pytest.raises(FieldError, match=f"^px: {text}"):
            positive_real(text, "px")


@pytest.mark.parametrize("text", ["", "-1", "1.5", "1e3", " 1", "1" * 20, "x"])
def test_times_and_whole_numbers(text: str) -> None:
    with pytest.raises(FieldError, match=r"^ts: "):
        whole(text, "ts")
    for bad in (text, "0", "9999999999999"):
        with pytest.raises(FieldError, match=r"^ts: "):
            time_of(bad, "ts")
    assert time_of("1700000000123", "ts") == 1_700_000_000_123_000_000


def test_the_memory_of_numbers_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fields, "MAX_CACHED_NUMBERS", 4)
    fields.NUMBERS.clear()
    for n in range(50):
        assert pairs([(f"{n}.5", f"{n + 1}.5")], "b") == [(Decimal(f"{n}.5"), Decimal(f"{n + 1}.5"))]
        assert decimal_of(f"{n}.25", "px") == Decimal(f"{n}.25")
        assert len(fields.NUMBERS) <= 5
    # More different numbers than can be remembered at once.
    with pytest.raises(FieldError, match=r"^b: 3 levels"):
        pairs([("1.1", "1.2"), ("1.3", "1.4"), ("1.5", "1.6")], "b")


# -- client ids


@tables
@given(label=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40))
def test_a_label_comes_back(table: VenueTables, label: str) -> None:
    ids = table.client_ids
    try:
        client_id = ids.encode(label)
    except LocalProtocolError:
        assert len(label) * 3 > ids.max_length
        return
    assert len(client_id) <= ids.max_length
    assert all(character.isalnum() or character in ids.alphabet for character in client_id)
    assert ids.decode(client_id) == label


@tables
@given(client_id=st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=40))
def test_ids_of_others_are_left_alone_or_are_ours(table: VenueTables, client_id: str) -> None:
    """No two labels share an id: what decodes to something else encodes back to the same."""
    label = table.client_ids.decode(client_id)
    assert label == client_id or table.client_ids.encode(label) == client_id


def test_ids_that_venues_make() -> None:
    for client_id in ("web_abc", "autoclose-1234567890", "adl_autoclose_12345", "x_ZZ", "_", "Z", "ZZ9", "_41"):
        assert BINANCE.client_ids.decode(client_id) == client_id
    with pytest.raises(LocalProtocolError):
        BINANCE.client_ids.encode("")
    with pytest.raises(ValueError, match="escape"):
        ClientIds("x", 9, "-", "_")


# -- clocks and keys


def test_clock_offset() -> None:
    clock = ClockOffset()
    assert clock.measure(0, 200 * 10**6, 5 * S) == ""
    assert (clock.offset_ns, clock.error_ns) == (4_900_000_000, 100_000_000)
    assert clock.venue_ms(S) == 5_900
    assert "3000 ms" in clock.measure(0, 3 * S, 0)
    assert clock.measure(5, 0, 0)
    assert "from ours" in clock.measure(0, 0, 120 * S)
    assert clock.offset_ns == 4_900_000_000


def test_hmac_against_the_published_vector_of_binance() -> None:
    """The example of the venue's documentation: a query signed by its example key."""
    secret = "2b5eb11e18796d12d88f13dc27dbbd02c2cc51ff7059765ed9821957d82bb4d9"
    query = (
        "symbol=BTCUSDT&side=BUY&type=LIMIT&quantity=1&price=9000&timeInForce=GTC&recvWindow=5000"
        "&timestamp=1591702613943"
    )
    signed = HmacSigner(secret).sign(query.encode()).hex()
    assert signed == "3c661234138461fcc7a7d8746c6558c9842d4e10870d2ecbedf7777cad694af9"


def test_ed25519() -> None:
    serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")
    ed25519 = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ed25519")
    rsa = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.rsa")
    key = ed25519.Ed25519PrivateKey.generate()
    form = (
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption(),
    )  # fmt: skip
    pem = key.private_bytes(*form).decode()
    signer = Ed25519Signer(pem)
    key.public_key().verify(signer.sign(b"payload"), b"payload")
    secret = pem.splitlines()[1]
    assert secret not in Keyring("id", signer).redact(f"the key {secret}")
    assert secret not in repr(signer)
    other = rsa.generate_private_key(65537, 2048).private_bytes(*form).decode()
    with pytest.raises(ValueError, match="not an Ed25519"):
        Ed25519Signer(other)


def test_a_keyring_shows_nothing() -> None:
    keyring = Keyring("id", HmacSigner("s3cret"), "phrase")
    keyring.set_token("listenKey", "t0ken")
    assert keyring.redact("a s3cret phrase, t0ken!") == "a [redacted] [redacted], [redacted]!"
    assert len(keyring.redact("x" * 9_999)) == 300
    assert not any(secret in repr((keyring, keyring.signer)) for secret in ("s3cret", "phrase", "t0ken", "id"))
    keyring.set_token("listenKey", "")
    assert keyring.token("listenKey") == keyring.token("none") == ""
    for make in (lambda: Keyring("", HmacSigner("x")), lambda: HmacSigner("")):
        with pytest.raises(ValueError, match="must not be empty"):
            make()


@given(st.integers(0, 4_102_444_800_000))
def test_iso_text(time_ms: int) -> None:
    expected = datetime.fromtimestamp(time_ms // 1_000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    assert iso_text(time_ms) == f"{expected}.{time_ms % 1_000:03}Z"


def test_requests_show_no_query() -> None:
    request = HttpRequest(7, "GET", "/path?signature=abc", (("KEY", "k"),), b"secret")
    assert repr(request) == "HttpRequest(7, GET /path)"
    assert [HttpResponse(status, b"").is_success for status in (199, 200, 299, 300, 404, 503)] == [
        False, True, True, False, False, False,
    ]  # fmt: skip


# -- limits


@given(
    st.integers(1, 6),
    st.integers(1, 50),
    st.lists(st.tuples(st.integers(0, 30), st.integers(1, 3)), max_size=60),
)
def test_a_window_never_holds_more_than_its_limit(limit: int, length: int, calls: list[tuple[int, int]]) -> None:
    window = Window(limit, length)
    now, taken = 0, []
    for step, cost in calls:
        now += step
        at_ns = window.available_at_ns(cost, now)
        if window.take(cost, now):
            taken.append((now, cost))
            assert at_ns == now
        elif cost <= limit:
            assert at_ns > now
            later = Window(limit, length)
            for when, units in taken:
                later.take(units, when)
            assert at_ns - 1 < now or not later.has(cost, at_ns - 1)
            assert later.has(cost, at_ns)
    for first, _ in taken:
        assert sum(cost for when, cost in taken if first <= when < first + length) <= limit


def test_the_venues_own_count_is_taken_over() -> None:
    window = Window(10, 100)
    window.take(2, 0)
    window.observe(7, 0)
    assert window.level(0) == 7
    window.observe(3, 0)
    assert window.level(0) == 7
    window.observe(99, 50)
    assert window.level(50) == 10
    assert not window.has(1, 50)
    assert window.level(100) == 3
    window.block(500)
    assert (window.has(1, 499), window.has(1, 500)) == (False, True)
    assert window.available_at_ns(1, 150) == 500
    assert repr(window) == "Window(0 of 10)"
    for wrong in ((0, 1), (1, 0)):
        with pytest.raises(ValueError, match="positive"):
            Window(*wrong)


def test_budgets_are_taken_together_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    budgets = Budgets((Budget("a", 10, 900, reserve=4, vital=2), Budget("b", 2, 900, per="symbol")))
    costs = (("a", 3), ("b", 1))
    assert budgets.take(costs, 0, symbol="X")
    assert budgets.take(costs, 0, symbol="Y")
    assert not budgets.take(costs, 0, symbol="X")  # a has 4 left, which are kept
    assert budgets.window("b", symbol="X").level(0) == 1  # and nothing was taken of b
    assert budgets.take((("a", 2),), 0, rank=Rank.CANCEL)
    assert not budgets.take((("a", 1),), 0, rank=Rank.CANCEL)
    assert budgets.take((("a", 2),), 0, rank=Rank.VITAL)
    at_ns = budgets.available_at_ns(costs, 0, symbol="X")
    assert at_ns == 1_000_000_000  # nine tenths of a second, and a margin
    assert budgets.available_at_ns((), 5) == 5
    budgets.block((("a", 1),), 9 * S)
    assert not budgets.has((("a", 1),), 8 * S)
    budgets.lower("a", 5)
    budgets.lower("a", 50)
    budgets.lower("b", 1)
    assert budgets.window("a").limit == 5
    assert budgets.window("b", symbol="new").limit == 1
    monkeypatch.setattr(rate_limit, "MAX_KEYS", 3)
    with pytest.raises(RateLimitError):
        budgets.window("b", symbol="one more")
    for wrong in (Budget("x", 5, 1, reserve=5), Budget("x", 5, 1, vital=3)):
        with pytest.raises(ValueError, match="a reserve"):
            Budgets((wrong,))


def test_lanes_count_for_themselves() -> None:
    budgets = Budgets((Budget("m", 1, 900, per="lane"),))
    assert budgets.take((("m", 1),), 0, lane="one")
    assert budgets.take((("m", 1),), 0, lane="two")
    assert not budgets.take((("m", 1),), 0, lane="one")
    budgets.forget_lane("one")
    assert budgets.take((("m", 1),), 0, lane="one")


def test_what_one_budget_holds_up_does_not_hold_up_others() -> None:
    costs = {Kind.SUBSCRIBE: (("slow", 1),), Kind.TIME: (("fast", 1),), Kind.CANCEL: (("slow", 1),)}
    budgets = Budgets((Budget("slow", 2, 900, reserve=1), Budget("fast", 9, 900)))
    desk = RequestDesk(RequestTable(99), budgets, costs, S)
    sent: list[str] = []

    def ask(kind: Kind, name: str, lane: str = "") -> None:
        desk.ask(Request(kind, lane=lane), lambda *_: sent.append(name), 0)

    for name in ("s1", "s2", "s3"):
        ask(Kind.SUBSCRIBE, name, "public")
    ask(Kind.TIME, "t1")
    ask(Kind.CANCEL, "c1", "trade")
    ask(Kind.CANCEL, "c2", "trade")
    assert sent == ["s1", "t1", "c1"]
    assert len(desk) == 3
    assert repr(desk) == "RequestDesk(3 queued)"
    assert desk.wake_at_ns(0) == S
    desk.flush(S)
    assert sent == ["s1", "t1", "c1", "c2"]  # a cancel goes before what came earlier
    desk.flush(2 * S)
    assert sent[4:] == ["s2"]
    assert [request.kind for request in desk.clear("public")] == [Kind.SUBSCRIBE]
    assert desk.wake_at_ns(0) is None
    assert desk.clear() == []


# -- tables


@tables
def test_tables_are_whole(table: VenueTables) -> None:
    names = {budget.name for budget in table.budgets}
    assert all(name in names for costs in table.costs.values() for name, _ in costs)
    limits = {budget.name: budget.limit - budget.reserve for budget in table.budgets}
    for kind, costs in table.costs.items():
        assert all(cost <= limits[name] for name, cost in costs), kind  # it can be sent at all
    for codes in (table.rate_codes, table.clock_codes, table.gone_codes, table.fatal_codes):
        assert codes <= table.verdicts.keys()
        assert all(table.verdict(code).is_definite for code in codes)
    assert not table.verdict(123456789).is_definite
    assert table.order_lane in {lane.name for lane in table.lanes}
    assert all(lane.is_vital for lane in table.lanes if lane.is_private)
    assert all(lane.silence_s > 2 * lane.ping_s > 0 for lane in table.lanes)
    assert "" in table.self_trade_modes
    assert len({verdict.name for verdict in table.verdicts.values()}) > 40


UNKNOWN = {
    "Binance": [-1007, -1000, -1006, -4116],
    "OKX": [50004, 50026, 51016, 51149],
    "Bybit": [10016, 10000, 110072, 170007],
}
DEFINITE = {
    "Binance": [-1003, -1015, -1021, -1022, -1111, -1121, -2010, -2011, -2013, -2014, -2015, -2019, -2021, -2022,
                -2027, -4164, -5021, -5022, -5028],
    "OKX": [50011, 50061, 50111, 51000, 51004, 51008, 51020, 51022, 51119, 51131, 51400, 51503, 51603, 60009, 60012,
            60014, 60018],
    "Bybit": [10001, 10002, 10003, 10004, 10005, 10006, 10018, 10403, 10429, 20006, 110001, 110003, 110004, 110007,
              110008, 110012, 110017, 110094],
}  # fmt: skip


@tables
def test_codes(table: VenueTables) -> None:
    assert all(table.verdict(code).is_definite for code in DEFINITE[table.name])
    assert all(code in table.verdicts and not table.verdict(code).is_definite for code in UNKNOWN[table.name])
