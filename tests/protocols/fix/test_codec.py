"""Decode and encode: both twins on the same cases, on random ones, and against simplefix."""

from types import SimpleNamespace

import pytest
import simplefix
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.errors import LocalProtocolError, RemoteProtocolError
from protocols.fix import codec, messages
from protocols.fix.plain import DATA_OF_LENGTH, assemble, check_sum, encode_fields
from tests.protocols.fix.twins import IDS, PLAIN, TWINS

NOW_NS = 1_767_225_600_123_456_789
SOH = b"\x01"

twins = pytest.mark.parametrize("twin", TWINS, ids=IDS)


def envelope(inner: bytes, begin_string: bytes = b"FIX.4.4") -> bytes:
    """Put a right envelope around ``35=...`` with SOH for | in it."""
    inner = inner.replace(b"|", SOH)
    message = b"8=%b\x019=%d\x01%b" % (begin_string, len(inner), inner)
    return message + b"10=%03d\x01" % check_sum(message)


ORDER = envelope(
    b"35=D|34=12|49=CLIENT|52=20260101-00:00:00.123|56=GATE|11=a-1|55=BTC-PERPETUAL|54=1|60=20260101-00:00:00|"
    b"40=2|44=50123.5|38=10|"
)


@twins
def test_a_message_is_cut_into_fields(twin: SimpleNamespace) -> None:
    message = twin.decode(ORDER)
    assert message.msg_type == "D"
    assert message.msg_seq_num == 12
    assert message.raw == ORDER
    assert not message.has_duplicates
    assert message.get(44) == b"50123.5"
    assert message.get(99) is None
    assert message.get(20001) is None
    assert message.values((11, 99, 55, 20001)) == (b"a-1", None, b"BTC-PERPETUAL", None)
    assert [tag for tag, _ in message.fields()] == [8, 9, 35, 34, 49, 52, 56, 11, 55, 54, 60, 40, 44, 38, 10]
    assert repr(message) == "Message('D', 12)"


@twins
def test_an_older_message_keeps_its_fields_when_others_are_cut(twin: SimpleNamespace) -> None:
    old = twin.decode(ORDER)
    for tag in range(1, 200):
        twin.decode(envelope(b"35=0|34=1|%d=x|" % tag))
    assert old.values((11, 34, 99, 3000)) == (b"a-1", b"12", None, None)
    assert old.get(38) == b"10"


@twins
@pytest.mark.parametrize(
    ("inner", "number"),
    [
        (b"35=0|34=7|", 7),
        (b"35=0|34=007|", 7),
        (b"35=0|", -1),
        (b"35=0|34=|", -1),
        (b"35=0|34=-7|", -1),
        (b"35=0|34=7.0|", -1),
        (b"35=0|34=999999999999999999|", 999999999999999999),
        (b"35=0|34=9999999999999999999|", -1),
        (b"35=0|34=7|34=8|", 7),
    ],
)
def test_msg_seq_num(twin: SimpleNamespace, inner: bytes, number: int) -> None:
    assert twin.decode(envelope(inner)).msg_seq_num == number


@twins
@pytest.mark.parametrize("msg_type", ["0", "AE", "", "UXYZ", "é"])
def test_msg_type(twin: SimpleNamespace, msg_type: str) -> None:
    assert twin.decode(envelope(b"35=%b|34=1|" % msg_type.encode("latin-1"))).msg_type == msg_type


@twins
@pytest.mark.parametrize(
    ("text", "tag"),
    [
        (b"58", 58),
        (b"1_0", 0),
        (b" 35", 0),
        (b"+8", 0),
        (b"-1", 0),
        (b"0", 0),
        (b"058", 0),
        (b"58 ", 0),
        ("５８".encode(), 0),
        (b"123456789", 123456789),
        (b"1234567890", 0),
        (b"20001", 20001),
    ],
)
def test_tags_are_strict_numbers(twin: SimpleNamespace, text: bytes, tag: int) -> None:
    message = twin.decode(envelope(b"35=0|34=1|%b=x|" % text))
    assert message.fields()[4] == (tag, b"x")
    assert message.get(0) is None
    assert message.values((0,)) == (None,)


@twins
@pytest.mark.parametrize("tag", [11, 58, 2048, 5000, 20001])
def test_duplicates_are_noticed(twin: SimpleNamespace, tag: int) -> None:
    message = twin.decode(envelope(b"35=0|34=1|%d=x|58x=|%d=y|" % (tag, tag)))
    assert message.has_duplicates
    assert message.get(tag) == b"x"


GARBLED = [
    envelope(b"35=0|34=1|")[:-4] + b"99\x01",  # CheckSum
    envelope(b"35=0|34=1|")[:-5] + b"+12\x01",
    envelope(b"35=0|34=1|")[:-1] + b"0",
    envelope(b"35=0|34=1"),  # no SOH before the trailer
    envelope(b"34=1|35=0|"),  # third field
    envelope(b"35=0|34=1|abc=1|"),
    envelope(b"35=0|34=1|=1|"),
    envelope(b"35=0|34=1|1|"),
    envelope(b"35=0|34=1|-=1|"),
    envelope(b"35=0|34=1||"),
    envelope(b"35|"),
    envelope(b""),
    envelope(b"35=0|34=1|", b"FIX"),
    envelope(b"35=0|34=1|", b"FIX.4.4.4.4.4.4.4"),
    envelope(b"35=0|34=1|", b"FOO.4.4"),
    envelope(b"35=0|34=1|").replace(b"9=10", b"9=-1"),
    envelope(b"35=0|34=1|").replace(b"9=10", b"9=+1"),
    envelope(b"35=0|34=1|").replace(b"9=10", b"9= 1"),
    envelope(b"35=0|34=1|").replace(b"9=10", b"9="),
    envelope(b"35=0|34=1|").replace(b"9=10", b"9=1e1"),
    envelope(b"35=0|34=1|").replace(b"9=10", b"9=0000000010"),
    envelope(b"35=0|34=1|").replace(b"9=10", b"9=11") + b"x",
    envelope(b"35=0|34=1|").replace(b"9=10", b"9=9"),
    envelope(b"35=0|34=1|").replace(b"9=10", b"8=10"),
]


@twins
@pytest.mark.parametrize("raw", GARBLED)
def test_garbled(twin: SimpleNamespace, raw: bytes) -> None:
    found = twin.frame(raw + b"8=FIX.4.4\x019=", 0)
    assert isinstance(found, int)
    assert found < 0
    with pytest.raises(RemoteProtocolError):
        twin.decode(raw)


@twins
@pytest.mark.parametrize("end", range(1, len(ORDER)))
def test_what_is_cut_short_needs_more(twin: SimpleNamespace, end: int) -> None:
    needed = twin.frame(ORDER[:end], 0)
    assert end < needed <= len(ORDER)
    with pytest.raises(RemoteProtocolError):
        twin.decode(ORDER[:end])


@twins
def test_body_length_may_have_zeros_in_front(twin: SimpleNamespace) -> None:
    inner = b"35=0\x0134=1\x01"
    message = b"8=FIX.4.4\x019=%05d\x01%b" % (len(inner), inner)
    assert twin.decode(message + b"10=%03d\x01" % check_sum(message)).msg_seq_num == 1


@twins
def test_limits(twin: SimpleNamespace) -> None:
    with pytest.raises(RemoteProtocolError, match="over the limit of 8192"):
        twin.frame(b"8=FIX.4.4\x019=8192\x01", 0)
    with pytest.raises(RemoteProtocolError, match="over the limit of 8192"):
        twin.frame(b"8=FIX.4.4\x019=999999999\x01", 0)
    many = envelope(b"35=0|34=1|" + b"1=x|" * 600)
    with pytest.raises(RemoteProtocolError, match="fields"):
        twin.frame(many, 0)
    assert len(twin.frame(many, 0, 8192, 605).fields()) == 605
    assert len(twin.frame(many, 0, 8192, 10_000).fields()) == 605


@twins
@pytest.mark.parametrize(
    ("inner", "value"),
    [
        (b"35=0|34=1|95=3|96=a\x01b|", b"a\x01b"),
        (b"35=0|34=1|95=3|96=a=b|", b"a=b"),
        (b"35=0|34=1|95=2|96=abc|", b"abc"),
        (b"35=0|34=1|95=9|96=abc|", b"abc"),
        (b"35=0|34=1|95=99999999|96=abc|", b"abc"),
        (b"35=0|34=1|95=x|96=abc|", b"abc"),
        (b"35=0|34=1|95=|96=abc|", b"abc"),
        (b"35=0|34=1|95=3|58=x|96=abc|", b"abc"),
        (b"35=0|34=1|96=abc|", b"abc"),
        (b"35=0|34=1|95=0|96=|", b""),
    ],
)
def test_data_fields_are_cut_by_their_length(twin: SimpleNamespace, inner: bytes, value: bytes) -> None:
    assert twin.decode(envelope(inner)).get(96) == value


@twins
def test_groups(twin: SimpleNamespace) -> None:
    message = twin.decode(
        envelope(b"35=D|34=1|452=9|453=2|448=a|447=D|452=1|802=1|523=s|448=b|452=3|452=4|55=X|448=z|")
    )
    assert message.groups(453, (448, 447, 452)) == [(b"a", b"D", b"1")]
    assert message.groups(453, (448, 452, 802, 523, 447)) == [
        (b"a", b"1", b"1", b"s", b"D"),
        (b"b", b"3", None, None, None),
    ]
    assert message.groups(453, (447, 448)) == []
    assert message.groups(555, (600,)) == []


# --- writing --------------------------------------------------------------------------------------------------------


@twins
def test_encode(twin: SimpleNamespace) -> None:
    layout = twin.Layout("8", (11, 14, 37, 58))
    header = twin.Header("FIX.4.4", "GATE", "CLIENT")
    raw = twin.encode(layout, header, 7, NOW_NS, (b"a", 0, b"", None))
    assert raw == envelope(b"35=8|34=7|49=GATE|52=20260101-00:00:00.123|56=CLIENT|11=a|14=0|")
    raw = twin.encode(layout, header, 7, NOW_NS, (b"a=", -5, b"=", b"x=y"), True, NOW_NS - 10**9)
    assert raw == envelope(
        b"35=8|34=7|43=Y|49=GATE|52=20260101-00:00:00.123|56=CLIENT|122=20251231-23:59:59.123|11=a=|14=-5|37==|58=x=y|"
    )
    assert repr(layout) == "Layout('8', (11, 14, 37, 58))"


@twins
def test_header_fields_ascend(twin: SimpleNamespace) -> None:
    routing = [(145, b"L"), (50, b"S"), (128, b"D"), (57, b"T"), (115, b"O")]
    header = twin.Header("FIX.4.4", "G", "C", routing, 0)
    raw = twin.encode(twin.Layout("0", (112,)), header, 1, NOW_NS, (None,), True, NOW_NS)
    assert raw == envelope(
        b"35=0|34=1|43=Y|49=G|50=S|52=20260101-00:00:00|56=C|57=T|115=O|122=20260101-00:00:00|128=D|145=L|"
    )
    assert (header.begin_string, header.sender_comp_id, header.target_comp_id) == ("FIX.4.4", "G", "C")


@twins
def test_what_may_not_be_sent(twin: SimpleNamespace) -> None:
    layout = twin.Layout("8", (11, 58))
    header = twin.Header("FIX.4.4", "G", "C")
    for values in ((b"a",), (b"a", b"b", b"c"), ("a", None), (b"a", 1.5), (True, None), (b"x\x0139=2", None)):
        with pytest.raises(LocalProtocolError):
            twin.encode(layout, header, 1, NOW_NS, values)
    with pytest.raises(LocalProtocolError):
        twin.encode(layout, header, 1, NOW_NS, (b"a=\x01", b""))
    for size in (65_600, 70_000, 200_000):
        with pytest.raises(LocalProtocolError, match="too long"):
            twin.encode(layout, header, 1, NOW_NS, (b"x" * size, 5))
    with pytest.raises(LocalProtocolError, match="too long"):
        twin.encode(layout, twin.Header("FIX.4.4", "G" * 70_000, "C"), 1, NOW_NS, (b"x", 5))
    with pytest.raises(LocalProtocolError, match="too long"):
        twin.encode(layout, twin.Header("FIX.4.4", "G", "C", [(145, b"x" * 70_000)]), 1, NOW_NS, (b"x", 5))
    for tags in ((11, 11), (58, 11)):
        with pytest.raises(ValueError, match="ascend"):
            twin.Layout("8", tags)
    with pytest.raises(ValueError, match="timestamp_digits"):
        twin.Header("FIX.4.4", "G", "C", (), 5)
    with pytest.raises(ValueError, match="must have a value"):
        twin.Header("FIX.4.4", "", "C")
    with pytest.raises(ValueError, match="must have a value"):
        twin.Header("FIX.4.4", "G", "C", [(50, b"a\x01b")])


@twins
def test_data_values_may_hold_separators(twin: SimpleNamespace) -> None:
    layout = twin.Layout("A", (95, 96))
    raw = twin.encode(layout, twin.Header("FIX.4.4", "G", "C"), 1, NOW_NS, (3, b"a\x01b"))
    assert twin.decode(raw).get(96) == b"a\x01b"


@twins
def test_no_separator_in_a_value_is_missed_nor_seen_where_none_is(twin: SimpleNamespace) -> None:
    layout, header = twin.Layout("8", (58, 60)), twin.Header("FIX.4.4", "G", "C")
    for size in range(1, 36):
        clean = bytes(range(2, 2 + size))  # 2 is one bit away from it, and follows it in the same word
        raw = twin.encode(layout, header, 1, NOW_NS, (clean, 7))
        assert twin.decode(raw).get(58) == clean and twin.decode(raw).raw == raw
        for at in range(size):
            with pytest.raises(LocalProtocolError, match="holds SOH"):
                twin.encode(layout, header, 1, NOW_NS, (clean[:at] + SOH + clean[at + 1 :], 7))


def test_encode_fields_takes_any_order_and_groups() -> None:
    header = codec.Header("FIX.4.4", "G", "C")
    fields = [(453, 2), (448, b"a"), (448, b"b"), (95, 2), (96, b"\x01="), (55, b"X")]
    raw = encode_fields("D", header, 3, NOW_NS, fields, True, NOW_NS)
    assert codec.decode(raw).fields()[-7:-1] == [(tag, str(v).encode() if v == 2 else v) for tag, v in fields]
    with pytest.raises(LocalProtocolError, match="tag 58 holds SOH"):
        encode_fields("D", header, 3, NOW_NS, [(58, b"a\x01b")])


def test_templates_of_a_layout_are_bounded() -> None:
    layout = PLAIN.Layout("8", tuple(range(1, 11)))
    header = PLAIN.Header("FIX.4.4", "G", "C")
    for shape in range(1024):
        values = tuple(1 if shape >> bit & 1 else None for bit in range(10))
        PLAIN.encode(layout, header, 1, NOW_NS, values)
    assert len(layout._templates) <= 256


VALUES = st.one_of(
    st.none(),
    st.integers(-(10**18), 10**18),
    st.binary(max_size=40).filter(lambda value: SOH not in value),
)


@pytest.mark.skipif(len(TWINS) < 2, reason="no compiled twin")
@settings(deadline=None, max_examples=300)
@given(
    values=st.tuples(*[VALUES] * 9),
    number=st.integers(0, 10**12),
    time_ns=st.integers(0, 4 * 10**18),
    digits=st.sampled_from([0, 3, 6, 9]),
    orig_ns=st.one_of(st.none(), st.integers(0, 4 * 10**18)),
    routing=st.dictionaries(st.sampled_from([50, 57, 115, 128, 142]), st.sampled_from([b"x", b"a long one"])),
)
def test_twins_write_the_same(values, number, time_ns, digits, orig_ns, routing) -> None:
    written = []
    for twin in TWINS:
        layout = twin.Layout("AE", (1, 6, 11, 58, 99, 103, 150, 5000, 20001))
        header = twin.Header("FIX.4.4", "GATE", "CLIENT", routing.items(), digits)
        written.append(twin.encode(layout, header, number, time_ns, values, orig_ns is not None, orig_ns))
    assert written[0] == written[1]
    message = codec.decode(written[0])
    sent = [(tag, value) for tag, value in zip(layout.tags, values, strict=True) if value not in (None, b"")]
    body = message.fields()[-len(sent) - 1 : -1]
    assert body == [(tag, value if isinstance(value, bytes) else b"%d" % value) for tag, value in sent]
    theirs = simplefix.FixMessage()
    for tag, value in message.fields():
        if tag not in (9, 10):
            theirs.append_pair(tag, value)
    assert theirs.encode() == written[0]


FIELD_TEXTS = st.one_of(
    st.integers(0, 3000).map(lambda tag: b"%d" % tag),
    st.sampled_from([b"%d" % tag for pair in DATA_OF_LENGTH.items() for tag in pair]),
    st.sampled_from([b"+1", b" 1", b"1_0", b"abc", b"", b"01", b"\xff", b"99999999999", b"20001", b"1=", b"1\x01"]),
)
FIELD_VALUES = st.one_of(st.binary(max_size=6), st.integers(0, 12).map(lambda n: b"%d" % n))


def outcome(twin: SimpleNamespace, raw: bytes) -> object:
    try:
        found = twin.frame(raw, 0, 8192, 64)
    except RemoteProtocolError:
        return "over a limit"
    if isinstance(found, int):
        return found
    tags = (*range(0, 3000, 7), 11, 34, 49, 96, 20001)
    duplicates = found.has_duplicates if all(tag for tag, _ in found.fields()) else None
    return found.fields(), found.values(tags), found.msg_type, found.msg_seq_num, duplicates


@pytest.mark.skipif(len(TWINS) < 2, reason="no compiled twin")
@settings(deadline=None, max_examples=500)
@given(st.lists(st.tuples(FIELD_TEXTS, FIELD_VALUES), max_size=60), st.binary(max_size=3))
def test_twins_read_the_same(fields: list[tuple[bytes, bytes]], junk: bytes) -> None:
    raw = envelope(b"35=D\x0134=5\x01" + b"".join([b"%b=%b\x01" % field for field in fields]) + junk)
    assert outcome(TWINS[0], raw) == outcome(TWINS[1], raw)


@pytest.mark.skipif(len(TWINS) < 2, reason="no compiled twin")
@settings(deadline=None, max_examples=500)
@given(st.data())
def test_twins_read_the_same_damage(data: st.DataObject) -> None:
    raw = bytearray(ORDER)
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(raw[: data.draw(st.integers(1, len(raw)))])
    assert outcome(TWINS[0], cut) == outcome(TWINS[1], cut)


def test_check_sum_is_the_plain_sum() -> None:
    for size in (0, 1, 255, 256, 257, 515, 516, 1000, 8192):
        for byte in (0, 1, 127, 128, 255):
            data = bytes([byte]) * size
            assert check_sum(data) == sum(data) % 256


def test_the_switch() -> None:
    assert (codec.Message is not PLAIN.Message) == codec.COMPILED
    assert messages.EXECUTION_REPORT.msg_type == "8"
    ready = assemble(b"35=0\x0134=", codec.Header("FIX.4.4", "G", "C"), 1, b"20260101-00:00:00", b"")
    assert codec.decode(ready).msg_type == "0"


def test_simplefix_reads_what_we_write_and_we_read_what_it_writes() -> None:
    parser = simplefix.FixParser()
    parser.append_buffer(ORDER)
    theirs = parser.get_message()
    assert theirs is not None
    pairs = [(int(tag), value) for tag, value in theirs.pairs]
    for twin in TWINS:
        assert twin.decode(ORDER).fields() == pairs
        assert twin.decode(theirs.encode()).fields() == pairs
