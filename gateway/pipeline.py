"""THE HOT PATH: an order's life on one page.

From a decoded message to the queued frame there is no await, so nothing can run between the check and the hold. Every
decision is journalled before it is applied, and applied before anything leaves. The caller flushes once a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from gateway import records
from gateway.clearing import drop_copy
from gateway.clients.volatile import INQUIRY_TYPES, Volatile
from gateway.compiled import ordinary_order
from gateway.hot_path import commit_of, order_steps
from gateway.journal import Journal, JournalError
from gateway.ledger import HANDLERS as APPLIES
from gateway.ledger import Ledger
from gateway.messages import margin_calls as margin_messages
from gateway.messages import mass_requests, multileg, order_lists, party_actions, trade_capture
from gateway.monitor import TIMED_ORDERS_MAX, Monitor
from gateway.records.guards import AdjustmentRefused
from gateway.reports import HANDLERS as REPORTS
from gateway.reports import Reports
from gateway.router import Router
from gateway.translate import MAX_ID_BYTES, REFUSED_TAGS, OrderFields, approved, new_order, refused
from gateway.venues.books import VenueBooks
from protocols.fix.codec import Message
from risk.account import Account
from risk.exposure import WorkingOrder
from risk.marks import Market
from risk.order import Approved, Order, Reject
from risk.pre_trade import evaluate
from risk.self_trade import SelfTradePrevention

if TYPE_CHECKING:
    from gateway.clients.controls import Controls, Gate
    from gateway.intraday import Intraday
    from gateway.messages.inquiries import Inquiries

# CxlRejReason(102) and BusinessRejectReason(380), FIX 4.4.
TOO_LATE_TO_CANCEL, UNKNOWN_ORDER, BROKER_OPTION, ALREADY_PENDING, DUPLICATE_CL_ORD_ID = 0, 1, 2, 3, 6
POSS_RESEND: Final = 97
UNSUPPORTED_MESSAGE_TYPE, APPLICATION_NOT_AVAILABLE = 3, 4

# What a full journal refuses, questions too; all else (cancels, fills, numbers) may use its reserve.
NEW_RISK: Final = frozenset(
    {
        records.OrderApproved,
        records.OrderApprovedWithTerms,
        records.OrderRefused,
        records.ReplaceRequested,
        records.StatusAsked,
        records.MassStatusAsked,
        records.TradesAsked,
        records.ListReceived,
        records.ListOrderRefused,
        records.ListRefused,
        records.ListStatusAsked,
        records.VolatileSent,
        records.NewsPublished,
        records.HoldApproved,
        records.HoldRefused,
        AdjustmentRefused,
        records.ParametersProposed,
        records.MarginCallAnswered,
        records.CollateralRefused,
    }
)
# record type -> its tag in the journal, and whether it may use the reserve
_KINDS: Final = {record_type: (tag, record_type not in NEW_RISK) for record_type, tag in records.TAGS.items()}

_CANCEL_RESTING: Final = SelfTradePrevention.CANCEL_RESTING
_NO_ACCOUNTS: Final[Mapping[str, Account]] = {}


class Pipeline:
    """Decides on clients' messages and sends what passes. `accounts_of` says which accounts a session may use."""

    controls: Controls  # set by who builds both: each needs the other

    __slots__ = (
        "__dict__",
        "_unwritten",
        "accounts_of",
        "gates",
        "inquiries",
        "journal",
        "ledger",
        "market",
        "monitor",
        "of_old_numbers",
        "reports",
        "router",
        "volatile",
    )

    def __init__(
        self,
        *,
        ledger: Ledger,
        reports: Reports,
        market: Market,
        journal: Journal,
        router: Router,
        monitor: Monitor,
        accounts_of: Mapping[str, Mapping[str, Account]],
    ) -> None:
        self.ledger = ledger
        self.reports = reports
        self.market = market
        self.journal = journal
        self.router = router
        self.monitor = monitor
        self.accounts_of = accounts_of
        # Sessions whose numbers moved while the journal could not be written; made good before the next record.
        self._unwritten: set[str] = set()
        # Sessions whose messages must pass something first; and what waited when their numbers began again.
        self.gates: dict[str, Gate] = {}
        self.of_old_numbers: dict[str, list[bytes]] = {}
        # Answers that are not kept: market data, reference data, statuses.
        self.volatile = Volatile(self)
        self.inquiries: Inquiries | None = None
        self.intraday: Intraday | None = None
        # Accounts whose margin has changed since the intraday watch looked at it.
        self.touched_accounts: dict[str, None] = {}
        self.venue_books = VenueBooks()  # positions and wallets as venues tell them

    def commit(self, record: records.Record, now_ns: int) -> None:
        """Journal, apply, report, in that order: what is not written did not happen.

        Raises
        ------
        JournalError
            If it can not be written; nothing was applied then.
        """
        tag, is_essential = _KINDS[type(record)]
        if self._unwritten:
            self._write_numbers(is_essential, now_ns)
        sequence = self.journal.append(tag, records.encode(record), now_ns, is_essential)
        self.ledger.apply(record, now_ns)
        self.reports.report(record, sequence, now_ns)

    def session_moved(self, session: str, next_in: int, next_out: int, now_ns: int) -> None:
        """Journal the numbers of a session after administrative traffic."""
        try:
            self.commit(records.SessionMoved(session, next_in, next_out), now_ns)
        except JournalError as error:
            self.monitor.journal_failed(str(error))
            self._unwritten.add(session)
        if waiting := self.of_old_numbers.pop(session, None):
            self.controls.numbers_reset(session, waiting, now_ns)

    def _write_numbers(self, is_essential: bool, now_ns: int) -> None:
        """Make good what could not be written; orders that are refused may not use up the reserve with it."""
        for session in sorted(self._unwritten):
            state = self.reports.sessions[session]
            moved = records.SessionMoved(session, state.next_in, state.next_out)
            self.journal.append(records.TAGS[records.SessionMoved], records.encode(moved), now_ns, is_essential)
            self._unwritten.discard(session)

    def receive(self, session: str, message: Message, now_ns: int) -> None:
        """Take one application message of a session, in sequence and valid by the dictionary."""
        gate = self.gates.get(session)
        if gate is not None:
            try:
                if not gate.admits(message, now_ns):
                    return
            except JournalError as error:
                self.refuse_unwritten(session, message, str(error), now_ns)
                return
        self.act(session, message, now_ns)

    def act(self, session: str, message: Message, now_ns: int) -> None:
        """Act on one application message, now that nothing keeps it."""
        handler = _HANDLERS.get(message.msg_type)
        try:
            if handler is not None:
                handler(self, session, message, now_ns)
            else:
                self._refuse_message(session, message, UNSUPPORTED_MESSAGE_TYPE, "Unsupported Message Type", now_ns)
        except JournalError as error:
            self.refuse_unwritten(session, message, str(error), now_ns)

    def refuse_unwritten(self, session: str, message: Message, why: str, now_ns: int) -> None:
        """Tell the client that nothing was done, although that can not be journalled either."""
        text, ref_id = "journal unavailable: no new risk", (message.get(11) or b"").decode("latin-1")
        refusal = records.MessageRefused(
            session, message.msg_seq_num, message.msg_type, APPLICATION_NOT_AVAILABLE, ref_id, text
        )
        self.answer_unwritten(session, refusal, why, now_ns)

    def answer_unwritten(self, session: str, record: records.Record, why: str, now_ns: int) -> None:
        """Send a session the report that a record would owe, which could not be written."""
        self.monitor.journal_failed(why)
        self._unwritten.add(session)
        self.reports.report(record, 0, now_ns)

    def _new_order(self, session: str, message: Message, now_ns: int) -> None:
        ledger, monitor = self.ledger, self.monitor
        monitor.orders_in += 1
        order: Order | Reject | None = ordinary_order(message, ledger.by_symbol, self.market.day_ends_s, now_ns)
        fields = None
        if order is None:
            fields = OrderFields(message)
            order = new_order(fields, ledger.by_symbol.get(fields.symbol), self.market, now_ns)
        if type(order) is Reject:
            decision: Approved | Reject = order
        else:
            decision = evaluate(order, self.account(session, order.account), self.market)
        if type(decision) is Reject:
            if fields is not None and self.answers_resend(session, message, now_ns):
                return
            self.commit(refused(session, message.msg_seq_num, message, decision), now_ns)
            monitor.order_refused(decision, now_ns)
            return
        self.place(session, message.msg_seq_num, decision, now_ns)

    def place(self, session: str, seq_in: int, decision: Approved, now_ns: int) -> None:
        """Journal, hold and send an approved order; `seq_in` is 0 where a record of its own counts the message."""
        order_id = self.ledger.next_order_id()
        self.commit(approved(session, seq_in, order_id, decision), now_ns)
        self.monitor.order_accepted(order_id, decision.checks_run, now_ns)
        if decision.account.self_trade_prevention is _CANCEL_RESTING:
            self._cancel_resting(decision, now_ns)
        failure = self.router.send(decision, order_id, now_ns)
        if failure is not None:
            self._end_unsent(order_id, failure, now_ns)

    def _cancel_resting(self, approved: Approved, now_ns: int) -> None:
        """Cancel what an approved order would meet of its own client, ahead of it on the same connection."""
        order, client_orders = approved.order, approved.account.exposure.client_orders
        if client_orders is not None and not order.will_rest:
            met = list(client_orders.met_by(order.side, approved.instrument.index, order.ticks))
            for resting in met:
                if not resting.is_cancel_pending:
                    self.cancel_unasked(resting, "", now_ns)
            if met:
                self.controls.watch.watch([o.order_id for o in met], "self-trade prevention", now_ns)

    def _end_unsent(self, order_id: str, why: str, now_ns: int) -> None:
        """End an approved order that the venue's session did not take."""
        self.monitor.order_answered(order_id)
        self.monitor.venue_rejects += 1
        try:
            self.commit(records.VenueRejected(order_id, 0, why), now_ns)
        except JournalError as error:
            # It is approved in the journal and stays held; the venue is asked about it when it is connected again.
            self.monitor.journal_failed(str(error))

    def _cancel(self, session: str, message: Message, now_ns: int) -> None:
        self.monitor.cancels_in += 1
        fields = OrderFields(message)
        order = self.find(session, fields)
        refusal = self._why_not(order, fields, now_ns)
        if order is None or refusal is not None:
            self._refuse_cancel(session, message, fields, order, refusal or (UNKNOWN_ORDER, "unknown order"), now_ns)
            return
        try:
            self.commit(records.CancelRequested(session, message.msg_seq_num, order.order_id, fields.cl_ord_id), now_ns)
        finally:
            self.router.cancel(order, now_ns)  # it only takes risk away: it goes even where the journal does not

    def _replace(self, session: str, message: Message, now_ns: int) -> None:
        self.monitor.replaces_in += 1
        fields = OrderFields(message)
        order = self.find(session, fields)
        refusal = self._why_not(order, fields, now_ns)
        if refusal is None and order is not None and order.replace is not None:
            refusal = (ALREADY_PENDING, "a replace of this order is on its way")
        if refusal is None and order is not None:
            refusal, decision = self._evaluate_replace(fields, order, now_ns)
        if order is None or refusal is not None:
            self._refuse_cancel(session, message, fields, order, refusal or (UNKNOWN_ORDER, "unknown order"), now_ns)
            return
        assert decision is not None
        lots, terms = decision.order.lots + order.cum_lots, decision.order.terms or order.terms
        self.commit(
            records.ReplaceRequested(
                session, message.msg_seq_num, order.order_id, fields.cl_ord_id, lots, decision.order.ticks,
                decision.checks_run, 0 if terms is None else terms.stop_ticks, 0 if terms is None else terms.expire_ns,
            ),
            now_ns,
        )  # fmt: skip
        self.monitor.replaces_accepted += 1
        self.monitor.replace_checks_run += decision.checks_run
        if decision.account.self_trade_prevention is _CANCEL_RESTING:
            self._cancel_resting(decision, now_ns)
        failure = self.router.replace(order, now_ns)
        if failure is not None:
            self.refuse_replace(order, failure, now_ns)

    def _evaluate_replace(
        self, fields: OrderFields, order: WorkingOrder, now_ns: int
    ) -> tuple[tuple[int, str] | None, Approved | None]:
        if not order.venue_order_id:
            return (ALREADY_PENDING, "the venue has not acknowledged the order yet"), None
        if fields.symbol != order.instrument.symbol or fields.side != str(int(order.side)):
            return (BROKER_OPTION, "Symbol(55) and Side(54) of an order can not be replaced"), None
        account = self.ledger.accounts[order.account]
        request = new_order(fields, order.instrument, self.market, now_ns, replaces=order)
        if isinstance(request, Reject):
            return (BROKER_OPTION, f"{request.reason.name} {request.text}"), None
        # The order's own hold must not count against its replacement: the check holds the worse of both shapes.
        account.exposure.release(order)
        try:
            decision = evaluate(request, account, self.market)
        finally:
            account.exposure.hold(order)
        if isinstance(decision, Reject):
            return (BROKER_OPTION, f"{decision.reason.name} {decision.text}"), None
        return None, decision

    def refuse_replace(self, order: WorkingOrder, text: str, now_ns: int) -> None:
        """Take back a pending replace: the old shape stands, and the client is told."""
        assert order.replace is not None
        self.commit(
            records.CancelRefused(
                order.replace.session,
                0,
                order.order_id,
                order.replace.cl_ord_id,
                order.cl_ord_id,
                True,
                BROKER_OPTION,
                text,
            ),
            now_ns,
        )

    def _status(self, session: str, message: Message, now_ns: int) -> None:
        fields = OrderFields(message)
        order = self._by_cl_ord_id(session, fields.cl_ord_id)
        order_id = "" if order is None else order.order_id
        self.commit(
            records.StatusAsked(
                session, message.msg_seq_num, order_id, fields.cl_ord_id, fields.symbol, fields.side
            ),
            now_ns,
        )  # fmt: skip

    def count_message(self, session: str, message: Message, now_ns: int) -> None:
        """Count a message of a session that nothing follows from."""
        state = self.reports.sessions[session]
        self.session_moved(session, state.next_in, state.next_out, now_ns)

    def cancel_all(self, session: str, now_ns: int) -> int:
        """Cancel every working order of a session (its client is gone); return how many."""
        orders = [o for o in self.ledger.working_orders() if o.session == session and not o.is_cancel_pending]
        for order in orders:
            self.cancel_unasked(order, session, now_ns)
        return len(orders)

    def cancel_unasked(self, order: WorkingOrder, session: str, now_ns: int) -> None:
        """Cancel an order that no message of its client names; it goes even where the journal does not."""
        try:
            self.commit(records.CancelRequested(session, 0, order.order_id, ""), now_ns)
        except JournalError as error:
            self.monitor.journal_failed(str(error))
        self.router.cancel(order, now_ns)

    def answers_resend(self, session: str, message: Message, now_ns: int) -> bool:
        """Answer a PossResend(97) that was seen under another number: with how its order stands, never with a reject.

        A reject under the ClOrdID(11) of an order that works would tell the client that it does not.
        """
        if message.get(POSS_RESEND) != b"Y":
            return False
        cl_ord_id = (message.get(11) or b"").decode("latin-1")
        if (order := self._by_cl_ord_id(session, cl_ord_id)) is None:
            return False
        side = str(int(order.side))
        record = records.StatusAsked(
            session, message.msg_seq_num, order.order_id, cl_ord_id, order.instrument.symbol, side
        )
        self.commit(record, now_ns)
        return True

    def _inquire(self, session: str, message: Message, now_ns: int) -> None:
        assert self.inquiries is not None
        self.inquiries.receive(session, message, now_ns)

    def account(self, session: str, name: str) -> Account | None:
        """Return the account that a session means by a name; None where it may use none of that name."""
        accounts = self.accounts_of.get(session, _NO_ACCOUNTS)
        if not name and len(accounts) == 1:
            return next(iter(accounts.values()))  # Account(1) is optional where there is no choice
        return accounts.get(name)

    def _by_cl_ord_id(self, session: str, cl_ord_id: str) -> WorkingOrder | None:
        accounts = self.accounts_of.get(session, {})
        for account in accounts.values():  # they share one memory of ClOrdIDs: the first answers for all
            order_id = account.cl_ord_ids.order_id(cl_ord_id)
            order = None if order_id is None else self.ledger.orders.get(order_id)
            return order if order is not None and order.account in accounts else None
        return None

    def find(self, session: str, fields: OrderFields) -> WorkingOrder | None:
        """Return the order that OrigClOrdID(41) names, where the session may see it."""
        return self._by_cl_ord_id(session, fields.orig_cl_ord_id)

    def _why_not(self, order: WorkingOrder | None, fields: OrderFields, now_ns: int) -> tuple[int, str] | None:
        """Why an order can not be cancelled or replaced now, as (CxlRejReason, text); None where it can."""
        if order is None:
            return UNKNOWN_ORDER, f"OrigClOrdID(41) {fields.orig_cl_ord_id} is not known"
        if not order.is_working:
            return TOO_LATE_TO_CANCEL, f"the order is {order.status.name}"
        if order.is_cancel_pending:
            return ALREADY_PENDING, "a cancel of this order is on its way"
        if len(fields.cl_ord_id) > MAX_ID_BYTES:
            return BROKER_OPTION, f"ClOrdID(11) longer than {MAX_ID_BYTES} bytes"
        if self.ledger.accounts[order.account].cl_ord_ids.was_used(fields.cl_ord_id, now_ns):
            return DUPLICATE_CL_ORD_ID, f"ClOrdID(11) {fields.cl_ord_id} was used already"
        return None

    def _refuse_cancel(
        self,
        session: str,
        message: Message,
        fields: OrderFields,
        order: WorkingOrder | None,
        refusal: tuple[int, str],
        now_ns: int,
    ) -> None:
        if self.answers_resend(session, message, now_ns):
            return
        is_replace = message.msg_type == "G"
        if is_replace:
            self.monitor.replaces_refused += 1
        else:
            self.monitor.cancels_refused += 1
        self.commit(
            records.CancelRefused(
                session,
                message.msg_seq_num,
                "" if order is None else order.order_id,
                fields.cl_ord_id,
                fields.orig_cl_ord_id,
                is_replace,
                refusal[0],
                refusal[1],
            ),
            now_ns,
        )

    def _refuse_message(self, session: str, message: Message, reason: int, text: str, now_ns: int) -> None:
        ref_id = (message.get(11) or b"").decode("latin-1")
        self.commit(
            records.MessageRefused(session, message.msg_seq_num, message.msg_type, reason, ref_id, text), now_ns
        )


_HANDLERS: Final[dict[str, Callable[[Pipeline, str, Message, int], None]]] = {
    "D": Pipeline._new_order,
    "F": Pipeline._cancel,
    "G": Pipeline._replace,
    "H": Pipeline._status,
    **dict.fromkeys(INQUIRY_TYPES, Pipeline._inquire),
    **mass_requests.HANDLERS,
    **order_lists.HANDLERS,
    **trade_capture.HANDLERS,
    **drop_copy.HANDLERS,
    **multileg.HANDLERS,
    **party_actions.HANDLERS,
    **margin_messages.HANDLERS,
}
Pipeline.commit = commit_of(Pipeline, _KINDS, APPLIES, REPORTS)  # type: ignore[method-assign]
Pipeline.receive, Pipeline.place = order_steps(  # type: ignore[method-assign]
    Pipeline, Monitor, evaluate, REFUSED_TAGS, TIMED_ORDERS_MAX
)
