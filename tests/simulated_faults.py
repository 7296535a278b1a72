"""How often the simulated Deribit does what it should not, in a world of the simulator."""

from __future__ import annotations

from random import Random

from fixtures.venues.deribit_faults import Fault


def fault_chances(random: Random) -> dict[Fault, float]:
    """Every seed has some faults, rare enough that trading goes on."""
    chances = {fault: random.choice((0.0, 0.01, 0.05)) for fault in Fault}
    chances[Fault.SILENCE] = random.choice((0.0, 0.0, 0.002))
    chances[Fault.BOOK_GAP] = random.choice((0.0, 0.001))
    chances[Fault.LOG_ROW_MISSING] = 0.0  # what never comes is a break, and a test of its own
    return chances
