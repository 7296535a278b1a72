"""The switch of an order's two steps at its venue's link, compiled (`gateway._link`) or SessionLink's own methods."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from gateway import compiled

__all__ = ["COMPILED", "link_steps"]

COMPILED = False
if not TYPE_CHECKING and compiled.COMPILED:
    try:
        from gateway._link import link_steps

        COMPILED = True
    except ImportError:
        pass

if TYPE_CHECKING or not COMPILED:

    def link_steps(link: Any, times_in_force: Mapping[Any, str], handlers: Mapping[type, Callable[..., None]]) -> Any:
        """Return place and receive of SessionLink itself."""
        return link.place, link.receive
