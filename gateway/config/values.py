"""What values of a configuration may look like: names, addresses, times, moves."""

import ipaddress
from decimal import Decimal
from itertools import pairwise
from typing import Annotated

from msgspec import Struct

from gateway.config.rules import POSITIVE, Rule, matching
from protocols.fix.authentication import public_key_of

MAX_GRID_POINTS = 64

# What an account may hold, be measured in, and what a venue may be asked about.
CURRENCIES = ("BTC", "ETH", "EURR", "SOL", "USD", "USDC", "USDT", "XRP")

NAME = matching(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", "of 1 to 64 letters, digits, '.', '_' or '-'")
SYMBOL = matching(r"[A-Za-z0-9._-]{1,64}", "of 1 to 64 letters, digits, '.', '_' or '-'")
SUB_ID = matching(r"[!-~]{1,64}", "of 1 to 64 characters, ASCII, without spaces")
TIME_OF_DAY = matching(r"([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?", "that is a time as 08:00 or 08:00:00")
ZONE = matching(r"[A-Za-z][A-Za-z0-9_+/-]{0,63}", "that is a time zone as Europe/London")
PATTERN = matching(r"[A-Za-z0-9._*?\[\]-]{1,64}", "of 1 to 64 letters, digits, '.', '_', '-' or wildcards * ? []")
ENVIRONMENT_PREFIX = matching(r"[A-Z][A-Z0-9_]{0,63}", "of capital letters, digits and '_'")
CURRENCY = Rule("that is one of " + ", ".join(CURRENCIES), lambda value: value in CURRENCIES)
FRACTION = Rule("above 0 and below 1", lambda value: 0 < value < 1)
UP_TO_TEN = Rule("above 0 and at most 10", lambda value: 0 < value <= 10)
# A price cannot lose more than everything; at -1 exactly its logarithm is gone.
MOVE = Rule("above -1 and at most 100", lambda value: -1 < value <= 100)
ASCENDING = Rule("in ascending order", lambda value: all(a < b for a, b in pairwise(value)))
WITH_ZERO = Rule("with 0, the unmoved market", lambda value: 0 in value)
BOTH_WAYS = Rule("with a fall and a rise", lambda value: min(value) < 0 < max(value))
FEW_POINTS = Rule(f"with at most {MAX_GRID_POINTS} moves", lambda value: len(value) <= MAX_GRID_POINTS)


def is_loopback(host: str) -> bool:
    """Say whether a host, as it is written in a file or an URL, can only be this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_host(value: str) -> bool:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return value == "localhost"
    return True


HOST = Rule("that is an IP address or localhost", _is_host)


def _is_network(value: str) -> bool:
    try:
        ipaddress.ip_network(value)
    except ValueError:
        return False
    return True


def _is_public_key(value: str) -> bool:
    try:
        public_key_of(value.encode())
    except ValueError:
        return False
    return True


NETWORK = Rule("that is an IP address or a network, as 192.0.2.0/24", _is_network)
PUBLIC_KEY = Rule("that is an Ed25519 public key: base64 of its 32 bytes", _is_public_key)
SUFFIX = matching(r"[A-Za-z0-9._-]{0,16}", "of up to 16 letters, digits, '.', '_' or '-'")
SHA256 = matching(r"[0-9a-f]{64}", "of 64 small hex digits")

Name = Annotated[str, NAME]
Currency = Annotated[str, CURRENCY]
Amount = Annotated[Decimal, POSITIVE]


class Table(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the tables have in common."""
