"""Orders of one client do not meet, over sessions and accounts; refused, or what they would meet is cancelled first."""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures.fix_conversation import text
from gateway import records
from gateway.clients.disconnects import CONFIRM_WITHIN_NS
from tests.gateway.rig import CONFIG, Rig, SmallDisk, accepted, cancelled, opened, shown

ONE_CLIENT = CONFIG.replace('name = "alpha"', 'name = "alpha"\nclient = "ACME"').replace(
    'name = "beta"', 'name = "beta"\nclient = "ACME"'
)


def prevention(what: str, config: str = ONE_CLIENT) -> str:
    return config.replace('client = "ACME"', f'client = "ACME"\nself_trade_prevention = "{what}"')


def crossing(rig: Rig, what: str = "other") -> tuple[list[str], list[str]]:
    """ALPHA sells at 60 500, then somebody buys there; return what each was told."""
    alpha = rig.desk().log_on()
    alpha.order(cl_ord_id="resting", side=2, price=60_500)
    rig.hear(accepted(rig.only_order()))
    alpha.pump()
    buyer, account = (rig.desk("BETA").log_on(), "beta") if what == "other" else (alpha, None)
    told = buyer.order(cl_ord_id="crossing", account=account, price=60_500)
    return [text(m, 20001) for m in told], [text(m, 39) for m in alpha.pump()]


@pytest.mark.parametrize("what", ["own", "other"])
def test_an_order_that_would_meet_one_of_the_same_client_is_refused(tmp_path: Path, what: str) -> None:
    with opened(tmp_path, config=ONE_CLIENT) as rig:
        assert crossing(rig, what) == (["603"], [])
        assert len(rig.link.placed) == 1
        (refused,) = rig.of_type(records.OrderRefused)
        assert (refused.check, refused.limit, refused.observed) == ("own_orders_are_not_met", 60_500.0, 60_500.0)
        rig.check_replay()


def test_accounts_of_different_clients_may_trade(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        assert crossing(rig) == ([], []) and len(rig.link.placed) == 2


def test_accounts_that_a_session_shares_are_one_client_by_default(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        beta = rig.desk("BETA").log_on()
        assert beta.order(account="gamma", side=2, price=60_500, quantity=10) == []
        (refused,) = beta.order(account="beta", price=60_500)
        assert text(refused, 20001) == "603"


def test_off_lets_them_meet(tmp_path: Path) -> None:
    with opened(tmp_path, config=prevention("off")) as rig:
        assert crossing(rig) == ([], []) and rig.link.cancelled == []


def test_what_would_be_met_is_cancelled_ahead_of_the_order(tmp_path: Path) -> None:
    with opened(tmp_path, config=prevention("cancel_resting")) as rig:
        assert crossing(rig) == ([], [])
        resting, order = rig.ledger.orders.values()
        sent = [entry for entry in rig.log if entry[0] in ("place", "cancel")]
        assert sent[-2:] == [("cancel", resting.order_id), ("place", order.order_id)]
        rig.hear(cancelled(resting), accepted(order))
        rig.core.controls.tick(rig.now_ns)
        assert rig.core.controls.watch.confirmed == 1
        rig.check_replay()
        rig.check_holds()


def test_what_the_venue_has_not_named_can_not_be_cancelled_ahead(tmp_path: Path) -> None:
    with opened(tmp_path, config=prevention("cancel_resting")) as rig:
        alpha = rig.desk().log_on()
        alpha.order(side=2, price=60_500)
        (refused,) = rig.desk("BETA").log_on().order(account="beta", price=60_500)
        assert text(refused, 20001) == "603" and rig.link.cancelled == []


def test_a_second_order_needs_no_second_cancel(tmp_path: Path) -> None:
    with opened(tmp_path, config=prevention("cancel_resting")) as rig:
        crossing(rig)
        beta = rig.desks[-1]
        assert beta.order(account="beta", price=60_500) == []
        assert len(rig.link.cancelled) == 1 and len(rig.link.placed) == 3


def test_a_cancel_that_the_venue_does_not_confirm_is_told_of(tmp_path: Path) -> None:
    with opened(tmp_path, config=prevention("cancel_resting")) as rig:
        crossing(rig)
        rig.now_ns += CONFIRM_WITHIN_NS
        rig.core.controls.tick(rig.now_ns)
        assert rig.monitor.alerts[-1].startswith("self-trade prevention: 1 orders not confirmed")


@pytest.mark.parametrize("what", ["reject", "cancel_resting"])
def test_a_replace_that_would_meet_one_is_judged_alike(tmp_path: Path, what: str) -> None:
    with opened(tmp_path, config=prevention(what)) as rig:
        alpha = rig.desk().log_on()
        alpha.order(cl_ord_id="sell", side=2, price=60_500)
        alpha.order(cl_ord_id="buy", price=59_000)
        rig.hear(*(accepted(order) for order in list(rig.ledger.orders.values())))
        alpha.pump()
        told = alpha.replace("buy", price=60_500)
        sell, buy = rig.ledger.orders.values()
        if what == "reject":
            assert text(told[0], 58).startswith("SELF_TRADE") and rig.link.replaced == []
        else:
            sent = [entry for entry in rig.log if entry[0] in ("replace", "cancel")]
            assert told == [] and sent == [("cancel", sell.order_id), ("replace", buy.order_id)]
        rig.check_replay()
        rig.check_holds()


def test_working_orders_are_known_again_after_a_restart(tmp_path: Path) -> None:
    with opened(tmp_path, config=ONE_CLIENT) as rig:
        alpha = rig.desk().log_on()
        alpha.order(side=2, price=60_500)
        rig.hear(accepted(rig.only_order()))
        again = rig.restart()
        beta = again.desk("BETA").log_on()
        (refused,) = beta.order(account="beta", price=60_500)
        assert text(refused, 20001) == "603"
        (order,) = again.ledger.orders.values()
        again.hear(cancelled(order))
        assert beta.order(account="beta", price=60_500) == []
        again.journal.close()


def test_a_market_order_meets_what_its_collar_reaches(tmp_path: Path) -> None:
    with opened(tmp_path, config=ONE_CLIENT) as rig:
        alpha = rig.desk().log_on()
        alpha.order(side=2, price=62_900)
        (refused,) = alpha.order(ord_type=1, price=None)
        assert shown([refused], 20001) == [("8", "603")]


def test_a_full_disk_keeps_no_order_from_being_cancelled_ahead(tmp_path: Path) -> None:
    disk = SmallDisk()
    with opened(tmp_path, config=prevention("cancel_resting"), files=disk) as rig:
        crossing(rig)
        assert rig.link.cancelled and rig.monitor.alerts == []
