"""`margingate recorded`: any stream of the four venues, from a file of any shape, is played and counted."""

from __future__ import annotations

import gzip
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner

from fixtures.market import Market
from fixtures.venues.core.faults import Faults
from fixtures.venues.core.venue import HttpRequest, SimulatedVenue
from fixtures.venues.okx import OkxVenue
from fixtures.venues.okx_limits import GENEROUS
from fixtures.venues.okx_signing import Key
from fixtures.venues.registry import VENUES, Setting
from gateway.cli import app
from gateway.recorded.files import Recording
from gateway.recorded.player import Played, play
from tests.fixtures.deribit_peer import Desk
from tests.protocols.venues.recorded import STREAMS, needs_recordings

S = 1_000_000_000
START_NS = 1_770_000_000 * S
BEATS = 30
Line = tuple[int, bytes]


# -- streams of the simulated venues: every kind of product


def built(name: str, faults: Faults | None = None) -> SimulatedVenue:
    return VENUES[name].build(Setting(Market(3, START_NS), 3, START_NS, faults, is_generous=True))


def symbols_of(venue: SimulatedVenue, *, most: int = 3) -> list[str]:
    """Some contracts of each kind, by the venue's names."""
    found: dict[tuple[str, bool], list[str]] = {}
    for listing in venue.exchange.listings.values():
        found.setdefault((listing.contract.kind, listing.contract.is_inverse), []).append(listing.name)
    return [name for names in found.values() for name in names[:most]]


def recorded(
    venue: SimulatedVenue, subscriptions: dict[str, list[dict[str, Any]]], rest: Iterable[str] = ()
) -> list[Line]:
    """Subscribe, let time pass, and return what came: the frames of all connections, and REST's among them."""
    lines: list[Line] = []
    now_ns = START_NS

    def collect() -> None:
        lines.extend((now_ns, out.payload) for out in venue.outgoing() if out.kind == "text")

    for path, frames in subscriptions.items():
        conn = venue.connect(path, {}, "127.0.0.1", now_ns)
        for frame in frames:
            venue.receive(conn, orjson.dumps(frame), now_ns)
            collect()
    for beat in range(BEATS):
        now_ns = max(now_ns, venue.deadline_ns)
        venue.tick(now_ns)
        collect()
        if beat == 2:
            for target in rest:
                path, _, query = target.partition("?")
                lines.append((now_ns, venue.request(HttpRequest("GET", path, query), now_ns).body))
    return lines


def of_binance(name: str, faults: Faults | None = None) -> list[Line]:
    venue = built(name, faults)
    symbols = symbols_of(venue)
    fast = [f"{symbol.lower()}@{what}" for symbol in symbols for what in ("depth@100ms", "bookTicker")]
    slow = [f"{symbol.lower()}@{what}" for symbol in symbols for what in ("aggTrade", "markPrice@1s")]
    paths = ("/public/stream", "/market/stream") if name == "binance" else ("/stream", "/ws")
    root = "/fapi/v1" if name == "binance" else "/dapi/v1"
    subscriptions = {
        path: [{"method": "SUBSCRIBE", "params": params, "id": 1}] for path, params in zip(paths, (fast, slow))
    }
    return recorded(venue, subscriptions, [f"{root}/depth?symbol={symbol}&limit=1000" for symbol in symbols])


def of_okx(*, has_checksum: bool = False, faults: Faults | None = None) -> list[Line]:
    venue = OkxVenue(
        Market(3, START_NS), seed=3, start_ns=START_NS, keys=(Key("a", "b", "c"),), limits=GENEROUS,
        has_checksum=has_checksum, faults=faults,
    )  # fmt: skip
    symbols = symbols_of(venue)
    args = [
        {"channel": one, "instId": symbol} for symbol in symbols for one in ("books", "bbo-tbt", "trades", "tickers")
    ]
    args += [{"channel": "mark-price", "instId": symbol} for symbol in symbols if symbol.count("-") > 1]
    args += [{"channel": "index-tickers", "instId": "BTC-USD"}, {"channel": "opt-summary", "instFamily": "BTC-USD"}]
    return recorded(venue, {"/ws/v5/public": [{"op": "subscribe", "args": args}]})


def of_bybit(faults: Faults | None = None) -> list[Line]:
    venue = built("bybit", faults)
    topics: dict[str, list[str]] = {}
    for symbol in symbols_of(venue):
        contract = venue.exchange.listings[symbol].contract
        category = (
            "spot"
            if contract.is_spot
            else "option"
            if contract.is_option
            else "inverse"
            if contract.is_inverse
            else "linear"
        )
        name = symbol.removesuffix("@spot")
        subject = contract.base if contract.is_option else name
        depths = (25,) if contract.is_option else (50, 1)
        topics.setdefault(category, []).extend(f"orderbook.{depth}.{name}" for depth in depths)
        topics[category] += [f"tickers.{name}", f"publicTrade.{subject}"]
    del topics["spot"]  # its symbols are those of linear contracts
    return recorded(
        venue,
        {
            f"/v5/public/{category}": [{"op": "subscribe", "args": list(dict.fromkeys(args))[at : at + 10]}
                                       for at in range(0, len(set(args)), 10)]
            for category, args in topics.items()
        },
    )  # fmt: skip


def of_deribit() -> list[Line]:
    desk = Desk()
    peer = desk.peer()
    names = ["BTC-PERPETUAL", "ETH_USDC-PERPETUAL", "BTC-27MAR26", "BTC-27MAR26-65000-C", "ETH-27MAR26-3200-P"]
    channels = [f"{what}.{name}.{speed}" for name in names for what, speed in (("book", "raw"), ("ticker", "raw"))]
    channels += ["deribit_price_index.btc_usd", "trades.future.BTC.raw", "trades.ETH_USDC-PERPETUAL.raw"]
    peer.subscribe(*channels, "user.changes.any.any.raw", "user.portfolio.any")
    peer.ask("private/buy", instrument_name=names[0], amount=100, type="market")
    desk.tick(BEATS)
    return [(desk.now_ns, frame) for _, frame in desk.raw]


def written(path: Path, lines: Iterable[Line]) -> Recording:
    path.write_bytes(b"".join(b"%d %s\n" % line for line in lines))
    return Recording(path)


def is_whole(played: Played) -> None:
    assert not played.refusals and not played.errors and not played.gap_reasons, played
    assert played.books > 3 and played.books_usable == played.books and played.links > 15
    assert played.quotes.compared == played.quotes.equal, played.differing_quotes
    assert {"BookUpdated", "MarkPriceUpdated"} <= played.events.keys()


@pytest.mark.parametrize("name", ["binance", "binance-coin"])
def test_binance_with_several_symbols_in_one_stream(name: str, tmp_path: Path) -> None:
    played = play(written(tmp_path / "file", of_binance(name)))
    is_whole(played)
    assert played.quotes.compared > 30 and not played.is_partial
    assert played.by_kind["snapshot"] == played.books == 5


@pytest.mark.parametrize("has_checksum", [True, False])
def test_okx_with_spot_swaps_futures_and_options(has_checksum: bool, tmp_path: Path) -> None:
    played = play(written(tmp_path / "file", of_okx(has_checksum=has_checksum)))
    is_whole(played)
    assert played.quotes.compared > 50
    if has_checksum:
        assert played.checksums.compared == played.checksums.equal > 100
    else:
        assert played.checksums.compared == 0 and played.checksums_of_zero > 100


def test_bybit_with_linear_inverse_and_options(tmp_path: Path) -> None:
    played = play(written(tmp_path / "file", of_bybit()))
    is_whole(played)
    assert played.quotes.compared > 10 and played.events["OptionVolsUpdated"] and played.control["subscribe"]


def test_deribit_with_inverse_linear_and_options(tmp_path: Path) -> None:
    played = play(written(tmp_path / "file", of_deribit()))
    is_whole(played)
    assert played.events["PortfolioReported"] and played.events["OrderFilled"] and played.by_kind["user.changes"]


def stream_of(name: str, faults: Faults | None = None) -> list[Line]:
    """The stream of many instruments over one connection each way, with these faults."""
    if name == "okx":
        return of_okx(faults=faults)
    return of_bybit(faults) if name == "bybit" else of_binance(name, faults)


# -- what no simulated venue sends


def okx_book(action: str, seq: int, prev: int, bids: list[Any], asks: list[Any], **more: Any) -> dict[str, Any]:
    data = {
        "bids": bids,
        "asks": asks,
        "ts": "1770000000000",
        "checksum": 0,
        "seqId": seq,
        "prevSeqId": prev,
        "new": {},
    }
    return {"arg": {"channel": "books", "instId": "ETH-USD-261225"}, "action": action, "data": [data | more]}


def bybit_book(kind: str, u: int, bids: list[Any], asks: list[Any]) -> dict[str, Any]:
    data = {"s": "BTCUSDM26", "b": bids, "a": asks, "u": u, "seq": u + 100, "newField": None}
    return {"topic": "orderbook.50.BTCUSDM26", "type": kind, "ts": 1_770_000_000_000, "data": data}


def depth(symbol: str, first: int, last: int, previous: int | None, price: str = "10.5") -> dict[str, Any]:
    found = {"e": "depthUpdate", "E": 1_770_000_000_000, "T": 1_770_000_000_000, "s": symbol, "U": first, "u": last,
             "b": [[price, "1.0"]], "a": []}  # fmt: skip
    return found if previous is None else found | {"pu": previous}


def deribit(channel: str, data: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "method": "subscription", "params": {"channel": channel, "data": data}}


PLAYED: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "okx: an empty side, exponents, a message without change, numbers that begin anew": (
        [
            okx_book("snapshot", 10, -1, [["1e3", "2E-3", "0", "1"]], []),
            okx_book("update", 10, 10, [], []),
            okx_book("update", 3, 10, [], [["1000.5", "12345678901234567890.123456789", "0", "2"]]),
            okx_book("update", 9, 3, [["1e3", "0", "0", "0"]], []),
        ],
        {"snapshots": 1, "links": 3, "gaps": 0, "refused": 0, "checksums_of_zero": 4, "books_usable": 1},
    ),
    "okx: a gap, and the next snapshot": (
        [
            okx_book("snapshot", 10, -1, [["5", "1", "0", "1"]], []),
            okx_book("update", 12, 11, [], []),
            okx_book("update", 13, 12, [], []),
            okx_book("snapshot", 20, -1, [], []),
            okx_book("update", 21, 20, [], []),
        ],
        {"snapshots": 2, "links": 1, "gaps": 1, "books_usable": 1},
    ),
    "okx: acknowledgements, errors, notices, heartbeats and channels that nobody reads": (
        [
            {"event": "subscribe", "arg": {"channel": "books", "instId": "X"}, "connId": "a"},
            {"event": "error", "code": "60012", "msg": "Illegal request", "connId": "a"},
            {"event": "notice", "code": "64008", "msg": "soon", "connId": "a"},
            b"pong",
            {"arg": {"channel": "open-interest", "instId": "BTC-USDT-SWAP"}, "data": [{"oi": "1"}]},
        ],
        {
            "refusals": {"channel: 'open-interest' on the public lane [open-interest]": 1},
            "errors": {"told: Illegal request": 1},
            "control": {"subscribe": 1, "error": 1, "notice": 1},
            "left_out": {"pongs": 1},
        },
    ),
    "bybit: number 1 is a whole book, whatever it is called; a ticker of changes alone": (
        [
            bybit_book("snapshot", 70, [["1", "1"]], [["2", "1"]]),
            bybit_book("delta", 71, [["1.5", "0.000000001"]], []),
            bybit_book("delta", 1, [["1.4", "1"]], [["3", "1"]]),
            bybit_book("delta", 2, [], [["3", "0"]]),
            {"topic": "tickers.BTCUSDM26", "type": "delta", "ts": 1_770_000_000_000,
             "data": {"symbol": "BTCUSDM26", "openInterest": "5"}},
        ],
        {"links": 3, "gaps": 0, "refused": 0, "books_usable": 1},
    ),
    "bybit: acknowledgements without ids": (
        [
            {"success": True, "ret_msg": "", "conn_id": "a", "req_id": "", "op": "subscribe"},
            {"success": True, "type": "COMMAND_RESP", "data": {"failTopics": [], "successTopics": ["x"]}},
            {"op": "pong", "args": ["1"], "conn_id": "a"},
            bybit_book("snapshot", 5, [], []),
        ],
        {"refused": 0, "control": {"subscribe": 1, "COMMAND_RESP": 1, "pong": 1}, "books_usable": 1},
    ),
    "binance: two symbols by themselves, without snapshots: their chains": (
        [
            depth("ETHUSDT", 5, 9, 4), depth("BTCUSDT", 105, 109, 104), depth("ETHUSDT", 10, 12, 9),
            depth("BTCUSDT", 111, 112, 110), depth("BTCUSDT", 113, 114, 112),
        ],
        {"is_partial": True, "links": 4, "gaps": 1, "books": 2},
    ),
    "binance: a stream of all symbols, one of none that is read, and spot's changes without pu": (
        [
            {"stream": "!markPrice@arr", "data": [
                {"e": "markPriceUpdate", "E": 1_770_000_000_000, "s": s, "p": "5", "i": "5.1", "r": "", "T": 0}
                for s in ("A", "B")]},
            {"stream": "btcusdt@kline_1m", "data": {"e": "kline", "E": 1, "s": "BTCUSDT", "k": {}}},
            {"result": None, "id": 1},
            depth("BTCBUSD", 5, 9, None), depth("BTCBUSD", 10, 12, None),
        ],
        {
            "refusals": {"Invalid value 'kline' - at `$.data.e` [kline]": 1},
            "control": {"reply": 1}, "links": 2, "gaps": 0,
        },
    ),
    "deribit: what is not read is named, what no instrument trades too": (
        [
            deribit("quote.BTC-PERPETUAL", {"instrument_name": "BTC-PERPETUAL", "timestamp": 1_770_000_000_000}),
            deribit("book.BTC-1JAN27.raw", {
                "type": "snapshot", "timestamp": 1_770_000_000_000, "instrument_name": "BTC-1JAN27", "change_id": 4,
                "bids": [["new", 1e-7, 10.0]], "asks": [], "added": True}),
            deribit("book.BTC-1JAN27.raw", {
                "type": "change", "timestamp": 1_770_000_000_001, "instrument_name": "BTC-1JAN27", "change_id": 6,
                "prev_change_id": 4, "bids": [["delete", 1e-7, 0.0]], "asks": [["new", "12", 10.0]]}),
            {"jsonrpc": "2.0", "method": "heartbeat", "params": {"type": "test_request"}},
        ],
        {
            "refusals": {
                "channel: not subscribed [quote]": 1,
                "Expected `float`, got `str` - at `$.asks[0][1]` [book]": 1,
            },
            "gaps": 1, "snapshots": 1, "control": {"heartbeat": 1},
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PLAYED)
def test_what_another_day_would_bring(name: str, tmp_path: Path) -> None:
    frames, expected = PLAYED[name]
    path = tmp_path / "file"
    path.write_bytes(b"\n".join(frame if isinstance(frame, bytes) else orjson.dumps(frame) for frame in frames))
    played = play(Recording(path))
    assert {field: getattr(played, field) for field in expected} == expected, played
    assert played.venue == name.partition(":")[0]


# -- files


def gzipped(path: Path, content: bytes) -> None:
    path.write_bytes(gzip.compress(content))


def zipped(path: Path, content: bytes) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("inner/a.data", content)


def in_lines(form: str) -> bytes:
    """The same three frames, as recorders write them."""
    frames = [
        bybit_book("snapshot", 5, [["1", "1"]], []),
        bybit_book("delta", 6, [], []),
        bybit_book("delta", 7, [], []),
    ]
    if form == "document":
        return orjson.dumps(frames, option=orjson.OPT_INDENT_2)
    shapes = {
        "plain": lambda at, text: text,
        "ns": lambda at, text: b"%d %s" % (START_NS + at, text),
        "seconds": lambda at, text: b"1770000000.%06d: %s" % (at, text),
        "ISO": lambda at, text: b"2026-02-02T02:40:00.%06dZ %s" % (at, text),
        "wrapped": lambda at, text: orjson.dumps({"recv_ts": 1_770_000_000_000 + at, "msg": text.decode()}),
        "nested": lambda at, text: orjson.dumps(
            {"local_timestamp": 1_770_000_000_000_000, "message": orjson.loads(text)}
        ),
        "sent": lambda at, text: b"1770000000.1 <- {}\n1770000000.1 -> " + text + b"\nwss://host\n",
    }
    return b"\n".join(shapes[form](at, orjson.dumps(frame)) for at, frame in enumerate(frames)) + b"\n"


@pytest.mark.parametrize("form", ["document", "plain", "ns", "seconds", "ISO", "wrapped", "nested", "sent"])
def test_recordings_come_in_many_shapes(form: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    for write in (Path.write_bytes, gzipped, zipped):
        write(path, in_lines(form))  # type: ignore[operator]
        recording = Recording(path)
        times = {time_ns // S for time_ns, _ in recording.frames()}
        assert times <= {START_NS // S} or form in ("plain", "document")
        played = play(recording)
        assert (played.venue, played.messages, played.links, played.gaps, played.refused) == ("bybit", 3, 2, 0, 0)


def test_a_file_of_nothing_is_refused_and_a_damaged_one_played(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for content in (b"", b"no JSON\n", b"[1, 2]\n", b'{"a": 1}\n', b"\x1f\x8bxx", b"PK\x03\x04xx", b'{"a":\n'):
        path.write_bytes(content)
        answer = CliRunner().invoke(app, ["recorded", str(path)])
        assert answer.exit_code == 1 and str(path) in answer.output, content
    path.write_bytes(b'{"topic":\n'.join([in_lines("plain")[:-1].replace(b"\n", b"\n\n"), b"\n"]))
    answer = CliRunner().invoke(app, ["recorded", str(path), "--json"])
    played = orjson.loads(answer.output)
    assert answer.exit_code == 0 and played["messages"] >= 3
    assert CliRunner().invoke(app, ["recorded", str(tmp_path / "none")]).exit_code == 1
    assert CliRunner().invoke(app, ["recorded", str(path), "--venue", "kraken"]).exit_code == 1


def test_the_counts_are_printed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(in_lines("plain"))
    text = CliRunner().invoke(app, ["recorded", str(path)]).output
    assert "links that hold  2" in text and "orderbook" in text


# -- the recordings themselves


@needs_recordings
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("binance_um_btcusdt_20240808.gz",
         {"messages": 93_954, "snapshots": 1, "links": 6_545, "quotes": {"compared": 629, "equal": 629}}),
        ("cryptofeed_DERIBIT.ws.1.0.gz", {"venue": "deribit", "snapshots": 10, "links": 36}),
        ("cryptofeed_OKX.ws.1.0.gz",
         {"venue": "okx", "snapshots": 3, "links": 287, "checksums": {"compared": 290, "equal": 290}}),
        ("bybit_xrpusdt_ob500.data.zip", {"venue": "bybit", "snapshots": 1, "links": 49}),
    ],
)  # fmt: skip
def test_the_recordings(name: str, expected: dict[str, Any]) -> None:
    answer = CliRunner().invoke(app, ["recorded", str(STREAMS / name), "--json"])
    played = orjson.loads(answer.output)
    assert {field: played[field] for field in expected} == expected
    assert (played["gaps"], played["refused"], played["errors"]) == (0, 0, {})
    assert played["books_usable"] == played["books"]
