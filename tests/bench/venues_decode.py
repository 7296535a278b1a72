"""Decode and apply of the recorded Binance stream, messages a second: `python -m tests.bench.venues_decode`.

The frames are those of MARGINGATE_RECORDED, held in memory; each goes through the whole of `receive` and its events
are taken, as the gateway does. Beside it are floors: the same frames decoded only, and parsed by orjson only. Time
is the process's own, of its one core, so that others on the machine count little; the best of some passes.
"""

from __future__ import annotations

from collections.abc import Callable
from time import process_time_ns
from typing import Final

import orjson

from protocols.venues.binance import Binance, BinanceSettings
from protocols.venues.binance_streams import STREAM
from protocols.venues.codec import HttpResponse
from protocols.venues.signing import HmacSigner, Keyring
from tests.protocols.venues.fake_binance import SYMBOL, FakeBinance
from tests.protocols.venues.recorded import STREAMS, binance_lines

Line = tuple[int, bytes]
NAMES: Final = {b"@depth": "depth", b"@bookTicker": "bookTicker", b"@trade": "trade"}


def recorded_session(now_ns: int) -> FakeBinance:
    """Return a live session that carries BTCUSDT as the recording does, and asks for its snapshot itself."""
    keyring = Keyring("key-id", HmacSigner("secret"))
    settings = BinanceSettings(keyring=keyring, symbols="BTCUSDT".__eq__, depth="0ms", trades="trade", dead_man_s=0)
    listing = {"symbols": [SYMBOL]}
    venue = FakeBinance(Binance(settings), {"GET /fapi/v1/exchangeInfo": lambda _: listing, "GET /fapi/v1/depth": None})
    venue.now_ns = now_ns
    venue.connect()
    assert venue.session.is_live
    return venue


def play(lines: list[Line], venue: FakeBinance) -> int:
    """Give every frame to the session; return how many events came."""
    session, events = venue.session, 0
    receive = session.receive
    for now_ns, frame in lines:
        if b'"stream"' in frame[:16]:
            receive(frame, now_ns, "public")
        else:
            for request in session.http_requests():
                session.http_answered(request.request_id, HttpResponse(200, frame), now_ns)
        events += len(session.events())
    return events


def rate(lines: list[Line], run: Callable[[list[Line]], object], passes: int) -> float:
    """Return messages a second of the core's time, the best of some passes."""
    least = float("inf")
    for _ in range(passes):
        began = process_time_ns()
        run(lines)
        least = min(least, process_time_ns() - began)
    return len(lines) * 1e9 / least


def measure(passes: int = 5) -> dict[str, float]:
    """Return messages a second: of all, of each kind of message as one of all, and of the floors."""
    lines = list(binance_lines())

    def apply(frames: list[Line]) -> int:
        return play(frames, recorded_session(frames[0][0]))

    figures = {"decode and apply": rate(lines, apply, passes)}
    snapshot = [line for line in lines if b'"stream"' not in line[1][:16]]
    frames = [line for line in lines if b'"stream"' in line[1][:16]]
    figures["floor: typed decode alone"] = rate(frames, lambda of: [STREAM.decode(frame) for _, frame in of], passes)
    figures["floor: orjson.loads alone"] = rate(frames, lambda of: [orjson.loads(frame) for _, frame in of], passes)
    for mark, name in NAMES.items():
        kind = [line for line in lines if mark in line[1][:40]] + ([] if name == "depth" else snapshot)
        if name == "depth":
            kind = [line for line in lines if mark in line[1][:40] or line in snapshot]
        figures[f"{name} alone, {len(kind)} messages"] = rate(kind, apply, passes)
    return figures


def measure_recorded(passes: int) -> dict[str, float]:
    """Return what `measure` does; nothing where there is no recording."""
    return measure(passes) if STREAMS.is_dir() else {}


def main() -> None:
    if not STREAMS.is_dir():
        print(f"no recorded data in {STREAMS.parent}: set MARGINGATE_RECORDED")
        return
    for name, figure in measure().items():
        print(f"{name:40} {figure:12,.0f} messages/s")


if __name__ == "__main__":
    main()
