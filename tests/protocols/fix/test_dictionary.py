"""The data dictionary: every finding, groups, overlays; and the screen against the full validation."""

import random
from itertools import product
from types import SimpleNamespace
from typing import Any

import pytest

from protocols.fix import codec, messages, reject
from protocols.fix.dictionary import FIX44, Dictionary, SessionReject
from protocols.fix.formats import Format
from protocols.fix.plain import DATA_OF_LENGTH
from protocols.fix.validation import find_fault
from tests.protocols.fix.test_codec import NOW_NS, envelope
from tests.protocols.fix.twins import IDS, TWINS

twins = pytest.mark.parametrize("twin", TWINS, ids=IDS)

HEAD = b"35=D|34=5|49=CLIENT|52=20260101-00:00:00.123|56=GATE|"
TERMS = b"55=X|54=1|60=20260101-00:00:00|40=1|"
CASES: list[tuple[bytes, SessionReject | None]] = [
    (HEAD + b"11=a|" + TERMS, None),
    (HEAD + b"11=a|38=1.5|44=-2|99=0|59=0|18=6 G|126=20260101-00:00:00.5|" + TERMS, SessionReject(126, 6)),
    (HEAD + b"11=a|38=1.5|44=-2|99=0|59=0|18=6 G|126=20260101-00:00:00.500|" + TERMS, None),
    (HEAD + b"11=a|18=6  G|" + TERMS, SessionReject(18, 6)),
    (HEAD + b"11=a|18=GG|" + TERMS, SessionReject(18, 5)),
    (HEAD + b"11=a|18=G,6|" + TERMS, SessionReject(18, 5)),
    (HEAD + b"11=a|54=12|" + TERMS, SessionReject(54, 6)),
    (HEAD + b"11=a|54=Z|" + TERMS, SessionReject(54, 5)),
    (HEAD + b"11=a|423=01|" + TERMS, None),
    (HEAD + b"11=a|423=12|" + TERMS, SessionReject(423, 5)),
    (HEAD + b"11=a|423=x|" + TERMS, SessionReject(423, 6)),
    (HEAD + b"11=a|423=-1|" + TERMS, SessionReject(423, 5)),
    (HEAD + b"11=a|22=8|" + TERMS, None),
    (HEAD + b"11=a|22=88|" + TERMS, SessionReject(22, 5)),
    (HEAD + b"11=a|121=Y|" + TERMS, None),
    (HEAD + b"11=a|121=y|" + TERMS, SessionReject(121, 6)),
    (HEAD + b"11=a|432=20260131|" + TERMS, None),
    (HEAD + b"11=a|432=20261301|" + TERMS, SessionReject(432, 6)),
    (HEAD + b"11=a|432=2026013|" + TERMS, SessionReject(432, 6)),
    (HEAD + b"11=a|432=20260132|" + TERMS, SessionReject(432, 6)),
    (HEAD + b"11=a|200=202603|" + TERMS, None),
    (HEAD + b"11=a|200=20260331|" + TERMS, None),
    (HEAD + b"11=a|200=202603w5|" + TERMS, None),
    (HEAD + b"11=a|200=202603w6|" + TERMS, SessionReject(200, 6)),
    (HEAD + b"11=a|1=tab\t|" + TERMS, SessionReject(1, 6)),
    (HEAD + b"11=a|1=\x7f|" + TERMS, SessionReject(1, 6)),
    (HEAD + b"11=a|21=\x02|" + TERMS, SessionReject(21, 6)),
    (HEAD + b"11=a|854=0|" + TERMS, None),
    (HEAD + b"11=|" + TERMS, SessionReject(11, 4)),
    (HEAD + b"11=a|3_8=1|" + TERMS, SessionReject(None, 0)),
    (HEAD + b"11=a|5555=1|" + TERMS, SessionReject(5555, 0)),
    (HEAD + b"11=a|999999999=1|" + TERMS, SessionReject(999999999, 0)),
    (HEAD + b"11=a|102=1|" + TERMS, SessionReject(102, 2)),
    (HEAD + b"11=a|448=1|" + TERMS, SessionReject(448, 2)),
    (HEAD + b"11=a|11=b|" + TERMS, SessionReject(11, 13)),
    (HEAD + b"11=a|50=x|" + TERMS, SessionReject(50, 14)),
    (HEAD + b"11=a|" + TERMS + b"10=123|", SessionReject(10, 13)),
    (HEAD + b"93=1|89=x|11=a|" + TERMS, SessionReject(11, 14)),
    (HEAD + b"11=a|" + TERMS + b"93=1|89=x|", None),
    (HEAD + TERMS, SessionReject(11, 1)),
    (HEAD + b"11=a|55=X|", SessionReject(54, 1)),
    (b"35=D|34=5|56=GATE|52=20260101-00:00:00.123|11=a|" + TERMS, SessionReject(49, 1)),
    (b"35=D|34=5|49=CLIENT|52=x|56=GATE|11=a|" + TERMS, SessionReject(52, 6)),
    (b"35=D|34=x|49=CLIENT|52=20260101-00:00:00|56=GATE|11=a|" + TERMS, SessionReject(34, 6)),
    (HEAD + b"11=a|453=0|" + TERMS, None),
    (HEAD + b"11=a|453=1|" + TERMS, SessionReject(453, 16)),
    (HEAD + b"11=a|453=x|" + TERMS, SessionReject(453, 6)),
    (HEAD + b"11=a|453=-1|448=a|" + TERMS, SessionReject(453, 6)),
    (HEAD + b"11=a|453=1|448=a|" + TERMS, None),
    (HEAD + b"11=a|453=2|448=a|447=D|452=1|448=b|452=2|" + TERMS, None),
    (HEAD + b"11=a|453=1|448=a|448=b|" + TERMS, SessionReject(453, 16)),
    (HEAD + b"11=a|453=3|448=a|448=b|" + TERMS, SessionReject(453, 16)),
    (HEAD + b"11=a|453=1|452=1|448=a|" + TERMS, SessionReject(452, 15)),
    (HEAD + b"11=a|453=1|448=a|452=1|447=D|" + TERMS, SessionReject(447, 15)),
    (HEAD + b"11=a|453=1|448=a|452=1|452=2|" + TERMS, SessionReject(452, 13)),
    (HEAD + b"11=a|453=1|448=a|452=x|" + TERMS, SessionReject(452, 6)),
    (HEAD + b"11=a|453=1|448=a|802=2|523=s|803=1|523=t|" + TERMS, None),
    (HEAD + b"11=a|453=1|448=a|802=2|523=s|803=1|" + TERMS, SessionReject(802, 16)),
    (HEAD + b"11=a|453=2|448=a|802=1|523=s|448=b|" + TERMS, None),
    (HEAD + b"11=a|711=1|311=U|457=1|458=i|459=4|" + TERMS, None),
    (HEAD + b"627=1|628=HOP|11=a|" + TERMS, None),
    (b"35=A|34=5|49=C|52=20260101-00:00:00|56=G|98=0|108=30|384=1|385=S|", SessionReject(385, 15)),
    (b"35=A|34=5|49=C|52=20260101-00:00:00|56=G|98=0|108=30|384=1|372=D|385=S|", None),
    (b"35=A|34=5|49=C|52=20260101-00:00:00|56=G|98=0|108=30|95=2|96=\x01=|", None),
    (b"35=A|34=5|49=C|52=20260101-00:00:00|56=G|98=0|108=30|95=3|96=\x01=|", SessionReject(None, 0)),
    (b"35=A|34=5|49=C|52=20260101-00:00:00|56=G|98=0|108=30|95=3|96=a|", SessionReject(96, 6)),
    (b"35=A|34=5|49=C|52=20260101-00:00:00|56=G|98=0|108=30|96=a|", SessionReject(96, 6)),
    (b"35=P|34=5|49=C|52=20260101-00:00:00|56=G|", SessionReject(None, 11)),
]


@pytest.mark.parametrize(("inner", "fault"), CASES, ids=range(len(CASES)))
@twins
def test_findings(twin: SimpleNamespace, inner: bytes, fault: SessionReject | None) -> None:
    raw = envelope(inner)
    found = twin.frame(raw, 0)
    if isinstance(found, int):
        assert fault == SessionReject(None, 0), "only the broken data field is garbled altogether"
        return
    assert FIX44.validate(found) == fault
    if fault is not None:
        assert fault.text == reject.TEXTS[fault.reason]


def screen_of(twin: SimpleNamespace, dictionary: Dictionary = FIX44) -> Any:
    return twin.Screen(dictionary, frozenset("DFG"), "FIX.4.4", "CLIENT", "GATE", 120 * 10**9)


@twins
def test_a_screen_passes_what_is_clean_and_nothing_else(twin: SimpleNamespace) -> None:
    screen = screen_of(twin)
    passed = 0
    for inner, fault in CASES:
        message = twin.frame(envelope(inner), 0)
        if not isinstance(message, int) and screen.passes(message, 5, NOW_NS):
            passed += 1
            assert fault is None, inner
    assert passed >= 5


SCREENED = [
    (HEAD + b"11=a|" + TERMS, True),
    (HEAD + b"11=a|18=6 G|44=50123.5|38=10|59=3|126=20260101-00:00:00|" + TERMS, True),
    (HEAD.replace(b"CLIENT", b"OTHER") + b"11=a|" + TERMS, False),
    (HEAD.replace(b"GATE", b"OTHER") + b"11=a|" + TERMS, False),
    (HEAD.replace(b"34=5", b"34=6") + b"11=a|" + TERMS, False),
    (HEAD.replace(b"34=5", b"34=5|43=Y|122=20260101-00:00:00") + b"11=a|" + TERMS, False),
    (HEAD.replace(b"34=5", b"34=5|43=N") + b"11=a|" + TERMS, True),
    (HEAD.replace(b"35=D", b"35=H") + b"11=a|55=X|54=1|", False),
    (HEAD.replace(b"35=D", b"35=F") + b"11=a|41=b|55=X|54=1|60=20260101-00:00:00|", True),
    (HEAD.replace(b"000", b"0:0") + b"11=a|" + TERMS, True),
    (HEAD.replace(b"00:00:00.123", b"00:02:00.123") + b"11=a|" + TERMS, True),
    (HEAD.replace(b"00:00:00.123", b"00:02:00.124") + b"11=a|" + TERMS, False),
    (HEAD.replace(b"20260101-00:00", b"20251231-23:58") + b"11=a|" + TERMS, True),
    (HEAD.replace(b"20260101-00:00", b"20251231-23:57") + b"11=a|" + TERMS, False),
    (b"35=D|34=5|49=CLIENT|56=GATE|11=a|" + TERMS, False),
]


@twins
@pytest.mark.parametrize(("inner", "passes"), SCREENED, ids=range(len(SCREENED)))
def test_a_screen_checks_the_envelope_too(twin: SimpleNamespace, inner: bytes, passes: bool) -> None:
    now_ns = NOW_NS - NOW_NS % 10**6
    assert screen_of(twin).passes(twin.decode(envelope(inner)), 5, now_ns) is passes


@twins
def test_text_is_printable_wherever_another_byte_stands(twin: SimpleNamespace) -> None:
    screen, now_ns = screen_of(twin), NOW_NS - NOW_NS % 10**6
    for size in range(1, 20):
        for at in range(size):
            for byte in (0, 2, 31, 32, 126, 127, 128, 255):
                text = (b" ~" * size)[:at] + bytes([byte]) + (b"~ " * size)[: size - at - 1]
                message = twin.decode(envelope(HEAD + b"11=a|58=" + text + b"|" + TERMS))
                assert screen.passes(message, 5, now_ns) is (32 <= byte <= 126), text


TIMES = [
    (b"20260101-00:00:00", True),
    (b"20260101-00:00:00.5", False),
    (b"20260101-00:00:00.500", True),
    (b"20260101-00:00:00x500", False),
    (b"20260101-00:00:60", True),
    (b"20260101-00:00:61", False),
    (b"20260132-00:00:00", False),
    (b"\0" * 17, False),
    (b"\xff" * 17, False),
]


@twins
def test_a_time_read_before_changes_no_answer(twin: SimpleNamespace) -> None:
    screen, now_ns = screen_of(twin), NOW_NS - NOW_NS % 10**6
    for first, second, third in product(TIMES, repeat=3):
        for time, is_good in (first, second, third):
            message = twin.decode(envelope(HEAD + b"11=a|" + TERMS.replace(b"20260101-00:00:00", time)))
            assert screen.passes(message, 5, now_ns) is is_good, (first, second, third)


@twins
def test_a_screen_checks_begin_string(twin: SimpleNamespace) -> None:
    message = twin.decode(envelope(HEAD + b"11=a|" + TERMS, b"FIX.4.2"))
    assert not screen_of(twin).passes(message, 5, NOW_NS)


@twins
def test_a_screen_never_passes_what_validation_refuses(twin: SimpleNamespace) -> None:
    """Random fields, of any tag and value, into an otherwise clean order."""
    choice = random.Random(11)
    screen = screen_of(twin)
    tags = [*FIX44.messages["D"].body, *FIX44.header, *FIX44.fields]
    samples = [b"1", b"Y", b"0", b"A", b"x y", b"20260101", b"20260101-00:00:00", b"-5", b"1.5", b"", b"99", b"\xff"]
    passed = refused = 0
    for _ in range(3000):
        fields = [(HEAD + b"11=a|" + TERMS).split(b"|")[:-1]][0]
        for _ in range(choice.randint(0, 2)):
            field = b"%d=%b" % (choice.choice(tags), choice.choice(samples))
            fields.insert(choice.randint(3, len(fields)), field)
        message = twin.frame(envelope(b"|".join(fields) + b"|"), 0)
        fault = FIX44.validate(message)
        if screen.passes(message, 5, NOW_NS):
            passed += 1
            assert fault is None
        elif fault is not None:
            refused += 1
    assert passed > 300
    assert refused > 300


@pytest.mark.parametrize("twin", TWINS[1:], ids=IDS[1:])
def test_a_compiled_screen_knows_groups(twin: SimpleNamespace) -> None:
    """Random pieces of groups: it passes exactly what validation finds clean."""
    choice = random.Random(5)
    screen = screen_of(twin)
    pieces = [b"453=1|448=a|", b"453=2|448=a|", b"448=b|", b"447=D|", b"452=1|", b"802=1|523=s|", b"803=7|", b"452=x|"]
    pieces += [b"711=1|311=U|", b"457=1|458=i|", b"459=4|", b"311=V|", b"802=0|", b"453=0|", b"386=1|336=x|"]
    outcomes = set()
    for _ in range(4000):
        inside = b"".join(choice.choices(pieces, k=choice.randint(0, 6)))
        message = twin.decode(envelope(HEAD + b"11=a|" + inside + TERMS))
        clean = FIX44.validate(message) is None
        assert screen.passes(message, 5, NOW_NS) is clean, inside
        outcomes.add((clean, message.has_duplicates))
    assert len(outcomes) == 4


@twins
def test_more_required_tags_than_a_mask_holds(twin: SimpleNamespace) -> None:
    numbers = range(6000, 6060)
    theirs = FIX44.overlay(
        {
            "fields": {str(tag): f"Field{tag} INT" for tag in numbers},
            "messages": {"D": "+" + " ".join(f"{tag}!" for tag in numbers)},
        }
    )
    extra = b"".join([b"%d=1|" % tag for tag in numbers])
    message = twin.decode(envelope(HEAD + b"11=a|" + TERMS + extra))
    assert theirs.validate(message) is None
    assert screen_of(twin, theirs).passes(message, 5, NOW_NS) is (twin.name == "plain")


def test_the_tables_are_whole() -> None:
    for msg_type, rule in FIX44.messages.items():
        assert msg_type in FIX44.msg_types
        assert rule.body.isdisjoint(FIX44.header | FIX44.trailer)
        assert set(rule.required) <= rule.body | FIX44.header | FIX44.trailer
        assert all(count_tag in rule.body | FIX44.header for count_tag in rule.groups)
    for tag, field in FIX44.fields.items():
        if field.format is Format.DATA:
            assert tag in DATA_OF_LENGTH.values(), f"{field.name} has no length"
    for layout in vars(messages).values():
        if isinstance(layout, codec.Layout):
            assert set(layout.tags) <= FIX44.messages[layout.msg_type].body, layout
    assert FIX44.name(11) == "ClOrdID(11)"
    assert FIX44.name(7777) == "(7777)"
    assert FIX44.messages["D"].name == "NewOrderSingle"


def test_an_overlay_adds_and_replaces() -> None:
    theirs = FIX44.overlay(
        {
            "begin_string": "FIX.4.4",
            "msg_types": "UX",
            "fields": {"9001": "CancelOnDisconnect BOOLEAN", "5001": "NoThings NUMINGROUP", "5002": "Thing INT 1"},
            "groups": {"5001": "5002!"},
            "messages": {
                "A": "+9001",
                "UX": {"members": "11! 5001 453", "groups": {"453": "448! 452!"}},
            },
            "names": {"UX": "Things"},
            "components": {},
        }
    )
    logon = b"35=A|34=5|49=C|52=20260101-00:00:00|56=G|98=0|108=30|"
    assert theirs.validate(codec.decode(envelope(logon + b"9001=Y|"))) is None
    assert FIX44.validate(codec.decode(envelope(logon + b"9001=Y|"))) == SessionReject(9001, 0)
    things = b"35=UX|34=5|49=C|52=20260101-00:00:00|56=G|11=a|"
    assert theirs.messages["UX"].name == "Things"
    assert theirs.validate(codec.decode(envelope(things + b"5001=1|5002=1|"))) is None
    assert theirs.validate(codec.decode(envelope(things + b"5001=1|5002=2|"))) == SessionReject(5002, 5)
    assert theirs.validate(codec.decode(envelope(things + b"453=1|448=a|"))) == SessionReject(452, 1)
    assert find_fault(theirs, theirs.messages["UX"], codec.decode(envelope(things))) is None


@pytest.mark.parametrize(
    "tables",
    [
        {"messages": {"UX": "11! 7777"}},
        {"fields": {"5001": "NoThings NUMINGROUP"}, "messages": {"UX": "5001"}},
    ],
)
def test_tables_that_contradict_themselves(tables: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"no field|no group"):
        FIX44.overlay(tables)


@twins
def test_a_screen_leaves_the_unusual_to_validation(twin: SimpleNamespace) -> None:
    """Values too many or too long for a mask: no pass, and no harm."""
    theirs = FIX44.overlay(
        {
            "fields": {"5003": "Long INT 200 300", "5004": "Words STRING aa bb"},
            "messages": {"D": "+5003 5004", "G": "+5003! 5004"},
        }
    )
    screen = screen_of(twin, theirs)
    for extra in (b"5003=300|", b"5004=bb|"):
        message = twin.decode(envelope(HEAD + b"11=a|" + TERMS + extra))
        assert theirs.validate(message) is None
        assert screen.passes(message, 5, NOW_NS) in (True, False)
    message = twin.decode(envelope(HEAD + b"11=a|" + TERMS + b"5003=400|"))
    assert not screen.passes(message, 5, NOW_NS)
