"""PartyRiskLimitCheckRequest(DF) and its Ack(DG): what the checks would say to an order that is not placed.

The checks are those of an order, in the same precedence, with the session's kill before them; the answer names the
check, the limit, what was observed and what would be required. Nothing is held, counted or journalled of it. A size is
OrderQty(38), or RiskLimitCheckAmount(2324) in USD: then it is the least whole number of lots that is worth as much.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from gateway.messages.amounts import has, needs, usd
from gateway.messages.margin_scope import MAX_ID_BYTES, account_named
from gateway.messages.order_lists import MAX_LIST_ORDERS, listed_orders
from gateway.report_values import number
from gateway.translate import OrderFields, new_order, price_text, quantity_text
from protocols.fix.codec import Message, format_timestamp, parse_decimal
from risk.account import Account
from risk.exposure import WorkingOrder
from risk.instrument import Instrument
from risk.kernel import MAX_LOTS
from risk.order import Order, Reject, RejectReason
from risk.rehearsal import Passed, rehearse, rehearse_basket
from risk.telling import quote_of

if TYPE_CHECKING:
    from gateway.pipeline import Pipeline

# RiskLimitCheckTransType(2320), RiskLimitCheckType(2321), RiskLimitCheckRequestType(2323)
NEW, SUBMIT, ALL_OR_NONE, PARTIAL = b"0", b"0", b"0", b"1"
# RiskLimitCheckRequestStatus(2325)
APPROVED, PARTIALLY_APPROVED, REJECTED = 0, 1, 2
# RiskLimitCheckRequestResult(2326)
SUCCESSFUL, INVALID_PARTY, ABOVE_CREDIT, ABOVE_CLIP_SIZE, ABOVE_NOTIONAL, OTHER = 0, 1, 2, 3, 4, 99
RESULTS: Final = {
    RejectReason.UNKNOWN_ACCOUNT: INVALID_PARTY,
    RejectReason.MARGIN_SHORTFALL: ABOVE_CREDIT,
    RejectReason.POSITION_ABOVE_LIMIT: ABOVE_CREDIT,
    RejectReason.QUANTITY_ABOVE_LIMIT: ABOVE_CLIP_SIZE,
    RejectReason.NOTIONAL_ABOVE_LIMIT: ABOVE_NOTIONAL,
}
MARKET, LIMIT = b"1", b"2"
_CHECK: Final = "limit_check"
_UNSUPPORTED: Final = RejectReason.UNSUPPORTED_CHARACTERISTIC
# RiskLimitCheckRequestID, ...TransType, ...Type, ...RequestRefID, ...RequestType, ...Amount
_TAGS: Final = (2318, 2320, 2321, 2322, 2323, 2324)
# Where OrderFields.values has OrderQty, OrdType and Price.
_QUANTITY, _ORD_TYPE, _PRICE = 3, 4, 5


class LimitChecks:
    """Answers what-ifs of the sessions of one pipeline."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._answers = 0

    def receive(self, session: str, message: Message, now_ns: int) -> str | None:
        """Answer one PartyRiskLimitCheckRequest(DF)."""
        pipeline = self._pipeline
        request_id, trans_type, check_type, ref_id, request_type, amount = message.values(_TAGS)
        self._answers += 1
        values: dict[int, bytes | int | None] = {
            2318: (request_id or b"")[:MAX_ID_BYTES],
            2319: f"{pipeline.ledger.run}-{self._answers}".encode(),
            2320: trans_type,
            2321: check_type,
            2322: (ref_id or b"")[:MAX_ID_BYTES],
            2324: amount,
            60: format_timestamp(now_ns),
            1: (message.get(1) or b"")[:MAX_ID_BYTES],
            11: (message.get(11) or b"")[:MAX_ID_BYTES],
            41: (message.get(41) or b"")[:MAX_ID_BYTES],
            55: (message.get(55) or b"")[:MAX_ID_BYTES],
            54: message.get(54),
            40: message.get(40),
            38: message.get(38),
            44: message.get(44),
        }
        fault = _form_fault(trans_type, check_type, request_type, request_id)
        if message.get(73) is not None:
            values |= self._basket(session, message, fault, now_ns)
            pipeline.volatile.answer_flat(session, "DG", values)
            return None
        order: Order | Reject = Reject(_UNSUPPORTED, _CHECK, fault) if fault else self._order(session, message, now_ns)
        if isinstance(order, Reject):
            values.update(_refusal(order))
        else:
            account = pipeline.account(session, order.account)
            found, answer = order, rehearse(order, account, pipeline.market)
            if isinstance(answer, Reject) and request_type == PARTIAL and account is not None:
                found, answer = self._largest(order, account, answer)
            if isinstance(answer, Reject) or account is None:
                assert isinstance(answer, Reject)
                values |= _refusal(answer)
            else:
                status = APPROVED if found is order else PARTIALLY_APPROVED
                values |= self._approval(found, answer, account, now_ns)
                values |= {1: account.name.encode(), 2325: status}
        pipeline.volatile.answer_flat(session, "DG", values)
        return None

    def _basket(self, session: str, message: Message, fault: str, now_ns: int) -> dict[int, bytes | int | None]:
        """Return what a DG says of a basket: NoOrders(73), as in a NewOrderList(E), all of it or nothing."""
        entries, nothing = listed_orders(message), dict.fromkeys((11, 38, 40, 41, 44, 54, 55))
        if not fault and message.get(2323) not in (None, ALL_OR_NONE):
            fault = "a basket passes as a whole or not at all: RiskLimitCheckRequestType(2323) is 0"
        if not fault and not 0 < len(entries) <= MAX_LIST_ORDERS:
            fault = f"{len(entries)} orders: a basket has 1 to {MAX_LIST_ORDERS}"
        if fault:
            return {**nothing, **_refusal(Reject(_UNSUPPORTED, _CHECK, fault))}
        orders: list[Order] = []
        for place, entry in enumerate(entries):
            order = self._order(session, entry, now_ns, account_named(message) or "")
            if isinstance(order, Reject):
                return {**nothing, **_refused_of(entries, place, order)}
            orders.append(order)
        account = self._pipeline.account(session, orders[0].account)
        answer = rehearse_basket(orders, account, self._pipeline.market)
        if isinstance(answer, tuple):
            return {**nothing, **_refused_of(entries, *answer)}
        assert account is not None
        figures = self._figures(answer, account, now_ns)
        worth = sum(self._worth(order) for order in orders)
        return {**nothing, **figures, 1: account.name.encode(), 2325: APPROVED, 2326: SUCCESSFUL, 2327: usd(worth)}

    def _worth(self, order: Order) -> float:
        """Return an order's value in USD at its price."""
        instrument = order.instrument
        assert instrument is not None
        mark = self._pipeline.market.marks[instrument.index]
        index_price = 0.0 if mark is None else mark.index_price
        return instrument.notional(order.lots, order.ticks * instrument.tick, index_price)

    def _order(self, session: str, message: Message, now_ns: int, otherwise: str = "") -> Order | Reject:
        """Return the order that is asked about, made as that of a NewOrderSingle(D) is, or why there is none.

        `otherwise` is the account of one that names none.
        """
        pipeline = self._pipeline
        gate = pipeline.gates.get(session)
        if gate is not None and gate.killed is not None:
            return Reject(RejectReason.KILLED, "kill", f"session {session} is killed: {gate.killed.reason}")
        name = account_named(message)
        if name is None:
            text = "an account is named by Account(1) or by one party with PartyRole(452) 24"
            return Reject(RejectReason.UNKNOWN_ACCOUNT, "account_is_trading", text)
        fields = OrderFields(message)
        fields.account = name or otherwise
        instrument = pipeline.ledger.by_symbol.get(fields.symbol)
        values = list(fields.values)
        if values[_ORD_TYPE] is None:
            values[_ORD_TYPE] = MARKET if values[_PRICE] is None else LIMIT
        if values[_QUANTITY] is None and instrument is not None:
            values[_QUANTITY] = self._quantity(instrument, message.get(2324), values[_PRICE])
        fields.values = tuple(values)
        replaced = self._replaced(session, fields)
        if isinstance(replaced, Reject):
            return replaced
        return new_order(fields, instrument, pipeline.market, now_ns, replaced)

    def _replaced(self, session: str, fields: OrderFields) -> WorkingOrder | Reject | None:
        """Return the order that OrigClOrdID(41) names; None where it names none, a Reject where it can not be."""
        if not fields.orig_cl_ord_id:
            return None
        order = self._pipeline.find(session, fields)
        text = ""
        if order is None or not order.is_working:
            text = f"OrigClOrdID(41) {fields.orig_cl_ord_id[:MAX_ID_BYTES]} names no working order"
        elif order.is_cancel_pending or order.replace is not None or not order.venue_order_id:
            text = "the order waits for the venue's answer"
        elif fields.symbol != order.instrument.symbol or fields.side != str(int(order.side)):
            text = "Symbol(55) and Side(54) of an order can not be replaced"
        elif fields.account not in ("", order.account):
            text = "the order is of another account"
        if text or order is None:
            return Reject(_UNSUPPORTED, _CHECK, text)
        fields.account = order.account
        return order

    def _quantity(self, instrument: Instrument, amount: bytes | None, price: bytes | None) -> bytes | None:
        """Return the least quantity that is worth an amount of USD, at the price asked for or else at the mark."""
        mark, wanted, limit = self._pipeline.market.marks[instrument.index], _float(amount), _float(price)
        if mark is None:
            return None
        lot = instrument.notional(1, mark.price if price is None else limit, mark.index_price)
        if not (lot > 0.0 and 0.0 < wanted <= lot * MAX_LOTS):
            return None
        return quantity_text(instrument, -int(-wanted / lot // 1))

    def _largest(self, order: Order, account: Account, refusal: Reject) -> tuple[Order, Passed | Reject]:
        """Return the largest part of an order that would pass, or the refusal of the whole where none would."""
        market, best, answer = self._pipeline.market, order, refusal
        passes, fails = 0, order.lots
        found: Passed | Reject = answer
        while fails - passes > 1:
            part = msgspec.structs.replace(order, lots=(passes + fails) // 2)
            tried = rehearse(part, account, market)
            if isinstance(tried, Reject):
                fails = part.lots
            else:
                passes, best, found = part.lots, part, tried
        return best, found

    def _figures(self, passed: Passed, account: Account, now_ns: int) -> dict[int, bytes | int | None]:
        """Return what an account would have and need, in what it is told in."""
        quote = quote_of(account.currency, self._pipeline.market, now_ns)
        return {
            15: quote.currency.encode(),
            20003: has(quote, passed.equity),
            20004: has(quote, passed.excess),
            20005: needs(quote, passed.initial_margin),
            1328: quote.terms.encode("ascii", "replace") or None,
        }

    def _approval(self, order: Order, passed: Passed, account: Account, now_ns: int) -> dict[int, bytes | int | None]:
        instrument = order.instrument
        assert instrument is not None
        filled_lots = 0 if order.replaces is None else order.replaces.cum_lots
        return {
            2326: SUCCESSFUL,
            2327: usd(self._worth(order)),
            38: quantity_text(instrument, order.lots + filled_lots),
            44: price_text(instrument, order.ticks),
            **self._figures(passed, account, now_ns),
        }


def _form_fault(
    trans_type: bytes | None, check_type: bytes | None, request_type: bytes | None, request_id: bytes | None
) -> str:
    if trans_type != NEW:
        return "RiskLimitCheckTransType(2320) is 0 new: nothing is held that could be cancelled or replaced"
    if check_type != SUBMIT:
        return "RiskLimitCheckType(2321) is 0 submit: what is consumed is known from the orders themselves"
    if request_type not in (None, ALL_OR_NONE, PARTIAL):
        return "RiskLimitCheckRequestType(2323) is 0 all or none or 1 partial"
    if len(request_id or b"") > MAX_ID_BYTES:
        return f"RiskLimitCheckRequestID(2318) longer than {MAX_ID_BYTES} bytes"
    return ""


def _refusal(reject: Reject) -> dict[int, bytes | int | None]:
    limit, observed, required = (
        None if n is None else number(n) for n in (reject.limit, reject.observed, reject.required)
    )
    numbers = ((", limit ", limit), (", observed ", observed), (", required ", required))
    told = "".join(f"{word}{value.decode()}" for word, value in numbers if value is not None)
    text = f"{reject.reason.name} {reject.check}: {reject.text}{told}"
    return {
        2325: REJECTED,
        2326: RESULTS.get(reject.reason, OTHER),
        1328: text.encode("ascii", "replace"),
        20001: int(reject.reason),
        20002: reject.check.encode(),
        20003: limit,
        20004: observed,
        20005: required,
        20007: None if reject.mark_age_ns is None else reject.mark_age_ns // 1_000_000,
    }


def _refused_of(entries: Sequence[Message], place: int, reject: Reject) -> dict[int, bytes | int | None]:
    """Return the refusal of a basket for one of its orders, which it names."""
    entry = entries[place]
    named = msgspec.structs.replace(reject, text=f"order {place + 1} of {len(entries)}: {reject.text}")
    told = {tag: entry.get(tag) for tag in (11, 38, 40, 44, 54, 55)}
    return {**told, **_refusal(named)}


def _float(text: bytes | None) -> float:
    """Return a decimal as a float, zero where there is none."""
    decimal = None if text is None else parse_decimal(text)
    return 0.0 if decimal is None else decimal[0] * 10.0 ** decimal[1]
