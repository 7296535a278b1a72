"""OrderMassCancelRequest(q) and OrderMassStatusRequest(AF): scopes, refusals, what is told and what is sent."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import simplefix

from fixtures.fix_conversation import text
from gateway import records
from gateway.journal import JournalFailed
from gateway.messages.mass_requests import STATUS_REPORTS
from tests.gateway.rig import BTC, CONFIG, ETH, NOW_TEXT, Desk, Rig, SmallDisk, accepted, cancelled, opened, shown
from tests.gateway.test_pipeline_journal import opened_failing

# Working orders of BETA's accounts: (account, symbol, side).
ORDERS = [
    ("beta", BTC, 1), ("beta", BTC, 2), ("beta", "BTC-26DEC25", 1), ("gamma", BTC, 1), ("gamma", ETH, 2),
]  # fmt: skip
WIDE = CONFIG.replace('deposits = { USDC = "1000" }', 'deposits = { USDC = "1000000" }')
PRICES = {BTC: 59_000, ETH: 2_000, "BTC-26DEC25": 59_000}


def trading(rig: Rig) -> Desk:
    """BETA with its orders working, ALPHA with one that nobody else may touch."""
    alpha, beta = rig.desk("ALPHA").log_on(), rig.desk("BETA").log_on()
    alpha.order()
    for number, (account, symbol, side) in enumerate(ORDERS):
        price = PRICES[symbol] * (1.02 if side == 2 else 1)
        assert not beta.order(
            cl_ord_id=f"o{number}", account=account, symbol=symbol, side=side, price=price, quantity=10
        )
    for number, order in enumerate(rig.ledger.orders.values()):
        rig.hear(accepted(order, f"V{number}"))
    beta.pump()
    alpha.pump()
    rig.log.clear()
    return beta


def world(tmp_path: Path, **options: Any) -> Any:
    marks = {BTC: 60_000.0, ETH: 2_000.0, "BTC-26DEC25": 60_000.0}
    return opened(tmp_path, config=WIDE, marks=marks, **options)


def ask_cancel(desk: Desk, kind: str, *fields: tuple[int, Any]) -> list[simplefix.FixMessage]:
    return desk.send("q", (11, desk.next_id()), (530, kind), *fields, (60, NOW_TEXT))


SCOPES: list[tuple[str, list[tuple[int, Any]], set[int]]] = [
    ("7", [], {0, 1, 2, 3, 4}),
    ("7", [(1, "gamma")], {3, 4}),
    ("7", [(54, 2)], {1, 4}),
    ("7", [(1, "gamma"), (54, 2)], {4}),
    ("1", [(55, BTC)], {0, 1, 3}),
    ("1", [(55, BTC), (54, 1)], {0, 3}),
    ("2", [(311, "ETH")], {4}),
    ("2", [(311, "BTC"), (54, 1)], {0, 2, 3}),
    ("5", [(167, "FUT")], {0, 1, 2, 3, 4}),
    ("5", [(167, "OPT")], set()),
]


@pytest.mark.parametrize(("kind", "restriction", "wanted"), SCOPES)
def test_what_a_mass_cancel_reaches(
    tmp_path: Path, kind: str, restriction: list[tuple[int, Any]], wanted: set[int]
) -> None:
    with world(tmp_path) as rig:
        desk = trading(rig)
        (report,) = ask_cancel(desk, kind, *restriction)
        ids = {order.cl_ord_id: order.order_id for order in rig.ledger.orders.values()}
        names = [f"o{number}" for number in sorted(wanted)]
        assert shown([report], 530, 531, 533) == [("r", kind, kind, str(len(wanted)))]
        assert rig.link.cancelled == [ids[name] for name in names]
        assert rig.log[0] == ("append", "MassCancelRequested")
        if wanted:
            listed = [(field[0], field[1]) for field in report.pairs if field[0] in (b"41", b"535")]
            assert listed == list(itertools.chain(*(((b"41", n.encode()), (b"535", ids[n].encode())) for n in names)))
        for name in names:
            order = rig.ledger.orders[ids[name]]
            rig.hear(cancelled(order))
        told = shown(desk.pump(), 11, 150, 39)
        assert told == [("8", name, "4", "4") for name in names]
        rig.check_holds()
        rig.check_replay()


REFUSED = [
    ("1", [(55, "DOGE")], "1"),
    ("1", [], "1"),
    ("2", [(311, "DOGE")], "2"),
    ("5", [(167, "WAR")], "5"),
    ("3", [], "0"),
    ("4", [], "0"),
    ("6", [], "0"),
    ("7", [(54, 5)], "99"),
    ("7", [(1, "alpha")], "99"),
]


@pytest.mark.parametrize(("kind", "restriction", "reason"), REFUSED)
def test_what_a_mass_cancel_refuses(tmp_path: Path, kind: str, restriction: list[tuple[int, Any]], reason: str) -> None:
    with world(tmp_path) as rig:
        desk = trading(rig)
        (report,) = ask_cancel(desk, kind, *restriction)
        assert shown([report], 530, 531, 532) == [("r", kind, "0", reason)]
        assert text(report, 58)
        assert rig.log == [("append", "MassCancelRefused")]
        assert not any(order.is_cancel_pending for order in rig.ledger.orders.values())
        rig.check_replay()


def test_a_second_mass_cancel_leaves_those_on_their_way(tmp_path: Path) -> None:
    with world(tmp_path) as rig:
        desk = trading(rig)
        desk.cancel("o0")
        (report,) = ask_cancel(desk, "7")
        assert text(report, 533) == "4"
        (report,) = ask_cancel(desk, "7")
        assert text(report, 533) == "0" and report.get(534) is None
        assert len(rig.link.cancelled) == 5


def test_an_order_without_the_venues_id_is_cancelled_once_it_has_one(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        desk.order()
        assert text(ask_cancel(desk, "7")[0], 533) == "1"
        order = rig.only_order()
        rig.link.cancelled.clear()
        rig.hear(accepted(order))
        assert rig.link.cancelled == [order.order_id]


def test_a_mass_cancel_passes_a_full_journal_and_a_halt(tmp_path: Path) -> None:
    disk = SmallDisk()
    with world(tmp_path, files=disk, segment_bytes=1 << 15) as rig:
        desk = trading(rig)
        rig.pipeline.commit(records.AccountStateMoved("beta", "halted", "a person"), rig.now_ns)
        disk.is_full = True
        # Questions fill what is left for other things than cancels.
        for _ in range(2_000):
            (answer,) = desk.send("H", (11, "o0"), (54, 1), (55, BTC))
            if text(answer, 35) == "j":
                break
        assert text(answer, 35) == "j"
        (report,) = ask_cancel(desk, "7")
        assert shown([report], 531, 533) == [("r", "7", "5")]
        assert len(rig.link.cancelled) == 5


def test_a_mass_cancel_goes_to_the_venue_even_where_the_journal_is_gone(tmp_path: Path) -> None:
    disk = SmallDisk()
    with opened_failing(tmp_path, disk) as rig:
        desk = rig.desk().log_on()
        desk.order(cl_ord_id="o")
        order = rig.only_order()
        rig.hear(accepted(order))
        desk.pump()
        disk.sync_fails = True
        with pytest.raises(JournalFailed, match="sync failed"):
            rig.journal.wait_durable(rig.journal.commit(), 20.0)
        (answer,) = ask_cancel(desk, "7")
        assert shown([answer], 372, 380) == [("j", "q", "4")]  # not told as done: it is not written
        assert rig.link.cancelled == [order.order_id] and not order.is_cancel_pending


def test_after_a_crash_the_cancels_are_still_wanted(tmp_path: Path) -> None:
    with world(tmp_path) as rig:
        ask_cancel(trading(rig), "7")
        again = rig.restart()
        pending = [o.cl_ord_id for o in again.ledger.orders.values() if o.is_cancel_pending]
        assert pending == [f"o{number}" for number in range(5)]
        again.journal.close()


# -- status ------------------------------------------------------------------------------------------------------------


def ask_status(desk: Desk, kind: str, *fields: tuple[int, Any]) -> list[simplefix.FixMessage]:
    return desk.send("AF", (584, "S1"), (585, kind), *fields)


@pytest.mark.parametrize(("kind", "restriction", "wanted"), [scope for scope in SCOPES if scope[2]])
def test_status_of_many(tmp_path: Path, kind: str, restriction: list[tuple[int, Any]], wanted: set[int]) -> None:
    with world(tmp_path) as rig:
        desk = trading(rig)
        told = ask_status(desk, kind, *restriction)
        count = str(len(wanted))
        assert shown(told, 11, 150, 39, 584, 911, 17) == [
            ("8", f"o{number}", "I", "0", "S1", count, "0") for number in sorted(wanted)
        ]
        assert [text(report, 912) for report in told] == ["N"] * (len(wanted) - 1) + ["Y"]
        rig.check_replay()


def test_status_by_party_is_by_account(tmp_path: Path) -> None:
    with world(tmp_path) as rig:
        desk = trading(rig)
        told = ask_status(desk, "8", (453, 1), (448, "gamma"), (447, "D"), (452, 24))
        assert [text(report, 11) for report in told] == ["o3", "o4"]


@pytest.mark.parametrize(
    ("kind", "fields", "words"),
    [
        ("1", [(55, "BTC-26DEC25"), (54, 2)], "no working orders"),
        ("1", [(55, "DOGE")], "DOGE is not listed"),
        ("3", [], "type 3 is not served"),
        ("7", [(1, "alpha")], "account alpha is not known"),
        ("8", [], "PartyID(448)"),
        ("8", [(453, 1), (448, "alpha"), (447, "D"), (452, 24)], "account alpha is not known"),
    ],
)
def test_status_of_nothing_is_one_rejected_report(
    tmp_path: Path, kind: str, fields: list[tuple[int, Any]], words: str
) -> None:
    with world(tmp_path) as rig:
        desk = trading(rig)
        (report,) = ask_status(desk, kind, *fields)
        assert shown([report], 150, 39, 584, 911, 912, 37) == [("8", "I", "8", "S1", "0", "Y", "NONE")]
        assert words in text(report, 58)
        rig.check_replay()


def test_status_of_too_many_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.messages.mass_requests.STATUS_REPORTS", 4)
    assert STATUS_REPORTS > 4
    with world(tmp_path) as rig:
        (report,) = ask_status(trading(rig), "7")
        assert text(report, 39) == "8" and "5 orders are more than 4" in text(report, 58)
