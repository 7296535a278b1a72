"""Addresses of peers: where they may come from, and which of them count as one."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def address_of(text: str) -> Address:
    """Return the address as it is written, an IPv4 address within IPv6 as IPv4; raises ValueError."""
    address = ipaddress.ip_address(text)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def origin_of(address: Address) -> str:
    """Return whom an address counts for: itself, or in IPv6 its /64, which is what one household or host is given."""
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    return str(ipaddress.ip_network((int(address), 64), strict=False))


def networks_of(texts: Iterable[str]) -> tuple[Network, ...]:
    """Return networks as they are written, "192.0.2.0/24" or a single address; raises ValueError."""
    return tuple(ipaddress.ip_network(text) for text in texts)


def is_within(address: Address, networks: tuple[Network, ...]) -> bool:
    """Say whether an address may come from there; no networks at all mean from anywhere."""
    return not networks or any(address in network for network in networks)
