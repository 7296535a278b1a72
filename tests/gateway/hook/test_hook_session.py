"""A connection of the hook without I/O: hello, deadlines by literal times, what is not understood, no secret told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.hook.messages import MAX_REASON, Hello, Refused, decode
from gateway.hook.session import REFUSAL, Doorkeeper, HookSession, Origin, Pass, token_hash
from tests.gateway.hook_rig import WITH_HOOK
from tests.gateway.rig import BTC, SECOND, START_NS, Rig, opened

TOKEN: Final = "canary-0123456789-0123456789-0123456789"
LOCAL: Final = Origin("user op", "op")
REMOTE: Final = Origin("192.0.2.1")
ORDER: Final = {"symbol": BTC, "side": "buy", "quantity": "100", "price": "59000"}


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with opened(tmp_path, config=WITH_HOOK) as rig:
        yield rig


def door_of(rig: Rig) -> Doorkeeper:
    passes = {"algo": Pass(frozenset({"op"}), token_hash(TOKEN)), "arb": Pass(frozenset({"op"}))}
    return Doorkeeper(passes, rig.monitor)


def session_of(rig: Rig, origin: Origin = LOCAL, door: Doorkeeper | None = None, max_faults: int = 3) -> HookSession:
    return HookSession(
        rig.core.hooks.by_name, door or door_of(rig), origin, rig.now_ns,
        hello_timeout_ns=5 * SECOND, max_message_bytes=4096, max_faults=max_faults,
    )  # fmt: skip


def say(session: HookSession, frame: dict[str, Any] | bytes, now_ns: int = START_NS) -> dict[str, Any]:
    data = frame if isinstance(frame, bytes) else orjson.dumps(frame)
    answer: dict[str, Any] = orjson.loads(session.handle(data, now_ns))
    return answer


def hello(**changes: Any) -> dict[str, Any]:
    return {"op": "hello", "client": "algo", "token": TOKEN} | changes


def test_a_connection_is_its_clients_once_it_has_said_so(rig: Rig) -> None:
    for origin in (LOCAL, REMOTE):
        session = session_of(rig, origin)
        assert say(session, hello(id=1)) == {
            "id": 1, "ok": True, "op": "hello", "client": "algo", "accounts": ["alpha"], "max_message_bytes": 4096,
        }  # fmt: skip
        assert say(session, {"op": "check", "id": "a", **ORDER})["ok"]
        assert not say(session, hello())["ok"]
        assert not session.is_over and session.deadline_ns is None


@pytest.mark.parametrize(
    ("frame", "origin", "reason"),
    [
        (hello(token="x" * 40), LOCAL, "wrong token"),
        (hello(token=""), REMOTE, "wrong token"),
        (hello(client="nobody"), REMOTE, "no such client"),
        (hello(), Origin("user eve", "eve"), "another user"),
        (hello(client="arb"), REMOTE, "not over the Unix socket"),
        (hello(client="arb"), Origin("user eve", "eve"), "another user"),
    ],
)
def test_whoever_fails_is_told_one_text_and_the_operator_why(
    rig: Rig, frame: dict[str, Any], origin: Origin, reason: str
) -> None:
    session = session_of(rig, origin)
    answer = say(session, frame)
    assert (answer["code"], answer["text"], session.is_over) == (938, REFUSAL, True)
    assert session.hook is None
    assert reason in rig.monitor.alerts[-1]
    assert not frame["token"] or frame["token"] not in "".join(rig.monitor.alerts)


def test_a_user_of_this_machine_needs_no_token_where_the_configuration_says_so(rig: Rig) -> None:
    assert say(session_of(rig), {"op": "hello", "client": "arb"})["ok"]


def test_failures_are_followed_by_a_pause_which_the_right_token_waits_out_too(rig: Rig) -> None:
    door = door_of(rig)
    for _ in range(3):
        say(session_of(rig, REMOTE, door), hello(token="no"))
    assert not say(session_of(rig, REMOTE, door), hello())["ok"]
    assert say(session_of(rig, LOCAL, door), hello())["ok"]  # another origin
    assert say(session_of(rig, REMOTE, door), hello(), START_NS + 2 * SECOND)["ok"]


def test_the_deadline_of_a_hello(rig: Rig) -> None:
    session = session_of(rig)
    assert session.deadline_ns == START_NS + 5 * SECOND
    session.tick(START_NS + 5 * SECOND - 1)
    assert not session.is_over
    session.tick(START_NS + 5 * SECOND)
    assert session.is_over
    known = session_of(rig)
    say(known, hello())
    known.tick(START_NS + 50 * SECOND)
    assert not known.is_over


@pytest.mark.parametrize("frame", [b"{", b'{"op":"query","id":3}', orjson.dumps({"op": "check", **ORDER})])
def test_strangers_are_asked_for_a_hello_and_left(rig: Rig, frame: bytes) -> None:
    session = session_of(rig)
    answer = say(session, frame)
    assert (answer["code"], answer["text"], session.is_over) == (938, "say hello first", True)


@pytest.mark.parametrize(
    ("frame", "text"),
    [
        (b"", "truncated"),
        (b"{", "truncated"),
        (b"\xff\xfe", "malformed"),
        (b"[1]", "Expected `object`"),
        (b"{}", "missing required field `op`"),
        (b'{"op":"buy"}', "Invalid value 'buy'"),
        (b'{"op":"query","hold":5}', "Expected `str`, got `int` - at `$.hold`"),
        (b'{"op":"query","holds":"x"}', "unknown field `holds`"),
        (b'{"op":"query"} x', "trailing"),
        (b'{"op":"query","hold":"' + b"h" * 65 + b'"}', "length <= 64"),
        (orjson.dumps({"op": "check", **ORDER, "quantity": 100}), "Expected `str`, got `int` - at `$.quantity`"),
        (orjson.dumps({"op": "check", **ORDER, "side": "long"}), "$.side"),
        (orjson.dumps({"op": "hold", **ORDER}), "missing required field `key`"),
        (orjson.dumps({"op": "hold", "key": "k", **ORDER, "timeout_ms": 0}), "$.timeout_ms"),
        (orjson.dumps({"op": "hold", "key": "k", **ORDER, "reduce_only": "yes"}), "$.reduce_only"),
        (b'{"op":"query","id":1.5}', "$.id"),
        (b"[" * 100_000, "Expected `object`"),
    ],
)  # fmt: skip
def test_what_is_not_understood_says_what_was_wrong_and_the_connection_stays(rig: Rig, frame: bytes, text: str) -> None:
    session = session_of(rig)
    say(session, hello())
    answer = say(session, frame)
    assert (answer["ok"], answer["code"], answer["reason"]) == (False, 935, "REQUEST_NOT_UNDERSTOOD")
    assert text in answer["text"] and len(answer["text"]) <= MAX_REASON
    assert not session.is_over and say(session, {"op": "query"})["ok"]
    assert rig.log == []


def test_the_answer_to_what_is_not_understood_has_its_id(rig: Rig) -> None:
    session = session_of(rig)
    say(session, hello())
    assert say(session, b'{"op":"nonsense","id":17}')["id"] == 17
    assert say(session, b'{"op":"query","id":"q-1","x":1}')["id"] == "q-1"


def test_so_many_in_a_row_end_the_connection(rig: Rig) -> None:
    session = session_of(rig, max_faults=3)
    say(session, hello())
    for frames in (2, 2):
        for _ in range(frames):
            say(session, b"{")
        assert not session.is_over
        say(session, {"op": "query"})
    for _ in range(3):
        assert not session.is_over
        say(session, b"{")
    assert session.is_over


@given(st.binary(max_size=300) | st.text(max_size=100).map(str.encode))
def test_no_bytes_raise(frame: bytes) -> None:
    answer = decode(frame)
    if isinstance(answer, Refused):
        assert answer.code == 935 and len(answer.text) <= MAX_REASON


keys = st.sampled_from(["op", "client", "token", "symbol", "side", "quantity", "price", "key", "hold", "id", "x"])
values = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=80)
ops = st.sampled_from(["hello", "check", "hold", "fill", "release", "query"])


@given(st.dictionaries(keys, values | st.lists(values, max_size=2), max_size=8), ops)
def test_no_object_raises(fields: dict[str, Any], op: str) -> None:
    try:
        frame = orjson.dumps(fields | {"op": op})
    except (TypeError, orjson.JSONEncodeError):
        return  # an integer beyond 64 bits, or half of a pair of code units
    decode(frame)


def test_secrets_are_in_nothing_that_is_kept_or_told(rig: Rig) -> None:
    session = session_of(rig)
    told = [session.handle(frame, START_NS) for frame in (
        orjson.dumps(hello()), orjson.dumps(hello(surprise=1)), orjson.dumps(hello(token=[TOKEN])),
        orjson.dumps({"op": TOKEN[:8], "token": TOKEN}), orjson.dumps(hello())[:-3],
    )]  # fmt: skip
    wrong = session_of(rig, REMOTE)
    told.append(wrong.handle(orjson.dumps(hello(token=TOKEN + "x")), START_NS))
    kept = repr(Hello(client="algo", token=TOKEN)) + repr(Pass(frozenset(), token_hash(TOKEN)))
    kept += "".join(rig.monitor.alerts) + repr(rig.history())
    assert TOKEN not in kept and token_hash(TOKEN).hex() not in kept
    assert not any(TOKEN.encode() in answer for answer in told)
