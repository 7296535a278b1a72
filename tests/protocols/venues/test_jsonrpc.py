from __future__ import annotations

import orjson
import pytest

from protocols.errors import LocalProtocolError
from protocols.venues import jsonrpc
from protocols.venues.deribit_tables import Kind
from protocols.venues.jsonrpc import Request, RequestTable, encode_request


def request(deadline_ns: int = 100) -> Request:
    return Request(Kind.PLACE, deadline_ns)


def test_a_reply_settles_its_request_once() -> None:
    table = RequestTable(10)
    first, second = request(), request()
    assert (table.add(first), table.add(second)) == (1, 2)
    assert table.settle(2) is second
    assert table.settle(2) is None
    assert table.settle(99) is None
    assert len(table) == 1


def test_an_overdue_request_is_still_settled_once() -> None:
    table = RequestTable(10)
    late, later = request(100), request(200)
    table.add(late)
    table.add(later)
    assert table.deadline_ns == 100
    assert table.expire(99) == []
    assert table.expire(100) == [late]
    assert table.deadline_ns == 200
    assert table.settle(1) is late
    assert table.settle(1) is None
    assert table.expire(200) == [later]
    assert table.deadline_ns is None
    assert table.clear() == []
    assert table.settle(2) is None


def test_overdue_requests_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonrpc, "MAX_OVERDUE", 2)
    table = RequestTable(10)
    for _ in range(3):
        table.add(request())
    assert len(table.expire(100)) == 3
    assert table.settle(1) is None
    assert table.settle(2) is not None


def test_the_table_is_bounded_and_ids_are_never_used_twice() -> None:
    table = RequestTable(2)
    table.add(request())
    table.add(request())
    assert table.is_full
    with pytest.raises(LocalProtocolError, match="2 requests are in flight"):
        table.add(request())
    assert len(table.clear()) == 2
    assert table.add(request()) == 3


def test_encoding() -> None:
    frame = encode_request(7, "public/auth", {"client_secret": 'a"b\\c', "n": [1, 2.5]})
    assert orjson.loads(frame) == {
        "jsonrpc": "2.0",
        "id": 7,
        "method": "public/auth",
        "params": {"client_secret": 'a"b\\c', "n": [1, 2.5]},
    }
