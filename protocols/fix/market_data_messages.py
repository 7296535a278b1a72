"""MarketDataSnapshotFullRefresh(W) and MarketDataIncrementalRefresh(X), put together from entries made once.

An entry is the same bytes in every version and for every reader, so that a change is written once however many read
it. A level of a book is known by Symbol(55), MDEntryType(269) and MDEntryPx(270); a trade has its MDEntryID(278).
"""

from collections.abc import Sequence
from typing import Final

from protocols.fix.codec import format_timestamp

# MDEntryType(269). 6 is the settlement price: of a perpetual or a running contract that is the mark.
BID, OFFER, TRADE, INDEX, MARK = b"0", b"1", b"2", b"3", b"6"
EMPTY_BOOK: Final = b"J"  # not in FIX 4.2
# MDUpdateAction(279)
NEW, CHANGE, DELETE = b"0", b"1", b"2"


def level(kind: bytes, price: bytes, size: bytes) -> bytes:
    """Return the entry of a snapshot for one level of a book."""
    return b"269=%b\x01270=%b\x01271=%b\x01" % (kind, price, size)


def level_changed(action: bytes, kind: bytes, symbol: bytes, price: bytes, size: bytes) -> bytes:
    """Return the entry of an increment for one level; a deleted one has no size."""
    if action == DELETE:
        return b"279=2\x01269=%b\x0155=%b\x01270=%b\x01" % (kind, symbol, price)
    return b"279=%b\x01269=%b\x0155=%b\x01270=%b\x01271=%b\x01" % (action, kind, symbol, price, size)


def traded(trade_id: bytes, price: bytes, size: bytes, time_ns: int, symbol: bytes = b"") -> bytes:
    """Return the entry for a trade: of an increment where a symbol is given, of a snapshot where not."""
    when = _when(time_ns)
    if not symbol:  # MDEntryID(278) is no member of a snapshot's entries
        return b"269=2\x01270=%b\x01271=%b\x01%b" % (price, size, when)
    return b"279=0\x01269=2\x01278=%b\x0155=%b\x01270=%b\x01271=%b\x01%b" % (trade_id, symbol, price, size, when)


def quoted(kind: bytes, price: bytes, time_ns: int, symbol: bytes = b"", action: bytes = NEW) -> bytes:
    """Return the entry for a mark or an index: of an increment where a symbol is given, of a snapshot where not."""
    when = _when(time_ns)
    if not symbol:
        return b"269=%b\x01270=%b\x01%b" % (kind, price, when)
    return b"279=%b\x01269=%b\x0155=%b\x01270=%b\x01%b" % (action, kind, symbol, price, when)


def withdrawn(kind: bytes, symbol: bytes, text: bytes) -> bytes:
    """Return the entry of an increment that takes a mark or an index back: there is none now, and why."""
    return b"279=2\x01269=%b\x0155=%b\x0158=%b\x01" % (kind, symbol, text)


def nothing(kinds: Sequence[bytes], text: bytes, knows_empty_book: bool) -> list[bytes]:
    """Return the entries of a snapshot that has nothing to show, and why.

    Where the version has no MDEntryType(269) J each kind is told as inactive, at price and size 0.
    """
    if knows_empty_book:
        return [b"269=J\x01276=B\x0158=%b\x01" % text]
    return [b"269=%b\x01270=0\x01271=0\x01276=B\x0158=%b\x01" % (kind, text) for kind in kinds]


def snapshot(symbol: bytes, md_req_id: bytes, entries: Sequence[bytes], updated_ns: int | None) -> bytes:
    """Return the body of a W. `updated_ns`: for LastUpdateTime(779), which FIX 5.0 SP2 wants and others do not have."""
    last = b"" if updated_ns is None else b"779=%b\x01" % format_timestamp(updated_ns)
    return b"55=%b\x01262=%b\x01268=%d\x01%b%b" % (symbol, md_req_id, len(entries), b"".join(entries), last)


def increment(md_req_id: bytes, entries: Sequence[bytes]) -> bytes:
    """Return the body of an X."""
    return b"262=%b\x01268=%d\x01%b" % (md_req_id, len(entries), b"".join(entries))


def _when(time_ns: int) -> bytes:
    """Return MDEntryDate(272) and MDEntryTime(273)."""
    date, _, time = format_timestamp(time_ns).partition(b"-")
    return b"272=%b\x01273=%b\x01" % (date, time)
