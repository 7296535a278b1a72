"""Plays the golden conversations of fixtures/fix.

    # a comment
    = name=value ...        the setting, before anything else: next_in, next_out, role=initiator, any optional field of
                            SessionKey, and any of SessionConfig or Limits (times by their name without _ns, in
                            seconds; schedule=09:00-17:00; further_versions=FIXT_FIX44)
    = versions=FIX.4.2,...  first of all: versions that it is for; without it, all of VERSIONS
    > 35=D|34=2|11=a        the peer sends this; 8, 9, 49, 56, 52 and 10 are added where they are not given
    >> 8=FIX.4.4|9=5|...    the peer sends exactly these bytes
    < 35=8|34=2|11=a        we send this, fields in this order; 8, 9, 49, 56, 52, 10 (right always) are left out, and
                            122 too unless it is written here
    ! Name tag=value ...    the next event, with fields of its message, or Name text
    @ 30                    so many seconds pass, in steps that no deadline is missed by
    * send 11=a|...         the application sends an ExecutionReport with these body fields
    * store 11=a|...        the same by send_or_store
    * logout text, logon 553=x|..., reset, sequence_reset 20, lost, connect
    * accept_logon, refuse_logon [text]  of an acceptor with authenticates=later in its setting; with yes (the default)
                            or no it answers at once, and LogonRequested is not listed
    = next_in=3 next_out=7 is_closed=yes at any later place: must hold there

What a version demands is added where it is not given: 1137 to Logons of FIXT, 21 to orders and 20 to reports of 4.2;
4.2 tells reasons above 11 by their text only. In lines with >> FIX.4.4 stands for the version.

`@=` in a value stands for "seconds from now" (52=@-121).
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from protocols.fix import dictionary, events, steps
from protocols.fix.codec import Layout, decode, format_timestamp
from protocols.fix.plain import check_sum
from protocols.fix.schedule import Schedule
from protocols.fix.session import (
    ACCEPTOR,
    INITIATOR,
    Limits,
    Session,
    SessionConfig,
    SessionKey,
    SessionState,
    send_or_store,
)

FIXTURES = Path(__file__).parents[3] / "fixtures" / "fix"
START_NS = 1_767_225_600_000_000_000  # 2026-01-01
SECOND = 1_000_000_000
SOH = b"\x01"
ADDED = (8, 9, 49, 56, 52, 10)
VERSIONS = ("FIX.4.2", "FIX.4.4", "FIXT.1.1")
KEY_FIELDS = ("sender_sub_id", "sender_location_id", "target_sub_id", "target_location_id")

Split = Callable[[bytes], Iterator[bytes]]


def whole(data: bytes) -> Iterator[bytes]:
    """One chunk."""
    yield data


def conversations() -> list[tuple[Path, str]]:
    """Every golden conversation, with each version that it is for."""
    pairs = []
    for path in sorted(FIXTURES.glob("*.fix")):
        named = re.search(r"^= .*?versions=(\S+)", path.read_text(), re.M)
        pairs += [(path, version) for version in (named[1].split(",") if named else VERSIONS)]
    return pairs


def as_initiator(path: Path) -> list[str] | None:
    """The lines of an acceptor's conversation with us as the initiator; None where its beginning matters.

    Once two plain Logons were exchanged, both sides have the same rules: only who spoke first is another.
    """
    lines = path.read_text().splitlines()
    at = next(at for at, text in enumerate(lines) if text and text[0] not in "#=")
    theirs = re.fullmatch(r"> (35=A\|34=1\|98=0\|108=(\d+))", lines[at])
    if theirs is None or lines[at + 1 : at + 3] != [f"< {theirs[1]}", "! LoggedOn"] or "* connect" in lines:
        return None
    settings = [text for text in lines[:at] if text.startswith("=")]
    setting = settings[0] if settings else "="
    if "role=" in setting or "next_" in setting:
        return None
    comments = [text for text in lines[:at] if text.startswith("#")]
    setting += f" role=initiator heart_bt_int={theirs[2]}"
    return [*comments, setting, "* logon", lines[at + 1], lines[at], *lines[at + 2 :]]


def fields_of(text: str, now_ns: int) -> list[tuple[int, bytes]]:
    """``35=D|11=a`` -> fields; ``@n`` is a time n seconds from now."""
    return [(int(tag), value) for tag, value in texts_of(text, now_ns)]


def texts_of(text: str, now_ns: int) -> list[tuple[str, bytes]]:
    """As `fields_of`, with tags as they are written."""
    fields = []
    for part in text.strip("|").split("|"):
        tag, _, value = part.partition("=")
        if re.fullmatch(r"@[+-]?\d+", value):
            fields.append((tag, format_timestamp(now_ns + int(value[1:]) * SECOND)))
        else:
            fields.append((tag, value.encode("utf-8").replace(b"\\x01", SOH)))
    return fields


def peer_message(
    text: str, now_ns: int, sender: str = "CLIENT", target: str = "GATE", version: str = "FIX.4.4"
) -> bytes:
    """Write a message as the peer would, every given field as it is given, even a wrong one."""
    given = _completed(texts_of(text, now_ns), version)
    first = dict(reversed(given))
    header = {"49": sender.encode(), "56": target.encode(), "52": format_timestamp(now_ns)}
    # What is given stands where it is given: only 35 and the header fields that are not move to the front.
    front = [(tag, value) for tag, value in header.items() if tag not in first]
    leading = [field for field in given if field[0] == "35"][:1]
    body = [field for field in given if field[0] not in ("8", "9", "10") and field not in leading]
    # "49=-" leaves the field out altogether.
    fields = [field for field in (*leading, *front, *body) if field[1] != b"-"]
    inner = b"".join([b"%b=%b\x01" % (tag.encode(), value) for tag, value in fields])
    length = first.get("9", b"%d" % len(inner))
    message = b"8=%b\x019=%b\x01%b" % (first.get("8", version.encode()), length, inner)
    return message + b"10=%b\x01" % first.get("10", b"%03d" % check_sum(message))


def _completed(given: list[tuple[str, bytes]], version: str) -> list[tuple[str, bytes]]:
    """Add what the version demands beyond the conversation."""
    tags = {tag for tag, _ in given}
    msg_type = dict(given).get("35")
    if version == "FIXT.1.1" and msg_type == b"A" and "1137" not in tags:
        return [*given, ("1137", b"9")]
    if version == "FIX.4.2" and msg_type in (b"D", b"G") and "11" in tags and "21" not in tags:
        at = [tag for tag, _ in given].index("11") + 1
        return [*given[:at], ("21", b"1"), *given[at:]]
    if version == "FIX.4.2" and msg_type == b"8" and "20" not in tags:
        return [*given, ("20", b"0")]
    return given


class Player:
    """One run of one conversation."""

    def __init__(
        self, path: Path, split: Split = whole, version: str = "FIX.4.4", *, lines: list[str] | None = None
    ) -> None:
        """`lines`: what is played instead of the file's own, see `as_initiator`."""
        self.path = path
        self.lines = path.read_text().splitlines() if lines is None else lines
        self.version = version
        self.split = split
        self.now_ns = START_NS
        self.key = SessionKey(version, "GATE", "CLIENT")
        self.state = SessionState(self.key)
        self.limits = Limits()
        self.role = "acceptor"
        self.session: Session | None = None
        self.sent: list[tuple[bytes, int]] = []
        self.events: list[events.Event] = []
        self.line = 0
        self.pending = b""
        self.authenticates = "yes"

    def play(self) -> None:
        """Raise AssertionError, with the line, where the session does anything else."""
        for line, text in enumerate(self.lines, 1):
            self.line = line
            mark, _, rest = text.partition(" ")
            if mark not in (">", ">>") and self.pending:
                self.deliver()
            if text.strip() and not text.startswith("#"):
                self.STEPS[mark](self, rest.strip())
        self.deliver()
        self.check(not self.sent, f"not expected: {self.sent}")
        self.check(not self.events, f"not expected: {self.events}")

    def check(self, holds: bool, text: str) -> None:
        assert holds, f"{self.path.name}:{self.line}: {text}"

    # --- steps ------------------------------------------------------------------------------------------------

    def setting(self, text: str) -> None:
        values = dict(word.split("=", 1) for word in text.split())
        if self.session is not None:
            self.check_values(values)
            return
        self.role = values.pop("role", self.role)
        self.authenticates = values.pop("authenticates", self.authenticates)
        numbers = {name: int(values.pop(name)) for name in ("next_in", "next_out") if name in values}
        values.pop("versions", None)
        narrowing = {name: values.pop(name) for name in KEY_FIELDS if name in values}
        self.key = msgspec.structs.replace(self.key, **narrowing)
        known: set[str] = set()
        self.limits = _changed(Limits(), values, known)
        self.state = SessionState(self.key, _changed(SessionConfig(), values, known), **numbers)
        self.check(known == values.keys(), f"unknown setting among {values}")

    def check_values(self, values: dict[str, str]) -> None:
        session = self.connected()
        for name, expected in values.items():
            owner: Any = self.state if name in ("next_in", "next_out") else session
            actual = getattr(owner, name)
            shown = {True: "yes", False: "no"}.get(actual, str(actual)) if isinstance(actual, bool) else str(actual)
            self.check(shown == expected, f"{name} is {shown}")

    def connected(self) -> Session:
        if self.session is None:
            self.connect("")
        assert self.session is not None
        return self.session

    def connect(self, text: str) -> None:
        self.session = Session(
            lambda key: self.state if key == self.key else None,
            self.now_ns,
            role=INITIATOR if self.role == "initiator" else ACCEPTOR,
            limits=self.limits,
            authenticates=self.role == "acceptor",
        )

    def lose(self) -> None:
        self.connected().connection_lost(self.now_ns)

    def receive(self, text: str) -> None:
        self.pending += peer_message(text, self.now_ns, version=self.version)

    def receive_raw(self, text: str) -> None:
        self.pending += text.replace("FIX.4.4", self.version).encode("latin-1").replace(b"|", SOH)

    def deliver(self) -> None:
        data, self.pending = self.pending, b""
        session = self.connected()
        for chunk in self.split(data):
            session.receive_data(chunk, self.now_ns)
            self.collect()

    def collect(self) -> None:
        session = self.connected()
        while (event := steps.next_event(session)) is not None:
            self.take(session, event)
        while data := session.data_to_send():
            self.note_sent(data)

    def take(self, session: Session, event: events.Event) -> None:
        """List an event; a question about a Logon is answered at once, unless the conversation is about that."""
        if not isinstance(event, events.LogonRequested) or self.authenticates == "later":
            self.events.append(event)
        elif self.authenticates == "yes":
            session.accept_logon(self.now_ns)
        else:
            session.refuse_logon(self.now_ns)

    def note_sent(self, data: bytes) -> None:
        for part in re.findall(rb"8=FIX.*?\x0110=\d{3}\x01", data, re.S):
            decode(part)
            self.sent.append((part, self.now_ns))

    def expect_sent(self, text: str) -> None:
        expected = fields_of(text, self.now_ns)
        named = {tag for tag, _ in expected}
        if self.version == "FIXT.1.1" and expected[0] == (35, b"A") and 1137 not in named:
            expected.append((1137, b"9"))
        if self.version == "FIX.4.2" and expected[0] == (35, b"3"):
            expected = [(tag, value) for tag, value in expected if tag != 373 or int(value) <= 11]
        self.check(bool(self.sent), f"nothing sent; events {self.events}")
        raw, sent_ns = self.sent.pop(0)
        message = decode(raw)
        left_out = {*ADDED, 122, 20} - named
        actual = [field for field in message.fields() if field[0] not in left_out]
        self.check(actual == expected, f"sent {_show(actual)}")
        self.check(message.get(49) == b"GATE" and message.get(56) == b"CLIENT", f"CompIDs of {message}")
        self.check(message.get(52) == format_timestamp(sent_ns), f"SendingTime of {message}")

    def expect_event(self, text: str) -> None:
        self.check(bool(self.events), f"no event; sent {self.sent}")
        event = self.events.pop(0)
        name, _, rest = text.partition(" ")
        self.check(type(event).__name__ == name, f"{event}")
        if isinstance(event, events.MessageReceived | events.RejectReceived) and rest:
            for tag, value in fields_of(rest, self.now_ns):
                self.check(event.message.get(tag) == value, f"{event}")
        elif rest:
            shown = event.text if isinstance(event, events.LoggedOut) else event.reason
            rest = re.sub(r"\{(\d+)\+begin\}", lambda match: str(int(match[1]) + len(self.version)), rest)
            self.check(shown == rest, f"{event}")

    def wait(self, text: str) -> None:
        end = self.now_ns + round(float(text) * SECOND)
        session = self.connected()
        while (deadline := session.deadline_ns) is not None and deadline <= end:
            self.now_ns = max(self.now_ns, deadline)
            session.tick(self.now_ns)
            self.collect()
        self.now_ns = end
        session.tick(end)
        self.collect()

    def act(self, text: str) -> None:
        verb, _, rest = text.partition(" ")
        if verb in ("send", "store"):
            fields = sorted(fields_of(rest, self.now_ns))
            layout = Layout("8", tuple(tag for tag, _ in fields))
            values = tuple(value for _, value in fields)
            if verb == "send":
                steps.send(self.connected(), layout, values, self.now_ns)
            else:
                send_or_store(self.state, layout, values, self.now_ns)
        elif verb == "logout":
            self.connected().logout(rest, self.now_ns)
        elif verb == "logon":
            fields = fields_of(rest, self.now_ns) if rest else []
            self.connected().logon(self.state, self.now_ns, tuple(fields))
        elif verb == "accept_logon":
            self.connected().accept_logon(self.now_ns)
        elif verb == "refuse_logon":
            self.connected().refuse_logon(self.now_ns, rest or None, "untold")
        elif verb == "lost":
            self.lose()
        elif verb == "reset":
            self.connected().reset(self.now_ns)
        elif verb == "sequence_reset":
            self.connected().sequence_reset(int(rest), self.now_ns)
        elif verb == "connect":
            self.connect(rest)
        else:
            self.check(False, f"unknown verb {verb}")
        if self.session is not None:
            self.collect()

    STEPS: ClassVar[dict[str, Callable[..., None]]] = {
        "=": setting,
        ">": receive,
        ">>": receive_raw,
        "<": expect_sent,
        "!": expect_event,
        "@": wait,
        "*": act,
    }


def _changed(struct: Any, values: dict[str, str], known: set[str]) -> Any:
    """Set what is a field of `struct`, and note it in `known`."""
    changes: dict[str, Any] = {}
    for field in msgspec.structs.fields(struct):
        name = field.name.removesuffix("_ns")
        if name not in values:
            continue
        known.add(name)
        text = values[name]
        if name == "schedule":
            changes[name] = _schedule(text)
        elif name == "further_versions":
            changes[name] = tuple(getattr(dictionary, word) for word in text.split(","))
        elif isinstance(getattr(struct, field.name), bool):
            changes[field.name] = text == "yes"
        elif field.name.endswith("_ns"):
            changes[field.name] = round(float(text) * SECOND)
        elif isinstance(getattr(struct, field.name), frozenset):
            changes[field.name] = frozenset(text.split(","))
        else:
            changes[field.name] = int(text)
    return msgspec.structs.replace(struct, **changes)


def _schedule(text: str) -> Schedule:
    """``09:00-17:00``, daily, UTC."""
    hours, minutes, end_hours, end_minutes = (int(word) for word in re.split("[:-]", text))
    return Schedule((hours * 60 + minutes) * 60, (end_hours * 60 + end_minutes) * 60)


def _show(fields: list[tuple[int, bytes]]) -> str:
    return "|".join(f"{tag}={value.decode('latin-1')}" for tag, value in fields)
