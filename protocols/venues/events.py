"""What a venue tells the gateway, in words that all venues share.

Wire numbers are Decimal; prices that only feed models (marks, indices) are float. Times are the venue's own
timestamps in nanoseconds since the epoch. A label is the client order id that we sent; "" means that the order
is not one of ours.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal, TypeAlias

import msgspec

VenueState: TypeAlias = Literal["connecting", "authenticating", "reconciling", "live", "halted"]
InstrumentKind: TypeAlias = Literal["spot", "perpetual", "future", "option"]
Side: TypeAlias = Literal["buy", "sell"]
OrderRequest: TypeAlias = Literal["place", "replace", "cancel"]
# "rejected" may also end an order that was first accepted; "untriggered" is a stop order at rest, and "triggered" one
# that lives on as another order of the same label.
VenueOrderState: TypeAlias = Literal["open", "filled", "cancelled", "rejected", "untriggered", "triggered"]


class VenueStateChanged(msgspec.Struct, frozen=True, gc=False):
    """Orders are taken in "live" only. "halted": close the transport, then connect again after a pause."""

    state: VenueState
    reason: str = ""


class InstrumentListed(msgspec.Struct, frozen=True, gc=False):
    """An instrument's terms.

    Amounts are in the venue's unit of quantity: quote currency for inverse futures and perpetuals, base currency
    for the others. `underlying` names the price index. `tick_steps` holds (above this price, tick) ascending.
    """

    symbol: str
    kind: InstrumentKind
    is_inverse: bool
    underlying: str
    base_currency: str
    quote_currency: str
    settlement_currency: str
    tick_size: Decimal
    tick_steps: tuple[tuple[Decimal, Decimal], ...]
    min_trade_amount: Decimal
    contract_size: Decimal
    strike: Decimal | None
    option_type: Literal["call", "put"] | None
    expiration_ns: int | None
    maker_fee: Decimal
    taker_fee: Decimal
    is_open: bool


class MarkPriceUpdated(msgspec.Struct, frozen=True, gc=False):
    """Model inputs for one instrument; `mark_iv` is an annual fraction. None: the venue gave no value."""

    symbol: str
    mark_price: float
    index_price: float
    time_ns: int
    mark_iv: float | None = None
    underlying_price: float | None = None
    interest_rate: float | None = None
    best_bid: float | None = None
    best_ask: float | None = None
    min_price: float | None = None
    max_price: float | None = None
    is_open: bool = True


class IndexPriceUpdated(msgspec.Struct, frozen=True, gc=False):
    name: str
    price: float
    time_ns: int


class TradePrinted(msgspec.Struct, frozen=True, gc=False):
    """A trade of the market; `side` is the taker's."""

    symbol: str
    trade_id: str
    side: Side
    quantity: Decimal
    price: Decimal
    time_ns: int
    is_liquidation: bool = False


class TopOfBookUpdated(msgspec.Struct, frozen=True, gc=False):
    """The best prices as a channel of their own tells them; None for an empty side.

    `sequence` numbers it as it numbers the book's messages, 0 where the venue gives none.
    """

    symbol: str
    bid: Decimal | None
    bid_quantity: Decimal
    ask: Decimal | None
    ask_quantity: Decimal
    sequence: int
    time_ns: int


class FundingUpdated(msgspec.Struct, frozen=True, gc=False):
    """`rate` is a fraction of the notional, paid by longs to shorts at `next_ns`; None where no time was given."""

    symbol: str
    rate: Decimal
    next_ns: int | None
    time_ns: int


class FundingBooked(msgspec.Struct, frozen=True, gc=False):
    """Funding that a venue has booked to our account on its net position; `amount` is received, negative where paid.

    `settlement_id` is the venue's own id of the booking, the same in its stream and in its answers. `currency` is empty
    where the venue does not say it: then it is the instrument's settlement currency.
    """

    symbol: str
    settlement_id: str
    amount: Decimal
    currency: str
    time_ns: int
    session_total: Decimal | None = None  # where it ends a session: all that the venue has booked in it


class ContractDelivered(msgspec.Struct, frozen=True, gc=False):
    """A contract that we held has ended: what was held of it is closed at what follows from `delivery_price`.

    `delivery_price` is the underlying's; `fee` what the venue has charged for it on our net position, in the settlement
    currency where `fee_currency` is empty.
    """

    symbol: str
    settlement_id: str
    delivery_price: Decimal
    fee: Decimal
    fee_currency: str
    time_ns: int


class BookingUnexplained(msgspec.Struct, frozen=True, gc=False):
    """A venue has moved money, or lists something, of which we do not know what it means: a person must look.

    `kind` is the venue's word for it, `amount` what has moved, and `symbol` empty where it names no instrument.
    """

    symbol: str
    settlement_id: str
    kind: str
    amount: Decimal
    currency: str
    reason: str
    time_ns: int


class BookingsRead(msgspec.Struct, frozen=True, gc=False):
    """All that a venue has listed of a scope until `until_ns` has been told; a later session may begin there."""

    scope: str
    until_ns: int


class OptionVolsUpdated(msgspec.Struct, frozen=True, gc=False):
    """Volatilities as annual fractions, and the forward price; None: the venue gave no value."""

    symbol: str
    mark_iv: float
    bid_iv: float | None
    ask_iv: float | None
    forward_price: float
    time_ns: int


class MarginTier(msgspec.Struct, frozen=True, gc=False):
    """Rates for the part of a position above `above` up to `up_to` (None: without end).

    maintenance margin of a position in this tier = size x `maintenance_rate` - `deduction`
    """

    above: Decimal
    up_to: Decimal | None
    initial_rate: Decimal
    maintenance_rate: Decimal
    deduction: Decimal
    max_leverage: Decimal


class MarginTiersListed(msgspec.Struct, frozen=True, gc=False):
    """The margin parameters of `name`: an instrument, or "kind:family" where the venue has them for a family.

    `unit`: tiers are bounded by "notional" in the settlement currency, or by "quantity" (base for linear, else quote).
    """

    name: str
    is_family: bool
    unit: Literal["notional", "quantity"]
    tiers: tuple[MarginTier, ...]


class BookUpdated(msgspec.Struct, frozen=True, gc=False):
    symbol: str


class BookGapped(msgspec.Struct, frozen=True, gc=False):
    """The book is not usable until a snapshot has come; the session has asked for one."""

    symbol: str
    reason: str = ""


class OrderAcknowledged(msgspec.Struct, frozen=True, gc=False):
    """The venue has the request, and nothing more: the outcome comes as another event, or as unknown if none does."""

    label: str
    venue_order_id: str
    request: OrderRequest


class OrderAccepted(msgspec.Struct, frozen=True, gc=False):
    """First sight of an order on the venue; it may already be filled in part or whole, or done."""

    label: str
    venue_order_id: str
    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal | None
    time_ns: int


class OrderFilled(msgspec.Struct, frozen=True, gc=False):
    """One trade, once per (venue, trade_id) within the session's memory.

    `fee` is what was paid: negative for a rebate. `is_backfill` marks trades found by asking for missed ones,
    `is_liquidation` those by which the venue itself has reduced our account.
    """

    label: str
    venue_order_id: str
    symbol: str
    trade_id: str
    side: Side
    quantity: Decimal
    price: Decimal
    fee: Decimal
    fee_currency: str
    is_maker: bool
    time_ns: int
    is_backfill: bool = False
    is_liquidation: bool = False


class OrderTriggered(msgspec.Struct, frozen=True, gc=False):
    """A stop's price has come: it works from now on under `venue_order_id`, with the label that it had."""

    label: str
    venue_order_id: str
    trigger_order_id: str


class TradeBusted(msgspec.Struct, frozen=True, gc=False):
    """The venue has annulled a trade that it had told: neither position nor money moved after all."""

    trade_id: str
    reason: str = ""


class TradeCorrected(msgspec.Struct, frozen=True, gc=False):
    """The venue has changed a trade that it had told; all values are the new ones, `fee` as in OrderFilled."""

    trade_id: str
    quantity: Decimal
    price: Decimal
    fee: Decimal
    reason: str = ""


class OrderCancelled(msgspec.Struct, frozen=True, gc=False):
    """The order is done; `filled_quantity` is the venue's count, to compare with the fills that were seen."""

    label: str
    venue_order_id: str
    reason: str
    filled_quantity: Decimal


class OrderRejected(msgspec.Struct, frozen=True, gc=False):
    """`is_definite` is false when the order may nevertheless exist: treat it as unknown and ask."""

    label: str
    code: int
    message: str
    is_definite: bool


class OrderReplaced(msgspec.Struct, frozen=True, gc=False):
    """`quantity` is the order's whole quantity, what is filled included."""

    label: str
    venue_order_id: str
    quantity: Decimal
    price: Decimal | None
    trigger_price: Decimal | None = None


class ReplaceRejected(msgspec.Struct, frozen=True, gc=False):
    label: str
    code: int
    message: str
    is_definite: bool


class CancelRejected(msgspec.Struct, frozen=True, gc=False):
    label: str
    code: int
    message: str
    is_definite: bool
    venue_order_id: str = ""


class OrderOutcomeUnknown(msgspec.Struct, frozen=True, gc=False):
    """No answer came: connection lost, timeout, or an answer that could not be read. Ask by label."""

    label: str
    request: OrderRequest = "place"
    reason: str = ""


class OrderState(msgspec.Struct, frozen=True, gc=False):
    """An order as the venue describes it when asked."""

    label: str
    venue_order_id: str
    symbol: str
    side: Side
    state: VenueOrderState
    quantity: Decimal
    filled_quantity: Decimal
    price: Decimal | None
    is_reduce_only: bool
    time_ns: int
    trigger_price: Decimal | None = None  # of a stop, until it has triggered


class OpenOrdersReported(msgspec.Struct, frozen=True, gc=False):
    """Every open order that the venue shows, at (re)connection or on request."""

    orders: tuple[OrderState, ...]


class OrderStateReported(msgspec.Struct, frozen=True, gc=False):
    """Answer to query_order; fills that were not yet known precede it as OrderFilled."""

    order: OrderState


class OrderNotFound(msgspec.Struct, frozen=True, gc=False):
    label: str


class OrderQueryFailed(msgspec.Struct, frozen=True, gc=False):
    """The venue did not answer a query: the order's state stays unknown."""

    label: str
    reason: str


class PositionState(msgspec.Struct, frozen=True, gc=False):
    symbol: str
    quantity: Decimal  # signed: short is negative
    average_price: Decimal


class PositionsReported(msgspec.Struct, frozen=True, gc=False):
    """With `is_complete`, an instrument of this currency that is not named is flat; otherwise it is unchanged."""

    currency: str
    positions: tuple[PositionState, ...]
    is_complete: bool


class PortfolioReported(msgspec.Struct, frozen=True, gc=False):
    currency: str
    equity: Decimal
    margin_balance: Decimal
    initial_margin: Decimal
    maintenance_margin: Decimal
    available_funds: Decimal
    margin_model: str = ""


class BalanceState(msgspec.Struct, frozen=True, gc=False):
    currency: str
    wallet_balance: Decimal
    equity: Decimal | None


class BalancesReported(msgspec.Struct, frozen=True, gc=False):
    """With `is_complete`, a currency that is not named has no balance; otherwise it is unchanged."""

    balances: tuple[BalanceState, ...]
    is_complete: bool


class MarginCallReported(msgspec.Struct, frozen=True, gc=False):
    """The venue warns that these positions are near liquidation."""

    symbols: tuple[str, ...]
    time_ns: int


class NoticeReported(msgspec.Struct, frozen=True, gc=False):
    """What the venue announces, like maintenance that will cut the connection."""

    code: int
    message: str


class TradesReported(msgspec.Struct, frozen=True, gc=False):
    """The backfill of one currency is complete from `since_ns` on; the trades came before it as OrderFilled."""

    currency: str
    since_ns: int
    trade_count: int


class ReconcileFinished(msgspec.Struct, frozen=True, gc=False):
    """Everything that is asked after (re)connection has been answered."""


class ReconcileFailed(msgspec.Struct, frozen=True, gc=False):
    """Something was not answered: orders and positions are not confirmed. Before "live" it ends in "halted"."""

    reason: str


class VenueErrorReported(msgspec.Struct, frozen=True, gc=False):
    """`code` is the venue's, 0 for what we found wrong ourselves; `message` names the field."""

    code: int
    message: str
    context: str = ""


Event: TypeAlias = (
    VenueStateChanged
    | InstrumentListed
    | MarkPriceUpdated
    | IndexPriceUpdated
    | TradePrinted
    | TopOfBookUpdated
    | FundingUpdated
    | OptionVolsUpdated
    | MarginTiersListed
    | BookUpdated
    | BookGapped
    | OrderAcknowledged
    | OrderAccepted
    | OrderFilled
    | OrderTriggered
    | OrderCancelled
    | OrderRejected
    | OrderReplaced
    | ReplaceRejected
    | CancelRejected
    | OrderOutcomeUnknown
    | OpenOrdersReported
    | OrderStateReported
    | OrderNotFound
    | OrderQueryFailed
    | PositionsReported
    | PortfolioReported
    | BalancesReported
    | MarginCallReported
    | NoticeReported
    | TradesReported
    | TradeBusted
    | TradeCorrected
    | FundingBooked
    | ContractDelivered
    | BookingUnexplained
    | BookingsRead
    | ReconcileFinished
    | ReconcileFailed
    | VenueErrorReported
)
