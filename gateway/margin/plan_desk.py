"""What operators ask of adjustments: a dry run of one account's, and who would be deleveraged first."""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.core import Core
from gateway.margin.adjustments import BPS, AdjustmentError
from gateway.operators.channel import Answer, ControlError, Plan, Ranking
from risk.adjust import Step
from risk.deleverage import Candidate


def answer(core: Core, command: Plan | Ranking, now_ns: int) -> Answer:
    """Answer a question; nothing is changed by it. Raises ControlError where it means nothing."""
    try:
        if isinstance(command, Ranking):
            ranked = core.adjustments.ranking(command.symbol, now_ns)
            return {side: [_ranked(one) for one in found] for side, found in ranked.items()}
        found = core.adjustments.plan(command.account, now_ns, command.required_bps or BPS)
    except AdjustmentError as error:
        raise ControlError(str(error)) from None
    told = {name: getattr(found, name) for name in found.__struct_fields__ if name != "steps"}
    is_adjusted = command.account in core.ledger.adjustments
    return told | {"steps": [_row(core, step) for step in found.steps], "is_adjusted": is_adjusted}


def _row(core: Core, step: Step) -> dict[str, Any]:
    """Return a step in a trader's words: quantity and price of its order, or the amount of money that it moves."""
    row: dict[str, Any] = {"rung": step.rung.name.lower().replace("_", " "), "what": step.symbol}
    if step.lots:
        instrument = core.ledger.instruments[step.instrument]
        side = "buy" if step.side == 1 else "sell"
        row["what"] = f"{side} {instrument.quantity(step.lots)} {step.symbol} at {instrument.price(step.ticks)}"
    elif step.order_ids:
        row["what"] = f"cancel {', '.join(step.order_ids)} in {step.symbol}"
    elif step.amount:
        row["what"] = f"{step.amount:.8f} {step.sold or 'USD'}" + (f" for {step.bought}" if step.sold else "")
    return row | {"before": step.before, "after": step.after, "cost": step.cost}


def _ranked(one: Candidate) -> dict[str, Any]:
    return msgspec.structs.asdict(one) | {"rank": one.rank, "available_lots": one.available_lots}
