"""The pre-trade hook, in process: systems that send their own orders ask here first.

`Hook` is one client of it, whatever way its requests come: a call from Python, a line of a Unix socket, a WebSocket's
message. Each request is answered at once; what was decided is in the journal before it is applied, and applied before
the answer exists. Nothing here waits, and nothing is sent to a venue.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from itertools import islice
from typing import Any, Final

import msgspec

from gateway.clients.standing import HOOK
from gateway.clients.throttle import Window
from gateway.compiled import price_text, quantity_text
from gateway.hook import messages
from gateway.hook.fills import book_fill, trade_of
from gateway.hook.holds import Hold
from gateway.hook.messages import (
    AnyAnswer,
    Check,
    CheckBasket,
    Event,
    Fill,
    HoldOrder,
    Listed,
    Query,
    Release,
    Standing,
    Told,
)
from gateway.journal import JournalError
from gateway.order_terms import protection_ticks
from gateway.pipeline import Pipeline
from gateway.records import holds as told
from protocols.fix.codec import count_steps, parse_decimal
from risk.account import Account
from risk.hold import TABLE, HoldHappening, HoldState
from risk.instrument import Side, fee_units_from_decimal
from risk.order import Approved, Order, OrdType, Reject, RejectReason, TimeInForce
from risk.pre_trade import evaluate
from risk.rehearsal import Passed, rehearse, rehearse_basket
from risk.self_trade import SelfTradePrevention
from risk.telling import USD, quote_of

NS_PER_MS: Final = 1_000_000
# Holds that one answer lists; whoever has more asks for them by key.
HOLDS_LISTED: Final = 500

_SIDES: Final = {"buy": Side.BUY, "sell": Side.SELL}
_SIDE_NAMES: Final = {Side.BUY: "buy", Side.SELL: "sell"}
_ORD_TYPES: Final = {"limit": OrdType.LIMIT, "market": OrdType.MARKET}
_CANCEL_RESTING: Final = SelfTradePrevention.CANCEL_RESTING
_LIMIT, _DAY, _IOC = OrdType.LIMIT, TimeInForce.DAY, TimeInForce.IOC


class Hook:
    """One client of the hook: the accounts that it may use, and what may be asked. Times are ns since the epoch."""

    def __init__(
        self,
        name: str,
        pipeline: Pipeline,
        accounts: Mapping[str, Account],
        *,
        timeout_ms: int,
        max_timeout_ms: int,
        is_shared: bool = False,
        throttle: Window | None = None,
    ) -> None:
        """`is_shared`: its orders go through the venue account that we are connected to, labelled with the hold."""
        self.name = name
        self.accounts = accounts
        self.is_shared = is_shared
        self.listeners: set[Callable[[Event], None]] = set()
        self.checks = self.passed = self.held = self.refused = self.fills = self.releases = self.throttled = 0
        self._pipeline = pipeline
        self._ledger = pipeline.ledger
        self._only_account = next(iter(accounts.values())) if len(accounts) == 1 else None
        self._timeout_ms, self._max_timeout_ms = timeout_ms, max_timeout_ms
        self._throttle = throttle

    def act(self, request: messages.AnyRequest, now_ns: int) -> AnyAnswer:
        """Answer a request of a connection: questions and new holds are throttled, what tells of an end never is."""
        kind = type(request)
        if self._throttle is not None and kind not in (Fill, Release) and not self._throttle.take(now_ns):
            self.throttled += 1
            text = "more requests than this client may send"
            return _refused(request, Reject(RejectReason.THROTTLED, "throttle", text))
        return _HANDLERS[kind](self, request, now_ns)

    # -- before an order ---------------------------------------------------------------------------------------------

    def check(self, request: Check, now_ns: int) -> messages.Passed | messages.Refused:
        """Say whether an order would pass all checks now; nothing is held, counted or written."""
        self.checks += 1
        account = self._account(request.account)
        order = self._order(request, now_ns)
        outcome = self._killed() or rehearse(order, account, self._pipeline.market)
        if type(outcome) is Passed and account is not None:
            outcome = self._meets_own(order, account) or outcome
        if type(outcome) is Passed:
            self.passed += 1
            return self._passed(request, "check", outcome, account, now_ns)
        assert type(outcome) is Reject
        return messages.refused(request, "check", outcome)

    def check_basket(self, request: CheckBasket, now_ns: int) -> messages.Passed | messages.Refused:
        """Say whether all orders of a basket would pass, each with those before it working; nothing is kept."""
        self.checks += 1
        account, market = self._account(request.account), self._pipeline.market
        asked = [Check(**{**msgspec.structs.asdict(one), "account": request.account}) for one in request.orders]
        killed = self._killed()
        outcome: Passed | Reject
        if killed is not None:
            outcome = killed
        else:
            found = rehearse_basket([self._order(one, now_ns) for one in asked], account, market, self._meets_own)
            if isinstance(found, tuple):
                place, refusal = found
                text = f"order {place + 1} of {len(asked)}: {refusal.text}"
                outcome = msgspec.structs.replace(refusal, text=text)
            else:
                outcome = found
        if isinstance(outcome, Reject):
            return messages.refused(request, "check_basket", outcome)
        self.passed += 1
        return self._passed(request, "check_basket", outcome, account, now_ns)

    def hold(self, request: HoldOrder, now_ns: int) -> messages.Held | messages.Refused:
        """Check an order and hold its margin; a key that comes again is answered as it was, and holds nothing more."""
        order, account = self._order(request, now_ns), self._account(request.account)
        if account is not None and (known := self._held_before(order, account, now_ns)) is not None:
            return _held(request.id, known)
        if (before := self._ledger.holds.refusal(self.name, request.account, request.key, now_ns)) is not None:
            return messages.refused(request, "hold", _reject_of(before))
        timeout_ms = request.timeout_ms or self._timeout_ms
        if (malformed := self._why_malformed(request.key, timeout_ms)) is not None:
            return messages.refused(request, "hold", malformed)
        try:
            decision = self._killed() or self._decide(order, account)
            if type(decision) is Approved:
                hold_id = self._ledger.next_order_id()
                self._pipeline.commit(self._approved(decision, hold_id, now_ns + timeout_ms * NS_PER_MS), now_ns)
                self.held += 1
                return _held(request.id, self._ledger.holds.by_id[hold_id])
            assert type(decision) is Reject
            self._pipeline.commit(self._refusal(request, decision), now_ns)
        except JournalError as error:
            return self._unwritten(request, "hold", error)
        self.refused += 1
        if decision.reason is RejectReason.CHECK_ERROR:
            self._pipeline.monitor.alert(f"{decision.check}: {decision.text}")
        return messages.refused(request, "hold", decision)

    def _passed(
        self, request: Check | CheckBasket, op: str, passed: Passed, account: Account | None, now_ns: int
    ) -> messages.Passed:
        """Return an approval, its figures in what the account is told in: rounded against it, but for USD."""
        currency = USD if account is None else account.currency
        if currency == USD:
            return messages.Passed(request.id, True, op, passed.equity, passed.initial_margin)
        quote = quote_of(currency, self._pipeline.market, now_ns)
        return messages.Passed(
            request.id,
            True,
            op,
            quote.has_float(passed.equity),
            quote.needs_float(passed.initial_margin),
            quote.currency,
            quote.terms,
        )

    def _order(self, request: messages.Order, now_ns: int) -> Order:
        instrument, side = self._ledger.by_symbol.get(request.symbol), _SIDES[request.side]
        ord_type, lots, ticks = _ORD_TYPES[request.type], 0, 0
        if instrument is not None:
            lots = count_steps(request.quantity.encode(), instrument.lot_mantissa, instrument.lot_exponent)
            if ord_type is _LIMIT:
                ticks = count_steps(request.price.encode(), instrument.tick_mantissa, instrument.tick_exponent)
            else:
                ticks = protection_ticks(instrument, side, self._pipeline.market)
        return Order(
            request.key,
            request.account,
            request.symbol,
            instrument,
            side,
            lots,
            ticks,
            ord_type,
            _DAY if ord_type is _LIMIT else _IOC,
            False,
            request.reduce_only,
            now_ns,
        )

    def _account(self, name: str) -> Account | None:
        return self.accounts.get(name) if name else self._only_account

    def _decide(self, order: Order, account: Account | None) -> Approved | Reject:
        decision = evaluate(order, account, self._pipeline.market)
        if type(decision) is not Approved:
            return decision
        return self._meets_own(order, decision.account) or decision

    @staticmethod
    def _meets_own(order: Order, account: Account) -> Reject | None:
        """Refuse what the checks let pass because what it meets would be cancelled: here that is not ahead of it.

        Our cancel and the client's order go to the venue by different ways.
        """
        orders, instrument = account.exposure.client_orders, order.instrument
        if account.self_trade_prevention is not _CANCEL_RESTING or orders is None or instrument is None:
            return None
        met_ticks = orders.met_at(order.side, instrument.index, order.ticks)
        if met_ticks is None:
            return None
        text = "could trade with a working order of the same client, which is not cancelled for a hold"
        limit, observed = met_ticks * instrument.tick, order.ticks * instrument.tick
        return Reject(RejectReason.SELF_TRADE, "own_orders_are_not_met", text, limit, observed)

    def _killed(self) -> Reject | None:
        killed = self._ledger.standing.kills.get((HOOK, self.name))
        if killed is None:
            return None
        return Reject(RejectReason.KILLED, "kill", f"hook client {self.name} is killed: {killed.reason}")

    def _why_malformed(self, key: str, timeout_ms: int) -> Reject | None:
        if not key or not key.isascii() or not key.isprintable():
            text = f"key must be 1 to {messages.MAX_TEXT} printable ASCII characters"
            return Reject(RejectReason.REQUEST_NOT_UNDERSTOOD, "request", text)
        if timeout_ms > self._max_timeout_ms:
            text, limit = "timeout_ms above what this client may have", float(self._max_timeout_ms)
            return Reject(RejectReason.DEADLINE_NOT_ALLOWED, "request", text, limit, float(timeout_ms))
        return None

    def _held_before(self, order: Order, account: Account, now_ns: int) -> Hold | None:
        """Return the hold of a key of the last day, if it is ours and of the same order."""
        ids = account.cl_ord_ids
        if not ids.was_used(order.cl_ord_id, now_ns):
            return None
        hold = self._ledger.holds.by_id.get(ids.order_id(order.cl_ord_id) or "")
        if hold is None or hold.record.hook != self.name or hold.order.account != account.name:
            return None
        held = hold.order
        terms = (held.instrument.symbol, held.side, held.lots, held.ord_type, held.is_reduce_only)
        is_same = terms == (order.symbol, order.side, order.lots, order.ord_type, order.is_reduce_only)
        # A market order's price is that of the moment.
        return hold if is_same and (order.ord_type is not _LIMIT or held.ticks == order.ticks) else None

    def _approved(self, decision: Approved, hold_id: str, deadline_ns: int) -> told.HoldApproved:
        order = decision.order
        return told.HoldApproved(
            self.name,
            hold_id,
            order.cl_ord_id,
            decision.account.name,
            decision.instrument.index,
            order.side,
            order.lots,
            order.ticks,
            order.ord_type,
            order.is_reduce_only,
            deadline_ns,
            self.is_shared,
            decision.checks_run,
        )

    def _refusal(self, request: HoldOrder, reject: Reject) -> told.HoldRefused:
        asked = (request.key, request.account, request.symbol, request.side, request.type, request.quantity)
        return told.HoldRefused(
            self.name,
            *asked,
            request.price,
            request.reduce_only,
            reject.reason._value_,
            reject.check,
            reject.text,
            reject.limit,
            reject.observed,
            reject.required,
            reject.mark_age_ns,
        )

    # -- after it ----------------------------------------------------------------------------------------------------

    def fill(self, request: Fill, now_ns: int) -> Told | messages.Refused:
        """Book an execution, once for each id; what can not be booked is refused, and told to the operator."""
        hold = self._found(request, now_ns)
        rejected = self._why_not_booked(hold, request)
        if rejected is not None:
            name = request.hold or request.key
            text = f"hook {self.name}: fill {request.execution} of {name} not booked: {rejected.text}"
            self._pipeline.monitor.alert_now_and_then((self.name, "hold fill"), text, now_ns)
            return messages.refused(request, "fill", rejected)
        assert hold is not None
        instrument = hold.order.instrument
        lots = count_steps(request.quantity.encode(), instrument.lot_mantissa, instrument.lot_exponent)
        ticks = count_steps(request.price.encode(), instrument.tick_mantissa, instrument.tick_exponent)
        fee_units = fee_units_from_decimal(Decimal(request.fee))
        try:
            is_new = book_fill(self._pipeline, hold, request.execution, lots, ticks, fee_units, now_ns)
        except JournalError as error:
            return self._unwritten(request, "fill", error)
        self.fills += is_new
        return Told(request.id, True, "fill", is_new, standing_of(hold))

    def release(self, request: Release, now_ns: int) -> Told | messages.Refused:
        """Free what is left of a hold."""
        hold = self._found(request, now_ns)
        if hold is None:
            return messages.refused(request, "release", _NOT_KNOWN)
        if (hold.state, HoldHappening.RELEASED) not in TABLE:
            return messages.refused(request, "release", _ended(hold))
        is_new = hold.state is not HoldState.RELEASED
        try:
            if is_new:
                self._pipeline.commit(told.HoldReleased(hold.hold_id), now_ns)
        except JournalError as error:
            return self._unwritten(request, "release", error)
        self.releases += is_new
        return Told(request.id, True, "release", is_new, standing_of(hold))

    def query(self, request: Query, now_ns: int) -> Told | Listed | messages.Refused:
        """Say how a hold stands, or which there are."""
        if not request.hold and not request.key:
            live = self.live(request.account)
            found = list(islice(live, HOLDS_LISTED + 1))
            listed = [standing_of(hold) for hold in found[:HOLDS_LISTED]]
            return Listed(request.id, True, "query", len(found) <= HOLDS_LISTED, listed)
        hold = self._found(request, now_ns)
        if hold is None:
            return messages.refused(request, "query", _NOT_KNOWN)
        return Told(request.id, True, "query", False, standing_of(hold))

    def live(self, account: str = "") -> Iterator[Hold]:
        """Yield this client's holds for which margin is held, oldest first."""
        for hold in self._ledger.holds.live():
            if hold.record.hook == self.name and account in ("", hold.order.account):
                yield hold

    def tell(self, event: Event) -> None:
        """Tell whoever is connected for this client."""
        for listener in list(self.listeners):
            listener(event)

    def _found(self, request: Fill | Release | Query, now_ns: int) -> Hold | None:
        """Return the hold that a request names by its id or its key; None where this client has none such."""
        hold_id: str | None = request.hold
        if not hold_id:
            account = self._account(request.account)
            is_known = account is not None and request.key and account.cl_ord_ids.was_used(request.key, now_ns)
            hold_id = account.cl_ord_ids.order_id(request.key) if account is not None and is_known else None
        hold = self._ledger.holds.by_id.get(hold_id or "")
        if hold is None or hold.record.hook != self.name or hold.order.account not in self.accounts:
            return None
        return hold if not request.key or hold.order.cl_ord_id == request.key else None

    def _why_not_booked(self, hold: Hold | None, request: Fill) -> Reject | None:
        if hold is None:
            return _NOT_KNOWN
        instrument = hold.order.instrument
        lots = count_steps(request.quantity.encode(), instrument.lot_mantissa, instrument.lot_exponent)
        ticks = count_steps(request.price.encode(), instrument.tick_mantissa, instrument.tick_exponent)
        fee = parse_decimal(request.fee.encode())
        execution = request.execution
        if not lots or not ticks or fee is None:
            text = f"quantity or price is no whole number of {instrument.symbol}'s lots or ticks, or fee is no number"
            return Reject(RejectReason.FILL_NOT_WHOLE, "fill", text)
        if not execution or not execution.isascii() or not execution.isprintable():
            text = f"execution must be 1 to {messages.MAX_TEXT} printable ASCII characters"
            return Reject(RejectReason.REQUEST_NOT_UNDERSTOOD, "request", text)
        booked = hold.executions.get(execution)
        if booked is None:
            is_new = not self._ledger.knows_trade(*trade_of(hold, execution))
            booked = (lots, ticks) if is_new else None
        if booked != (lots, ticks):
            text = f"execution {execution} is booked with other values, or for another order"
            return Reject(RejectReason.EXECUTION_DIFFERS, "fill", text)
        return None

    def _unwritten(self, request: messages.Request, op: str, error: JournalError) -> messages.Refused:
        self._pipeline.monitor.journal_failed(str(error))
        text = "journal unavailable: nothing was done"
        return messages.refused(request, op, Reject(RejectReason.JOURNAL_UNAVAILABLE, "journal", text))


def standing_of(hold: Hold) -> Standing:
    """Return how a hold stands, as its client is told."""
    order, instrument = hold.order, hold.order.instrument
    return Standing(
        hold.hold_id,
        order.cl_ord_id,
        order.account,
        instrument.symbol,
        _SIDE_NAMES[order.side],
        quantity_text(instrument, order.lots).decode(),
        price_text(instrument, order.ticks).decode(),
        hold.state.value,
        quantity_text(instrument, order.cum_lots + order.adjusted_lots).decode(),
        quantity_text(instrument, order.leaves_lots).decode(),
        hold.record.deadline_ns,
    )


def _held(correlation: int | str | None, hold: Hold) -> messages.Held:
    """Return the answer to a hold: nothing in it ever changes, so that it can be given again."""
    order, instrument = hold.order, hold.order.instrument
    return messages.Held(
        correlation,
        True,
        "hold",
        hold.hold_id,
        order.cl_ord_id,
        order.account,
        instrument.symbol,
        _SIDE_NAMES[order.side],
        quantity_text(instrument, order.lots).decode(),
        price_text(instrument, order.ticks).decode(),
        hold.record.deadline_ns,
    )


def _reject_of(record: told.HoldRefused) -> Reject:
    numbers = (record.limit, record.observed, record.required, record.mark_age_ns)
    return Reject(RejectReason(record.reason), record.check, record.text, *numbers)


def _ended(hold: Hold) -> Reject:
    return Reject(RejectReason.HOLD_ENDED, "hold", f"hold {hold.hold_id} is {hold.state.value}")


def _refused(request: messages.AnyRequest, reject: Reject) -> messages.Refused:
    return messages.refused(request, _OPS[type(request)], reject)


def _hello_again(hook: Hook, request: messages.Hello, now_ns: int) -> messages.Refused:
    text = f"this connection is {hook.name}'s already"
    return messages.refused(request, "hello", Reject(RejectReason.REQUEST_NOT_UNDERSTOOD, "request", text))


_NOT_KNOWN: Final = Reject(RejectReason.HOLD_NOT_KNOWN, "hold", "this client has no hold of that id or key")
_HANDLERS: Final[dict[type, Callable[[Hook, Any, int], AnyAnswer]]] = {
    messages.Hello: _hello_again,
    Check: Hook.check,
    CheckBasket: Hook.check_basket,
    HoldOrder: Hook.hold,
    Fill: Hook.fill,
    Release: Hook.release,
    Query: Hook.query,
}
_OPS: Final = {
    messages.Hello: "hello", Check: "check", CheckBasket: "check_basket", HoldOrder: "hold", Fill: "fill",
    Release: "release", Query: "query",
}  # fmt: skip
