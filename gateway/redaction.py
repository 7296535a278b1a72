"""The last net under everything that an operator reads: what looks like a secret is taken out of the text.

No text of ours carries one to begin with; errors of libraries and words of peers might.
"""

from __future__ import annotations

import re
from typing import Final

HIDDEN: Final = "<hidden>"
# Signature, SecureData, RawData, Password, NewPassword, EncryptedPassword, EncryptedNewPassword
SECRET_TAGS: Final = (89, 91, 96, 554, 925, 1402, 1404)
_FIELD = re.compile(r"(?<![0-9])(" + "|".join(map(str, SECRET_TAGS)) + r")=[^|\x01\s]*")
_NAMED = re.compile(
    r"""(?i)\b([a-z_-]*(?:secret|password|passwd|passphrase|token|signature|private_?key)[a-z_-]*["']?\s*[=:]\s*)"""
    r"""("[^"]*"|'[^']*'|[^\s"',;|\x01]+)"""
)


def redacted(text: str) -> str:
    """Return the text with values of secret FIX fields, and of whatever is named like a secret, hidden."""
    return _NAMED.sub(rf"\g<1>{HIDDEN}", _FIELD.sub(rf"\g<1>={HIDDEN}", text))
