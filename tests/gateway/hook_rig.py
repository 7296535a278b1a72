"""A rig with clients of the hook, and what its tests ask again and again."""

from __future__ import annotations

from typing import Any, Final

from gateway.hook.api import Hook
from gateway.hook.messages import Check, Fill, Held, HoldOrder, Refused, Told
from tests.gateway.rig import BTC, CONFIG, Rig

HOOK: Final = """
[hook]
socket_path = "hook.sock"
[[hook.client]]
name = "algo"
accounts = ["alpha"]
authentication = "peer"
[[hook.client]]
name = "arb"
accounts = ["beta", "gamma"]
authentication = "peer"
hold_timeout_ms = 500
max_hold_timeout_ms = 2000
throttle_requests = 3
throttle_interval_ms = 100
"""
WITH_HOOK: Final = CONFIG + HOOK
SHARED: Final = WITH_HOOK.replace('accounts = ["alpha"]\nauth', 'accounts = ["alpha"]\nvenue_account = "shared"\nauth')


def hook_of(rig: Rig, name: str = "algo") -> Hook:
    return rig.core.hooks.by_name[name]


def order(key: str = "k1", **changes: Any) -> HoldOrder:
    """A buy of 100 at 59000 that every check passes, but for the changes."""
    terms: dict[str, Any] = {"key": key, "symbol": BTC, "side": "buy", "quantity": "100", "price": "59000"}
    return HoldOrder(**(terms | changes))


def question(**changes: Any) -> Check:
    terms: dict[str, Any] = {"symbol": BTC, "side": "buy", "quantity": "100", "price": "59000"}
    return Check(**(terms | changes))


def held(rig: Rig, key: str = "k1", **changes: Any) -> str:
    answer = hook_of(rig).hold(order(key, **changes), rig.now_ns)
    assert isinstance(answer, Held), answer
    return answer.hold


def fill(rig: Rig, hold: str, execution: str, quantity: int, price: str = "59000", **changes: Any) -> Told | Refused:
    request = Fill(hold=hold, execution=execution, quantity=str(quantity), price=price, **changes)
    return hook_of(rig).fill(request, rig.now_ns)


def lots(rig: Rig, account: str = "alpha", symbol: str = BTC) -> int:
    return rig.ledger.accounts[account].position_lots(rig.ledger.by_symbol[symbol].index)


def state(rig: Rig, hold: str) -> str:
    return rig.ledger.holds.by_id[hold].state.value
