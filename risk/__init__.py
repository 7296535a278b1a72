"""The pure domain: instruments, orders, positions, margin. `risk.evaluate` prices a portfolio by a venue's model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from risk.models import evaluate, evaluate_case, evaluate_orders

__all__ = ["evaluate", "evaluate_case", "evaluate_orders"]


def __getattr__(name: str) -> Any:
    # Late: the order path imports this package and needs no margin model of a venue.
    if name in __all__:
        from risk import models

        return getattr(models, name)
    raise AttributeError(f"module 'risk' has no attribute {name!r}")
