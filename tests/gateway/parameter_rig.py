"""Margin parameters for tests: sets of the rig's two coins, and a rig with its people."""

from __future__ import annotations

from typing import Any, Final

from gateway.parameters.file import ParameterFile, encoded, hash_of
from gateway.parameters.running import Parameters
from risk.fhs.points import TailPoint
from risk.parameter_set import ParameterSet, UnderlyingParameters
from tests.gateway.rig import CONFIG, START_NS, Rig

TODAY: Final = START_NS // 86_400_000_000_000
VERSION: Final = "t"
TWO_PEOPLE: Final = "\n[parameters]\n"


def coin(scale: float = 0.03, **changes: Any) -> UnderlyingParameters:
    """One coin, of which the filter and the long run say the same."""
    given = {"sigma": scale, "long_run": scale, "long_run_weight": 0.5, "decay": 0.975, "haircut": 0.12}
    return UnderlyingParameters(**(given | {"collar": (0.04, 0.05)} | changes))


def parameter_set(
    fall: float = -0.2, rise: float = 0.25, coins: tuple[str, ...] = ("BTC", "ETH"), **changes: Any
) -> Any:
    """Points long and short of all coins at once."""
    points = [
        TailPoint("long all", dict.fromkeys(coins, fall)),
        TailPoint("short all", dict.fromkeys(coins, rise)),
    ]
    given = {"as_of_day": TODAY - 1, "horizon_days": 1.0, "confidence": 0.975, "points": points}
    given |= {"underlyings": {name: coin() for name in coins}}
    return ParameterSet(**(given | changes))


def content_of(given: ParameterSet, **changes: Any) -> bytes:
    """The bytes of its file."""
    named = {"format": 1, "identity": "fit", "code_version": VERSION, "data_hash": "data", "parameters": given}
    return encoded(ParameterFile(**(named | changes)))


def propose(rig: Rig, given: ParameterSet | None = None, by: str = "anna") -> int:
    """Propose a set."""
    content = content_of(parameter_set() if given is None else given)
    return rig.core.parameters.propose(content, hash_of(content), VERSION, by, "a fit", rig.now_ns)


def settle(rig: Rig) -> Parameters:
    """Work out all effects that wait."""
    parameters = rig.core.parameters
    while not parameters.step(rig.now_ns):
        pass
    return parameters


def put_in_force(rig: Rig, given: ParameterSet | None = None) -> int:
    """Propose, show, approve by two, activate, and price a generation."""
    number = propose(rig, given)
    parameters = settle(rig)
    parameters.approve(number, "boris", "seen", rig.now_ns)
    if parameters.book.proposals[number].stage.value == "seconded":
        parameters.approve(number, "clara", "seen", rig.now_ns)
    parameters.activate(number, "boris", "now", rig.now_ns)
    rig.core.valuation.run(rig.now_ns)
    return number


PARAMETERS_CONFIG: Final = CONFIG + TWO_PEOPLE
