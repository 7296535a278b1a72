"""Trades as clients ask for them: TradeCaptureReportRequest(AD), its Ack(AQ), TradeCaptureReport(AE), ReportAck(AR).

The last fills are kept, bounded, beside the ledger: they are made from the same records, live and in a replay. A
subscription lives as long as the session's configuration, over connections and restarts, until it is ended by 263=2.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

import msgspec

from gateway import records
from gateway.clearing.book import TradeDuties
from gateway.translate import price_text, quantity_text
from protocols.fix.codec import Message, format_timestamp, parse_timestamp
from protocols.fix.grouped import Value, Values, send_grouped
from protocols.fix.values import NS_PER_SECOND
from risk.instrument import Instrument

if TYPE_CHECKING:
    from gateway.pipeline import Pipeline
    from gateway.records.holds import HoldFilled
    from gateway.records.settlements import FilledExactly
    from gateway.reports import Reports
    from risk.exposure import WorkingOrder

TRADES_KEPT: Final = 100_000
# Reports that one request may cause; a client that wants more asks by time.
REPORTS_AT_ONCE: Final = 1_000
SUBSCRIPTIONS_EACH: Final = 16
MAX_ID_BYTES: Final = 64
NS_PER_MS: Final = 1_000_000
NS_PER_DAY: Final = 86_400 * NS_PER_SECOND
# TradeRequestType(569)
ALL_TRADES, MATCHED_TRADES = "0", "1"
SNAPSHOT, SUBSCRIBE, UNSUBSCRIBE = "0", "1", "2"
# TradeRequestResult(749)
DONE, UNKNOWN_INSTRUMENT, TYPE_NOT_SUPPORTED, NOT_AUTHORISED, OTHER = 0, 1, 8, 9, 99
CUSTOMER_ACCOUNT: Final = b"24"  # PartyRole(452)
_SIDES: Final = {b"1": 1, b"2": 2, None: 0}
# TradeRequestID, TradeRequestType, SubscriptionRequestType, Symbol, Side, OrderID, ClOrdID, TrdMatchID, ExecID
_TAGS: Final = (568, 569, 263, 55, 54, 37, 11, 880, 17)


class Trade(msgspec.Struct):
    """A fill as it stands: `exec_id` is that of its ExecutionReport, `source` a venue or a reporting session."""

    exec_id: int
    source: str
    trade_id: str
    session: str
    account: str
    order_id: str
    cl_ord_id: str
    instrument: Instrument
    side: int
    lots: int
    ticks: int
    fee_units: int
    time_ns: int
    is_busted: bool = False
    is_corrected: bool = False
    traded_ns: int = 0  # the venue's own time, 0 where it is not known
    exact: tuple[Decimal, Decimal] | None = None  # quantity and price, where lots and ticks can not say them

    @property
    def quantity(self) -> Decimal:
        """The quantity in the instrument's unit."""
        return self.instrument.quantity(self.lots) if self.exact is None else self.exact[0]

    @property
    def price(self) -> Decimal:
        """The price in the instrument's unit."""
        return self.instrument.price(self.ticks) if self.exact is None else self.exact[1]

    @property
    def exact_lots(self) -> Fraction:
        """The quantity in lots, what is less than one included."""
        return Fraction(self.quantity) / Fraction(self.instrument.lot_size)


class Trades:
    """The last trades by (source, trade id), oldest first, and who wants to hear of new ones."""

    def __init__(self, capacity: int = TRADES_KEPT) -> None:
        self._capacity = capacity
        self._trades: OrderedDict[tuple[str, str], Trade] = OrderedDict()
        self._subscriptions: dict[str, dict[str, records.TradesAsked]] = {}
        self.duties = TradeDuties()  # who is told of each trade, asked or not

    def __len__(self) -> int:
        return len(self._trades)

    def find(self, source: str, trade_id: str) -> Trade | None:
        """Return a trade; None where it is not kept."""
        return self._trades.get((source, trade_id))

    def within(self, request: records.TradesAsked, accounts: tuple[str, ...]) -> Iterator[Trade]:
        """Yield the trades that a request asks for, oldest first; busted ones have not happened."""
        return (t for t in self._trades.values() if not t.is_busted and _is_meant(t, request, accounts))

    def since(self, account: str, begin_ns: int) -> Iterator[Trade]:
        """Yield the trades of an account from a time on, the newest first; busted ones have not happened."""
        return (trade for trade in self.latest(begin_ns) if trade.account == account)

    def latest(self, begin_ns: int) -> Iterator[Trade]:
        """Yield the same of all accounts."""
        for trade in reversed(self._trades.values()):
            if trade.time_ns < begin_ns:
                return
            if not trade.is_busted:
                yield trade

    def add_fill(self, reports: Reports, record: records.Filled, sequence: int, time_ns: int) -> None:
        """Keep a fill of one of our orders, and tell who has subscribed."""
        order = reports.ledger.orders[record.order_id]
        self._add(
            reports,
            Trade(
                sequence,
                record.venue,
                record.trade_id,
                order.session,
                order.account,
                order.order_id,
                order.cl_ord_id,
                order.instrument,
                int(order.side),
                record.lots,
                record.ticks,
                record.fee_units,
                time_ns,
                traded_ns=record.traded_ns,
            ),
            time_ns,
        )

    def add_exact(
        self, reports: Reports, record: FilledExactly, order: WorkingOrder, sequence: int, time_ns: int
    ) -> None:
        """Keep a fill that is of no whole lots or ticks."""
        exact = Decimal(record.quantity), Decimal(record.price)
        trade = Trade(
            sequence, record.venue, record.trade_id, order.session, order.account, order.order_id, order.cl_ord_id,
            order.instrument, int(order.side), int(exact[0] / order.instrument.lot_size),
            int(exact[1] / order.instrument.tick_size), record.fee_units, time_ns, traded_ns=record.traded_ns,
            exact=exact,
        )  # fmt: skip
        self._add(reports, trade, time_ns)

    def add_external(self, reports: Reports, record: records.ExternalFill, sequence: int, time_ns: int) -> None:
        """Keep a fill that was made elsewhere, under the id that its reporter gave it."""
        instrument = reports.ledger.instruments[record.instrument]
        trade = Trade(
            sequence, f"external:{record.session}", record.exec_id, record.session, record.account, "NONE", "",
            instrument, record.side, record.lots, record.ticks, record.fee_units, time_ns,
        )  # fmt: skip
        self._add(reports, trade, time_ns)

    def add_hold_fill(self, reports: Reports, record: HoldFilled, sequence: int, time_ns: int) -> None:
        """Keep a fill of an order that its owner sent; its session is the hook's client."""
        order = reports.ledger.holds.by_id[record.hold_id].order
        trade = Trade(
            sequence, record.source, record.trade_id, order.session, order.account, order.order_id, order.cl_ord_id,
            order.instrument, int(order.side), record.lots, record.ticks, record.fee_units, time_ns,
        )  # fmt: skip
        self._add(reports, trade, time_ns)

    def _add(self, reports: Reports, trade: Trade, time_ns: int) -> None:
        if len(self._trades) >= self._capacity:
            self._trades.popitem(last=False)
        self._trades[trade.source, trade.trade_id] = trade
        self.duties.queue(trade, trade.exec_id)
        if self._subscriptions:
            self.tell(reports, trade.source, trade.trade_id, trade.exec_id, time_ns)

    def bust(self, source: str, trade_id: str) -> bool:
        """Take note that a trade was annulled; False where it is not kept."""
        trade = self._trades.get((source, trade_id))
        if trade is None:
            return False
        trade.is_busted = True
        return True

    def correct(self, source: str, trade_id: str, lots: int, ticks: int, fee_units: int) -> None:
        """Take note of a trade's new values."""
        trade = self._trades.get((source, trade_id))
        if trade is not None:
            trade.lots, trade.ticks, trade.fee_units, trade.is_corrected = lots, ticks, fee_units, True

    def tell(self, reports: Reports, source: str, trade_id: str, report_id: int, time_ns: int) -> None:
        """Send a trade, new, corrected or annulled, to the sessions that subscribed to such."""
        trade = self._trades.get((source, trade_id))
        if trade is None:
            return
        if report_id != trade.exec_id:
            self.duties.queue(trade, report_id)
        for session, requests in self._subscriptions.items():
            accounts = reports.accounts_of(session)
            for request in requests.values():
                if _is_meant(trade, request, accounts):
                    _send_trade(reports, session, request.request_id, trade, report_id, None, time_ns)

    def subscribe(self, request: records.TradesAsked) -> None:
        """Begin or end a subscription, as the request says."""
        of_session = self._subscriptions.setdefault(request.session, {})
        if request.subscription == SUBSCRIBE:
            of_session[request.request_id] = request
        else:
            of_session.pop(request.request_id, None)
        if not of_session:
            del self._subscriptions[request.session]

    def can_subscribe(self, session: str, request_id: str) -> bool:
        """Whether a session may have one more subscription."""
        of_session = self._subscriptions.get(session, {})
        return request_id in of_session or len(of_session) < SUBSCRIPTIONS_EACH


def _is_meant(trade: Trade, request: records.TradesAsked, accounts: tuple[str, ...]) -> bool:
    return (
        (trade.account == request.account if request.account else trade.account in accounts)
        and request.symbol in ("", trade.instrument.symbol)
        and request.side in (0, trade.side)
        and request.order_id in ("", trade.order_id)
        and request.cl_ord_id in ("", trade.cl_ord_id)
        and request.trade_id in ("", trade.trade_id)
        and request.exec_id in ("", str(trade.exec_id))
        and request.from_ns <= trade.time_ns
        and (not request.to_ns or trade.time_ns < request.to_ns)
    )


# -- what a client asks ------------------------------------------------------------------------------------------------


def _ask(pipeline: Pipeline, session: str, message: Message, now_ns: int) -> None:
    request = _request(pipeline, session, message)
    if not request.result and request.subscription != UNSUBSCRIBE:
        trades, accounts = pipeline.reports.trades, tuple(pipeline.accounts_of.get(session, ()))
        found = sum(1 for _ in trades.within(request, accounts))
        text = ""
        if found > REPORTS_AT_ONCE:
            text = f"{found} trades are more than {REPORTS_AT_ONCE}: ask for fewer"
        elif request.subscription == SUBSCRIBE and not trades.can_subscribe(session, request.request_id):
            text = f"a session has {SUBSCRIPTIONS_EACH} subscriptions at the most"
        if text:
            request = msgspec.structs.replace(request, result=OTHER, text=text)
    pipeline.commit(request, now_ns)


def _request(pipeline: Pipeline, session: str, message: Message) -> records.TradesAsked:
    request_id, request_type, subscription, symbol, side, order_id, cl_ord_id, trade_id, exec_id = message.values(_TAGS)
    account = _account(message)
    times = _times(message)
    result, text = DONE, ""
    if len(request_id or b"") > MAX_ID_BYTES:
        result, text = OTHER, f"TradeRequestID(568) longer than {MAX_ID_BYTES} bytes"
    elif _text(request_type) not in (ALL_TRADES, MATCHED_TRADES):
        result, text = TYPE_NOT_SUPPORTED, "TradeRequestType(569) is not served: 0 all trades, 1 matched trades"
    elif account and account not in pipeline.accounts_of.get(session, {}):
        result, text = NOT_AUTHORISED, f"account {account} is not known to this session"
    elif symbol is not None and _text(symbol) not in pipeline.ledger.by_symbol:
        result, text = UNKNOWN_INSTRUMENT, f"Symbol(55) {_text(symbol)} is not listed"
    elif side not in _SIDES:
        result, text = OTHER, f"Side(54) {_text(side)} is not traded here: 1 buy, 2 sell"
    elif times is None:
        result, text = OTHER, "NoDates(580) is one or two of TransactTime(60) or TradeDate(75), the earlier first"
    from_ns, to_ns = times or (0, 0)
    return records.TradesAsked(
        session, message.msg_seq_num, _text(request_id)[:MAX_ID_BYTES], _text(request_type), _text(subscription),
        _text(symbol), _SIDES.get(side, 0), account, _text(order_id), _text(cl_ord_id), _text(trade_id),
        _text(exec_id), from_ns, to_ns, result, text,
    )  # fmt: skip


def _account(message: Message) -> str:
    """Return the account that a party with role 24 names; empty where none does."""
    for party_id, _, role in message.groups(453, (448, 447, 452)):
        if role == CUSTOMER_ACCOUNT:
            return _text(party_id)
    return ""


def _times(message: Message) -> tuple[int, int] | None:
    """Return [from, to) in ns; (0, 0) where no dates are given, None where they are no range."""
    bounds = []
    for date, time in message.groups(580, (75, 60)):
        begin_ns = parse_timestamp(time) if time is not None else parse_timestamp((date or b"") + b"-00:00:00")
        if begin_ns is None:
            return None
        # A time is told in ms: all of the last one is meant.
        bounds.append((begin_ns, begin_ns + (NS_PER_DAY if time is None else NS_PER_MS)))
    if not bounds:
        return 0, 0
    if len(bounds) > 2 or bounds[-1][1] <= bounds[0][0]:
        return None
    is_open = len(bounds) == 1 and bounds[0][1] - bounds[0][0] == NS_PER_MS  # one time: from then on
    return bounds[0][0], 0 if is_open else bounds[-1][1]


def _acknowledged(pipeline: Pipeline, session: str, message: Message, now_ns: int) -> None:
    """A client has taken a report: nothing follows from that here, but its number is counted."""
    pipeline.count_message(session, message, now_ns)


def _text(value: bytes | None) -> str:
    return "" if value is None else value.decode("latin-1")


HANDLERS: Final[dict[str, Callable[[Pipeline, str, Message, int], None]]] = {"AD": _ask, "AR": _acknowledged}


# -- reports -----------------------------------------------------------------------------------------------------------


def _report(reports: Reports, record: records.TradesAsked, sequence: int, time_ns: int) -> None:
    reports.received(record)
    session = record.session
    found: list[Trade] = []
    if not record.result:
        if record.subscription in (SUBSCRIBE, UNSUBSCRIBE):
            reports.trades.subscribe(record)
        if record.subscription != UNSUBSCRIBE:
            found = list(reports.trades.within(record, reports.accounts_of(session)))
    values: Values = {
        55: record.symbol.encode() or b"[N/A]",
        58: record.text.encode("ascii", "replace"),
        263: record.subscription.encode(),
        568: record.request_id.encode(),
        569: record.request_type.encode(),
        748: len(found),
        749: record.result,
        750: 2 if record.result else 0 if found or record.subscription == SUBSCRIBE else 1,
    }
    send_grouped(reports.sessions[session], "AQ", values, time_ns)
    reports.touched.add(session)
    for number, trade in enumerate(found, 1):
        last = b"Y" if number == len(found) else b"N"
        _send_trade(reports, session, record.request_id, trade, trade.exec_id, last, time_ns)


def _send_trade(
    reports: Reports, session: str, request_id: str, trade: Trade, report_id: int, last: bytes | None, time_ns: int
) -> None:
    values = {**trade_values(trade, report_id), 568: request_id.encode(), 912: last}
    send_grouped(reports.sessions[session], "AE", values, time_ns)
    reports.touched.add(session)


def _decimal(value: Decimal) -> bytes:
    return format(value.normalize(), "f").encode()


def trade_values(trade: Trade, report_id: int) -> dict[int, Value]:
    """Return what a TradeCaptureReport(AE) says of a trade as it stands; `report_id` is its TradeReportID(571)."""
    instrument = trade.instrument
    when = format_timestamp(trade.time_ns)
    is_new = report_id == trade.exec_id
    sides: list[Values] = [
        {54: trade.side, 37: trade.order_id.encode(), 11: trade.cl_ord_id.encode(), 1: trade.account.encode()}
    ]
    return {
        17: trade.exec_id,
        31: price_text(instrument, trade.ticks) if trade.exact is None else _decimal(trade.price),
        32: quantity_text(instrument, trade.lots) if trade.exact is None else _decimal(trade.quantity),
        55: instrument.symbol.encode(),
        60: when,
        75: when[:8],
        150: b"H" if trade.is_busted else b"G" if trade.is_corrected else b"F",
        487: 1 if trade.is_busted else 0 if is_new else 2,
        570: b"N",
        571: report_id,
        572: None if is_new else trade.exec_id,
        880: trade.trade_id.encode(),
        552: sides,
    }


REPORTS: Final[dict[type[records.Record], Callable[[Reports, Any, int, int], None]]] = {records.TradesAsked: _report}
