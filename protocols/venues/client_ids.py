"""Our labels as a venue's client order ids, and back, within the alphabet and length that the venue allows.

The mapping is a coding, not a table: it holds over restarts, and no two labels share an id. A character that the
venue does not take is written as the escape and two hexadecimal digits, as is the escape itself.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from protocols.errors import LocalProtocolError

_HEX: Final = "[0-9A-F]{2}"


class ClientIds(msgspec.Struct, frozen=True, gc=False):
    """`alphabet` lists the characters that are taken besides ASCII letters and digits."""

    field: str
    max_length: int
    alphabet: str
    escape: str

    def __post_init__(self) -> None:
        if len(self.escape) != 1 or not (self.escape in self.alphabet or self.escape.isalnum()):
            raise ValueError("the escape is one character of the alphabet")

    def _is_plain(self, character: str) -> bool:
        is_taken = (character.isascii() and character.isalnum()) or character in self.alphabet
        return is_taken and character != self.escape

    def encode(self, label: str) -> str:
        """Return the client order id for a label; raises LocalProtocolError where there is none."""
        if not label or not label.isascii():
            raise LocalProtocolError(f"not a label that can be sent: {label[:80]!r}")
        text = "".join(
            character if self._is_plain(character) else f"{self.escape}{ord(character):02X}" for character in label
        )
        if len(text) > self.max_length:
            raise LocalProtocolError(
                f"{self.field} takes {self.max_length} characters, {label[:80]!r} needs {len(text)}"
            )
        return text

    def decode(self, client_id: str) -> str:
        """Return the label; an id that we can not have made, such as one of the venue's own, is returned as it is."""
        if self.escape not in client_id:
            return client_id
        label = re.sub(
            f"{re.escape(self.escape)}({_HEX})", lambda match: chr(int(match[1], 16)), client_id, flags=re.ASCII
        )
        try:
            return label if self.encode(label) == client_id else client_id
        except LocalProtocolError:
            return client_id
