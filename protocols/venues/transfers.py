"""Transfers of collateral at venues: what is asked, what may be answered, and what the four venues have in common.

A transfer is submitted once, under an id that is made of its key; whatever is not a definite answer is UNKNOWN, and is
asked about by that id until the venue has said how it ended. It is never submitted a second time, so that nothing
depends on whether a venue takes the same id twice. The codecs are in transfer_codecs.py.
"""

from __future__ import annotations

import hashlib
import re
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final, Protocol

import msgspec

from protocols.venues.codec import HttpRequest, HttpResponse

MAX_TEXT: Final = 200
UNITS_EXPONENT: Final = 8
_AMOUNT: Final = re.compile(r"\d{1,20}(\.\d{1,30})?", re.ASCII)
_BODY: Final = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal)


class Ending(StrEnum):
    """What an answer says of a transfer."""

    SETTLED = "settled"  # `units` of it in all, by now
    PENDING = "pending"  # the venue has it, and has not done it
    REFUSED = "refused"  # it will not be done
    REVERSED = "reversed"  # it was done, and taken back
    UNKNOWN = "unknown"  # this answer does not say
    NOT_FOUND = "not_found"  # the venue has no such transfer


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """An answer. `units` of 1e-8 are what has settled in all, 0 for the whole; `fee_units` what was taken besides."""

    ending: Ending
    text: str = ""
    units: int = 0
    reference: str = ""
    fee_units: int = 0


class TransferAsk(msgspec.Struct, frozen=True, gc=False):
    """One transfer, as a venue is asked for it: wallets are the venue's words (docs/transfers.md)."""

    key: str
    asset: str
    units: int
    source_wallet: str
    target_wallet: str
    begun_ns: int

    @property
    def amount(self) -> str:
        """The amount in whole ones, as short as it can be written."""
        whole, part = divmod(self.units, 10**UNITS_EXPONENT)
        return f"{whole}.{part:08}".rstrip("0").rstrip(".")

    @property
    def client_id(self) -> str:
        """32 hex digits that are of this key alone, and the same after a restart."""
        return hashlib.sha256(b"margingate transfer " + self.key.encode()).hexdigest()[:32]

    @property
    def uuid(self) -> str:
        """The same as a UUID: of version 8, which is what its maker makes of it."""
        digits = self.client_id
        return f"{digits[:8]}-{digits[8:12]}-8{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


class TransferCodec(Protocol):
    """Writes requests for one key at one venue, and reads their answers. It keeps nothing of any transfer."""

    @classmethod
    def wallet_fault(cls, source: str, target: str) -> str | None:
        """Return why nothing can move between these wallets, None where it can."""
        ...

    def submit(self, request_id: int, ask: TransferAsk, now_ns: int, deadline_ns: int) -> HttpRequest: ...

    def query(self, request_id: int, ask: TransferAsk, now_ns: int, deadline_ns: int) -> HttpRequest: ...

    def submitted(self, ask: TransferAsk, response: HttpResponse) -> Outcome: ...

    def queried(self, ask: TransferAsk, response: HttpResponse) -> Outcome: ...


def unknown(text: str) -> Outcome:
    """Return an answer that says nothing."""
    return Outcome(Ending.UNKNOWN, text[:MAX_TEXT])


def refused(text: str) -> Outcome:
    """Return a definite no."""
    return Outcome(Ending.REFUSED, text[:MAX_TEXT])


def body_of(response: HttpResponse) -> dict[str, Any] | None:
    """Return an answer's JSON object, its numbers as whole ones or decimals; None where it is none."""
    try:
        return _BODY.decode(response.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def text_of(value: object) -> str:
    """Return a value of an answer as a text, empty for one that is neither text nor whole number."""
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else ""


def units_of(value: object) -> int | None:
    """Return an amount in units of 1e-8; None for what is none, or finer."""
    text = f"{value:f}" if isinstance(value, Decimal) else text_of(value)
    if _AMOUNT.fullmatch(text) is None:
        return None
    units = Decimal(text).scaleb(UNITS_EXPONENT)
    return int(units) if units == int(units) else None


def ended(ask: TransferAsk, words: dict[str, Ending], state: object, amount: object, reference: object) -> Outcome:
    """Return what a venue's word for a state means; another amount than ours, or another word, is no answer."""
    if units_of(amount) != ask.units:
        return unknown(f"an answer about another amount: {text_of(amount)[:32]}")
    ending = words.get(text_of(state))
    if ending is None:
        return unknown(f"a state that we do not know: {text_of(state)[:32]}")
    units = ask.units if ending is Ending.SETTLED else 0
    return Outcome(ending, text_of(state), units, text_of(reference)[:64])
