"""Transfers of collateral that the gateway makes itself: planned, approved where they are large, begun, sent, met.

    wanted -> (the optimiser, in a process of its own) -> planned -> approved by people -> begun -> sent -> settled

It is driven, and waits for nothing. Each step is a record of the journal before it is taken. A plan for what is not so
any more is thrown away; what stays short, and why, is in the record of the plan. See docs/transfers.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from gateway.config import Collateral
from gateway.journal import JournalError
from gateway.operators.kills import MAX_REASON, MAX_WHO, printable
from gateway.records.transfers import (
    HouseCalled,
    HouseCallMoved,
    PlannedMove,
    TransferApproved,
    TransferDropped,
    TransfersPlanned,
    Unmet,
)
from gateway.transfers.needs import Needs, Problem, counted, ways_of
from gateway.transfers.routes import Way
from gateway.transfers.sender import Channel, TransferSender
from protocols.venues.transfers import Outcome
from risk.collateral_ledger import Place, TransferError
from risk.house_calls import MAX_OPEN, HouseCallHappening, HouseCallState
from risk.instrument import UNITS_PER_WHOLE, units_from_decimal
from risk.transfer_orders import (
    MAX_LIVE_ORDERS,
    ONE_PERSON,
    ApprovalError,
    OrderState,
    TransferLimits,
    TransferOrder,
)
from risk.transfers import Move, Plan, verify

if TYPE_CHECKING:
    from gateway.intraday import Intraday
    from gateway.pipeline import Pipeline

NS_PER_MS: Final = 1_000_000
NS_PER_S: Final = 1_000_000_000
# After a journal that could not be written; and how often orders that wait are looked at.
RETRY_NS: Final = NS_PER_S
LOOK_NS: Final = 200 * NS_PER_MS
# Calls of clearing houses are looked at when something has moved, and so often besides: people move transfers, too.
CALLS_NS: Final = 5 * NS_PER_S
# The same problem, of which the last plan has solved nothing more, is given to the optimiser again after so long.
FRUITLESS_NS: Final = 30 * NS_PER_S
# How long an adjustment of positions waits for collateral that it has asked for.
WAITED_FOR_NS: Final = 60 * NS_PER_S
ROWS_SHOWN: Final = 1_000
OPTIMISER: Final = "optimiser"


class TransferDesk:
    """Without a configuration it does nothing, and everything stays as people and clients have it."""

    def __init__(self, pipeline: Pipeline, intraday: Intraday, config: Collateral | None, now_ns: int) -> None:
        self.config = config
        self.failures = self.stale = 0
        self._pipeline = pipeline
        self._ledger = pipeline.ledger
        self._margin = pipeline.ledger.margin
        self._intraday = intraday
        self._resting: dict[str, int] = {}
        self._is_planning = False
        self._plan_ns = self._look_ns = self._calls_ns = now_ns
        self._fruitless: tuple[object, int] = (None, 0)
        self._now_ns = now_ns
        self._waited: dict[str, int] = {}
        self.unmet: tuple[Unmet, ...] = ()
        if config is None:
            return
        self._ways = ways_of(config)
        self._needs = Needs(pipeline.ledger, intraday, config, self._ways)
        self._limits = TransferLimits(
            units_from_decimal(config.automatic_usd), units_from_decimal(config.automatic_hour_usd),
            units_from_decimal(config.two_person_usd),
        )  # fmt: skip
        self.sender = TransferSender(pipeline, intraday, config, self._failed)
        for transfer in self._margin.collateral.live():
            if transfer.terms.key in self._margin.orders.orders:
                self.sender.watch(transfer.terms.key, now_ns)

    @property
    def is_on(self) -> bool:
        """Whether it makes any transfers."""
        return self.config is not None

    def connect(self, channel: Channel) -> None:
        """A channel makes the transfers of the routes that name it."""
        if self.config is not None:
            self.sender.channels[channel.name] = channel

    def told(self, key: str, outcome: Outcome, now_ns: int) -> None:
        """A channel has an answer. Raises JournalError: then it was not heard, and will be asked for again."""
        if self.config is not None:
            self.sender.told(key, outcome, now_ns)
            self._look_ns = self._calls_ns = now_ns

    # -- plans -------------------------------------------------------------------------------------------------------

    def wanted(self, now_ns: int) -> Problem | None:
        """Return what the optimiser is to solve now; `planned` or `not_planned` must follow. None: nothing."""
        config = self.config
        self._now_ns = max(self._now_ns, now_ns)
        if config is None or self._is_planning or now_ns < self._plan_ns:
            return None
        self._needs.asked = {a: ask for a, ask in self._needs.asked.items() if ask[1] > now_ns}
        self._plan_ns = now_ns + config.plan_interval_ms * NS_PER_MS
        self._resting = {name: until_ns for name, until_ns in self._resting.items() if until_ns > now_ns}
        problem = self._needs.problem(now_ns, self._resting)
        if problem is None:
            self.unmet = ()
            return None
        shape, until_ns = self._fruitless
        if len(self._margin.orders.live()) >= MAX_LIVE_ORDERS or (shape == _shape(problem) and now_ns < until_ns):
            return None
        self._is_planning = True
        return problem

    def not_planned(self, text: str, now_ns: int) -> None:
        """The optimiser has no plan: nothing moves, and people are told."""
        self._is_planning = False
        self.failures += 1
        self._pipeline.monitor.alert_now_and_then(("transfers", "no plan"), f"no plan of transfers: {text}", now_ns)

    def planned(self, problem: Problem, plan: Plan, now_ns: int) -> bool:
        """Take a plan; False where it is for what is not so any more: it is thrown away, and another one made."""
        assert self.config is not None
        self._is_planning = False
        current = self._needs.problem(now_ns, self._resting)
        if current is None or not _still_holds(problem, current, plan):
            self.stale += 1
            self._plan_ns = now_ns
            return False
        call_of = {want.need.at: want.call_id for want in problem.wants}
        name_of = {(r.asset, r.source, r.target): name for r, name in zip(problem.routes, problem.names, strict=True)}
        price_of = {supply.asset: supply.price_units for supply in problem.supplies}
        moves = [
            (self._way(name_of[m.route.asset, m.route.source, m.route.target], m.route.source.account), m,
             price_of[m.route.asset], call_of[m.route.target])
            for m in plan.moves
        ]  # fmt: skip
        unmet = tuple(Unmet(s.at.place, s.at.name, s.at.account, s.units, s.reason) for s in plan.short)
        if not moves:
            self._fruitless = _shape(problem), now_ns + FRUITLESS_NS
        if moves or unmet != self.unmet:
            try:
                self._commit_plan(OPTIMISER, moves, plan.cost_units, unmet, now_ns)
            except JournalError as error:
                self._pipeline.monitor.journal_failed(str(error))
                return False
        if unmet and unmet != self.unmet:
            said = "; ".join(f"{one.account} at {one.place}{one.name and ' '}{one.name}: {one.reason}" for one in unmet)
            self._pipeline.monitor.alert_now_and_then(("transfers", "short"), f"stays short: {said[:200]}", now_ns)
        self.unmet = unmet
        self._look_ns = now_ns
        for want in problem.wants:  # what could be planned of what was asked for has been
            self._needs.asked.pop(want.need.at.account, None)
        return True

    # -- what adjustments ask for: gateway.transfer_seam -------------------------------------------------------------

    def movable_units(self, account: str) -> int:
        """Return what is on its way to an account, or else what may be brought without a person: 1e-8 USD."""
        if self.config is None:
            return 0
        now_ns = self._now_ns
        coming = self._coming_units(account)
        if coming or now_ns < self._waited.get(account, 0):
            return coming
        room = min(self._limits.automatic_units, self._limits.hour_units - self._margin.orders.used_units(now_ns))
        return min(room, self._needs.movable_units(account, WAITED_FOR_NS, self._resting, now_ns)) if room > 0 else 0

    def is_coming(self, account: str) -> bool:
        """Whether something is on its way to an account, or asked for."""
        return self.config is not None and self._coming_units(account) > 0

    def _coming_units(self, account: str) -> int:
        asked, until_ns = self._needs.asked.get(account, (0, 0))
        expected = self._needs.expected_in(account, waits_for_people=False)
        return max(asked if self._now_ns < until_ns else 0, expected)

    def ask_for(self, account: str, units: int, now_ns: int) -> bool:
        """Have so much (1e-8 USD) planned for an account; False while it is on its way, or where none can come."""
        self._now_ns = max(self._now_ns, now_ns)
        is_waited_for = now_ns < self._waited.get(account, 0)
        if self.config is None or units <= 0 or is_waited_for or not self.movable_units(account):
            return False
        self._waited[account] = until_ns = now_ns + WAITED_FOR_NS
        self._needs.asked[account] = units + self._needs.expected_in(account), until_ns
        self._plan_ns = now_ns
        return True

    def move(self, route: str, account: str, units: int, source: str, now_ns: int, call_id: str = "") -> str:
        """Want one transfer by a route, within the same limits; return its key.

        `source` says who wants it: an adjustment of positions, or a person, who does not count as an approval.

        Raises TransferError where it can not be, JournalError.
        """
        if self.config is None:
            raise TransferError("no transfers are made here")
        way = next((w for w in self._ways if (w.config.name, w.source.account) == (route, account)), None)
        if way is None:
            raise TransferError("no such route for this account")
        supply = self._needs.supply(way, now_ns)
        if supply is None:
            raise TransferError("the asset has no price now")
        planned = way.route(way.target)
        fee, price = planned.fee_units(units), supply.price_units
        made = Move(planned, units, fee, counted(way, units, price))
        fault = verify([supply], [made])
        if fault is not None:
            raise TransferError(fault)
        if len(self._margin.orders.live()) >= MAX_LIVE_ORDERS:
            raise TransferError("too many transfers are wanted already")
        record = self._commit_plan(source, [(way, made, price, call_id)], 0, (), now_ns)
        self._look_ns = now_ns
        return record.moves[0].key

    def _commit_plan(
        self, source: str, moves: list[tuple[Way, Move, int, str]], cost: int, unmet: tuple[Unmet, ...], now_ns: int
    ) -> TransfersPlanned:
        assert self.config is not None
        orders, run = self._margin.orders, self._ledger.run
        plan, used = f"{run}-P{orders.plans + 1}", orders.used_units(now_ns)
        rows = []
        for number, (way, move, price, call_id) in enumerate(moves, 1):
            account, target = way.source.account, way.target
            value = move.units * price // UNITS_PER_WHOLE
            approvals = self._limits.approvals(value, used)
            if ("account", account) in self._ledger.standing.kills:
                approvals = max(approvals, ONE_PERSON)
            used += 0 if approvals else value
            rows.append(
                PlannedMove(
                    f"{plan}.{number}",
                    way.config.name,
                    account,
                    move.route.asset,
                    move.units,
                    way.source.place,
                    way.source.name,
                    target.place,
                    target.name,
                    move.fee_units,
                    value,
                    move.value_units,
                    approvals,
                    now_ns + self.config.approval_timeout_s * NS_PER_S,
                    call_id,
                )
            )
        record = TransfersPlanned(plan, printable(source, MAX_WHO), cost, tuple(rows), unmet)
        self._pipeline.commit(record, now_ns)
        for row in rows:
            if row.approvals:
                who = "two people" if row.approvals > ONE_PERSON else "a person"
                self._pipeline.monitor.alert(f"transfer {row.key} awaits approval by {who}: margingate transfers")
        return record

    def _way(self, route: str, account: str) -> Way:
        return next(way for way in self._ways if (way.config.name, way.source.account) == (route, account))

    def _failed(self, route: str, now_ns: int) -> None:
        assert self.config is not None
        self._resting[route] = now_ns + self.config.retry_s * NS_PER_S
        self._plan_ns = now_ns

    # -- people ------------------------------------------------------------------------------------------------------

    def approve(self, key: str, who: str, reason: str, now_ns: int) -> TransferOrder:
        """A person approves of a transfer; raises ApprovalError where he can not, JournalError."""
        person, why = printable(who, MAX_WHO) if who.strip() else "", printable(reason, MAX_REASON)
        refusal = self._margin.orders.why_not_approve(key, person)
        if refusal is not None:
            raise ApprovalError(refusal)
        self._pipeline.commit(TransferApproved(key, person, why), now_ns)
        self._look_ns = now_ns
        return self._margin.orders.orders[key]

    def decline(self, key: str, who: str, reason: str, now_ns: int) -> None:
        """A person does not want a transfer that has not begun; raises ApprovalError, JournalError."""
        order = self._margin.orders.orders.get(key)
        if order is None or not order.is_live:
            raise ApprovalError("no such transfer order, or it has begun")
        self._drop(order, printable(reason, MAX_REASON), now_ns, printable(who, MAX_WHO))
        self._failed(order.route, now_ns)  # what a person has declined is not planned again at once

    # -- clearing houses ---------------------------------------------------------------------------------------------

    def house_called(
        self, counterparty: str, request_id: str, account: str, amount_units: int, deadline_ns: int, reason: int,
        now_ns: int,
    ) -> bool:  # fmt: skip
        """A clearing house calls; False where that is known. Raises TransferError for too many, JournalError."""
        calls = self._margin.house_calls
        if (counterparty, request_id) in calls.calls:
            return False
        if len(calls.wanted()) >= MAX_OPEN:
            raise TransferError("too many calls of clearing houses are open")
        record = HouseCalled(counterparty, request_id, account, amount_units, deadline_ns, reason)
        self._pipeline.commit(record, now_ns)
        amount = amount_units / UNITS_PER_WHOLE
        self._pipeline.monitor.alert(f"{counterparty} calls {amount:.2f} USD of {account}: {request_id}")
        self._plan_ns = self._look_ns = self._calls_ns = now_ns
        return True

    def _look_at_house_calls(self, now_ns: int) -> None:
        calls, may_lapse = list(self._margin.house_calls.calls.values()), self._intraday.may_expire(now_ns)
        late = [call for call in calls if call.state is HouseCallState.OPEN and now_ns > call.deadline_ns]
        is_late = bool(late) and may_lapse
        if not calls or (now_ns < self._calls_ns and not is_late):
            return
        self._calls_ns = now_ns + CALLS_NS
        there = self._needs.at_houses()
        for call in calls:
            paid, _ = there.get(call.request_id, (0, 0))
            told: HouseCallHappening | None = None
            if call.is_wanted and paid >= call.amount_units:
                told = HouseCallHappening.MET
            elif is_late and call in late:
                told = HouseCallHappening.LAPSED
            elif not call.is_wanted and paid < call.amount_units:
                told = HouseCallHappening.REVERSED
            if told is not None:
                why = f"{paid / UNITS_PER_WHOLE:.2f} of {call.amount_units / UNITS_PER_WHOLE:.2f} USD are there"
                self._pipeline.commit(HouseCallMoved(call.counterparty, call.request_id, told, why), now_ns)
                self._pipeline.monitor.alert(f"{call.counterparty}: call {call.request_id} {told.value}: {why}")

    # -- time --------------------------------------------------------------------------------------------------------

    @property
    def deadline_ns(self) -> int | None:
        """When `tick` has something to do."""
        if self.config is None:
            return None
        times = [] if (at_ns := self.sender.deadline_ns) is None else [max(at_ns, self._look_ns)]
        if self._margin.orders.has_live or self._margin.house_calls.wanted():
            times.append(self._look_ns)
        return min(times, default=None)

    def tick(self, now_ns: int) -> None:
        """Do what is due: orders that expire or can begin, transfers to be sent or asked about."""
        self._now_ns = max(self._now_ns, now_ns)
        if self.config is None or now_ns < self._look_ns:
            return
        self._look_ns = now_ns + LOOK_NS
        try:
            for order in self._margin.orders.live():
                self._look_at(order, now_ns)
            self.sender.tick(now_ns)
            self._look_at_house_calls(now_ns)
        except JournalError as error:
            self._look_ns = now_ns + RETRY_NS
            self._pipeline.monitor.journal_failed(str(error))

    def _look_at(self, order: TransferOrder, now_ns: int) -> None:
        if (why := self._why_drop(order, now_ns)) is not None:
            self._drop(order, why, now_ns)
        elif order.state is OrderState.READY:
            channel = self._channel_of(order)
            if channel is None or channel.why_not(now_ns) is not None:
                return  # it waits, until it expires
            try:
                self._intraday.begin_transfer(order.terms, now_ns, order.call_id)
            except TransferError as error:
                self._drop(order, str(error), now_ns)
            else:
                self.sender.watch(order.terms.key, now_ns)

    def _channel_of(self, order: TransferOrder) -> Channel | None:
        route = self.sender.route_of(order.terms.key)
        return None if route is None else self.sender.channels.get(route.channel)

    def _why_drop(self, order: TransferOrder, now_ns: int) -> str | None:
        if now_ns > order.expires_ns and self._intraday.may_expire(now_ns):
            waits = order.state is OrderState.AWAITING
            return "not approved in time" if waits else "its channel was not there in time"
        terms, call_id = order.terms, order.call_id
        if call_id and terms.target.place is Place.CLEARING_HOUSE:
            if not any(call.request_id == call_id for call in self._margin.house_calls.wanted()):
                return "the call is met"
        elif call_id and not self._margin.watch(terms.account).open_calls:
            return "nothing is called for any more"
        return self._margin.collateral.why_not(terms) if order.state is OrderState.READY else None

    def _drop(self, order: TransferOrder, why: str, now_ns: int, who: str = "") -> None:
        self._pipeline.commit(TransferDropped(order.terms.key, who, why), now_ns)
        by = f" by {who}" if who else ""
        self._pipeline.monitor.alert(f"transfer {order.terms.key} dropped{by}: {why}")

    # -- people look -------------------------------------------------------------------------------------------------

    def rows(self) -> list[dict[str, Any]]:
        """Return the orders that may still begin, and the transfers that have, for operators; oldest first."""
        shown = []
        collateral = self._margin.collateral
        live = {one.terms.key for one in collateral.live()}
        for key, order in self._margin.orders.orders.items():
            if not order.is_live and key not in live:
                continue
            terms, transfer = order.terms, collateral.transfers.get(key)
            shown.append(
                {
                    "transfer": key,
                    "route": order.route,
                    "account": terms.account,
                    "asset": terms.asset,
                    "units": terms.units,
                    "usd": order.value_units / UNITS_PER_WHOLE,
                    "state": order.state.value if transfer is None else transfer.state.value,
                    "approvals": f"{len(order.approved_by)}/{order.approvals}",
                    "approved_by": list(order.approved_by),
                    "call": order.call_id,
                    "expires_ns": order.expires_ns,
                }
            )
        return shown[:ROWS_SHOWN]

    def snapshot(self) -> dict[str, Any]:
        """Return counters and rows as plain values."""
        if self.config is None:
            return {"is_on": False}
        calls = self._margin.house_calls.wanted()
        return {
            "is_on": True,
            "plans": self._margin.orders.plans,
            "stale_plans": self.stale,
            "failed_plans": self.failures,
            "sent": self.sender.sent,
            "questions": self.sender.questions,
            "transfers": self.rows(),
            "house_calls": [
                {"house": c.counterparty, "call": c.request_id, "account": c.account, "state": c.state.value,
                 "usd": c.amount_units / UNITS_PER_WHOLE, "deadline_ns": c.deadline_ns}
                for c in calls
            ],
            "unmet": [
                {"account": u.account, "place": u.place, "name": u.name, "usd": u.units / UNITS_PER_WHOLE,
                 "reason": u.reason}
                for u in self.unmet
            ],
        }  # fmt: skip


def _shape(problem: Problem) -> object:
    needs = [(want.need.at, want.need.short_units) for want in problem.wants]
    return needs, problem.supplies, problem.names


def _still_holds(problem: Problem, current: Problem, plan: Plan) -> bool:
    """Whether a plan moves nothing to where less is short by now, and nothing that is not there any more."""
    short = {want.need.at: want.need.short_units for want in current.wants}
    for want in problem.wants:
        is_target = any(move.route.target == want.need.at for move in plan.moves)
        if is_target and short.get(want.need.at, 0) < want.need.short_units:
            return False
    held = {(supply.asset, supply.at) for supply in current.supplies}
    if any((move.route.asset, move.route.source) not in held for move in plan.moves):
        return False
    return verify(current.supplies, plan.moves) is None
