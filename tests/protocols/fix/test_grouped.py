"""Messages with groups: what is written is valid by the version's dictionary, and read again it is what was given."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.errors import LocalProtocolError
from protocols.fix import market_data_messages as md
from protocols.fix.codec import Header, assemble, decode
from protocols.fix.dictionary import FIX42, FIX44, FIX50SP2, Dictionary
from protocols.fix.grouped import Values, entries_of, flat_body, grouped_body, send_grouped
from protocols.fix.session import Session, SessionConfig, SessionKey, SessionState
from tests.protocols.fix.conversation import START_NS, peer_message

KEY = SessionKey("FIX.4.4", "GATE", "CLIENT")
NEWS: Values = {148: b"headline", 33: [{58: b"one"}, {58: b"two"}], 61: 1}


def message(dictionary: Dictionary, msg_type: str, body: bytes) -> Any:
    header = Header(dictionary.begin_string, "GATE", "CLIENT")
    whole = assemble(b"35=%b\x0134=" % msg_type.encode(), header, 1, b"20260101-00:00:00.000", body)
    decoded = decode(whole)
    assert dictionary.validate(decoded) is None, (dictionary.validate(decoded), whole)
    return decoded


@pytest.mark.parametrize("dictionary", [FIX42, FIX44, FIX50SP2], ids=lambda one: one.begin_string)
def test_groups_go_out_in_the_dictionarys_order(dictionary: Dictionary) -> None:
    body = grouped_body(dictionary, "B", NEWS | {42: None, 96: b""})
    assert body == b"33=2\x0158=one\x0158=two\x0161=1\x01148=headline\x01"
    assert entries_of(dictionary, message(dictionary, "B", body), 33, 58) == [b"one", b"two"]


def test_groups_within_groups() -> None:
    values: Values = {
        320: b"r", 322: b"s", 560: 0,
        146: [{55: b"A", 454: [{456: b"8", 455: b"a1"}, {455: b"a2"}], 58: b"text"}, {15: b"USD", 55: b"B"}],
    }  # fmt: skip
    body = grouped_body(FIX44, "y", values)
    assert body == (
        b"146=2\x0155=A\x01454=2\x01455=a1\x01456=8\x01455=a2\x0158=text\x0155=B\x0115=USD\x01320=r\x01322=s\x01560=0\x01"
    )
    told = message(FIX44, "y", body)
    assert entries_of(FIX44, told, 146, 55) == [b"A", b"B"]
    assert entries_of(FIX44, told, 146, 15) == [b"", b"USD"]
    assert entries_of(FIX44, told, 268, 269) == []


def test_what_a_version_has_not_is_left_out() -> None:
    values: Values = {335: b"r", 336: b"s", 340: 2, 567: 1, 1301: b"V", 9999: b"?", 339: b"?", 58: b"x"}
    assert grouped_body(FIX42, "h", values) == b"58=x\x01335=r\x01336=s\x01340=2\x01"
    assert grouped_body(FIX44, "h", values) == b"58=x\x01335=r\x01336=s\x01340=2\x01567=1\x01"


@pytest.mark.parametrize(
    ("msg_type", "values", "text"),
    [
        ("??", {}, "no message"),
        ("B", {33: [{58: b"x"}]}, "Headline"),
        ("B", {148: b"x"}, "LinesOfText"),
        ("B", NEWS | {148: b"x\x01y"}, "SOH"),
        ("B", NEWS | {33: [{354: 1, 355: b"x"}]}, "begins with 58"),
        ("B", NEWS | {33: [{}]}, "begins with 58"),
        ("h", {335: b"r", 336: b"s", 340: 99}, "TradSesStatus"),
    ],
)
def test_what_can_not_be_written(msg_type: str, values: Values, text: str) -> None:
    with pytest.raises(LocalProtocolError, match=text):
        grouped_body(FIX44, msg_type, values)


def test_data_may_hold_anything() -> None:
    body = grouped_body(FIX44, "B", NEWS | {95: 3, 96: b"\x01=\x01"})
    assert body.endswith(b"95=3\x0196=\x01=\x01\x01148=headline\x01")


# -- sending


def live() -> tuple[Session, SessionState]:
    state = SessionState(KEY, SessionConfig(application_messages=frozenset("V")))
    session = Session({KEY: state}.get, START_NS)
    session.receive_data(peer_message("35=A|34=1|98=0|108=30", START_NS), START_NS)
    session.next_event()
    session.data_to_send()
    return session, state


def test_it_is_stored_and_sent_where_there_is_a_connection() -> None:
    session, state = live()
    raw = send_grouped(state, "B", NEWS, START_NS)
    assert (session.data_to_send(), state.sent.get(2), state.next_out) == (raw, raw, 3)
    session.connection_lost(START_NS)
    stored = send_grouped(state, "B", NEWS, START_NS)
    assert (session.data_to_send(), state.sent.get(3), state.next_out) == (b"", stored, 4)
    assert b"\x0134=3\x01" in stored


def test_what_is_volatile_is_numbered_and_not_kept() -> None:
    session, state = live()
    session.send_volatile(b"one", START_NS)
    assert (session.data_to_send(), state.sent.get(2), state.next_out) == (b"one", None, 3)
    session.connection_lost(START_NS)
    session.send_volatile(b"two", START_NS)
    assert (session.data_to_send(), state.next_out) == (b"", 4)


# -- market data


prices = st.decimals(min_value=0, max_value=10**6, places=3).map(lambda value: str(value).encode())
entries = st.one_of(
    st.builds(md.level_changed, st.sampled_from([b"0", b"1", b"2"]), st.sampled_from([b"0", b"1"]), st.just(b"S"),
              prices, prices),
    st.builds(md.traded, st.just(b"t1"), prices, prices, st.just(START_NS), st.just(b"S")),
    st.builds(md.quoted, st.sampled_from([b"3", b"6"]), prices, st.just(START_NS), st.just(b"S")),
    st.builds(md.withdrawn, st.sampled_from([b"3", b"6"]), st.just(b"S"), st.just(b"stale")),
)  # fmt: skip
shown = st.one_of(
    st.builds(md.level, st.sampled_from([b"0", b"1"]), prices, prices),
    st.builds(md.traded, st.just(b""), prices, prices, st.just(START_NS)),
    st.builds(md.quoted, st.sampled_from([b"3", b"6"]), prices, st.just(START_NS)),
)


@settings(max_examples=50, deadline=None)
@given(st.lists(shown, min_size=1, max_size=8), st.lists(entries, min_size=1, max_size=8), st.booleans())
def test_market_data_is_valid_in_every_version(whole: list[bytes], changes: list[bytes], is_empty: bool) -> None:
    for dictionary in (FIX42, FIX44, FIX50SP2):
        knows_empty = md.EMPTY_BOOK in dictionary.fields[269].values
        told = md.nothing([b"0", b"1"], b"gap", knows_empty) if is_empty else whole
        updated_ns = START_NS if 779 in dictionary.messages["W"].body else None
        snapshot = message(dictionary, "W", md.snapshot(b"S", b"id", told, updated_ns))
        assert len(entries_of(dictionary, snapshot, 268, 269)) == len(told)
        increment = message(dictionary, "X", md.increment(b"id", changes))
        assert len(entries_of(dictionary, increment, 268, 279)) == len(changes)


def test_a_flat_body_is_the_same_faster() -> None:
    values: dict[int, bytes | int | None] = {2325: 0, 2320: b"0", 2321: b"0", 58: b"why", 44: None, 54: b"", 9999: b"x"}
    body = flat_body(FIX50SP2, "DG", values)
    assert body == grouped_body(FIX50SP2, "DG", values) == b"58=why\x012320=0\x012321=0\x012325=0\x01"
    with pytest.raises(LocalProtocolError, match="SOH"):
        flat_body(FIX50SP2, "DG", {58: b"a\x01b"})
