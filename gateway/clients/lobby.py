"""Connections that have not logged on: bounded in all and by origin, so that strangers take no place of a client's."""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar


class Waiting(Protocol):
    """What waits in a lobby."""

    @property
    def is_asked_about(self) -> bool:
        """Its Logon is here, and being looked at."""


Guest = TypeVar("Guest", bound=Waiting)


class Lobby(Generic[Guest]):
    """Whoever comes gets in; for that the longest waiting of the most crowded origin has to go.

    A newcomer with a Logon in hand is through in milliseconds, before its turn to go comes, however many strangers wait
    for nothing. Those whose Logon is being looked at go last.
    """

    def __init__(self, max_guests: int, max_of_origin: int) -> None:
        self.max_guests = max_guests
        self.max_of_origin = max_of_origin
        self._origins: dict[str, dict[Guest, None]] = {}  # guests by origin, the longest waiting first
        self._origin_of: dict[Guest, str] = {}

    def __len__(self) -> int:
        return len(self._origin_of)

    def __contains__(self, guest: Guest) -> bool:
        return guest in self._origin_of

    def enter(self, guest: Guest, origin: str, room: int) -> Guest | None:
        """Let somebody in; return who has to go for that, if anybody has, and has left the lobby by now.

        `room`: for how many there is room in all at this moment, at least 1.
        """
        leaving: Guest | None = None
        group = self._origins.get(origin, {})
        if len(group) >= self.max_of_origin:
            leaving = _first_to_go(group)
        elif len(self) >= min(self.max_guests, room):
            leaving = _first_to_go(max(self._origins.values(), key=len))
        if leaving is not None:
            self.leave(leaving)
        self._origins.setdefault(origin, {})[guest] = None
        self._origin_of[guest] = origin
        return leaving

    def leave(self, guest: Guest) -> None:
        """Take note that somebody logged on, or is gone; nothing happens where it was not here."""
        origin = self._origin_of.pop(guest, None)
        if origin is not None:
            group = self._origins[origin]
            del group[guest]
            if not group:
                del self._origins[origin]


def _first_to_go(group: dict[Guest, None]) -> Guest:
    longest = next(iter(group))
    return next((guest for guest in group if not guest.is_asked_about), longest)
