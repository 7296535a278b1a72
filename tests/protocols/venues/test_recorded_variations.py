"""The recorded streams again, but damaged: messages lost, doubled, out of order, cut short, changed, without checksum.

Whatever comes, nothing is raised, what can not be read is told of by its field, and a book that is usable is the one
that the venue had at that number. Streams that are not in the recordings differ from them in such ways, and in kind.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import cache
from random import Random
from typing import Any, Final, NamedTuple

import orjson
import pytest

from protocols.venues.events import BookGapped, VenueErrorReported
from tests.bench.venues_decode import recorded_session
from tests.protocols.venues import fake_bybit, test_deribit_recorded
from tests.protocols.venues.cases import CASES, Case, quiet
from tests.protocols.venues.fake_bybit import FakeBybit
from tests.protocols.venues.fake_deribit import FakeDeribit
from tests.protocols.venues.fake_deribit import live as live_deribit
from tests.protocols.venues.fake_deribit import session as deribit_session
from tests.protocols.venues.lane_peer import of
from tests.protocols.venues.recorded import binance_lines, cryptofeed_lines, needs_recordings, zipped_lines
from tests.protocols.venues.test_lanes_fuzz import FRAMES
from tests.protocols.venues.test_lanes_recorded import OKX_TERMS, okx

Levels = tuple[dict[Decimal, Decimal], dict[Decimal, Decimal]]
Line = tuple[int, bytes]
DAMAGES: Final = ("lost", "doubled", "swapped", "cut", "changed", "nothing")


class Stream(NamedTuple):
    """A recording: its frames, what makes a live session for them, and the symbols whose books are in it."""

    lines: list[Line]
    live: Callable[[], Any]
    receive: Callable[[Any, bytes, int], list[Any]]
    symbols: tuple[str, ...]


@cache
def deribit() -> Stream:
    recorded = [
        (now_ns, message, frame) for now_ns, message, frame in test_deribit_recorded.frames() if "params" in message
    ]
    symbols = tuple(sorted({message["params"]["data"]["instrument_name"] for _, message, _ in recorded}))

    def live() -> FakeDeribit:
        terms = [test_deribit_recorded.instrument(symbol) for symbol in symbols]
        venue = FakeDeribit(deribit_session(ticker_interval="raw"), {"public/get_instruments": lambda _: terms})
        venue.now_ns = recorded[0][0]
        venue.connect()
        return venue

    def receive(venue: Any, frame: bytes, now_ns: int) -> list[Any]:
        venue.now_ns = now_ns
        return list(venue.receive(frame))

    return Stream([(now_ns, frame) for now_ns, _, frame in recorded], live, receive, symbols)


@cache
def binance() -> Stream:
    lines = [line for line in binance_lines() if b'"stream"' in line[1][:16]][:6_000]
    snapshot = next(line for line in binance_lines() if b'"stream"' not in line[1][:16])

    def live() -> Any:
        venue = recorded_session(lines[0][0])
        venue.answers["GET /fapi/v1/depth"] = lambda _: orjson.loads(snapshot[1])
        return venue

    def receive(venue: Any, frame: bytes, now_ns: int) -> list[Any]:
        venue.now_ns = now_ns
        return list(venue.receive("public", frame))

    return Stream(lines, live, receive, ("BTCUSDT",))


@cache
def okx_stream() -> Stream:
    lines = [line for line in cryptofeed_lines("cryptofeed_OKX.ws.1.0.gz") if b'"event"' not in line[1][:12]]

    def receive(venue: Any, frame: bytes, now_ns: int) -> list[Any]:
        venue.now_ns = now_ns
        return list(venue.receive("public", frame))

    return Stream(lines, lambda: okx(OKX_TERMS, lines[0][0]), receive, ("BTC-USDT", "UNI-USD-SWAP", "BTC-USD-220527"))


@cache
def bybit() -> Stream:
    lines = [(orjson.loads(frame)["ts"] * 10**6, frame) for frame in zipped_lines("bybit_xrpusdt_ob500.data.zip")]
    terms = fake_bybit.LINEAR | {"symbol": "XRPUSDT", "baseCoin": "XRP"}

    def live() -> FakeBybit:
        listing = {"GET /v5/market/instruments-info": lambda _: {"list": [terms]}}
        venue = FakeBybit(fake_bybit.session(depth=500), listing)
        venue.now_ns = lines[0][0]
        venue.connect()
        return venue

    def receive(venue: Any, frame: bytes, now_ns: int) -> list[Any]:
        venue.now_ns = now_ns
        return list(venue.receive("linear", frame))

    return Stream(lines, live, receive, ("XRPUSDT",))


STREAMS: Final = {"deribit": deribit, "binance": binance, "okx": okx_stream, "bybit": bybit}


def books_of(venue: Any, stream: Stream) -> Iterator[tuple[str, tuple[int, int], Levels]]:
    """Yield (symbol, (number, time), levels) of the books that are usable."""
    for symbol in stream.symbols:
        book = venue.session.book(symbol)
        if book.is_usable:
            yield symbol, (book.sequence, book.time_ns), (dict(book.bids.levels), dict(book.asks.levels))


@cache
def as_they_were(name: str) -> dict[tuple[str, tuple[int, int]], Levels]:
    """Return the books of the undamaged recording after each message, by number and time."""
    stream = STREAMS[name]()
    venue, were = stream.live(), {}
    for now_ns, frame in stream.lines:
        events = stream.receive(venue, frame, now_ns)
        assert not of(events, VenueErrorReported), events
        for symbol, key, levels in books_of(venue, stream):
            were.setdefault((symbol, key), levels)
    assert were
    return were


def damaged(lines: list[Line], random: Random, often: float) -> Iterator[tuple[str, Line]]:
    """Yield lines and what was done to each."""
    index = 0
    while index < len(lines):
        now_ns, frame = lines[index]
        damage = random.choice(DAMAGES) if random.random() < often else "nothing"
        if damage == "doubled":
            yield damage, (now_ns, frame)
        if damage == "swapped" and index + 1 < len(lines):
            yield damage, (now_ns, lines[index + 1][1])
            index += 1
        elif damage == "cut":
            frame = frame[: random.randrange(len(frame))]
        elif damage == "changed":
            at = random.randrange(len(frame))
            frame = frame[:at] + bytes((random.randrange(256),)) + frame[at + 1 :]
        if damage != "lost":
            yield damage, (now_ns, frame)
        index += 1


@needs_recordings
@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("seed", range(4))
def test_a_book_that_is_usable_is_the_one_that_the_venue_had(name: str, seed: int) -> None:
    """A changed digit may pass unseen where a venue has no checksum, so books are compared where none was changed."""
    stream, were = STREAMS[name](), as_they_were(name)
    random = Random(f"{name}:{seed}")
    venue, done, compared, gaps, is_changed = stream.live(), Counter[str](), 0, 0, False
    for damage, (now_ns, frame) in damaged(stream.lines, random, 0.02):
        done[damage] += 1
        is_changed = is_changed or damage == "changed"
        events = stream.receive(venue, frame, now_ns)
        gaps += len(of(events, BookGapped))
        assert all(error.message for error in of(events, VenueErrorReported))
        if is_changed and name != "okx":
            continue
        for symbol, key, levels in books_of(venue, stream):
            if (symbol, key) in were:
                compared += 1
                assert levels == were[symbol, key], (symbol, key, damage)
    assert (compared or gaps) and done["nothing"] > len(stream.lines) // 2


@needs_recordings
@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("damage", ["lost", "cut"])
def test_one_lost_message_of_a_book_is_never_passed_over(name: str, damage: str) -> None:
    stream, were = STREAMS[name](), as_they_were(name)
    venue, gaps = stream.live(), 0
    # The first message of a book is its snapshot.
    books = [index for index, (_, frame) in enumerate(stream.lines) if b'"a' in frame and b"[[" in frame[:2000]]
    missing = set(books[len(books) // 2 :: max(1, len(books) // 6)])
    for index, (now_ns, frame) in enumerate(stream.lines):
        if index in missing:
            if damage == "lost":
                continue
            frame = frame[: len(frame) // 2]
        gaps += len(of(stream.receive(venue, frame, now_ns), BookGapped))
        for symbol, key, levels in books_of(venue, stream):
            assert levels == were.get((symbol, key), levels)
    assert gaps or venue.session.malformed_frames


@needs_recordings
def test_books_of_okx_without_checksum_and_without_numbers_are_refused() -> None:
    """The recording is of before messages were numbered: without its checksum nothing proves that none is missing."""
    stream = okx_stream()
    venue, told = stream.live(), []
    for now_ns, frame in stream.lines:
        message = orjson.loads(frame)
        if "checksum" in message["data"][0]:
            message["data"][0]["checksum"] = 0
            told += of(stream.receive(venue, orjson.dumps(message), now_ns), VenueErrorReported)
    assert told and all("seqId, prevSeqId" in error.message for error in told)
    assert not any(books_of(venue, stream)) or len(told) > 200


@needs_recordings
@pytest.mark.parametrize("is_reset", [False, True])
def test_books_of_okx_with_numbers_and_checksum_0(is_reset: bool) -> None:
    """As the venue sends them since June 2026: numbered, in steps of any size, once back after maintenance."""
    stream = okx_stream()
    venue, were, last = stream.live(), as_they_were("okx"), dict.fromkeys(stream.symbols, -1)
    random, checked = Random(7), 0
    for index, (now_ns, frame) in enumerate(stream.lines):
        message = orjson.loads(frame)
        data = message["data"][0]
        if "checksum" in data:
            symbol = message["arg"]["instId"]
            before = last[symbol]
            number = 5 if is_reset and index == len(stream.lines) // 2 else before + random.randrange(1, 9)
            data |= {"checksum": 0, "prevSeqId": -1 if message["action"] == "snapshot" else before, "seqId": number}
            last[symbol] = number
        events = stream.receive(venue, orjson.dumps(message), now_ns)
        assert not of(events, VenueErrorReported, BookGapped), events
        for symbol, (_, time_ns), levels in books_of(venue, stream):
            same = [held for (name, (_, at_ns)), held in were.items() if (name, at_ns) == (symbol, time_ns)]
            checked += 1
            assert not same or levels in same
    assert checked > 290


# -- every value of every field, by turns, replaced by what it can not be

WRONG: Final[tuple[Any, ...]] = (
    None, 1, -1, 1.5, True, "", "x", "NaN", "-1", "1e99", "Infinity", [], {}, [[]], 1 << 63, "9" * 60, [None], "\u0661",
)  # fmt: skip
REMOVED: Final = object()


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to each value, of lists to the first two."""
    if path:
        yield path
    entries = value.items() if isinstance(value, dict) else enumerate(value[:2]) if isinstance(value, list) else ()
    for key, inner in entries:
        yield from paths(inner, (*path, key))


def replaced(message: Any, path: tuple[Any, ...], value: Any) -> bytes:
    made = copy.deepcopy(message)
    inner = made
    for key in path[:-1]:
        inner = inner[key]
    if value is REMOVED:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return orjson.dumps(made)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_any_field_may_hold_anything(case: Case) -> None:
    """Nothing is raised; what market data is refused for has a name, of a field or of what has it."""
    venue: Any = quiet(case)
    for lane, message in FRAMES[case.name]:
        for path in paths(message):
            for value in (*WRONG, REMOVED):
                venue.session.receive(replaced(message, path, value), venue.now_ns, lane)
                for error in of(venue.session.events(), VenueErrorReported):
                    # Where the decoder speaks, it says where, or we do.
                    is_named = not error.message.startswith("Expected") or "at `$" in error.message
                    assert error.message and is_named, (error.message, path, value)
                if not venue.session.is_live:
                    venue = quiet(case)


@needs_recordings
def test_any_field_of_deribits_channels_may_hold_anything() -> None:
    found: dict[str, dict[str, Any]] = {}
    for _, message, _ in test_deribit_recorded.frames():
        if "params" in message:
            found.setdefault(message["params"]["channel"].partition(".")[0], message)
    assert found.keys() == {"book", "ticker"}
    stream = deribit()
    venue = stream.live()
    for message in found.values():
        for path in paths(message):
            for value in (*WRONG, REMOVED):
                venue.session.receive(replaced(message, path, value), venue.now_ns)
                assert all(error.message for error in of(venue.session.events(), VenueErrorReported))
                if not venue.session.is_live:
                    venue = stream.live()
    assert live_deribit().session.is_live
