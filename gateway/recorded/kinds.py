"""What a recorded frame is, told by its own words: of which venue, which channel, which instruments."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from decimal import Decimal
from typing import Any, Final

import msgspec

from protocols.venues.okx_tables import BOOK_RULES

NS_PER_MS: Final = 1_000_000
# Best bid, its amount, best ask, its amount: of a book, and as a quote's frame has them.
Top = tuple[Decimal | None, Decimal, Decimal | None, Decimal]
Quote = tuple[Any, Any, Any, Any]
Message = dict[str, Any]
BINANCE_PRIVATE: Final = frozenset(
    {"ORDER_TRADE_UPDATE", "ACCOUNT_UPDATE", "MARGIN_CALL", "listenKeyExpired", "TRADE_LITE", "ACCOUNT_CONFIG_UPDATE",
     "ALGO_UPDATE", "STRATEGY_UPDATE", "GRID_UPDATE", "CONDITIONAL_ORDER_TRIGGER_REJECT"}
)  # fmt: skip
OKX_PRIVATE: Final = frozenset(
    {"orders", "orders-algo", "account", "positions", "balance_and_position", "liquidation-warning", "fills",
     "account-greeks", "algo-advance"}
)  # fmt: skip
BYBIT_PRIVATE: Final = frozenset({"order", "execution", "position", "wallet", "greeks", "dcp", "spread"})
# Channels of the best prices alone: compared with the book of the same number.
QUOTE_FLAVOURS: Final = frozenset({"bbo-tbt", "orderbook.1"})
_OPTION: Final = re.compile(r"-(?:C|P)(?:-[A-Z]+)?$")
_INTERVALS: Final = frozenset({"raw", "100ms", "agg2"})


class Seen(msgspec.Struct, kw_only=True):
    """A frame before its codec reads it.

    `flavour` is a book's channel without its instrument: a venue's channels each keep a book of their own. `key` is
    what a book and a quote of the same moment have in common, 0 where there is nothing. `is_control`: an
    acknowledgement, a heartbeat or a reply, which says something only to who has asked.
    """

    kind: str
    flavour: str = ""
    lane: str = ""
    symbols: tuple[str, ...] = ()
    time_ns: int = 0
    is_control: bool = False
    is_book: bool = False
    is_change: bool = False
    checksum: int = 0
    key: int = 0
    quote: Quote | None = None


def venue_of(message: Any) -> str:
    """Return whose frame it is, empty where it does not say."""
    if isinstance(message, list):
        message = message[0] if message and isinstance(message[0], dict) else {}
    if not isinstance(message, dict):
        return ""
    if "jsonrpc" in message or message.get("method") in ("subscription", "heartbeat"):
        return "deribit"
    arg = message.get("arg")
    if (isinstance(arg, dict) and "channel" in arg) or ("connId" in message and "event" in message):
        return "okx"
    if isinstance(message.get("topic"), str):
        return "bybit"
    if isinstance(message.get("stream"), str) or isinstance(message.get("e"), str) or "lastUpdateId" in message:
        return "binance"
    return ""


def is_option(symbol: str) -> bool:
    """Tell an option by its name, which all four venues end alike."""
    return _OPTION.search(symbol) is not None


def _ms(value: Any) -> int:
    with suppress(TypeError, ValueError):
        time = int(value)
        return time * NS_PER_MS if 0 < time < 10**14 else 0
    return 0


def _rows(data: Any) -> list[Message]:
    rows = data if isinstance(data, list) else [data]
    return [row for row in rows if isinstance(row, dict)]


def _names(rows: Iterable[Message], field: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(row[field] for row in rows if isinstance(row.get(field), str)))


def _whole(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def top_of(quote: Quote) -> Top | None:
    """Return a quote as numbers; a side that is zero or absent is empty. None where they are no numbers."""
    found = []
    for value in quote:
        try:
            found.append(Decimal(str(value)) if value not in (None, "") else Decimal(0))
        except ArithmeticError:
            return None
    bid, bid_amount, ask, ask_amount = found
    bids = (bid, bid_amount) if bid and bid_amount else (None, Decimal(0))
    asks = (ask, ask_amount) if ask and ask_amount else (None, Decimal(0))
    return *bids, *asks


def of_binance(message: Message) -> Seen:
    """USD-M's and COIN-M's streams, each frame by itself or in a combined stream's wrapping; REST's depth snapshot."""
    stream = str(message.get("stream", ""))
    data = message.get("data", message)
    if "lastUpdateId" in message and "bids" in message:
        return Seen(kind="snapshot", flavour="depth", time_ns=_ms(message.get("T") or message.get("E")))
    rows = _rows(data)
    if not rows or ("e" not in rows[0] and "@bookTicker" not in stream):
        return Seen(kind="reply", is_control="result" in message or "error" in message or "method" in message)
    first = rows[0]
    kind = str(first.get("e", "bookTicker"))
    body = first["o"] if isinstance(first.get("o"), dict) else first
    symbols = _names([body, *rows], "s")
    account = first.get("a")
    if kind == "ACCOUNT_UPDATE" and isinstance(account, dict):
        symbols = _names(_rows(account.get("P")), "s")
    is_book = kind == "depthUpdate"
    flavour = stream.partition("@")[2].partition("@")[0] or "depth" if is_book else ""
    is_quote = kind == "bookTicker"
    return Seen(
        kind=kind,
        flavour=flavour,
        lane="private"
        if kind in BINANCE_PRIVATE
        else "public"
        if is_book or kind in ("bookTicker", "trade")
        else "market",
        symbols=symbols,
        time_ns=_ms(first.get("E") or first.get("T")),
        is_book=is_book,
        is_change=is_book and flavour == "depth",
        key=_whole(first.get("u")) if is_book or is_quote else 0,
        quote=(first.get("b"), first.get("B"), first.get("a"), first.get("A")) if is_quote else None,
    )


def of_okx(message: Message) -> Seen:
    """OKX's channels."""
    arg, rows = message.get("arg"), _rows(message.get("data", []))
    if "event" in message or "op" in message or not isinstance(arg, dict):
        return Seen(
            kind=str(message.get("event", message.get("op", "reply"))), is_control="event" in message or "op" in message
        )
    channel = str(arg.get("channel", ""))
    first = rows[0] if rows else {}
    is_book = channel in BOOK_RULES
    stated = (arg["instId"],) if isinstance(arg.get("instId"), str) else ()
    return Seen(
        kind=channel,
        flavour=channel if is_book else "",
        lane="private" if channel in OKX_PRIVATE else "public",
        symbols=stated or _names(rows, "instId"),
        time_ns=_ms(first.get("ts") or first.get("uTime")),
        is_book=is_book,
        is_change=message.get("action") == "update",
        checksum=_whole(first.get("checksum")) if is_book else 0,
        key=_whole(first.get("seqId")) if is_book else 0,
    )


def of_bybit(message: Message) -> Seen:
    """Bybit's topics."""
    topic = message.get("topic")
    if not isinstance(topic, str) or not topic:
        return Seen(
            kind=str(message.get("op", message.get("type", "reply"))), is_control="op" in message or "type" in message
        )
    name, _, subject = topic.partition(".")
    rows = _rows(message.get("data", []))
    is_book = name == "orderbook"
    is_private = name in BYBIT_PRIVATE
    symbols = _names(rows, "symbol") or _names(rows, "s") or ((subject.rpartition(".")[2],) if not is_private else ())
    is_of_options = bool(symbols) and is_option(symbols[0])
    return Seen(
        kind=name,
        flavour=topic.rpartition(".")[0] if is_book else "",
        lane="private" if is_private else "option" if is_of_options else "linear",
        symbols=symbols,
        time_ns=_ms(message.get("ts") or message.get("creationTime")),
        is_book=is_book,
        is_change=message.get("type") == "delta",
        key=_whole(rows[0].get("seq")) if is_book and rows else 0,
    )


def of_deribit(message: Message) -> Seen:
    """Deribit's channels."""
    params = message.get("params")
    if "id" in message or message.get("method") != "subscription" or not isinstance(params, dict):
        return Seen(
            kind=str(message.get("method", "reply")), is_control=True, time_ns=_whole(message.get("usOut")) * 1_000
        )
    channel = str(params.get("channel", ""))
    words = channel.split(".")
    rows = _rows(params.get("data", []))
    first = rows[0] if rows else {}
    is_book = words[0] == "book" and len(words) == 3 and words[2] in _INTERVALS
    names = _names(rows, "instrument_name")
    quote = None
    if words[0] in ("ticker", "quote"):
        of = first.get
        quote = (of("best_bid_price"), of("best_bid_amount"), of("best_ask_price"), of("best_ask_amount"))
    if words[0] == "user":
        trades = [trade for row in rows for trade in _rows(row.get("trades", []))]
        names = _names([*rows, *trades], "instrument_name")
    return Seen(
        kind=".".join(words[:2]) if words[0] == "user" else words[0],
        flavour=words[2] if is_book else "",
        symbols=names,
        time_ns=max([_ms(row.get("timestamp")) for row in rows], default=0),
        is_book=is_book,
        is_change=first.get("type") == "change",
        key=_whole(first.get("timestamp")) if is_book or quote is not None else 0,
        quote=quote,
    )


READERS: Final[dict[str, Callable[[Message], Seen]]] = {
    "binance": of_binance,
    "bybit": of_bybit,
    "deribit": of_deribit,
    "okx": of_okx,
}
