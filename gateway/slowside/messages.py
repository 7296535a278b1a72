"""What travels between the gateway and its pricing process: snapshots there, generations back.

A generation is handed over as its fields are: arrays by name, type and shape, everything else as values. What this
module does not know of it, it need not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, get_type_hints

import msgspec
import numpy as np

from gateway.slowside.book import BookChange, change_of
from gateway.slowside.double_buffer import Frame, Piece
from gateway.slowside.full_margin import Summary
from gateway.slowside.sections import Array, MalformedFrameError, pack, unpack, value_of
from risk.instrument import Instrument
from risk.pricing import lot_values
from risk.repricing import MarketSnapshot, Repricing
from risk.scenarios import Generation, Grid

# Instruments written or read at once: some 2 us each.
ENCODED_AT_ONCE: Final = 100
# Instruments of each generation that are priced here too, and must be worth the same.
AUDITED: Final = 1
# Both sides run the same code on the same processor; another compiler's exponential may differ in the last digit.
AUDIT_TOLERANCE: Final = 1e-9

_DECODE_INSTRUMENTS: Final = msgspec.msgpack.Decoder(list[Instrument])
_MARGINS: Final = "margins"
_GENERATION_TYPES: Final = get_type_hints(Generation)


class PassReport(msgspec.Struct, frozen=True):
    """The last pass over all accounts that was finished, and why the last that was not was not."""

    summary: Summary | None = None
    trouble: str = ""


class UnusableGenerationError(Exception):
    """What the pricing process gave is not what it was asked for; the text says which part."""


class InstrumentTerms:
    """The instruments as they were first listed, written once each. Whether one is open is nothing to its price."""

    def __init__(self) -> None:
        self._blocks: list[bytes] = []
        self._counts: list[int] = []

    @property
    def count(self) -> int:
        """How many instruments are written."""
        return sum(self._counts)

    def add_some(self, instruments: list[Instrument]) -> bool:
        """Write some more of them; True once all are."""
        done = self.count
        block = instruments[done : done + ENCODED_AT_ONCE]
        if block:
            self._blocks.append(msgspec.msgpack.encode(block))
            self._counts.append(len(block))
        return done + len(block) == len(instruments)

    def since(self, known: int) -> list[bytes]:
        """Return the blocks that follow the first `known` instruments, which end a block (or are none)."""
        at = 0
        for place, count in enumerate(self._counts):
            if at >= known:
                return self._blocks[place:]
            at += count
        return []


def pack_snapshot(
    snapshot: MarketSnapshot,
    terms: InstrumentTerms,
    known: int,
    change: BookChange | None = None,
    setting: bytes | None = None,
) -> list[Piece]:
    """Return a snapshot as the pieces of a frame, with the terms of instruments after the first `known`.

    With a change of the book a pass over all accounts is asked for too. `setting` is what this and all later snapshots
    are priced by (process.setting_bytes), where it is another than before.
    """
    arrays: dict[str, Array] = {"rows": snapshot.rows, "time_ns": snapshot.time_ns, "numbers": snapshot.numbers}
    values = {
        "known": known,
        "instruments": len(snapshot.instruments),
        "terms": terms.since(known),
        "currencies": list(snapshot.currencies),
        "index_prices": dict(snapshot.index_prices),
        "apart": list(snapshot.apart),
    }
    if change is not None:
        arrays |= {f"book.{name}": array for name, array in change.arrays().items()}
        values |= {"book.currencies": change.currencies, "book.account_count": change.account_count}
        values |= {"book.venues": change.venues}
    if setting is not None:
        values["setting"] = setting
    return pack(arrays, values)


def unpack_setting(frame: Frame) -> bytes | None:
    """Return the setting that comes with a snapshot, None where that of before holds. Raises MalformedFrameError."""
    _, values = unpack(frame.payload)
    return value_of(values, "setting", bytes) if "setting" in values else None


def unpack_change(frame: Frame) -> BookChange | None:
    """Return the change of the book that comes with a snapshot, None where none does. Raises MalformedFrameError."""
    arrays, values = unpack(frame.payload)
    if "book.currencies" not in values:
        return None
    return change_of(
        {name.removeprefix("book."): array for name, array in arrays.items() if name.startswith("book.")},
        value_of(values, "book.currencies", tuple[str, ...]),
        value_of(values, "book.account_count", int),
        value_of(values, "book.venues", tuple[str, ...]),
    )


def unpack_snapshot(frame: Frame, instruments: list[Instrument]) -> MarketSnapshot:
    """Return the snapshot; new terms are added to `instruments`. Raises MalformedFrameError."""
    arrays, values = unpack(frame.payload)
    known = value_of(values, "known", int)
    if known > len(instruments):
        raise MalformedFrameError(f"terms from {known} on, and {len(instruments)} are known here")
    del instruments[known:]
    for block in value_of(values, "terms", list[bytes]):
        instruments += _DECODE_INSTRUMENTS.decode(block)
    if len(instruments) != value_of(values, "instruments", int):
        raise MalformedFrameError(f"{len(instruments)} instruments are not what the snapshot is of")
    return MarketSnapshot(
        number=frame.number,
        as_of_ns=frame.as_of_ns,
        instruments=list(instruments),
        currencies=value_of(values, "currencies", list[str]),
        rows=arrays["rows"],
        time_ns=arrays["time_ns"],
        numbers=arrays["numbers"],
        index_prices=value_of(values, "index_prices", dict[str, float | None]),
        apart=value_of(values, "apart", tuple[str, ...]),
    )


def pack_generation(
    generation: Generation, setting: Mapping[str, Any], margins: PassReport | None = None
) -> list[Piece]:
    """Return a generation as the pieces of a frame; fields that `setting` gives are known on the other side.

    With it travels what there is to say of the last pass over all accounts.
    """
    arrays: dict[str, Array] = {}
    values: dict[str, Any] = {_MARGINS: margins}
    for name in generation.__struct_fields__:
        value = getattr(generation, name)
        if name in setting:
            continue
        if isinstance(value, np.ndarray):
            arrays[name] = value
        else:
            values[name] = value
    return pack(arrays, values)


def unpack_report(frame: Frame) -> PassReport | None:
    """Return what came with a generation. Raises MalformedFrameError."""
    _, values = unpack(frame.payload)
    report: PassReport | None = value_of(values, _MARGINS, PassReport | None)
    return report


def pack_failure(text: str) -> list[Piece]:
    """Return the frame of a generation that could not be made."""
    return pack({}, {"failure": text})


def unpack_generation(frame: Frame, snapshot: MarketSnapshot, setting: Mapping[str, Any]) -> Generation:
    """Return the generation of a frame that answers `snapshot`; its arrays can not be written.

    Raises UnusableGenerationError, MalformedFrameError.
    """
    arrays, values = unpack(frame.payload)
    if "failure" in values:
        raise UnusableGenerationError(str(value_of(values, "failure", str))[:200])
    fields: dict[str, Any] = dict(arrays)
    for array in arrays.values():
        array.setflags(write=False)
    fields |= {name: value_of(values, name, kind) for name, kind in _GENERATION_TYPES.items() if name in values}
    fields |= {name: setting[name] for name in _GENERATION_TYPES if name in setting}
    if fields.keys() != _GENERATION_TYPES.keys():
        raise UnusableGenerationError(f"fields {sorted(fields.keys() ^ _GENERATION_TYPES.keys())} are amiss")
    generation = Generation(**fields)
    _refuse_other_shape(generation, snapshot)
    return generation


def _refuse_other_shape(generation: Generation, snapshot: MarketSnapshot) -> None:
    """The kernel refuses what contradicts itself; this, what was not asked for."""
    asked = (snapshot.number, snapshot.as_of_ns, tuple(snapshot.currencies))
    if (generation.number, generation.as_of_ns, generation.currencies) != asked:
        raise UnusableGenerationError(f"it is of generation {generation.number}, not of what was asked for")
    count = len(snapshot.instruments)
    if len(generation.values) != count or len(generation.known) != count:
        raise UnusableGenerationError(f"{len(generation.values)} risk arrays, and {count} instruments")
    if len(generation.currency_values) != len(snapshot.currencies):
        raise UnusableGenerationError(f"{len(generation.currency_values)} rows of currencies")
    if len(generation.groups) > count + len(snapshot.currencies) + 1:
        raise UnusableGenerationError(f"{len(generation.groups)} groups")
    unmarked = np.ones(count, dtype=bool)
    unmarked[snapshot.rows] = False
    if generation.known[unmarked].any():
        raise UnusableGenerationError("an instrument without a mark is known")


def audit(generation: Generation, snapshot: MarketSnapshot, grid: Grid) -> None:
    """Price AUDITED instruments anew, others in each generation, and compare; raises UnusableGenerationError.

    What has no volatility of its own is left out: its surface is made of all marks.
    """
    count = len(snapshot.rows)
    places = [(snapshot.number * AUDITED + turn) % count for turn in range(min(AUDITED, count))]
    part = msgspec.structs.replace(
        snapshot, rows=snapshot.rows[places], time_ns=snapshot.time_ns[places], numbers=snapshot.numbers[places]
    )
    repricing = Repricing(part, 1 << 62, {"grid": grid})
    marks = repricing.take_marks()
    for row, mark in marks.items():
        instrument = snapshot.instruments[row]
        if not generation.known[row] or (instrument.is_option and mark.mark_iv == 0 and mark.years_to_expiry > 0):
            continue
        settlement = generation.currency_values[generation.currencies.index(instrument.settlement_currency)]
        expected = lot_values(instrument, mark, grid, settlement)
        if not np.allclose(generation.values[row], expected, rtol=AUDIT_TOLERANCE, atol=AUDIT_TOLERANCE):
            raise UnusableGenerationError(f"{instrument.symbol} is worth something else here")
