"""Figures in process: one part of the order path at a time, hot, in ns a call; the best of many short batches.

Run as a module it prints its figures as one JSON object: so the plain twins are measured, in a process of their own.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from mmap import mmap
from pathlib import Path
from time import perf_counter_ns
from typing import Any, Final
from zlib import adler32

import numpy as np
import orjson

from gateway.clock import now_ns
from gateway.hook.messages import Check
from gateway.hook.session import Doorkeeper, HookSession, Origin, Pass
from gateway.journal import Journal
from gateway.translate import OrderFields, new_order
from protocols.fix.codec import COMPILED, Header, decode, encode
from protocols.fix.messages import EXECUTION_REPORT
from protocols.websocket import WebSocketClient
from risk.cash import fill_cash
from risk.exposure import WorkingOrder
from risk.kernel import MarginKernel
from risk.order import Order
from risk.pre_trade import evaluate
from tests.bench.client import SENDER, TARGET
from tests.bench.levels import three_levels
from tests.bench.rig import DroppingLink, Rig, open_websocket, server_frame, venue_answer
from tests.bench.session import order_ns
from tests.bench.setting import HOOK_CLIENT, PRICE, RICH, SMALL
from tests.bench.venue import SYMBOL, order_json

SCENARIOS: Final = (16, 49, 256)
RECORD_BYTES: Final = 150

Calls = Callable[[int], Callable[[], None]]


def best_ns(prepare: Calls, calls: int, batches: int) -> float:
    """Return the least time of one call over batches. `prepare(calls)` returns what makes that many calls."""
    least = float("inf")
    for _ in range(batches):
        run = prepare(calls)
        began = perf_counter_ns()
        run()
        least = min(least, (perf_counter_ns() - began) / calls)
    return least


def _repeated(function: Callable[[], Any]) -> Calls:
    def prepare(calls: int) -> Callable[[], None]:
        def run() -> None:
            for _ in range(calls):
                function()

        return run

    return prepare


def _over(make: Callable[[int], list[Any]], function: Callable[[Any], Any], after: Callable[[], Any]) -> Calls:
    """Each call takes the next of what `make` made; `after` tidies up before a batch is made."""

    def prepare(calls: int) -> Callable[[], None]:
        after()
        items = make(calls)

        def run() -> None:
            for item in items:
                function(item)

        return run

    return prepare


def measure(calls: int = 50, batches: int = 120, passes: int = 1) -> dict[str, float]:
    """Return all figures by name; several passes, because a shared machine is slow for seconds on end."""
    figures = [_measure_once(calls, batches) for _ in range(passes)]
    return {name: min(each[name] for each in figures) for name in figures[0]}


def _measure_once(calls: int, batches: int) -> dict[str, float]:
    figures: dict[str, float] = {}
    # What the loop itself costs; taken off everything below.
    floor = best_ns(_repeated(lambda: None), calls, batches)

    def note(name: str, prepare: Calls) -> None:
        figures[name] = max(0.0, best_ns(prepare, calls, batches) - floor)

    with Rig() as rig:
        _codec(note, rig)
        _checks(note, rig)
        _hook(note, rig)
        _journal(note)
        _venue(note, rig)
        _paths(note, rig)
        _floors(note, rig)
    _kernels(note)
    _levels(note)
    for window in (1, 256):
        figures[f"engine_{window}"] = order_ns(batches, window)
    return figures


Note = Callable[[str, Calls], None]


def _codec(note: Note, rig: Rig) -> None:
    order = rig.orders(1, is_covered=False)[0]
    rig.next_seq -= 1
    note("decode", _repeated(lambda: decode(order)))
    report, now = _report_values(), now_ns()
    header = Header("FIX.4.4", TARGET, SENDER)
    note("encode", _repeated(lambda: encode(EXECUTION_REPORT, header, 1_234_567, now, report)))
    session = rig.client.session

    def step(raw: bytes) -> None:
        session.receive_data(raw, now)
        session.next_event()

    note("session_step", _over(lambda calls: rig.orders(calls, is_covered=False), step, lambda: None))


def _report_values() -> tuple[bytes | int | None, ...]:
    """An ExecutionReport(8) of ExecType Rejected, some 300 bytes."""
    return (
        b"POOR", b"0", b"ORD-1000000000002", b"0", 1_234_567, None, None, b"NONE", b"100000", b"8", b"2", None,
        b"59990.5", b"1", b"BTC-PERPETUAL", b"MARGIN_SHORTFALL: initial margin above equity, in USD", None,
        b"20260101-00:00:00.000", b"3", b"8", b"0", 701, b"margin_is_covered", b"1.00", b"-18027.02", b"18028.02",
        None,
    )  # fmt: skip


def _checks(note: Note, rig: Rig) -> None:
    core, market, now = rig.core, rig.core.market, now_ns()
    for name, is_covered in (("evaluate_reject", False), ("evaluate_accept", True)):
        fields = OrderFields(decode(rig.orders(1, is_covered)[0]))
        rig.next_seq -= 1
        order = new_order(fields, core.ledger.by_symbol[fields.symbol], market, now)
        assert isinstance(order, Order)
        account = core.ledger.accounts[fields.account]
        # One nanosecond an order, or the rate limit would be what is measured.
        account.rate._interval_ns = 1
        note(name, _repeated(lambda order=order, account=account: evaluate(order, account, market)))  # type: ignore[misc]
    instrument = order.instrument
    assert instrument is not None
    working = WorkingOrder(
        "bench", "bench", SENDER, account.name, instrument, order.side, order.lots, order.ticks, order.ord_type,
        order.time_in_force, False, False, now,
    )  # fmt: skip
    exposure = account.exposure

    def hold_and_release() -> None:
        exposure.hold(working)
        exposure.release(working)

    note("hold_release", _repeated(hold_and_release))


def _hook(note: Note, rig: Rig) -> None:
    """A what-if as a call, and as bytes in and out."""
    hook, now = rig.core.hooks.by_name[HOOK_CLIENT], now_ns()
    request = Check(account=RICH, symbol=SYMBOL, side="buy", quantity=SMALL, price=PRICE)
    assert hook.check(request, now).ok
    note("hook_check", _repeated(lambda: hook.check(request, now)))
    door = Doorkeeper({HOOK_CLIENT: Pass(frozenset({"bench"}))}, rig.core.monitor)
    session = HookSession(
        rig.core.hooks.by_name, door, Origin("bench", "bench"), now,
        hello_timeout_ns=1, max_message_bytes=4096, max_faults=1,
    )  # fmt: skip
    assert b'"ok":true' in session.handle(orjson.dumps({"op": "hello", "client": HOOK_CLIENT}), now)
    terms = {"account": RICH, "symbol": SYMBOL, "side": "buy", "quantity": SMALL, "price": PRICE}
    line = orjson.dumps({"op": "check", "id": 1} | terms)
    note("hook_line", _repeated(lambda: session.handle(line, now)))


def _journal(note: Note) -> None:
    with tempfile.TemporaryDirectory(prefix="margingate-bench-") as directory:
        journal = Journal.open(Path(directory))
        payload, now = bytes(RECORD_BYTES), now_ns()
        note("journal_append", _repeated(lambda: journal.append(11, payload, now)))
        journal.close()


def _venue(note: Note, rig: Rig) -> None:
    session = rig.venue.session

    def answers(calls: int) -> list[tuple[bytes, bytes]]:
        for order in rig.orders(calls, is_covered=True):
            rig.send(order)
        return rig.take_answers()

    def receive(answer: tuple[bytes, bytes]) -> None:
        session.receive(answer[0], now_ns())
        session.events()

    rig.catch_up()
    note("venue_reply", _over(answers, receive, rig.catch_up))
    rig.catch_up()
    request = rig.requests_for(rig.orders(1, is_covered=True)[0])
    reply = server_frame(rig.take_answers()[0][0])
    rig.catch_up()
    socket = open_websocket(WebSocketClient("ws://127.0.0.1/", entropy=os.urandom))

    def frame_in() -> None:
        socket.receive_data(reply)
        socket.messages()

    def frame_out() -> None:
        socket.send_text(request)
        socket.data_to_send()

    note("websocket_in", _repeated(frame_in))
    note("websocket_out", _repeated(frame_out))


def _paths(note: Note, rig: Rig) -> None:
    """The pipeline alone, then everything between the bytes of the sockets."""
    pipeline, session = rig.pipeline, rig.client.session

    def decoded(is_covered: bool) -> Callable[[int], list[Any]]:
        return lambda calls: [decode(raw) for raw in rig.orders(calls, is_covered)]

    def receive(message: Any) -> None:
        pipeline.receive(SENDER, message, now_ns())

    def tidy() -> None:
        session.data_to_send()
        pipeline.monitor.batch_written(now_ns())

    def clear() -> None:
        tidy()
        rig.clear()

    note("path_reject", _over(lambda calls: rig.orders(calls, is_covered=False), rig.send, tidy))

    def orders(calls: int) -> list[bytes]:
        return rig.orders(calls, is_covered=True)

    def there_and_back(order: bytes) -> None:
        rig.send(order)
        rig.answer_next()

    note("path_accept", _over(orders, there_and_back, clear))
    clear()
    pipeline.router.connect(rig.venue.venue, DroppingLink())
    note("pipeline_reject", _over(decoded(False), receive, tidy))
    note("pipeline_accept", _over(decoded(True), receive, tidy))


def _floors(note: Note, rig: Rig) -> None:
    """The least that each part could cost in an interpreter: one call of a library in C over the same bytes."""
    order = rig.orders(1, is_covered=False)[0]
    note("floor_checksum", _repeated(lambda: adler32(order)))
    fields = [text for text in _report_values() if isinstance(text, bytes)]
    note("floor_join", _repeated(lambda: b"".join(fields)))
    reply = venue_answer(1, order_json("bench-1", "open"))[0]
    note("floor_json", _repeated(lambda: orjson.loads(reply)))
    left, right, total = np.ones(49), np.ones(49), np.ones(49)
    note("floor_numpy_49", _repeated(lambda: np.add(left, right, out=total)))
    memory, payload = mmap(-1, 4096), bytes(RECORD_BYTES)

    def store() -> None:
        memory[64 : 64 + RECORD_BYTES] = payload

    note("floor_store", _repeated(store))


def _kernels(note: Note) -> None:
    for scenarios in SCENARIOS:
        kernel = MarginKernel(1, 2, 4, 3, scenarios)
        values = np.random.default_rng(1).normal(size=(4, scenarios))
        groups, currencies = np.array([0, 0, 1, 1]), np.array([0, 0, 1, 1])
        prices = np.ones((3, scenarios))
        kernel.load(values, prices, groups, np.array([0, 1, 0]), currencies, np.ones(4, dtype=bool))
        kernel.add_cash(0, 0, 1e6)
        note(f"what_if_{scenarios}", _repeated(lambda kernel=kernel: kernel.what_if(0, 1, 10.0, -5.0)))  # type: ignore[misc]


def _levels(note: Note) -> None:
    market, account, order, working = three_levels()
    note("inline_check", _repeated(lambda: evaluate(order, account, market)))
    index, instrument = account.index, order.instrument
    assert instrument is not None
    lots, cash = order.lots, fill_cash(instrument, order.side, order.lots, order.ticks)
    kernel, base = market.kernel, market.base_scenario
    assert kernel.first_short(index, base, instrument.index, lots, cash) < 0
    note("inline_what_if", _repeated(lambda: kernel.first_short(index, base, instrument.index, lots, cash)))
    note("what_if_by_api", _repeated(lambda: kernel.what_if(index, instrument.index, lots, cash)))

    def hold_and_release() -> None:
        account.exposure.hold(working)
        account.exposure.release(working)

    note("inline_hold_release", _repeated(hold_and_release))
    for model in ("deribit_portfolio", "okx_portfolio", "bybit_portfolio"):
        market, account, order, _ = three_levels(model)
        note(f"inline_{model}", _repeated(partial(evaluate, order, account, market)))


def main(arguments: list[str]) -> None:
    figures = measure(*(int(text) for text in arguments))
    sys.stdout.buffer.write(orjson.dumps({"compiled": COMPILED, "parts": figures}))


if __name__ == "__main__":
    main(sys.argv[1:])
