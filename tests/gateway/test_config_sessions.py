"""What is wrong with a session's keys is told, each with its line; what is right is taken."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.clients.sessions import clients_of, key_of, name_of, state_of
from gateway.config import ConfigError, parse
from tests.gateway.test_config import MINIMAL, problems

HEAD = 'accounts = ["A"]'
# The session's accounts stand on line 9, so what is added begins on line 10.
WRONG = [
    ("name = 'a b'", "10: [[fix.session]] name: must be a string of 1 to 64 letters"),
    ("sender_comp_id = ''", "10: [[fix.session]] sender_comp_id: must be a string of 1 to 64 letters"),
    ("target_sub_id = 'a b'", "10: [[fix.session]] target_sub_id: must be a string of 1 to 64 characters"),
    ("sender_location_id = 'a b'", "10: [[fix.session]] sender_location_id: must be a string of 1 to 64"),
    ("timestamp_precision = 'min'", '10: [[fix.session]] timestamp_precision: must be one of "s", "ms", "us", "ns"'),
    ("begin_string = 'FIX.4.2'\nnext_expected_msg_seq_num = true", "11: [[fix.session]] next_expected_msg_seq_num: "),
    ("dictionary_overlay = 'none.toml'", "10: [[fix.session]] dictionary_overlay: DIR/none.toml: cannot be read: No"),
    ("dictionary_overlay = 'bad.toml'", "10: [[fix.session]] dictionary_overlay: DIR/bad.toml: line 2: messages.A: "),
    ("dictionary_overlay = 'broken.toml'", "10: [[fix.session]] dictionary_overlay: DIR/broken.toml: line 1"),
    ("dictionary_overlay = 'binary.toml'", "10: [[fix.session]] dictionary_overlay: DIR/binary.toml: line 2: "),
    ("dictionary_overlay = 'large.toml'", "10: [[fix.session]] dictionary_overlay: DIR/large.toml: longer than"),
    ("max_heart_bt_int_s = 0", "10: [[fix.session]] max_heart_bt_int_s: must be a whole number from 1 to 3600, not 0"),
    ("min_heart_bt_int_s = 9\nmax_heart_bt_int_s = 8", "11: [[fix.session]] max_heart_bt_int_s: must not be less than"),
    ("min_heart_bt_int_s = 31", "10: [[fix.session]] min_heart_bt_int_s: must not be more than heart_bt_int_s"),
    ("max_latency_s = 0", "10: [[fix.session]] max_latency_s: must be a whole number from 1 to 3600, not 0"),
    ("throttle_messages = 0", "10: [[fix.session]] throttle_messages: must be a whole number from 1 to 100000, not 0"),
    ("throttle_answer = 'drop'", '10: [[fix.session]] throttle_answer: must be one of "reject", "delay", not "drop"'),
    ("throttle_interval_ms = 0", "10: [[fix.session]] throttle_interval_ms: must be a whole number from 1 to 3600000"),
    ("throttle_queue = 0", "10: [[fix.session]] throttle_queue: must be a whole number from 1 to 10000, not 0"),
    ("cancel_on_disconnect_grace_ms = -1", "10: [[fix.session]] cancel_on_disconnect_grace_ms: must be a whole number"),
    (
        "cancel_on_disconnect = false\ncancel_on_disconnect_grace_ms = 5",
        "11: [[fix.session]] cancel_on_disconnect_grace_ms: is never used: cancel_on_disconnect is false",
    ),
    ("[fix.session.schedule]\nend = '08:00'", "10: [fix.session.schedule] start: is missing; it must be a string that"),
    ("[fix.session.schedule]\nstart = '24:00'\nend = '08:00'", "11: [fix.session.schedule] start: must be a string"),
    ("schedule = { start = '8:00', end = '09:00' }", "10: [fix.session.schedule] start: must be a string that is"),
    (
        "[fix.session.schedule]\nstart = '08:00'\nend = '09:00'\ntime_zone = 'Europe/Atlantis'",
        "13: [fix.session.schedule] time_zone: there is no zone Europe/Atlantis on this machine",
    ),
    (
        "[fix.session.schedule]\nstart = '08:00'\nend = '09:00'\ntime_zone = '../etc'",
        "13: [fix.session.schedule] time_zone: must be a string that is a time zone",
    ),
    (
        "[fix.session.schedule]\nstart = '08:00'\nend = '09:00'\nstart_day = 'sun'",
        "10: [fix.session.schedule] end_day: is missing; a weekly schedule has both",
    ),
    (
        "[fix.session.schedule]\nstart = '08:00'\nend = '09:00'\nstart_day = 'sun'\nend_day = 'fri'\ndays = ['mon']",
        "15: [fix.session.schedule] days: is never used: start_day and end_day make the schedule weekly",
    ),
    (
        "[fix.session.schedule]\nstart = '08:00'\nend = '09:00'\ndays = ['mon', 'monday']",
        "13: [fix.session.schedule] days[1]: must be one of",
    ),
    (
        "[[fix.session]]\nname = 'THEM'\ntarget_comp_id = 'X'\naccounts = ['A']",
        '11: [[fix.session]] name: there is another session "THEM" before this one',
    ),
    (
        "[[fix.session]]\nname = 'TWO'\ntarget_comp_id = 'THEM'\naccounts = ['A']\nsender_comp_id = 'US'",
        "12: [[fix.session]] target_comp_id: another session before this one has the same BeginString, CompIDs",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("extra", "what"), WRONG)
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, extra: str, what: str) -> None:
    (tmp_path / "bad.toml").write_text('[messages]\nA = "+9001"\n')
    (tmp_path / "broken.toml").write_text("messages\n[fields]\n")
    (tmp_path / "binary.toml").write_bytes(b"[fields]\n\xff\xfe\n")
    (tmp_path / "large.toml").write_bytes(b"#" * (1 << 20) + b"\n")
    told = problems(MINIMAL.replace(HEAD, f"{HEAD}\n{extra}"), tmp_path)
    assert len(told) == 1 and told[0].startswith(what.replace("DIR", str(tmp_path))), told


ACCOUNT = """[[account]]
name = "{name}"
{extra}
[account.limits]
max_order_notional_usd = 1
instrument = [{{ pattern = "*", max_order_quantity = 1, max_position_quantity = 1 }}]
"""


def with_accounts(*accounts: tuple[str, str], sessions: str) -> str:
    more = "".join(ACCOUNT.format(name=name, extra=extra) for name, extra in accounts)
    return MINIMAL.replace("[[venue]]", more + "[[venue]]").replace(HEAD, f"{HEAD}\n{sessions}")


@pytest.mark.parametrize(
    ("clients", "sessions", "groups"),
    [
        (("", "", ""), ("AB", "C"), [{"A", "B"}, {"C"}]),
        (("", "", ""), ("AB", "BC"), [{"A", "B", "C"}]),
        (("", "", ""), ("A", "BC", "AC"), [{"A", "B", "C"}]),
        (("x", "x", ""), ("A", "B", "C"), [{"A", "B"}, {"C"}]),
        (("x", "y", ""), ("ABC",), [{"A"}, {"B"}, {"C"}]),
        (("A", "", ""), ("ABC",), [{"A"}, {"B", "C"}]),  # a client's name is no account's
        (("", "", ""), (), [{"A"}, {"B"}, {"C"}]),
    ],
)
def test_whose_an_account_is(clients: tuple[str, ...], sessions: tuple[str, ...], groups: list[set[str]]) -> None:
    owners = [f'client = "{client}"' if client else "" for client in clients]
    tables = "".join(
        f'[[fix.session]]\ntarget_comp_id = "S{number}"\naccounts = {list(accounts)}\n'
        for number, accounts in enumerate(sessions)
    )
    text = with_accounts(("B", owners[1]), ("C", owners[2]), sessions=tables)
    text = text.replace('[[account]]\nname = "A"\n', f'[[account]]\nname = "A"\n{owners[0]}\n')
    found: dict[str, set[str]] = {}
    for account, client in clients_of(parse(text, Path("g.toml"))).items():
        found.setdefault(client, set()).add(account)
    assert sorted(found.values(), key=sorted) == sorted(groups, key=sorted)


def test_names_keys_and_rules_of_a_session() -> None:
    extra = """
name = "ONE"
sender_comp_id = "OTHER"
sender_sub_id = "s"
sender_location_id = "t"
target_sub_id = "u"
target_location_id = "v"
min_heart_bt_int_s = 5
max_latency_s = 7
timestamp_precision = "ns"
next_expected_msg_seq_num = true
allow_any_order = true
check_values = false
"""
    fix = parse(MINIMAL.replace(HEAD, HEAD + extra), Path("g.toml")).fix
    (session,) = fix.session
    key, state = key_of(fix, session), state_of(fix, session)
    assert name_of(session) == state.name == "ONE"
    assert (key.sender_comp_id, key.target_comp_id, key.sender_sub_id, key.sender_location_id) == (
        "OTHER",
        "THEM",
        "s",
        "t",
    )
    assert (key.target_sub_id, key.target_location_id, state.key) == ("u", "v", key)
    rules = state.config
    assert (rules.min_heart_bt_int, rules.max_heart_bt_int, rules.max_latency_ns) == (5, 30, 7 * 10**9)
    assert (rules.timestamp_digits, rules.sends_next_expected, rules.renews_when_away) == (9, True, False)
    assert state.dictionary.allows_any_order and not state.dictionary.checks_values


def test_a_file_with_a_wrong_schedule_is_refused_whole() -> None:
    with pytest.raises(ConfigError):
        parse(MINIMAL.replace(HEAD, HEAD + "\nschedule = 5"), Path("g.toml"))
