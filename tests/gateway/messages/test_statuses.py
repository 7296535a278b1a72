"""Statuses of instruments (e, f), venues' sessions (g, h) and counterparties (BC, BD); users (BE, BF); news (B)."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway import records
from gateway.messages import statuses
from gateway.messages.news import FLASH
from gateway.messages.users import WrongPasswordError
from protocols.fix.codec import Message
from tests.gateway.readers import VERSIONS, BookFeed, Client, config_of, shown
from tests.gateway.rig import BTC, ETH, VENUE, Rig, full_journal, listed, opened

FULL_CONFIG_VERSIONS = VERSIONS[1:]


def fields(message: Message) -> dict[int, bytes]:
    return {tag: value for tag, value in message.fields() if tag not in (8, 9, 35, 34, 49, 52, 56, 10)}


def move_venue(rig: Rig, is_live: bool) -> None:
    (rig.core.market.live_venues.add if is_live else rig.core.market.live_venues.discard)(VENUE)


def without_news(told: list[Message]) -> list[Message]:
    return [message for message in told if message.msg_type != "B"]


# -- instruments


@pytest.mark.parametrize("version", VERSIONS)
def test_the_status_of_an_instrument(tmp_path: Path, version: str) -> None:
    with opened(tmp_path, config=config_of(version)) as rig:
        BookFeed(rig)
        client = Client(rig, version)
        (told,) = client.ask("e", (55, BTC.encode()), (263, 0), (324, b"r1"))
        assert fields(told) == {55: BTC.encode(), 60: b"20251009-08:53:20.000", 324: b"r1", 326: b"17"}
        (told,) = client.ask("e", (55, b"DOGE"), (263, 0), (324, b"r2"))
        assert shown(told, 326) == (b"f", b"20")
        rig.hear(listed(ETH, is_open=False))
        (told,) = client.ask("e", (55, ETH.encode()), (263, 0), (324, b"r3"))
        assert shown(told, 326) == (b"f", b"18")
        rig.hear(listed("BTC-1", kind="future", expiration_ns=rig.now_ns + 1))
        rig.now_ns += 1
        (told,) = client.ask("e", (55, b"BTC-1"), (263, 0), (324, b"r4"))
        assert shown(told, 326) == (b"f", b"18")
        move_venue(rig, is_live=False)
        (told,) = client.ask("e", (55, BTC.encode()), (263, 0), (324, b"r5"))
        text = b"" if version == "FIX.4.2" else b"venue deribit is connecting, not live"
        assert shown(told, 326, 58) == (b"f", b"2", text)
        rig.check_replay()


@pytest.mark.parametrize("version", VERSIONS)
def test_changes_of_an_instruments_status_are_told(tmp_path: Path, version: str) -> None:
    with opened(tmp_path, config=config_of(version)) as rig:
        BookFeed(rig)
        client = Client(rig, version)
        (told,) = client.ask("e", (55, BTC.encode()), (263, 1), (324, b"r1"))
        assert shown(told, 326, 325) == (b"f", b"17", b"")
        (refusal,) = client.ask("e", (55, BTC.encode()), (263, 1), (324, b"r1"))
        assert shown(refusal, 380, 58) == (b"j", b"0", b"a subscription has this id")
        assert client.turn() == []
        move_venue(rig, is_live=False)
        (told,) = without_news(client.turn())
        assert shown(told, 324, 326, 325) == (b"f", b"r1", b"2", b"Y")
        move_venue(rig, is_live=True)
        (told,) = without_news(client.turn())
        assert shown(told, 326, 325) == (b"f", b"17", b"Y")
        assert client.ask("e", (55, BTC.encode()), (263, 2), (324, b"r1")) == []
        (refusal,) = client.ask("e", (55, BTC.encode()), (263, 2), (324, b"r1"))
        assert shown(refusal, 380, 58) == (b"j", b"0", b"no subscription has this id")
        move_venue(rig, is_live=False)
        assert without_news(client.turn()) == []
        rig.check_replay()


def test_subscriptions_to_statuses_are_bounded_and_end_with_the_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statuses, "MAX_SUBSCRIPTIONS", 3)
    with opened(tmp_path) as rig:
        BookFeed(rig)
        client = Client(rig)
        for number in range(4):
            (told,) = client.ask("e", (55, BTC.encode()), (263, 1), (324, b"r%d" % number))
            assert told.msg_type == ("f" if number < 3 else "j")
        assert rig.core.inquiries.statuses.subscriptions == 3
        client.disconnect()
        client.connect()
        move_venue(rig, is_live=False)
        assert without_news(client.turn()) == []
        assert rig.core.inquiries.statuses.subscriptions == 0


def test_a_status_that_could_not_be_told_is_told_later(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        BookFeed(rig)
        client = Client(rig)
        client.ask("e", (55, BTC.encode()), (263, 1), (324, b"r1"))
        move_venue(rig, is_live=False)
        with full_journal(rig):
            assert client.turn() == []
        (told,) = without_news(client.turn())
        assert shown(told, 326) == (b"f", b"2")
        rig.check_replay()


# -- venues' sessions


@pytest.mark.parametrize("version", VERSIONS)
def test_trading_sessions_are_the_venues(tmp_path: Path, version: str) -> None:
    with opened(tmp_path, config=config_of(version)) as rig:
        BookFeed(rig)
        client = Client(rig, version)
        (told,) = client.ask("g", (263, 1), (335, b"r1"))
        assert fields(told) == {335: b"r1", 336: b"deribit", 338: b"1", 340: b"2"}
        move_venue(rig, is_live=False)
        (told,) = without_news(client.turn())
        assert fields(told) == {325: b"Y", 335: b"r1", 336: b"deribit", 338: b"1", 340: b"1",
                                58: b"venue deribit is connecting"}  # fmt: skip
        (told,) = client.ask("g", (263, 0), (335, b"r2"), (336, b"deribit"))
        assert shown(told, 335, 340) == (b"h", b"r2", b"1")
        (refusal,) = client.ask("g", (263, 0), (335, b"r3"), (336, b"elsewhere"))
        if version == "FIX.4.2":
            assert shown(refusal, 372, 58) == (b"j", b"g", b"TradingSessionID(336) is the name of a venue")
        else:
            assert shown(refusal, 335, 336, 340, 567) == (b"h", b"r3", b"elsewhere", b"6", b"1")
        rig.check_replay()


# -- counterparties


@pytest.mark.parametrize("version", FULL_CONFIG_VERSIONS)
def test_counterparties_are_the_venues(tmp_path: Path, version: str) -> None:
    with opened(tmp_path, config=config_of(version)) as rig:
        BookFeed(rig)
        client = Client(rig, version)
        (told,) = client.ask("BC", (933, b"r1"), (935, 1))
        assert shown(told, 933, 937, 930, 928, 929) == (b"BD", b"r1", b"1", b"deribit", b"1", b"live")
        names = ((936, 2), (930, b"deribit"), (930, b"nobody"))
        (told,) = client.ask("BC", (933, b"r2"), (935, 8), *names)
        assert told.groups(936, (930, 928, 929)) == [
            (b"deribit", b"1", b"live"), (b"nobody", b"3", b"no counterparty of this name")
        ]  # fmt: skip
        (told,) = client.ask("BC", (933, b"r3"), (935, 2))
        assert shown(told, 937) == (b"BD", b"1")
        move_venue(rig, is_live=False)
        (told,) = without_news(client.turn())
        assert shown(told, 933, 937, 928, 929) == (b"BD", b"r3", b"2", b"2", b"connecting")
        assert client.ask("BC", (933, b"r3"), (935, 4)) == []
        move_venue(rig, is_live=True)
        assert without_news(client.turn()) == []
        rig.check_replay()


# -- users


@pytest.mark.parametrize("version", FULL_CONFIG_VERSIONS)
def test_a_user_asks_about_himself(tmp_path: Path, version: str) -> None:
    with opened(tmp_path, config=config_of(version)) as rig:
        client = Client(rig, version)

        def ask(user: bytes, kind: int, *more: tuple[int, bytes]) -> tuple[bytes, ...]:
            (told,) = client.ask("BE", (553, user), *more, (923, b"r1"), (924, kind))
            return shown(told, 923, 553, 926, 927)

        assert ask(b"ALPHA", 4) == (b"BF", b"r1", b"ALPHA", b"1", b"")
        assert ask(b"BETA", 4) == (b"BF", b"r1", b"BETA", b"3", b"not a user of this session")
        assert ask(b"ALPHA", 1)[3:] == (b"6", b"a user logs on and off by Logon(A) and Logout(5)")
        secrets = ((554, b"0ld-s3cret"), (925, b"n3w-s3cret"))
        assert ask(b"ALPHA", 3, *secrets)[3:] == (b"6", b"passwords can not be changed here")
        asked: list[tuple[str, bytes, bytes]] = []

        def change(session: str, old: bytes, new: bytes) -> str | None:
            asked.append((session, old, new))
            if old != b"0ld-s3cret":
                raise WrongPasswordError
            return None if new != b"short" else "too short"

        rig.core.inquiries.users.change_password = change
        assert ask(b"ALPHA", 3, *secrets)[3:] == (b"5", b"")
        assert ask(b"ALPHA", 3, (554, b"wrong"), (925, b"n3w"))[3:] == (b"4", b"")
        assert ask(b"ALPHA", 3, (554, b"0ld-s3cret"), (925, b"short"))[3:] == (b"6", b"too short")
        assert ask(b"ALPHA", 3)[3] == b"6"
        assert ask(b"BETA", 3, *secrets)[3] == b"3"
        assert {session for session, _, _ in asked} == {"ALPHA"}
        assert not any(b"s3cret" in entry.payload for entry in rig.entries())
        assert not any("s3cret" in alert for alert in rig.monitor.alerts)
        rig.check_replay()


def test_fix_42_has_neither_users_nor_counterparties(tmp_path: Path) -> None:
    with opened(tmp_path, config=config_of("FIX.4.2")) as rig:
        client = Client(rig, "FIX.4.2")
        client.ask("BE", (553, b"ALPHA"), (923, b"r1"), (924, 4))
        client.ask("BC", (933, b"r1"), (935, 1))
        assert client.session.is_logged_on
        assert not rig.pipeline.volatile.sent


# -- news


@pytest.mark.parametrize("version", VERSIONS)
def test_news_goes_to_all_who_are_logged_on_and_is_resent(tmp_path: Path, version: str) -> None:
    with opened(tmp_path, config=config_of(version)) as rig:
        client = Client(rig, version)
        before = client.state.next_in
        assert rig.core.publish_news("Halt at noon", ("all orders", "will be cancelled"), rig.now_ns) == 1
        rig.flush()
        (told,) = client.pump()
        assert shown(told, 148, 61, 42) == (b"B", b"Halt at noon", b"0", b"20251009-08:53:20.000")
        lines = [line for (line,) in told.groups(33, (58,))]
        assert lines == [b"all orders", b"will be cancelled"]
        assert rig.of_type(records.NewsPublished) == [
            records.NewsPublished(("ALPHA",), "Halt at noon", ("all orders", "will be cancelled"), 0)
        ]
        assert b"148=Halt at noon" in client.ask_again(before)
        rig.check_replay()
        with_restart = rig.restart()
        assert b"148=Halt at noon" in (with_restart.core.reports.sessions["ALPHA"].sent.get(before) or b"")
        with_restart.journal.close()


def test_news_for_nobody_is_no_record(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        assert rig.core.inquiries.news.publish("x", ("y",), rig.now_ns) == 0
        assert rig.of_type(records.NewsPublished) == []


@pytest.mark.parametrize(
    ("headline", "lines", "urgency"),
    [("", ("x",), 0), ("x" * 129, ("x",), 0), ("x", (), 0), ("x", ("y",) * 21, 0), ("x", ("",), 0),
     ("x", ("y" * 201,), 0), ("x\x01y", ("x",), 0), ("x", ("\u00e9",), 0), ("x", ("y",), 3)],
)  # fmt: skip
def test_news_that_fix_can_not_carry(tmp_path: Path, headline: str, lines: tuple[str, ...], urgency: int) -> None:
    with opened(tmp_path) as rig:
        Client(rig)
        with pytest.raises(ValueError, match=r"news|urgency"):
            rig.core.inquiries.news.publish(headline, lines, rig.now_ns, urgency)
        assert rig.of_type(records.NewsPublished) == []


def test_clients_are_told_when_a_venue_goes_and_comes(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        BookFeed(rig)
        clients = [Client(rig), Client(rig, comp_id="BETA")]
        assert clients[0].turn() == []
        move_venue(rig, is_live=False)
        rig.core.inquiries.run(rig.now_ns)
        rig.flush()
        for client in clients:
            (told,) = client.pump()
            assert shown(told, 148, 61) == (b"B", b"Venue deribit is down", b"%d" % FLASH)
        assert clients[0].turn() == []
        move_venue(rig, is_live=True)
        (told,) = clients[0].turn()
        assert shown(told, 148, 61) == (b"B", b"Venue deribit is live", b"0")
        rig.check_replay()
