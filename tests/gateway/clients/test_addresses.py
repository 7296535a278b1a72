"""Addresses, networks, and whom an address counts for."""

from __future__ import annotations

import pytest

from gateway.clients.addresses import address_of, is_within, networks_of, origin_of


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::7", "2001:db8:1:2::/64"),
        ("::1", "::/64"),
        ("fe80::1%eth0", "fe80::/64"),
    ],
)
def test_origins(text: str, origin: str) -> None:
    assert origin_of(address_of(text)) == origin


def test_networks() -> None:
    networks = networks_of(["192.0.2.0/24", "198.51.100.7", "2001:db8::/32"])
    inside = ["192.0.2.255", "::ffff:192.0.2.9", "198.51.100.7", "2001:db8:ffff::1"]
    outside = ["192.0.3.0", "198.51.100.8", "2001:db9::", "::1"]
    assert all(is_within(address_of(text), networks) for text in inside)
    assert not any(is_within(address_of(text), networks) for text in outside)
    assert all(is_within(address_of(text), ()) for text in [*inside, *outside])
    for wrong in ("192.0.2.1/24", "192.0.2.0/33", "", "host"):
        with pytest.raises(ValueError, match=r"address|network|host bits"):
            networks_of([wrong])
