"""A refusal's record and report, written from the message itself, are the plain twins' to the byte."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway import hot_path, records, report_values, translate
from gateway.pipeline import Pipeline
from protocols.fix.codec import Header, encode
from protocols.fix.messages import EXECUTION_REPORT
from risk.order import Reject, RejectReason
from tests.gateway.test_compiled import GOOD, message_of

pytestmark = pytest.mark.skipif(not hot_path.COMPILED, reason="no compiled steps of records were built")

TIME_NS = 1_767_225_600_123_456_789
SHORT = Reject(RejectReason.MARGIN_SHORTFALL, "margin_is_covered", "short", 100.5, -3.25, 103.75)
FIGURES = st.one_of(st.none(), st.floats(), st.floats(-2e9, 2e9))
AGES = st.one_of(
    st.none(), st.integers(-(1 << 61), 1 << 61), st.sampled_from([s * (1 << b) + d for b in (5, 7, 8, 15, 16, 31, 32)
    for s in (1, -1) for d in (-1, 0, 1)]),
)  # fmt: skip
# Sizes around those at which MessagePack writes a length otherwise, and words are copied otherwise.
SIZES = st.one_of(st.integers(1, 40), st.sampled_from([31, 32, 254, 255]))
SENT = st.fixed_dictionaries({}, optional={tag: st.builds("x".__mul__, SIZES) for tag in (1, 11, 55, 54, 40, 38, 44)})


def compiled_bytes(sent: dict[int, str], reject: Reject, header: Header, number: int, sequence: int) -> Any:
    from gateway import _path  # type: ignore[attr-defined]

    return _path.refusal_bytes("ALPHA", message_of(sent), reject, header, number, sequence, TIME_NS)


def plain_bytes(
    sent: dict[int, str], reject: Reject, header: Header, number: int, sequence: int
) -> tuple[bytes, bytes]:
    message = message_of(sent)
    record = translate.refused("ALPHA", message.msg_seq_num, message, reject)
    values = report_values.refusal_values(record, sequence, TIME_NS)
    return records.encode(record), encode(EXECUTION_REPORT, header, number, TIME_NS, values)


@settings(max_examples=150)
@given(
    sent=SENT,
    reason=st.sampled_from(RejectReason),
    text=st.builds("t".__mul__, st.sampled_from([0, 1, 3, 4, 7, 8, 16, 17, 31, 32, 255, 256, 1024])),
    figures=st.tuples(FIGURES, FIGURES, FIGURES),
    age_ns=AGES,
    digits=st.sampled_from([0, 3, 6, 9]),
    number=st.sampled_from([1, 127, 128, 70_000, 1 << 33]),
)
@example(GOOD, RejectReason.MARGIN_SHORTFALL, "x", (1.005, -1e9, 999_999_999.995), -1, 3, 1)
def test_record_and_report_are_those_of_the_plain_twins(
    sent: dict[int, str],
    reason: RejectReason,
    text: str,
    figures: tuple[float | None, float | None, float | None],
    age_ns: int | None,
    digits: int,
    number: int,
) -> None:
    reject = Reject(reason, "margin_is_covered", text, *figures, age_ns)
    header = Header("FIX.4.4", "GATE", "ALPHA", ((50, b"DESK"),), digits)
    made = compiled_bytes(sent, reject, header, number, number + 5)
    plain = plain_bytes(sent, reject, header, number, number + 5)
    if made is None:  # only a figure whose text is longer than any that is told in earnest
        assert any(figure is not None and len(report_values.number(figure)) > 40 for figure in figures)
    else:
        assert made == plain


def test_they_are_written_so() -> None:
    from gateway import _path  # type: ignore[attr-defined]

    assert Pipeline.receive is _path.receive and _path.writes_refusals()


@pytest.mark.parametrize(
    ("sent", "changes"),
    [
        ({11: "x" * 256}, {}),
        ({}, {"text": "t" * 1025}),
        ({}, {"text": "a\x01b"}),
        ({}, {"text": "Größe"}),
        ({}, {"check": "ein\x01er"}),
        ({}, {"limit": 5}),
        ({}, {"mark_age_ns": 1 << 62}),
        ({}, {"mark_age_ns": 1.5}),
    ],
)
def test_what_is_not_ordinary_is_left(sent: dict[int, str], changes: dict[str, Any]) -> None:
    fields = {name: getattr(SHORT, name) for name in SHORT.__struct_fields__}
    header = Header("FIX.4.4", "GATE", "ALPHA")
    assert compiled_bytes(GOOD, SHORT, header, 7, 9) is not None
    assert compiled_bytes(GOOD | sent, Reject(**fields | changes), header, 7, 9) is None
