"""Collateral at a clearing house, over its FIX session: its calls in, what we give out, what became of it in.

    CollateralRequest(AX) -> CollateralAssignment(AY) -> CollateralResponse(AZ)

An AY is known by its CollAsgnID(902), which is the transfer's key. One whose answer is missing is sent again under the
same id with PossResend(97) Y: that is how FIX asks. CashOutstanding(901) of an AZ is what the house has taken in all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from gateway.messages.amounts import units as amount_of
from gateway.messages.margin_scope import MAX_ID_BYTES, parties_of
from gateway.transfers.sender import NS_PER_S
from protocols.errors import LocalProtocolError
from protocols.fix.codec import Message, format_timestamp
from protocols.fix.grouped import Values
from protocols.fix.values import count_steps, parse_timestamp
from protocols.venues.transfers import Ending, Outcome, TransferAsk
from risk.collateral_ledger import Place, TransferError

if TYPE_CHECKING:
    from gateway.clearing.link import CounterpartyLink
    from gateway.pipeline import Pipeline
    from gateway.transfers.desk import TransferDesk

POSS_RESEND: Final = ((97, b"Y"),)
# CollAsgnTransType(903), CollAsgnReason(895)
NEW, RELEASE = 0, 3
MARGIN_DEFICIENCY, WITHDRAWAL = 3, 9
# CollAsgnRespType(905)
RECEIVED, ACCEPTED, DECLINED, REJECTED, PENDING = b"0", b"1", b"2", b"3", b"4"
MONEY_EXPONENT: Final = -8


class HouseChannel:
    """One clearing house: its session carries what is given and taken back, and brings its calls."""

    def __init__(self, link: CounterpartyLink, pipeline: Pipeline, desk: TransferDesk) -> None:
        self.name = link.terms.name
        self._link = link
        self._pipeline = pipeline
        self._desk = desk
        period_s = 0 if desk.config is None else desk.config.house_call_period_s
        self._period_ns = period_s * NS_PER_S
        self._takers: dict[str, Callable[[Message, int], None]] = {"AX": self._called, "AZ": self._answered}
        link.collateral = self.receive
        desk.connect(self)

    # -- out ---------------------------------------------------------------------------------------------------------

    def why_not(self, now_ns: int) -> str | None:
        """Return why nothing can be sent now."""
        return None if self._link.is_up else f"{self.name} is not logged on"

    def send(self, ask: TransferAsk, call_id: str, now_ns: int) -> None:
        """Give collateral, or ask for it back."""
        self._assign(ask, call_id, now_ns, ())

    def ask(self, ask: TransferAsk, call_id: str, now_ns: int) -> None:
        """Say the same again: the house answers what it knows of."""
        self._assign(ask, call_id, now_ns, POSS_RESEND)

    def _assign(self, ask: TransferAsk, call_id: str, now_ns: int, header: tuple[tuple[int, bytes], ...]) -> None:
        terms = self._pipeline.ledger.margin.collateral.transfers[ask.key].terms
        is_given = terms.target.place is Place.CLEARING_HOUSE
        values: Values = {
            902: ask.key.encode("latin-1"), 894: call_id.encode("latin-1") or None,
            895: MARGIN_DEFICIENCY if is_given else WITHDRAWAL, 903: NEW if is_given else RELEASE,
            60: format_timestamp(now_ns), 453: parties_of(terms.account), 1: terms.account.encode("latin-1"),
            15: terms.asset.encode("latin-1"), 901: amount_of(terms.units),
        }  # fmt: skip
        try:
            self._link.send("AY", values, now_ns, header)
        except LocalProtocolError as error:
            self._desk.told(ask.key, Outcome(Ending.UNKNOWN, str(error)), now_ns)

    # -- in ----------------------------------------------------------------------------------------------------------

    def receive(self, counterparty: str, message: Message, now_ns: int) -> None:
        """Take a CollateralRequest or a CollateralResponse. Raises JournalError: then it comes again."""
        taker = self._takers.get(message.msg_type)
        if taker is None or not self._desk.is_on:
            self._tell(f"{message.msg_type} came, and nobody here takes it", now_ns)
        else:
            taker(message, now_ns)

    def _called(self, message: Message, now_ns: int) -> None:
        request_id, account = _text(message, 894), _account_of(message)
        amount = count_steps((message.get(899) or b"").removeprefix(b"-"), 1, MONEY_EXPONENT)
        if not request_id or len(request_id) > MAX_ID_BYTES or account not in self._link.terms.accounts:
            self._tell("a call without an id, or of an account that is none of its", now_ns)
        elif _text(message, 15) not in ("", "USD") or not amount or not (message.get(899) or b"").startswith(b"-"):
            self._tell(f"call {request_id}: MarginExcess(899) is what is missing, below 0, in USD", now_ns)
        else:
            deadline_ns = _time(message.get(126))
            reason = message.get(895) or b""
            try:
                self._desk.house_called(
                    self.name, request_id, account, amount, deadline_ns or now_ns + self._period_ns,
                    int(reason) if reason.isdigit() else MARGIN_DEFICIENCY, now_ns,
                )  # fmt: skip
            except TransferError as error:
                self._tell(f"call {request_id}: {error}", now_ns)

    def _answered(self, message: Message, now_ns: int) -> None:
        key, kind = _text(message, 902), message.get(905)
        transfers = self._pipeline.ledger.margin.collateral.transfers
        transfer = transfers.get(key)
        ours = self._pipeline.ledger.margin.orders.orders.get(key)
        ends = () if transfer is None else (transfer.terms.source, transfer.terms.target)
        if transfer is None or ours is None or not any(at.name == self.name for at in ends):
            self._tell(f"an answer about {key[:MAX_ID_BYTES]}, which is no assignment of ours to it", now_ns)
            return
        text = self._link.safe(_text(message, 58))
        if kind == ACCEPTED:
            taken = message.get(901)
            units = transfer.terms.units if taken is None else count_steps(taken, 1, MONEY_EXPONENT)
            if units:
                self._desk.told(key, Outcome(Ending.SETTLED, text, units, key), now_ns)
                if units < transfer.terms.units and transfer.is_live:  # it has answered: the rest will not come
                    self._desk.told(key, Outcome(Ending.REFUSED, text or "taken in part"), now_ns)
            else:
                self._tell(f"{key}: CashOutstanding(901) is no amount", now_ns)
        elif kind in (RECEIVED, PENDING):
            self._desk.told(key, Outcome(Ending.PENDING, text), now_ns)
        elif kind in (DECLINED, REJECTED):
            is_late = transfer.settled_units > 0 and not transfer.is_live
            ending = Ending.REVERSED if is_late else Ending.REFUSED
            self._desk.told(key, Outcome(ending, text or "refused by the house"), now_ns)
        else:
            self._tell(f"{key}: CollAsgnRespType(905) {_text(message, 905)[:8]} is unknown", now_ns)

    def _tell(self, text: str, now_ns: int) -> None:
        self._link.tell_transport(text, now_ns)


def _text(message: Message, tag: int) -> str:
    return (message.get(tag) or b"").decode("latin-1")


def _account_of(message: Message) -> str:
    """Return Account(1), or the party in the role of a customer's account."""
    if message.get(1) is not None:
        return _text(message, 1)
    return next((who.decode("latin-1") for who, role in message.groups(453, (448, 452)) if role == b"24" and who), "")


def _time(value: bytes | None) -> int | None:
    return None if value is None else parse_timestamp(value)
