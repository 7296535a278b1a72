"""The import switch between what of the gateway is compiled and its plain twins; `MARGINGATE_PURE=1` takes those."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from protocols.fix.codec import Message
from risk.instrument import Instrument
from risk.order import Order

__all__ = ["COMPILED", "order_values", "ordinary_order", "price_text", "quantity_text", "refusal_values"]


def never_ordinary(
    message: Message, by_symbol: dict[str, Instrument], day_ends: dict[str, int], now_ns: int
) -> Order | None:
    """Return None: every order is left to translate.new_order."""
    return None


COMPILED = False
if not TYPE_CHECKING and os.environ.get("MARGINGATE_PURE") != "1":
    try:
        from gateway._orders import ordinary_order, price_text, quantity_text
        from gateway._reports import order_values, refusal_values

        COMPILED = True
    except ImportError:
        pass

if TYPE_CHECKING or not COMPILED:
    from gateway.report_values import order_values, refusal_values
    from gateway.translate import price_text, quantity_text

    ordinary_order = never_ordinary
