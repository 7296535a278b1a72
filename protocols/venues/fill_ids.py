"""The names that sessions give to trades, and the ids that the venues themselves gave them.

Who reports a venue's trades to us, a drop copy or a clearing house, knows them by the venue's own ids. Those are no
names here: some venues count them for each symbol, and both sides of a trade may be ours.
"""

from __future__ import annotations

_SIDES = ("-B", "-S")
_LIQUIDITY = ("/M", "/T")


def names_of(symbol: str, trade_id: str, is_buy: bool) -> tuple[str, ...]:
    """Return the names under which a session may have told the side of a trade; `symbol` is the venue's."""
    side = _SIDES[0] if is_buy else _SIDES[1]
    liquidity = [f"{trade_id}{end}" for end in _LIQUIDITY]
    return (trade_id, f"{symbol}-{trade_id}{side}", f"{trade_id}{side}", *liquidity)


def id_of(symbol: str, name: str) -> str:
    """Return the venue's own id of a trade that a session has told under a name; `symbol` is the venue's."""
    if name.endswith(_SIDES):
        return name[:-2].removeprefix(f"{symbol}-")
    return name[:-2] if name.endswith(_LIQUIDITY) else name
