"""A fill that its venue tells and a drop copy tells too is one, at each venue, whose own trade ids copies have."""

from __future__ import annotations

from pathlib import Path

import pytest

from protocols.fix.codec import Layout, format_timestamp
from tests.gateway.lane_rig import BINANCE, BYBIT, CASES, OKX, T0_NS, Venue, config_of
from tests.gateway.rig import Rig
from tests.gateway.test_versions import Peer
from tests.gateway.venues.test_faults_venues_orders import lots, unit
from tests.protocols.venues.cases import Case

# What the venues themselves call the trade that the stand-ins number 1.
OWN_ID = {BINANCE.name: b"1", OKX.name: b"1", BYBIT.name: b"e-1"}
COPY = Layout("8", (1, 6, 14, 17, 31, 32, 37, 39, 54, 55, 60, 150, 151, 880))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize(("suffix", "is_copied_first"), [("", False), (".X", False), (".X", True)])
def test_a_fill_by_its_venue_and_by_a_copy_counts_once(
    tmp_path: Path, case: Case, suffix: str, is_copied_first: bool
) -> None:
    config = config_of(case).replace('accounts = ["beta", "gamma"]', 'accounts = ["alpha", "beta", "gamma"]')
    oms_session = 'target_comp_id = "ALPHA"\nbegin_string = "FIXT.1.1"\nkind = "drop_copy_in"'
    config = config.replace('target_comp_id = "ALPHA"', oms_session)
    config = config.replace('symbol_suffix = ""', f'symbol_suffix = "{suffix}"')
    rig = Rig(tmp_path, config=config, now_ns=T0_NS, marks={}, segment_bytes=1 << 18)
    try:
        one = Venue(rig, case, suffix).connect()
        one.mark()
        one.value()
        desk, oms = rig.desk("BETA").log_on(), Peer(rig, "FIXT.1.1")
        one.answer(one.order(desk, account="alpha"))
        one.tell(case.order())
        order = rig.only_order()

        def copy(exec_id: bytes, side: bytes) -> None:
            values = (b"alpha", b"50000", b"0.04", exec_id, b"50000", b"0.04", b"o", b"1", side, one.symbol.encode())
            oms.session.send(COPY, (*values, format_timestamp(rig.now_ns), b"F", b"0", OWN_ID[case.name]), rig.now_ns)
            assert oms.pump() == []

        if is_copied_first:
            copy(b"x1", b"1")
            assert rig.ledger.accounts["alpha"].position_lots(order.instrument.index) == 40 * unit(case)
        one.tell(*case.fill(1, "0.040", "0.040"))
        if not is_copied_first:
            copy(b"x1", b"1")
        held = rig.ledger.accounts["alpha"].position_lots(order.instrument.index)
        assert held == lots(one) == order.cum_lots == 40 * unit(case), (held, rig.monitor.alerts)
        if not is_copied_first:  # the other side of the trade is a fill of its own
            copy(b"x2", b"2")
            assert rig.ledger.accounts["alpha"].position_lots(order.instrument.index) == 0
            assert lots(one) == 40 * unit(case)
        rig.check_replay()
    finally:
        rig.journal.close()
