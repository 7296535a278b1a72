"""[[fix.counterparty]] and [reconciliation]: what is refused, and where it is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config import ConfigError, parse
from gateway.config.counterparties import takes_tls
from tests.gateway.clearing_rig import HOUSE, config


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"host": '"fix.example"', "uses_tls": "false"}, "uses_tls: fix.example can be reached over a network only"),
        ({"tls_key_file": '"k"'}, "tls_certificate_file: is missing"),
        ({"ca_file": '"no-such"'}, "ca_file: there is no file"),
        ({"begin_string": '"FIX.4.4"', "asks": '["margin"]'}, "asks: FIX.4.4 has no MarginRequirementInquiry(CH)"),
        ({"kind": '"oms"', "reports_trades": "true"}, "reports_trades: is for a clearing house"),
        ({"authentication": '"password"'}, "credentials_file: authentication = "),
        ({"credentials_env": '"X"'}, 'credentials_file: has no use with authentication = "none"'),
        ({"reconnect_min_ms": "60000"}, "reconnect_max_ms: must not be less than reconnect_min_ms"),
        ({"ask_interval_s": "5"}, "answer_timeout_s: must not be more than ask_interval_s, 5, not 10"),
        ({"accounts": '["nobody"]'}, 'accounts[0]: there is no [[account]] with the name "nobody"'),
        ({"name": '"deribit"'}, "name: a venue has this name"),
        ({"asks": '["weather"]'}, "asks"),
        ({"host": '"no host"'}, "host"),
        ({"ask_intervall_s": "5"}, "ask_intervall_s"),
    ],
)
def test_what_is_refused(changes: dict[str, str], expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(config(**changes), Path("g.toml"))
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("balance_block_bps = 0", "balance_block_bps: must not be less than balance_agree_bps, 1, not 0"),
        ("margin_block_bps = 7", "margin_block_bps: must not be less than margin_agree_bps, 50, not 7"),
        ("venue_interval_s = 0", "venue_interval_s"),
    ],
)
def test_tolerances_that_mean_nothing(table: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(f"{config()}[reconciliation]\n{table}\n", Path("g.toml"))
    assert expected in str(caught.value)


def test_names_are_told_apart_and_networks_take_tls() -> None:
    with pytest.raises(ConfigError, match='another counterparty "HOUSE" before this one'):
        parse(config(HOUSE + HOUSE), Path("g.toml"))
    (near,) = parse(config(), Path("g.toml")).fix.counterparty
    (far,) = parse(config(host='"fix.example"'), Path("g.toml")).fix.counterparty
    assert (takes_tls(near), takes_tls(far)) == (False, True)
