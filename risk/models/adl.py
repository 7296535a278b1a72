"""BitMEX's place in the queue of automatic deleveraging."""

from __future__ import annotations

from risk.models.result import require


def rank(qty: float, entry: float, mark: float, bankruptcy: float) -> tuple[float, float, float]:
    """Return profit as a share of entry, effective leverage, and the rank (longs and shorts are ranked apart).

    Effective leverage = mark / |mark - bankruptcy|; rank = share * leverage for a gain, share / leverage for a loss.
    Source: support.bitmex.com 18589621443357.
    """
    require(entry > 0 and mark > 0, "bad_mark", f"entry {entry}, mark {mark}")
    require(mark != bankruptcy, "bad_mark", "mark is the bankruptcy price")
    share = (1.0 if qty > 0 else -1.0) * (mark - entry) / entry
    leverage = mark / abs(mark - bankruptcy)
    return share, leverage, share * leverage if share > 0 else share / leverage
