"""Messages with repeating groups: a plain encoder, values by tag, entries as a sequence of the same; and a reader.

What is given is in the words of FIX 4.4 or later, whatever the session's version: a tag or an enumerated value that the
version does not have is left out, as `versions.View` does for layouts. Members of a group go out in the order of the
version's dictionary, everything else ascending by tag.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias, Union

from protocols.errors import LocalProtocolError
from protocols.fix.codec import DATA_OF_LENGTH, Message, assemble, format_timestamp
from protocols.fix.dictionary import Dictionary
from protocols.fix.versions import written_otherwise

if TYPE_CHECKING:
    from protocols.fix.dictionary import GroupRule
    from protocols.fix.state import SessionState

# None and what is empty are left out.
Value: TypeAlias = Union[bytes, int, "Sequence[Values]", None]
Values: TypeAlias = Mapping[int, Value]

_DATA_TAGS = frozenset(DATA_OF_LENGTH.values())


def grouped_body(dictionary: Dictionary, msg_type: str, values: Values) -> bytes:
    """Return the body of a message as this version writes it.

    Raises LocalProtocolError for a message that the version has not or that would lack what it requires, a value that
    holds SOH, and an entry of a group without the field that begins it.
    """
    rule = dictionary.messages.get(msg_type)
    if rule is None:
        raise LocalProtocolError(f"{dictionary.begin_string} has no message {msg_type}")
    if msg_type in dictionary.writes:
        single = {tag: value for tag, value in values.items() if isinstance(value, bytes | int)}
        values = {**values, **written_otherwise(dictionary, msg_type, single)}
    parts: list[bytes] = []
    written = set()
    for tag in sorted(values):
        if tag in rule.body:
            begin = len(parts)
            if tag in rule.groups and tag in rule.required and values[tag] == []:
                parts.append(b"%d=0\x01" % tag)  # required, though there is nothing to say
            _put(parts, dictionary, rule.groups, tag, values[tag])
            if len(parts) > begin:
                written.add(tag)
    missing = [tag for tag in rule.required if tag in rule.body and tag not in written]
    if missing:
        raise LocalProtocolError(f"{msg_type} without {dictionary.name(missing[0])}")
    return b"".join(parts)


def flat_body(dictionary: Dictionary, msg_type: str, values: Mapping[int, bytes | int | None]) -> bytes:
    """As `grouped_body`, for a message without groups whose values are known to fit: a quarter of the time."""
    rule = dictionary.messages[msg_type]
    known = rule.body
    parts = [
        b"%d=%b\x01" % (tag, b"%d" % value if isinstance(value, int) else value)
        for tag, value in sorted(values.items())
        if tag in known and value is not None and value != b""
    ]
    body = b"".join(parts)
    if body.count(b"\x01") != len(parts):
        raise LocalProtocolError(f"a value of {msg_type} holds SOH")
    return body


def send_grouped(state: "SessionState", msg_type: str, values: Values, now_ns: int) -> bytes:
    """As `session.send_or_store`, for a message with groups: numbered, stored, and sent where there is a connection."""
    connection = state.connection
    if connection is None and state.config.renews_when_away:
        state.renew(now_ns)
    raw = assemble(
        b"35=%b\x0134=" % msg_type.encode("ascii"),
        state.header,
        state.next_out,
        format_timestamp(now_ns, state.header.timestamp_digits),
        grouped_body(state.dictionary, msg_type, values),
    )
    if connection is not None:
        connection.send_encoded(raw, now_ns)
    else:
        state.sent.put(state.next_out, raw)
        state.next_out += 1
    return raw


def _put(parts: list[bytes], dictionary: Dictionary, groups: "Mapping[int, GroupRule]", tag: int, value: Value) -> None:
    if value is None:
        return
    if isinstance(value, int):
        value = b"%d" % value
    if not isinstance(value, bytes):
        _put_group(parts, dictionary, groups[tag], value)
        return
    known = dictionary.fields[tag].values
    if not value or (known and not known.issuperset(value.split(b" "))):
        return
    if b"\x01" in value and tag not in _DATA_TAGS:
        raise LocalProtocolError(f"the value of tag {tag} holds SOH")
    parts.append(b"%d=%b\x01" % (tag, value))


def _put_group(parts: list[bytes], dictionary: Dictionary, group: "GroupRule", entries: Sequence[Values]) -> None:
    if not entries:
        return
    parts.append(b"%d=%d\x01" % (group.count_tag, len(entries)))
    for entry in entries:
        begin = len(parts)
        for tag in group.tags:
            if tag in entry:
                _put(parts, dictionary, group.groups, tag, entry[tag])
        if len(parts) == begin or not parts[begin].startswith(b"%d=" % group.tags[0]):
            raise LocalProtocolError(f"an entry of group {group.count_tag} begins with {group.tags[0]}")


def entries_of(dictionary: Dictionary, message: Message, count_tag: int, tag: int) -> list[bytes]:
    """Return the value of one field in each entry of a group of a valid message; empty where an entry has none."""
    group = dictionary.messages[message.msg_type].groups.get(count_tag)
    if group is None:
        return []
    tags = tuple(_all_tags(group))
    at = tags.index(tag)
    return [entry[at] or b"" for entry in message.groups(count_tag, tags)]


def _all_tags(group: "GroupRule") -> Iterator[int]:
    """Yield a group's tags, the first of them first, those of groups within it too."""
    for tag in group.tags:
        yield tag
        if tag in group.groups:
            yield from _all_tags(group.groups[tag])
