"""The file of days that stress scenarios are made of: a table a day, coins and their relative moves."""

import tomllib
from math import isfinite
from pathlib import Path

from risk.joint import MAX_DAYS
from risk.periods import MAX_MOVE

MAX_BYTES = 4 << 20


def read_days(path: Path) -> dict[str, dict[str, float]]:
    """Return the days of a file.

    Raises
    ------
    ValueError
        Saying what is wrong with it: unreadable, no TOML of tables of moves, too large, a day without a coin.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise ValueError(f"is larger than {MAX_BYTES} bytes")
        document = tomllib.loads(data.decode())
    except OSError as error:
        raise ValueError(f"can not be read: {error.strerror}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"is no TOML: {error}") from error
    if not 1 <= len(document) <= MAX_DAYS:
        raise ValueError(f"has {len(document)} days, not 1 to {MAX_DAYS}")
    coins: set[str] = set()
    days: dict[str, dict[str, float]] = {}
    for day, moves in document.items():
        if not isinstance(moves, dict) or not moves:
            raise ValueError(f"{day}: is no table of coins and moves")
        for coin, move in moves.items():
            if type(move) not in (int, float) or not isfinite(move) or not -1 < move <= MAX_MOVE:
                raise ValueError(f"{day}, {coin}: a move is a number above -1 and at most {MAX_MOVE}")
        days[day] = {coin: float(move) for coin, move in moves.items()}
        coins |= moves.keys()
    for day, moves in days.items():
        if lacking := sorted(coins - moves.keys()):
            raise ValueError(f"{day}: has no move of {', '.join(lacking)}")
    return days
