"""What is wrong with a [[fix.session]] or its schedule, and between several of them."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from gateway.config.rules import KeyPath, Problem
from protocols.fix.dictionary import Dictionary, DictionaryError
from protocols.fix.state import DICTIONARIES

# Some thousand fields; a disk image given by mistake is longer.
MAX_OVERLAY_BYTES = 1 << 20
# What tells sessions apart on one port, with the default of each key that is not written.
_KEY = (
    "begin_string", "sender_comp_id", "target_comp_id", "sender_sub_id", "sender_location_id", "target_sub_id",
    "target_location_id",
)  # fmt: skip

Found = Iterator[tuple[KeyPath, str]]


def overlaid(begin_string: str, overlay: Path, base: Dictionary | None = None) -> Dictionary:
    """Return a version's dictionary, or `base`, with a file laid over it; raises DictionaryError, with its line."""
    try:
        with overlay.open("rb") as file:
            data = file.read(MAX_OVERLAY_BYTES + 1)
    except OSError as error:
        raise DictionaryError("", f"cannot be read: {error.strerror}") from None
    if len(data) > MAX_OVERLAY_BYTES:
        raise DictionaryError("", f"longer than {MAX_OVERLAY_BYTES} bytes")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise DictionaryError("", "not UTF-8", data.count(b"\n", 0, error.start) + 1) from None
    return (base or DICTIONARIES[begin_string]).overlay(text)


def zone(name: str) -> ZoneInfo | None:
    """Return a time zone of this machine; None where there is none of that name."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def check_session(values: Mapping[str, Any]) -> Found:
    """Yield what is wrong between the keys of one session."""
    begin_string, overlay = values.get("begin_string"), values.get("dictionary_overlay")
    if overlay is not None and begin_string is not None:
        try:
            overlaid(begin_string, overlay)
        except DictionaryError as error:
            yield ("dictionary_overlay",), f"{overlay}: {error}"
    if begin_string in ("FIX.4.2", "FIX.4.4") and values.get("party_actions"):
        yield ("party_actions",), f"{begin_string} has no PartyActionRequest(DH); FIXT.1.1 has"
    if begin_string == "FIX.4.2" and values.get("next_expected_msg_seq_num"):
        yield ("next_expected_msg_seq_num",), "FIX.4.2 has no NextExpectedMsgSeqNum(789)"
    shortest, longest = values.get("min_heart_bt_int_s"), values.get("max_heart_bt_int_s")
    if shortest is not None and longest is not None and longest < shortest:
        yield ("max_heart_bt_int_s",), f"must not be less than min_heart_bt_int_s, {shortest}, not {longest}"
    if values.get("cancel_on_disconnect") is False and values.get("cancel_on_disconnect_grace_ms"):
        yield ("cancel_on_disconnect_grace_ms",), "is never used: cancel_on_disconnect is false"


def check_schedule(values: Mapping[str, Any]) -> Found:
    """Yield what is wrong between the keys of one schedule."""
    if "start_day" in values and "end_day" in values:
        start_day, end_day = values["start_day"], values["end_day"]
        if (start_day is None) != (end_day is None):
            missing = "start_day" if start_day is None else "end_day"
            yield (missing,), "is missing; a weekly schedule has both start_day and end_day"
        if start_day is not None and len(values.get("days", ())) < 7:
            yield ("days",), "is never used: start_day and end_day make the schedule weekly"
    if "time_zone" in values and zone(values["time_zone"]) is None:
        yield ("time_zone",), f"there is no zone {values['time_zone']} on this machine (tzdata)"


def check_between(document: Mapping[str, Any], sessions: list[tuple[KeyPath, dict[str, Any]]]) -> Iterator[Problem]:
    """Yield sessions that can not be told apart, by their names or on the wire. Values may be anything."""
    fix = document.get("fix")
    own = {"begin_string": "FIX.4.4", "sender_comp_id": fix.get("sender_comp_id") if isinstance(fix, dict) else None}
    names: set[str] = set()
    keys: set[tuple[Any, ...]] = set()
    for path, session in sessions:
        written = "name" if isinstance(session.get("name"), str) else "target_comp_id"
        name = session.get(written)
        if isinstance(name, str):
            if name in names:
                yield Problem((*path, written), _printable(f'there is another session "{name[:64]}" before this one'))
            names.add(name)
        key = tuple(str(session.get(part, own.get(part, ""))) for part in _KEY)
        if key in keys:
            text = "another session before this one has the same BeginString, CompIDs, SubIDs and LocationIDs"
            yield Problem((*path, "target_comp_id"), text)
        keys.add(key)
    longest = fix.get("heart_bt_int_s", 30) if isinstance(fix, dict) else 30
    for path, session in sessions:
        shortest = session.get("min_heart_bt_int_s")
        is_bounded = "max_heart_bt_int_s" not in session and isinstance(longest, int)
        if is_bounded and isinstance(shortest, int) and shortest > longest:
            text = f"must not be more than heart_bt_int_s of [fix], {longest}, not {shortest}"
            yield Problem((*path, "min_heart_bt_int_s"), text)


def _printable(text: str) -> str:
    return text.encode("unicode_escape").decode("ascii")
