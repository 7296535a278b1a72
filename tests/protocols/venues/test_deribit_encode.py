"""The templates against a JSON parser."""

from __future__ import annotations

from decimal import Decimal

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import LocalProtocolError
from protocols.venues import fields
from protocols.venues.deribit_encode import cancel_body, edit_body, is_label, number, place_body
from protocols.venues.deribit_tables import TIMES_IN_FORCE

labels = st.text(st.characters(min_codepoint=32, max_codepoint=126, exclude_characters='"\\'), min_size=1, max_size=64)
numbers = st.decimals(
    min_value=Decimal("0.000000001"), max_value=10**15, places=9, allow_nan=False, allow_infinity=False
).map(lambda d: format(d, "f"))


@given(
    labels,
    st.booleans(),
    numbers,
    st.one_of(st.none(), numbers),
    st.sampled_from(sorted(TIMES_IN_FORCE)),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
def test_an_order_is_json_with_exactly_what_was_meant(
    label: str,
    is_buy: bool,
    quantity: str,
    price: str | None,
    time_in_force: str,
    post_only: bool,
    reduce_only: bool,
    as_bytes: bool,
) -> None:
    order_type = "limit" if price else "market"
    wire_quantity: str | bytes = quantity.encode() if as_bytes else quantity
    wire_price: str | bytes | None = price.encode() if as_bytes and price else price
    body = place_body(
        label, "BTC-PERPETUAL", is_buy, wire_quantity, wire_price, order_type, time_in_force, post_only, reduce_only
    )
    message = orjson.loads("{" + body)
    expected = {
        "instrument_name": "BTC-PERPETUAL",
        "amount": float(quantity),
        "type": order_type,
        "time_in_force": time_in_force,
        "label": label,
    }
    if price:
        expected["price"] = float(price)
    if post_only:
        expected |= {"post_only": True, "reject_post_only": True}
    if reduce_only:
        expected["reduce_only"] = True
    assert message == {"method": "private/buy" if is_buy else "private/sell", "params": expected}
    assert f'"amount":{quantity},' in body  # the very text, no float in between


NOT_NUMBERS = [
    "",
    "0",
    "0.0",
    "-1",
    "+1",
    "1e5",
    "NaN",
    "inf",
    "01",
    "1.",
    ".5",
    "1,5",
    " 1",
    "1_0",
    "1" * 19,
    "1}",
    "٣",
]


@pytest.mark.parametrize("text", NOT_NUMBERS)
def test_what_is_no_positive_number_is_refused(text: str) -> None:
    with pytest.raises(LocalProtocolError, match="not a positive decimal number"):
        number(text)
    with pytest.raises(LocalProtocolError, match="not a positive decimal number"):
        number(text.encode())


@pytest.mark.parametrize("label", ["", "x" * 65, 'a"b', "a\\b", "a\nb", "é", "\x7f"])
def test_a_label_that_would_need_escaping_is_refused(label: str) -> None:
    assert not is_label(label)
    with pytest.raises(LocalProtocolError, match="not a label"):
        place_body(label, "X", True, "1", "1", "limit", "good_til_day", False, False)


@pytest.mark.parametrize(
    ("price", "order_type", "time_in_force"),
    [
        ("1", "market", "good_til_day"),
        (None, "limit", "good_til_day"),
        ("1", "stop", "good_til_day"),
        ("1", "limit", "gtc"),
    ],
)
def test_terms_that_do_not_fit_are_refused(price: str | None, order_type: str, time_in_force: str) -> None:
    with pytest.raises(LocalProtocolError):
        place_body("a", "X", True, "1", price, order_type, time_in_force, False, False)


def test_edit_and_cancel() -> None:
    assert orjson.loads("{" + edit_body("ETH-5", "20", b"1.5")) == {
        "method": "private/edit",
        "params": {"order_id": "ETH-5", "amount": 20, "price": 1.5},
    }
    assert orjson.loads("{" + cancel_body("5")) == {"method": "private/cancel", "params": {"order_id": "5"}}
    for order_id in ("", 'x"', "x" * 65, "a b"):
        with pytest.raises(LocalProtocolError, match="not an order id"):
            cancel_body(order_id)


def test_the_memory_of_numbers_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fields, "MAX_CACHED_NUMBERS", 3)
    monkeypatch.setattr(fields, "_plain", {})
    for i in range(1, 20):
        assert number(str(i)) == str(i)
        assert len(fields._plain) <= 3
