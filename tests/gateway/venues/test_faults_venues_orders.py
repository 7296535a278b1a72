"""Faults 34 to 40 on venues of several lanes: fills, answers, positions and clocks."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway.venues.feed_clock import PERIOD_NS
from protocols.venues import events
from risk.account import AccountState
from risk.lifecycle import OrdStatus
from tests.gateway.lane_rig import (
    CASES,
    FLAT,
    MS,
    OKX,
    T0_MS,
    S,
    Venue,
    venue,
)
from tests.gateway.rig import shown
from tests.protocols.venues import fake_binance, fake_bybit, fake_okx
from tests.protocols.venues.cases import Case
from tests.protocols.venues.lane_peer import RefusalError

each = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def later(case: Case, ms: int = 5) -> int:
    return T0_MS + ms


def lots(one: Venue) -> int:
    """The house's position there."""
    return one.rig.ledger.venue_lots(one.case.name).get(one.symbol, 0)


def unit(case: Case) -> int:
    """Lots of 0.001 BTC."""
    return 10 if case is OKX else 1


# -- 34: the same fill on three ways ---------------------------------------------------------------------------------


@each
def test_34_a_fill_by_stream_query_and_reconciliation_counts_once(tmp_path: Path, case: Case) -> None:
    with venue(tmp_path, case) as one:
        rig, desk = one.rig, one.rig.desk().log_on()
        order = one.rest(desk)
        fill = case.fill(1, "0.040", "0.040")
        one.tell(*fill)
        one.tell(*fill)
        route = {
            "binance": "GET /fapi/v1/userTrades",
            "okx": "GET /api/v5/trade/fills",
            "bybit": "GET /v5/execution/list",
        }
        trade = {
            "binance": lambda _: [fake_binance.user_trade(id=1)],
            "okx": lambda _: [fake_okx.fill_wire(tradeId="1")],
            "bybit": lambda request: {
                "list": [fake_bybit.execution(execId="e-1")] if "linear" in request.target else [],
                "nextPageCursor": "",
            },
        }[case.name]
        label = one.link.session.tables.client_ids.encode(order.order_id).encode()
        one.peer.answers[route[case.name]] = lambda request: orjson.loads(
            orjson.dumps(trade(request)).replace(b'"a1"', b'"%s"' % label)
        )
        position = {
            "binance": {"v2/account.position": lambda _: [fake_binance.POSITION | {"positionAmt": "0.040"}]},
            "okx": {"GET /api/v5/account/positions": lambda _: [fake_okx.POSITION | {"pos": "4"}]},
            "bybit": {
                "GET /v5/position/list": lambda request: {
                    "list": [fake_bybit.POSITION | {"side": "Buy", "size": "0.040"}] * ("USDT" in request.target),
                    "nextPageCursor": "",
                }
            },
        }[case.name]
        one.peer.answers |= position
        one.peer.answers[case.routes["open orders"]] = lambda request: still_open(case, label, request)
        one.link.session.reconcile(rig.now_ns)
        one.pump()
        one.hang_up(one.stream)
        one.connect()
        assert one.is_live and lots(one) == 40 * unit(case) and order.cum_lots == 40 * unit(case)
        assert rig.monitor.fills == 1 and not rig.ledger.breaks
        rig.check_replay()


def still_open(case: Case, label: bytes, request: Any) -> Any:
    order = orjson.loads(orjson.dumps(case.open_order("0.040")).replace(b'"a1"', b'"%s"' % label))
    if case.name != "bybit":
        return [order]
    return {"list": [order] if "linear" in request.target and "USDC" not in request.target else [],
            "nextPageCursor": ""}  # fmt: skip


# -- 35: fills before, after and beyond ------------------------------------------------------------------------------


@each
def test_35_a_fill_before_the_acknowledgement(tmp_path: Path, case: Case) -> None:
    with venue(tmp_path, case) as one:
        desk = one.rig.desk().log_on()
        frame = one.order(desk)
        one.tell(*case.fill(1, "0.100", "0.100"))
        assert shown(desk.pump(), 150, 39)[-1] == ("8", "F", "2")
        one.answer(frame)
        assert desk.pump() == [] and lots(one) == 100 * unit(case) and not one.rig.ledger.breaks
        one.rig.check_holds()


@each
def test_35_a_fill_after_the_cancel_is_in_the_position_and_a_break(tmp_path: Path, case: Case) -> None:
    with venue(tmp_path, case) as one:
        desk = one.rig.desk().log_on()
        order = one.rest(desk)
        one.tell(case.order("cancelled", time_ms=later(case)))
        assert order.status is OrdStatus.CANCELED
        one.tell(*case.fill(1, "0.040", "0.040", time_ms=later(case, 1)))
        assert lots(one) == 40 * unit(case)
        assert "filled after it had ended" in one.rig.ledger.breaks[-1].text
        one.rig.check_holds()
        one.rig.check_replay()


@each
def test_35_an_overfill_is_in_the_position_and_a_break(tmp_path: Path, case: Case) -> None:
    with venue(tmp_path, case) as one:
        desk = one.rig.desk().log_on()
        one.rest(desk)
        one.tell(*case.fill(1, "0.100", "0.100"))
        one.tell(*case.fill(2, "0.040", "0.100", time_ms=later(case)))
        assert lots(one) == 140 * unit(case) and one.rig.ledger.breaks
        one.rig.check_holds()


@each
def test_35_a_bust_and_a_correction(tmp_path: Path, case: Case) -> None:
    """No venue of these tells busts on its streams; an operator does, and both find the trade by its id."""
    with venue(tmp_path, case) as one:
        desk = one.rig.desk().log_on()
        one.rest(desk)
        one.tell(*case.fill(1, "0.040", "0.040"), *case.fill(2, "0.060", "0.100", time_ms=later(case)))
        ids = sorted(trade_id for _, trade_id in one.rig.ledger.trade_ids)
        one.link.hear(events.TradeBusted(ids[0]), one.rig.now_ns)
        assert lots(one) == 60 * unit(case)
        corrected = events.TradeCorrected(ids[1], Decimal("0.050"), Decimal(50_000), Decimal("0.8"))
        one.link.hear(corrected, one.rig.now_ns)
        assert lots(one) == 50 * unit(case)
        one.rig.check_replay()


# -- 36, 37: answers to what was asked -------------------------------------------------------------------------------


@each
def test_36_a_reject_after_the_hold_releases_it_once(tmp_path: Path, case: Case) -> None:
    with venue(tmp_path, case) as one:
        desk = one.rig.desk().log_on()
        frame = one.order(desk)
        assert one.rig.ledger.accounts["alpha"].exposure.orders
        one.refuse(frame, RefusalError(case.codes["definite"], "margin is not sufficient"))
        assert shown(desk.pump(), 150) == [("8", "8")]
        one.refuse(frame, RefusalError(case.codes["definite"], "margin is not sufficient"))
        assert desk.pump() == [] and not one.rig.ledger.accounts["alpha"].exposure.orders
        one.rig.check_holds()


@each
def test_37_a_cancel_that_races_a_fill_holds_until_the_venue_has_told(tmp_path: Path, case: Case) -> None:
    gone = {"binance": -2011, "okx": 51400, "bybit": 110001}[case.name]
    with venue(tmp_path, case) as one:
        desk = one.rig.desk().log_on()
        order = one.rest(desk)
        desk.cancel("ALPHA-1")
        (frame,) = one.pump()
        one.refuse(frame, RefusalError(gone, "Unknown order sent."))
        assert order.is_working and order.held is not None
        desk.pump()
        one.tell(*case.fill(1, "0.100", "0.100"))
        assert order.status is OrdStatus.FILLED and lots(one) == 100 * unit(case)
        one.rig.check_holds()


@each
def test_37_an_amend_that_races_a_fill_holds_the_worse_of_both(tmp_path: Path, case: Case) -> None:
    with venue(tmp_path, case) as one:
        desk = one.rig.desk().log_on()
        order = one.rest(desk)
        assert desk.replace("ALPHA-1", symbol=one.symbol, quantity="0.15", price="50000") == []
        (frame,) = one.pump()
        assert order.held_lots() == 150 * unit(case)
        one.tell(*case.fill(1, "0.040", "0.040"))
        assert order.held_lots() == 110 * unit(case)  # what the larger one would have left
        one.refuse(frame, RefusalError(case.codes["definite"], "no"))
        assert order.replace is None and order.held_lots() == 60 * unit(case)
        one.rig.check_holds()


# -- 38, 39: positions -----------------------------------------------------------------------------------------------


def short(case: Case) -> dict[str, Any]:
    """A position of -0.03 that we know nothing of."""
    listed = {"list": [fake_bybit.POSITION], "nextPageCursor": ""}
    nothing = {"list": [], "nextPageCursor": ""}
    return {
        "binance": {"v2/account.position": lambda _: [fake_binance.POSITION]},
        "okx": {"GET /api/v5/account/positions": lambda _: [fake_okx.POSITION]},
        "bybit": {"GET /v5/position/list": lambda request: nothing if "USDC" in request.target else listed},
    }[case.name]


@each
def test_38_positions_that_changed_while_we_were_away_are_a_break_and_no_trade(tmp_path: Path, case: Case) -> None:
    with venue(tmp_path, case, connects=False) as one:
        one.peer.answers |= short(case)
        one.connect()
        ledger = one.rig.ledger
        assert {account.state for account in ledger.accounts.values()} == {AccountState.REDUCING}
        assert ledger.breaks[0].text.startswith("position break: ours 0.") and "'s -0.03" in ledger.breaks[0].text
        assert lots(one) == 0
        assert one.rig.monitor.fills == 0 and one.is_live


@each
def test_39_a_position_query_that_times_out_is_unknown_and_not_flat(tmp_path: Path, case: Case) -> None:
    name = next(iter(FLAT[case.name]))
    with venue(tmp_path, case, connects=False) as one:
        answer, one.peer.answers[name] = one.peer.answers[name], None
        one.connect()
        assert not one.is_live
        for _ in range(6):
            one.pass_time(S)
        assert not one.is_live and one.link.must_close and not one.rig.ledger.breaks
        one.obey()
        one.peer.answers[name] = answer
        one.connect()
        assert one.is_live


# -- 40: clocks ------------------------------------------------------------------------------------------------------


@each
@pytest.mark.parametrize("step_ns", [-3_600 * S, 3_600 * S])
def test_40_a_wall_clock_that_steps_makes_marks_unusable_for_a_while_at_most(
    tmp_path: Path, case: Case, step_ns: int
) -> None:
    """The venue's clock stays: until it was asked again, marks are refused or old. Nothing is booked or expires."""
    with venue(tmp_path, case) as one:
        one.rig.now_ns += step_ns
        for _ in range(3):
            one.mark(late_ms=step_ns // MS)
            one.pass_time(PERIOD_NS)
            one.connect()
        one.connect()
        assert not one.rig.ledger.breaks and one.rig.monitor.fills == 0
