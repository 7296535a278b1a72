"""THE HOT PATH: an order's life on one page.

From a decoded message to the queued frame there is no await, so nothing can run between the check and the hold. Every
decision is journalled before it is applied, and applied before anything leaves. The caller flushes once a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from gateway import drop_copy, mass_requests, multileg, order_lists, records, trade_capture
from gateway.journal import Journal, JournalError
from gateway.ledger import Ledger
from gateway.monitor import Monitor
from gateway.reports import Reports
from gateway.router import Router
from gateway.translate import MAX_ID_BYTES, OrderFields, approved, new_order, refused
from protocols.fix.codec import Message
from risk.account import Account
from risk.exposure import WorkingOrder
from risk.marks import Market
from risk.order import Approved, Reject
from risk.pre_trade import evaluate

# CxlRejReason(102) and BusinessRejectReason(380), FIX 4.4.
TOO_LATE_TO_CANCEL, UNKNOWN_ORDER, BROKER_OPTION, ALREADY_PENDING, DUPLICATE_CL_ORD_ID = 0, 1, 2, 3, 6
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
    }
)

_NO_ACCOUNTS: Final[Mapping[str, Account]] = {}


class Pipeline:
    """Decides on clients' messages and sends what passes. `accounts_of` says which accounts a session may use."""

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

    def commit(self, record: records.Record, now_ns: int) -> None:
        """Journal, apply, report, in that order: what is not written did not happen.

        Raises
        ------
        JournalError
            If it can not be written; nothing was applied then.
        """
        record_type = type(record)
        is_essential = record_type not in NEW_RISK
        if self._unwritten:
            self._write_numbers(is_essential, now_ns)
        sequence = self.journal.append(records.TAGS[record_type], records.encode(record), now_ns, is_essential)
        self.ledger.apply(record, now_ns)
        self.reports.report(record, sequence, now_ns)

    def session_moved(self, session: str, next_in: int, next_out: int, now_ns: int) -> None:
        """Journal the numbers of a session after administrative traffic."""
        try:
            self.commit(records.SessionMoved(session, next_in, next_out), now_ns)
        except JournalError as error:
            self.monitor.journal_failed(str(error))
            self._unwritten.add(session)

    def _write_numbers(self, is_essential: bool, now_ns: int) -> None:
        """Make good what could not be written; orders that are refused may not use up the reserve with it."""
        for session in sorted(self._unwritten):
            state = self.reports.sessions[session]
            moved = records.SessionMoved(session, state.next_in, state.next_out)
            self.journal.append(records.TAGS[records.SessionMoved], records.encode(moved), now_ns, is_essential)
            self._unwritten.discard(session)

    def receive(self, session: str, message: Message, now_ns: int) -> None:
        """Act on one application message of a session, in sequence and valid by the dictionary."""
        handler = _HANDLERS.get(message.msg_type)
        try:
            if handler is not None:
                handler(self, session, message, now_ns)
            else:
                self._refuse_message(session, message, UNSUPPORTED_MESSAGE_TYPE, "Unsupported Message Type", now_ns)
        except JournalError as error:
            self._refuse_unwritten(session, message, str(error), now_ns)

    def _refuse_unwritten(self, session: str, message: Message, why: str, now_ns: int) -> None:
        """Tell the client that nothing was done, although that can not be journalled either."""
        self.monitor.journal_failed(why)
        text, ref_id = "journal unavailable: no new risk", (message.get(11) or b"").decode("latin-1")
        self._unwritten.add(session)
        self.reports.report(
            records.MessageRefused(
                session, message.msg_seq_num, message.msg_type, APPLICATION_NOT_AVAILABLE, ref_id, text
            ),
            0,
            now_ns,
        )

    def _new_order(self, session: str, message: Message, now_ns: int) -> None:
        ledger, monitor = self.ledger, self.monitor
        monitor.orders_in += 1
        fields = OrderFields(message)
        order = new_order(fields, ledger.by_symbol.get(fields.symbol), self.market, now_ns)
        account = self.account(session, fields.account)
        decision = order if type(order) is Reject else evaluate(order, account, self.market)
        if type(decision) is Reject:
            self.commit(refused(session, message.msg_seq_num, fields, decision), now_ns)
            monitor.order_refused(decision, now_ns)
            return
        order_id = ledger.next_order_id()
        self.commit(approved(session, message.msg_seq_num, order_id, decision), now_ns)
        monitor.order_accepted(order_id, decision.checks_run, now_ns)
        failure = self.router.send(decision, order_id, now_ns)
        if failure is not None:
            self.end_unsent(order_id, failure, now_ns)

    def end_unsent(self, order_id: str, why: str, now_ns: int) -> None:
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
        order = self._find(session, fields)
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
        order = self._find(session, fields)
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
            try:
                self.commit(records.CancelRequested(session, 0, order.order_id, ""), now_ns)
            except JournalError as error:
                self.monitor.journal_failed(str(error))
            self.router.cancel(order, now_ns)
        return len(orders)

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

    def _find(self, session: str, fields: OrderFields) -> WorkingOrder | None:
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
    **mass_requests.HANDLERS,
    **order_lists.HANDLERS,
    **trade_capture.HANDLERS,
    **drop_copy.HANDLERS,
    **multileg.HANDLERS,
}
