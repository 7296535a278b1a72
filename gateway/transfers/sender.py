"""Transfers on their way: each handed to its channel once, and asked about until its end is known.

What keeps it from being made twice: that it was handed over (SENT) is in the journal before anything leaves, and what
was handed over is never handed over again, by this process or the next. From then on it is asked about, by an id that
is made of its key. One that its venue does not know, asked twice, has failed once so long has passed that no request of
ours can come to life any more (`lost_after_s`); a clearing house is told the same again, marked as such.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

from gateway.config import Collateral
from gateway.config import Route as RouteConfig
from gateway.records.margin import TransferMoved
from gateway.records.transfers import TransferCharged
from protocols.venues.transfers import Ending, Outcome, TransferAsk
from risk.collateral_ledger import Transfer, TransferError, TransferHappening, TransferState

if TYPE_CHECKING:
    from gateway.intraday import Intraday
    from gateway.pipeline import Pipeline

NS_PER_S: Final = 1_000_000_000
# Between questions: doubled from the first to the last.
FIRST_PAUSE_NS: Final = NS_PER_S
LAST_PAUSE_NS: Final = 60 * NS_PER_S
NOT_FOUND_TWICE: Final = 2


class Channel(Protocol):
    """Who makes transfers: a venue's transfer requests, or a clearing house's session. Answers come by `told`."""

    name: str

    def why_not(self, now_ns: int) -> str | None:
        """Return why nothing can be sent now; None where it can."""
        ...

    def send(self, ask: TransferAsk, call_id: str, now_ns: int) -> None: ...

    def ask(self, ask: TransferAsk, call_id: str, now_ns: int) -> None: ...


class Attempt:
    """What is remembered of a transfer on its way: since when, and when to ask (again)."""

    __slots__ = ("next_ns", "not_found", "pause_ns", "since_ns")

    def __init__(self, now_ns: int) -> None:
        self.since_ns = self.next_ns = now_ns
        self.pause_ns = FIRST_PAUSE_NS
        self.not_found = 0


class TransferSender:
    """All transfers of ours that are on their way. `failed` is told the route of each that has failed."""

    def __init__(
        self,
        pipeline: Pipeline,
        intraday: Intraday,
        config: Collateral,
        failed: Callable[[str, int], None],
    ) -> None:
        self.channels: dict[str, Channel] = {}
        self.sent = self.questions = 0
        self._pipeline = pipeline
        self._intraday = intraday
        self._margin = pipeline.ledger.margin
        self._routes = {route.name: route for route in config.route}
        self._answer_ns = config.answer_timeout_s * NS_PER_S
        self._lost_ns = config.lost_after_s * NS_PER_S
        self._failed = failed
        self._open: dict[str, Attempt] = {}

    def watch(self, key: str, now_ns: int) -> None:
        """A transfer of ours has begun, or was on its way when this process began."""
        self._open.setdefault(key, Attempt(now_ns))

    @property
    def deadline_ns(self) -> int | None:
        """When `tick` has something to do."""
        return min((attempt.next_ns for attempt in self._open.values()), default=None)

    def route_of(self, key: str) -> RouteConfig | None:
        """Return the route that a transfer of ours takes; None where it is not in the configuration any more."""
        order = self._margin.orders.orders.get(key)
        return None if order is None else self._routes.get(order.route)

    def tick(self, now_ns: int) -> None:
        """Send what has begun, ask about what was sent; raises JournalError, and nothing was sent then."""
        for key, attempt in list(self._open.items()):
            if now_ns < attempt.next_ns:
                continue
            transfer = self._margin.collateral.transfers.get(key)
            if transfer is None or not transfer.is_live:
                del self._open[key]
            elif transfer.state is TransferState.PENDING:
                self._send(transfer, attempt, now_ns)
            else:
                self._ask(transfer, attempt, now_ns)

    def _channel_of(self, transfer: Transfer, now_ns: int) -> tuple[Channel, TransferAsk] | str:
        terms = transfer.terms
        route = self.route_of(terms.key)
        channel = None if route is None else self.channels.get(route.channel)
        if route is None or channel is None:
            return "its route is not in the configuration any more"
        if (refusal := channel.why_not(now_ns)) is not None:
            return refusal
        attempt = self._open[terms.key]
        wallets = (route.source_wallet, route.target_wallet)
        return channel, TransferAsk(terms.key, terms.asset, terms.units, *wallets, attempt.since_ns)

    def _send(self, transfer: Transfer, attempt: Attempt, now_ns: int) -> None:
        key = transfer.terms.key
        found = self._channel_of(transfer, now_ns)
        if isinstance(found, str):
            attempt.next_ns = now_ns + FIRST_PAUSE_NS
            if now_ns > transfer.due_ns and self._intraday.may_expire(now_ns):  # nothing has left
                self._end(key, TransferHappening.FAILED, f"never sent: {found}", now_ns)
            return
        channel, ask = found
        self._moved(key, TransferHappening.SENT, f"handed to {channel.name}", now_ns)
        attempt.since_ns, attempt.next_ns = now_ns, now_ns + self._answer_ns
        self.sent += 1
        channel.send(ask, transfer.call_id, now_ns)

    def _ask(self, transfer: Transfer, attempt: Attempt, now_ns: int) -> None:
        attempt.next_ns = now_ns + attempt.pause_ns
        attempt.pause_ns = min(LAST_PAUSE_NS, 2 * attempt.pause_ns)
        found = self._channel_of(transfer, now_ns)
        key = transfer.terms.key
        if isinstance(found, str):
            text = f"transfer {key} can not be asked about: {found}"
            self._pipeline.monitor.alert_now_and_then(("transfer", found), text, now_ns)
            return
        channel, ask = found
        attempt.next_ns = max(attempt.next_ns, now_ns + self._answer_ns)
        self.questions += 1
        channel.ask(ask, transfer.call_id, now_ns)

    # -- answers -----------------------------------------------------------------------------------------------------

    def told(self, key: str, outcome: Outcome, now_ns: int) -> None:
        """Take an answer about a transfer; what can not be true is a break and changes nothing. Raises JournalError."""
        transfer = self._margin.collateral.transfers.get(key)
        order = self._margin.orders.orders.get(key)
        if transfer is None or order is None:
            text = f"an answer about transfer {key[:64]}, which is none of ours"
            self._pipeline.monitor.alert_now_and_then(("transfer", "unknown"), text, now_ns)
            return
        attempt = self._open.get(key)
        try:
            self._take(transfer, order.route, outcome, attempt, now_ns)
        except TransferError as error:
            self._pipeline.monitor.alert(f"transfer {key}: {outcome.ending.value}: {error}")

    def _take(self, transfer: Transfer, route: str, outcome: Outcome, attempt: Attempt | None, now_ns: int) -> None:
        key, ending = transfer.terms.key, outcome.ending
        if ending is Ending.SETTLED:
            self._settled(transfer, route, outcome, now_ns)
        elif ending is Ending.REFUSED:
            if transfer.is_live or transfer.state is TransferState.SETTLED:
                self._end(key, TransferHappening.FAILED, outcome.text, now_ns)
                self._failed(route, now_ns)
        elif ending is Ending.REVERSED:
            self._end(key, TransferHappening.REVERSED, outcome.text, now_ns)
        elif ending is Ending.NOT_FOUND:
            self._not_found(transfer, route, attempt, now_ns)
        elif ending is Ending.UNKNOWN and transfer.state in (TransferState.PENDING, TransferState.SENT):
            self._moved(key, TransferHappening.TIMED_OUT, outcome.text or "no answer", now_ns)
        if attempt is not None and transfer.is_live:
            attempt.next_ns = now_ns + attempt.pause_ns

    def _settled(self, transfer: Transfer, route: str, outcome: Outcome, now_ns: int) -> None:
        terms = transfer.terms
        total = outcome.units or terms.units
        if outcome.fee_units and not transfer.fee_units:
            self._pipeline.commit(TransferCharged(terms.key, outcome.fee_units), now_ns)
        more = total - transfer.settled_units
        if more > 0 or transfer.state is TransferState.FAILED:
            # The venue's whole count is in the reference, so that the same count again is the same settlement.
            reference = f"{route}:{outcome.reference}:{total}"
            self._intraday.transfer_moved(
                terms.key, TransferHappening.SETTLED, now_ns, units=more, reference=reference, why=outcome.text
            )

    def _not_found(self, transfer: Transfer, route: str, attempt: Attempt | None, now_ns: int) -> None:
        if attempt is None or not transfer.is_live:
            return
        attempt.not_found += 1
        key = transfer.terms.key
        if attempt.not_found >= NOT_FOUND_TWICE and now_ns - attempt.since_ns >= self._lost_ns:
            self._end(key, TransferHappening.FAILED, "its venue does not know it", now_ns)
            self._failed(route, now_ns)
        elif transfer.state is TransferState.SENT:
            self._moved(key, TransferHappening.TIMED_OUT, "its venue does not know it yet", now_ns)

    def _end(self, key: str, happening: TransferHappening, why: str, now_ns: int) -> None:
        self._intraday.transfer_moved(key, happening, now_ns, why=why)
        self._pipeline.monitor.alert(f"transfer {key} {happening.value}: {why}")

    def _moved(self, key: str, happening: TransferHappening, why: str, now_ns: int) -> None:
        self._pipeline.commit(TransferMoved(key, happening, 0, "", 0, why), now_ns)
