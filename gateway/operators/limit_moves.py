"""Limits that a person changes in a running gateway: journalled, and in force again after a restart.

A change stands as long as the configuration still says what it said when the change was made: whoever edits the file
afterwards has decided later, and the file holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import msgspec

from gateway import records
from gateway.config import Account as AccountConfig
from gateway.config.schema import InstrumentLimits, Limits

if TYPE_CHECKING:
    from gateway.core import Core

# Key -> the largest value that means anything; whole numbers where it is one.
WHOLE: Final = {"max_orders_per_second": 1_000_000, "order_burst": 1_000_000, "max_working_orders": 100_000}
AMOUNTS: Final = ("max_order_notional_usd",)
INSTRUMENT_AMOUNTS: Final = ("max_order_quantity", "max_position_quantity")
MAX_AMOUNT: Final = Decimal(10) ** 15
MAX_PLACES: Final = 8

# (account, rule, key)
LimitName = tuple[str, str, str]


class LimitError(Exception):
    """A change that means nothing here, or that was decided on another value; the text says why."""


def limit_value(key: str, text: str) -> Decimal:
    """Return a limit's new value. Raises LimitError where it is no number that the key may have."""
    if len(text) > 40 or not text.replace(".", "", 1).isascii() or not text.replace(".", "", 1).isdigit():
        raise LimitError("value must be a decimal number above 0")
    value = Decimal(text)
    if key in WHOLE:
        if value != value.to_integral_value() or not 1 <= value <= WHOLE[key]:
            raise LimitError(f"{key} must be a whole number from 1 to {WHOLE[key]}")
    elif not 0 < value <= MAX_AMOUNT or value != round(value, MAX_PLACES):
        raise LimitError(f"{key} must be above 0, at most {MAX_AMOUNT:f}, with at most {MAX_PLACES} decimals")
    return value


def limits_of(config: AccountConfig) -> Iterator[tuple[LimitName, Decimal]]:
    """Yield every limit of an account that can be changed, and what the configuration says."""
    for key in (*AMOUNTS, *WHOLE):
        yield (config.name, "", key), Decimal(getattr(config.limits, key))
    for entry in config.limits.instrument:
        for key in INSTRUMENT_AMOUNTS:
            yield (config.name, _rule(entry), key), Decimal(getattr(entry, key))


def in_force(config: AccountConfig, moves: dict[LimitName, records.LimitMoved]) -> AccountConfig:
    """Return an account's configuration with the changes that stand."""
    limits, changes = config.limits, dict[str, Any]()
    for key in (*AMOUNTS, *WHOLE):
        value = _standing((config.name, "", key), Decimal(getattr(limits, key)), moves)
        changes[key] = int(value) if key in WHOLE else value
    entries = []
    for entry in limits.instrument:
        names = {key: (config.name, _rule(entry), key) for key in INSTRUMENT_AMOUNTS}
        moved = {key: _standing(name, Decimal(getattr(entry, key)), moves) for key, name in names.items()}
        entries.append(msgspec.structs.replace(entry, **moved))
    new: Limits = msgspec.structs.replace(limits, **changes, instrument=tuple(entries))
    return msgspec.structs.replace(config, limits=new)


def _standing(name: LimitName, configured: Decimal, moves: dict[LimitName, records.LimitMoved]) -> Decimal:
    move = moves.get(name)
    return configured if move is None or Decimal(move.configured) != configured else Decimal(move.value)


def _rule(entry: InstrumentLimits) -> str:
    return entry.symbol or entry.pattern or ""


class LimitMoves:
    """Changes limits of a running gateway."""

    def __init__(self, core: Core, take: Callable[[AccountConfig], None]) -> None:
        """`take` puts an account's configuration into force."""
        self._core = core
        self._take = take
        self._configs = {account.name: account for account in core.config.account}

    def rows(self, account: str) -> list[dict[str, Any]]:
        """Return the limits of an account, or of all where it is empty.

        `approved` is what the configuration says, or what two people have agreed on since. Raises LimitError.
        """
        moves = self._core.ledger.standing.limits
        rows = []
        for config in self._configs.values() if not account else [self._config(account)]:
            for name, configured in limits_of(config):
                move = moves.get(name)
                agreed = self._core.ledger.standing.agreed_limits.get(name)
                approved = _standing(name, configured, {} if agreed is None else {name: agreed})
                value = _standing(name, configured, moves)
                row = dict(zip(("account", "rule", "key"), name, strict=True))
                row |= {"value": f"{value:f}", "configured": f"{configured:f}", "approved": f"{approved:f}"}
                row["who"] = "" if move is None or value == configured else move.who
                rows.append(row)
        return rows

    def move(
        self, name: LimitName, value: str, was: str, who: str, approved_by: str, reason: str, now_ns: int
    ) -> dict[str, Any]:
        """Change a limit that is `was` now. Raises LimitError, JournalError: nothing has changed then."""
        account, rule, key = name
        config = self._config(account)
        configured = dict(limits_of(config)).get(name)
        if configured is None:
            raise LimitError(f"account {account} has no limit {key} {rule}".rstrip()[:160])
        moves = self._core.ledger.standing.limits
        new, now = limit_value(key, value), _standing(name, configured, moves)
        if limit_value(key, was) != now:
            raise LimitError(f"{key} is {now:f}, not {was}: somebody has changed it meanwhile")
        record = records.LimitMoved(account, rule, key, f"{new:f}", f"{configured:f}", who, approved_by, reason)
        wanted = in_force(config, {**moves, name: record})
        self._core.pipeline.commit(record, now_ns)
        self._take(wanted)
        by = f"{who}, approved by {approved_by}" if approved_by else who
        self._core.monitor.alert(f"limit of {account}: {key} {rule} {now:f} -> {new:f} by {by}: {reason}")
        return {"value": f"{new:f}", "was": f"{now:f}"}

    def _config(self, account: str) -> AccountConfig:
        config = self._configs.get(account)
        if config is None:
            raise LimitError(f"no account {account[:64]} in the configuration")
        return config
