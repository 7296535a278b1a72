"""Who waits to log on, and who goes when it is full."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.clients.lobby import Lobby


class Guest:
    def __init__(self, name: str, is_asked_about: bool = False) -> None:
        self.name = name
        self.is_asked_about = is_asked_about

    def __repr__(self) -> str:
        return self.name


def test_the_longest_waiting_of_an_address_makes_room_for_its_next() -> None:
    lobby: Lobby[Guest] = Lobby(max_guests=10, max_of_origin=2)
    first, second, third = (Guest(name) for name in ("first", "second", "third"))
    assert lobby.enter(first, "a", 10) is None and lobby.enter(second, "a", 10) is None
    assert lobby.enter(third, "a", 10) is first
    assert first not in lobby and second in lobby and third in lobby and len(lobby) == 2


def test_a_full_lobby_takes_from_the_most_crowded_address() -> None:
    lobby: Lobby[Guest] = Lobby(max_guests=4, max_of_origin=3)
    crowd = [Guest(f"c{number}") for number in range(3)]
    for guest in crowd:
        lobby.enter(guest, "crowd", 10)
    alone = Guest("alone")
    lobby.enter(alone, "a", 10)
    assert lobby.enter(Guest("new"), "b", 10) is crowd[0] and alone in lobby


def test_whose_logon_is_being_looked_at_goes_last() -> None:
    lobby: Lobby[Guest] = Lobby(max_guests=4, max_of_origin=2)
    asked, idle = Guest("asked", is_asked_about=True), Guest("idle")
    lobby.enter(asked, "a", 10)
    lobby.enter(idle, "a", 10)
    third = Guest("third", is_asked_about=True)
    assert lobby.enter(third, "a", 10) is idle
    assert lobby.enter(Guest("fourth"), "a", 10) is asked  # even they: newcomers always get in


def test_room_in_all_counts_too() -> None:
    lobby: Lobby[Guest] = Lobby(max_guests=10, max_of_origin=10)
    first = Guest("first")
    lobby.enter(first, "a", 1)
    assert lobby.enter(Guest("second"), "b", 1) is first


def test_leaving_twice_or_without_having_come_is_nothing() -> None:
    lobby: Lobby[Guest] = Lobby(max_guests=2, max_of_origin=2)
    guest = Guest("guest")
    lobby.leave(guest)
    lobby.enter(guest, "a", 2)
    lobby.leave(guest)
    lobby.leave(guest)
    assert len(lobby) == 0


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans(), st.booleans()), max_size=80), st.integers(1, 6))
def test_bounds_hold_and_the_newcomer_is_always_in(steps: list[tuple[int, bool, bool]], room: int) -> None:
    lobby: Lobby[Guest] = Lobby(max_guests=5, max_of_origin=2)
    here: dict[Guest, str] = {}
    for number, (origin_number, is_asked_about, leaves) in enumerate(steps):
        origin = f"o{origin_number}"
        if leaves and here:
            gone = next(iter(here))
            lobby.leave(gone)
            del here[gone]
            continue
        guest = Guest(f"g{number}", is_asked_about)
        crowded = max((list(here.values()).count(o) for o in here.values()), default=0)
        leaving = lobby.enter(guest, origin, room)
        if leaving is not None:
            # Only the newcomer's own address, or the most crowded of all, loses anybody.
            assert here[leaving] == origin or list(here.values()).count(here[leaving]) == crowded
            del here[leaving]
        here[guest] = origin
        assert guest in lobby and len(lobby) == len(here) <= max(5, 1)
        assert len(here) <= min(5, room)
        assert all(list(here.values()).count(o) <= 2 for o in here.values())
