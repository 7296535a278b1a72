"""Versions side by side: what a state takes, views, overlays that are wrong, switches in both screens."""

import random
from types import SimpleNamespace
from typing import Any

import pytest

from protocols.errors import LocalProtocolError
from protocols.fix import messages, tags
from protocols.fix.codec import Layout, decode
from protocols.fix.dictionary import FIX42, FIX44, FIX50SP2, FIXT_FIX42, FIXT_FIX44, Dictionary, DictionaryError
from protocols.fix.events import LoggedOn, SessionKey
from protocols.fix.formats import Format
from protocols.fix.grouped import Values, send_grouped
from protocols.fix.plain import DATA_OF_LENGTH
from protocols.fix.session import INITIATOR, Session, SessionConfig, SessionState, send_or_store
from protocols.fix.tables import tag_ranges
from tests.protocols.fix.conversation import START_NS, VERSIONS, peer_message
from tests.protocols.fix.test_codec import NOW_NS, envelope
from tests.protocols.fix.test_dictionary import HEAD, TERMS
from tests.protocols.fix.twins import IDS, TWINS

ALL = [FIX42, FIX44, FIX50SP2, FIXT_FIX42, FIXT_FIX44]
# The table "Application messages", by the version that each came with.
SINCE_42 = [
    "8", "9", "B", "D", "E", "F", "G", "H", "K", "L", "M", "N", "V",
    "W", "X", "Y", "c", "d", "e", "f", "g", "h", "j",
]  # fmt: skip
SINCE_44 = [
    "q", "r", "x", "y", "AB", "AC", "AD", "AE", "AF", "AN", "AO", "AP",
    "AQ", "AR", "AX", "AY", "AZ", "BA", "BB", "BC", "BD", "BE", "BF", "BG",
]  # fmt: skip
SINCE_50 = ["CH", "CI", "CJ", "CL", "CM", "CQ", "CR", "DF", "DG", "DH", "DI"]


@pytest.mark.parametrize("dictionary", ALL, ids=lambda one: f"{one.begin_string}-{one.appl_ver_id}")
def test_the_tables_are_whole(dictionary: Dictionary) -> None:
    for msg_type, rule in dictionary.messages.items():
        assert msg_type in dictionary.msg_types
        assert rule.name != msg_type, "has no name"
        assert rule.body.isdisjoint(dictionary.header | dictionary.trailer)
        assert set(rule.required) <= rule.body | dictionary.header | dictionary.trailer
    for tag, field in dictionary.fields.items():
        if field.format is Format.DATA:
            assert tag in DATA_OF_LENGTH.values(), f"{field.name} has no length"
    assert dictionary.fields.keys() <= dictionary.defined_tags


def test_each_message_of_each_version() -> None:
    session = set("012345A")
    assert FIX42.messages.keys() == session.union(SINCE_42)
    assert FIX44.messages.keys() == session.union(SINCE_42, SINCE_44)
    assert FIX50SP2.messages.keys() == session.union(SINCE_42, SINCE_44, SINCE_50)
    assert FIX50SP2.begin_string == FIXT_FIX42.begin_string == "FIXT.1.1"
    assert (FIXT_FIX42.appl_ver_id, FIXT_FIX44.appl_ver_id, FIX50SP2.appl_ver_id) == ("4", "6", "9")
    assert 21 in FIXT_FIX42.messages["D"].required
    assert 1137 in FIXT_FIX42.messages["A"].required
    assert 553 not in FIX42.messages["A"].body


def test_a_state_knows_its_dictionary() -> None:
    for version, dictionary in zip(VERSIONS, (FIX42, FIX44, FIX50SP2), strict=True):
        assert SessionState(SessionKey(version, "A", "B")).dictionary is dictionary
    with pytest.raises(ValueError, match=r"FIX\.4\.3 needs"):
        SessionState(SessionKey("FIX.4.3", "A", "B"))
    with pytest.raises(ValueError, match=r"not that of FIX\.4\.4"):
        SessionState(SessionKey("FIX.4.2", "A", "B"), SessionConfig(dictionary=FIX44))
    with pytest.raises(ValueError, match="further_versions"):
        SessionState(SessionKey("FIX.4.4", "A", "B"), SessionConfig(further_versions=(FIXT_FIX44,)))
    with pytest.raises(ValueError, match="789"):
        SessionState(SessionKey("FIX.4.2", "A", "B"), SessionConfig(sends_next_expected=True))


def test_the_narrowest_session_is_found() -> None:
    keys = [
        SessionKey("FIX.4.4", "GATE", "CLIENT"),
        SessionKey("FIX.4.2", "GATE", "CLIENT"),
        SessionKey("FIX.4.4", "GATE", "CLIENT", target_sub_id="DESK"),
        SessionKey("FIX.4.4", "GATE", "CLIENT", target_sub_id="DESK", target_location_id="LDN"),
        SessionKey("FIX.4.4", "GATE", "CLIENT", sender_sub_id="RISK"),
    ]
    states = {key: SessionState(key) for key in keys}
    cases = [
        ("", 0), ("50=DESK|", 2), ("50=DESK|142=LDN|", 3), ("50=DESK|142=NYC|", 2), ("142=LDN|", 0), ("57=RISK|", 4),
        ("50=OTHER|", 0),
    ]  # fmt: skip
    for extra, index in cases:
        session = Session(states.get, START_NS)
        session.receive_data(peer_message(f"35=A|34=1|{extra}98=0|108=30", START_NS), START_NS)
        event = session.next_event()
        assert isinstance(event, LoggedOn), extra
        assert event.key == keys[index]
        session.connection_lost(START_NS)
        states[event.key].reset()


def test_we_name_ourselves_by_the_key() -> None:
    key = SessionKey("FIX.4.4", "GATE", "VENUE", "DESK", "LDN", "OMS", "NYC")
    session = Session(lambda key: None, START_NS, role=INITIATOR)
    session.logon(SessionState(key, SessionConfig(routing=((50, b"OWN"), (115, b"FOR")))), START_NS)
    logon = decode(session.data_to_send())
    assert logon.values((50, 57, 142, 143, 115)) == (b"OWN", b"OMS", b"LDN", b"NYC", b"FOR")


# --- views ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dictionary", [FIX42, FIX44, FIX50SP2], ids=VERSIONS)
def test_a_report_is_valid_in_every_version(dictionary: Dictionary) -> None:
    """Whatever a 4.4 application says of an order, its version's own dictionary finds it clean."""
    key = SessionKey(dictionary.begin_string, "GATE", "CLIENT")
    exec_types = [value for value in FIX44.fields[150].values if value not in b"BJKL"]
    layout = Layout("8", tuple(sorted({*messages.EXECUTION_REPORT.tags, 21, tags.EXEC_REF_ID})))
    texts = {
        1: b"ACC", 6: 0, 11: b"a", 14: b"0", 17: 5, 18: b"6", 31: b"1.5", 32: b"2", 37: b"G1", 38: b"9", 40: b"2",
        44: b"1.5", 54: b"1", 55: b"X", 59: b"7", 60: b"20260101-00:00:00.000", 151: b"9", 20001: 7, 21: b"1",
    }  # fmt: skip
    cases = [(exec_type, status, b"0") for exec_type in exec_types for status in FIX44.fields[39].values]
    cases += [(b"8", b"8", reason) for reason in FIX44.fields[103].values]
    state = SessionState(key)
    for exec_type, status, reason in cases:
        given: dict[int, Any] = {**texts, 39: status, 150: exec_type, 103: reason}
        raw = send_or_store(state, layout, tuple(given.get(tag) for tag in layout.tags), START_NS)
        assert dictionary.validate(decode(raw)) is None, raw


GROUP: Values = {11: b"a", 37: b"7", 58: None, 55: b"", 530: b"7", 531: b"7", 534: [{41: b"o", 535: b"1"}]}


@pytest.mark.parametrize("version", ["FIX.4.4", "FIXT.1.1"])
def test_fields_with_groups_are_sent_or_stored_as_the_version_has_them(version: str) -> None:
    state = SessionState(SessionKey(version, "GATE", "CLIENT"))
    message = decode(send_grouped(state, "r", {**GROUP, 9_999: b"strange", 532: b"77"}, START_NS))
    assert state.dictionary.validate(message) is None
    assert message.groups(534, (41, 535)) == [(b"o", b"1")]
    assert message.values((58, 55, 532, 9_999)) == (None, None, None, None)
    assert message.get(1369) == (b"7" if version == "FIXT.1.1" else None)
    assert state.sent.get(1) == message.raw and state.next_out == 2


def test_fields_of_a_report_in_42() -> None:
    state = SessionState(SessionKey("FIX.4.2", "GATE", "CLIENT"))
    values: Values = {6: 0, 14: b"0", 17: 1, 37: b"g", 39: b"4", 54: b"1", 55: b"X", 150: b"H", 151: b"0", 797: b"Y"}
    message = decode(send_grouped(state, "8", values, START_NS))
    assert FIX42.validate(message) is None
    assert message.values((20, 150, 797)) == (b"1", b"4", None)
    with pytest.raises(LocalProtocolError, match=r"FIX\.4\.2 has no message r"):
        send_grouped(state, "r", GROUP, START_NS)


def test_refusals_of_cancels_in_42() -> None:
    state = SessionState(SessionKey("FIX.4.2", "GATE", "CLIENT"))
    for reason, written in ((0, b"0"), (1, b"1"), (3, b"3"), (6, b"2"), (99, b"2")):
        given = {11: b"a", 37: b"G", 39: b"0", 41: b"b", 102: reason, 434: b"1", 60: b"20260101-00:00:00"}
        values = tuple(given.get(tag) for tag in messages.ORDER_CANCEL_REJECT.tags)
        message = decode(send_or_store(state, messages.ORDER_CANCEL_REJECT, values, START_NS))
        assert message.get(102) == written
        assert FIX42.validate(message) is None


def test_a_mass_cancel_report_needs_its_id_in_50() -> None:
    layout = Layout("r", (11, 37, 530, 531))
    values = (b"a", b"G7", b"7", b"7")
    message = decode(send_or_store(SessionState(SessionKey("FIXT.1.1", "A", "B")), layout, values, START_NS))
    assert message.get(1369) == b"G7"
    assert FIX50SP2.validate(message) is None
    with pytest.raises(LocalProtocolError, match=r"FIX\.4\.2 has no message r"):
        send_or_store(SessionState(SessionKey("FIX.4.2", "A", "B")), layout, values, START_NS)


def test_views_are_kept_in_bounds() -> None:
    state = SessionState(SessionKey("FIX.4.2", "A", "B"))
    for _ in range(70):
        layout = Layout("8", (37,))
        assert state.view(layout) is state.view(layout)
    assert len(state._views) <= 64


# --- overlays -------------------------------------------------------------------------------------------------------

WRONG = [
    ("x = 1\n", "line 1: x: no such key"),
    ("[fields]\n9001 = 'Desk'\n", "line 2: fields.9001: 'Desk' must be a name and a type"),
    ("\n[fields]\n\n9001 = 'Desk WORD'\n", "line 4: fields.9001: no type WORD"),
    ("[fields]\n9x = 'Desk INT'\n", "line 2: fields.9x: not a tag number"),
    ("[fields]\n9001 = 5\n", "line 2: fields.9001: must be a text"),
    ("fields = 5\n", "line 1: fields: must be a table"),
    ("msg_types = 5\n", "line 1: msg_types: must be a text"),
    ("[messages]\nD = '+9001'\n", "line 2: messages.D: tag 9001 is a member but no field"),
    ("[messages]\nD = '+11x'\n", "line 2: messages.D: '11x' is no tag"),
    ("[messages]\nD = '+@Nothing'\n", "line 2: messages.D: no component Nothing"),
    ("[messages]\nD = '+34'\n", "line 2: messages.D: MsgSeqNum(34) is of the header or trailer already"),
    ("[messages]\nD = 5\n", "line 2: messages.D: must be a text of members"),
    ("[messages.UX]\nmembers = '11'\nother = 1\n", "line 3: messages.UX.other: no such key"),
    ("[messages.UX]\nmembers = '11'\ngroups = 1\n", "line 3: messages.UX.groups: must be a table of texts"),
    ("[fields]\n9001 = 'NoX NUMINGROUP'\n[messages]\nD = '+9001'\n", "line 4: messages.D: no group for NoX(9001)"),
    (
        "[fields]\n9001 = 'NoX NUMINGROUP'\n[groups]\n9001 = ''\n[messages]\nD = '+9001'\n",
        "line 4: groups.9001: a group",
    ),
    (
        "[fields]\n9001 = 'NoX NUMINGROUP'\n[groups]\n9001 = '11 9001'\n[messages]\nD = '+9001'\n",
        "line 6: messages.D: groups within groups without end",
    ),
    ("[messages\n", "line 1"),
]


@pytest.mark.parametrize(("text", "error"), WRONG, ids=range(len(WRONG)))
def test_a_wrong_overlay_says_where(text: str, error: str) -> None:
    with pytest.raises(DictionaryError) as caught:
        FIX44.overlay(text)
    assert str(caught.value).startswith(error)


def test_an_overlay_of_text() -> None:
    theirs = FIX44.overlay(
        """
        [fields]
        9001 = "CancelOnDisconnect BOOLEAN"
        5001 = "NoThings NUMINGROUP"
        5002 = "Thing INT 1 2"
        [groups]
        5001 = "5002! 11"
        [messages]
        A = "+9001"
        8 = "+5001"
        U1 = "11! 5001!"
        """
    )
    assert {9001} <= theirs.messages["A"].body
    assert theirs.messages["8"].groups[5001].required == {5002}
    assert "U1" in theirs.msg_types
    assert theirs.relaxed() is theirs
    # A field of another version, such as FIX 4.2 clients' Username.
    older = FIX42.overlay('[fields]\n553 = "Username STRING"\n[messages]\nA = "+553"\n')
    assert 553 in older.messages["A"].body
    assert 554 not in older.fields
    assert theirs.relaxed(checks_values=False).overlay({}).checks_values is False
    assert tag_ranges("1-5 -2 9 -4:5") == {1, 3, 9}


# --- switches -------------------------------------------------------------------------------------------------------

SWITCHES = [
    {"allows_unknown_tags": unknown, "allows_any_order": order, "checks_values": values}
    for unknown in (False, True)
    for order in (False, True)
    for values in (False, True)
]


@pytest.mark.parametrize("switches", SWITCHES, ids=lambda switches: "".join(str(int(on)) for on in switches.values()))
@pytest.mark.parametrize("twin", TWINS, ids=IDS)
def test_screens_keep_to_the_switches(twin: SimpleNamespace, switches: dict[str, bool]) -> None:
    """Random fields at random places: a screen passes nothing that validation refuses, and what each switch allows."""
    dictionary = FIX44.relaxed(**switches)
    choice = random.Random(3)
    screen = twin.Screen(dictionary, frozenset("DFG"), "FIX.4.4", "CLIENT", "GATE", 120 * 10**9)
    pieces = [b"9999=x", b"9999=", b"7=1", b"50=d", b"57=d", b"59=X", b"59=0", b"18=G x", b"448=a", b"453=1", b"452=1"]
    pieces += [b"447=D", b"09=x", b"0=x", b"70000=x", b"115=a", b"10=000", b"93=1", b"89=x", b"9999=\x02"]
    passed: set[bytes] = set()
    for _ in range(4000):
        fields = (HEAD + b"11=a|" + TERMS).split(b"|")[:-1]
        added = choice.choices(pieces, k=choice.randint(0, 3))
        for field in added:
            fields.insert(choice.randint(5, len(fields)), field)
        message = twin.frame(envelope(b"|".join(fields) + b"|"), 0)
        if isinstance(message, int):
            continue
        fault = dictionary.validate(message)
        if screen.passes(message, 5, NOW_NS):
            assert fault is None, fields
            if len(added) == 1 and fields[5] != added[0]:
                passed.add(added[0])
    assert (b"9999=x" in passed) is switches["allows_unknown_tags"]
    assert (b"7=1" in passed) is switches["allows_unknown_tags"]
    assert (b"50=d" in passed) is switches["allows_any_order"]
    assert (b"59=X" in passed) is not switches["checks_values"]


@pytest.mark.parametrize("twin", TWINS, ids=IDS)
def test_groups_in_any_order(twin: SimpleNamespace) -> None:
    dictionary = FIX44.relaxed(allows_any_order=True)
    screen = twin.Screen(dictionary, frozenset("D"), "FIX.4.4", "CLIENT", "GATE", 120 * 10**9)
    for group, is_clean in (
        (b"453=2|448=a|452=1|447=D|448=b|", True),
        (b"453=1|448=a|452=1|447=D|452=2|", False),
        (b"453=1|452=1|448=a|", False),
    ):
        message = twin.decode(envelope(HEAD + b"11=a|" + group + TERMS))
        assert (dictionary.validate(message) is None) is is_clean
        # Groups are the compiled screen's; the plain one leaves them to validation.
        assert screen.passes(message, 5, NOW_NS) is (is_clean and twin.name == "compiled")


@pytest.mark.parametrize("twin", TWINS, ids=IDS)
def test_a_screen_wants_the_whole_identity(twin: SimpleNamespace) -> None:
    identity = ((50, b"DESK"), (57, b"GW"))
    screen = twin.Screen(FIX44, frozenset("D"), "FIX.4.4", "CLIENT", "GATE", 120 * 10**9, identity)
    for extra, passes in (
        (b"50=DESK|57=GW|", True),
        (b"57=GW|50=DESK|", True),
        (b"50=DESK|", False),
        (b"50=DESK|57=OTHER|", False),
        (b"", False),
    ):
        assert screen.passes(twin.decode(envelope(HEAD + extra + b"11=a|" + TERMS)), 5, NOW_NS) is passes
