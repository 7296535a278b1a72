from collections.abc import Iterable

from protocols.fix.dictionary import Dictionary

class Message:
    raw: bytes
    msg_type: str
    msg_seq_num: int
    has_duplicates: bool
    def get(self, tag: int) -> bytes | None: ...
    def values(self, tags: tuple[int, ...]) -> tuple[bytes | None, ...]: ...
    def fields(self) -> list[tuple[int, bytes]]: ...
    def groups(self, count_tag: int, tags: tuple[int, ...]) -> list[tuple[bytes | None, ...]]: ...

class Header:
    begin_string: str
    sender_comp_id: str
    target_comp_id: str
    timestamp_digits: int
    begin: bytes
    before_time: bytes
    after_time: bytes
    after_orig_time: bytes
    def __init__(
        self,
        begin_string: str,
        sender_comp_id: str,
        target_comp_id: str,
        routing: Iterable[tuple[int, bytes]] = (),
        timestamp_digits: int = 3,
    ) -> None: ...

class Layout:
    msg_type: str
    tags: tuple[int, ...]
    prefixes: tuple[bytes, ...]
    msg_type_field: bytes
    data_values: bool
    def __init__(self, msg_type: str, tags: tuple[int, ...]) -> None: ...

class Framer:
    max_message_bytes: int
    max_fields: int
    max_buffered_bytes: int
    garbled_count: int
    buffered_bytes: int
    def __init__(
        self, max_message_bytes: int = 8192, max_fields: int = 512, max_buffered_bytes: int = 65536
    ) -> None: ...
    def feed(self, data: bytes) -> None: ...
    def next_message(self) -> Message | None: ...

class Screen:
    def __init__(
        self,
        dictionary: Dictionary,
        msg_types: frozenset[str],
        begin_string: str,
        sender_comp_id: str,
        target_comp_id: str,
        max_latency_ns: int,
        identity: tuple[tuple[int, bytes], ...] = (),
    ) -> None: ...
    def passes(self, message: Message, msg_seq_num: int, now_ns: int) -> bool: ...

def frame(buffer: bytes, start: int, max_message_bytes: int = 8192, max_fields: int = 512) -> Message | int: ...
def decode(raw: bytes) -> Message: ...
def encode(
    layout: Layout,
    header: Header,
    msg_seq_num: int,
    sending_time_ns: int,
    values: tuple[bytes | int | None, ...],
    poss_dup: bool = False,
    orig_sending_time_ns: int | None = None,
) -> bytes: ...
def format_hundredths(value: float) -> bytes: ...
def format_decimal(mantissa: int, exponent: int) -> bytes: ...
def count_steps(text: bytes, step_mantissa: int, step_exponent: int) -> int: ...
def parse_decimal(text: bytes) -> tuple[int, int] | None: ...
def format_timestamp(time_ns: int, digits: int = 3) -> bytes: ...
def parse_timestamp(text: bytes) -> int | None: ...
def possible_duplicate(raw: bytes, sending_time: bytes) -> bytes: ...
