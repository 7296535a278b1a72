"""The file of a parameter set: what a fit writes for the gateway, and what the journal keeps of it, to the byte.

Its SHA-256 is the parameters' hash. It names the fit that it came from, the code that made it and the data, so that a
set of another version or of other data than it says is refused.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

import msgspec
import orjson

from risk.parameter_set import ParameterSet

NAME: Final = "parameters.json"
FORMAT: Final = 1
# Fifty coins in 160 points are 220 KB, as many as a set may have 2 MB; a journal's segment has to take it.
MAX_BYTES: Final = 4 << 20
HASH_LENGTH: Final = 64


class ParameterFileError(ValueError):
    """A file that is no parameter set, or not the one that was named; the text says why."""


class ParameterFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A parameter set and where it comes from: `identity` of the fit, `data_hash` over all its sources."""

    format: int
    identity: str
    code_version: str
    data_hash: str
    parameters: ParameterSet


def encoded(file: ParameterFile) -> bytes:
    """Return the bytes of a file: the same for the same parameters."""
    return orjson.dumps(msgspec.to_builtins(file), option=orjson.OPT_SORT_KEYS)


def hash_of(content: bytes) -> str:
    """Return the parameters' hash."""
    return hashlib.sha256(content).hexdigest()


def decoded(content: bytes, expected_hash: str) -> ParameterFile:
    """Return what the bytes say.

    Raises
    ------
    ParameterFileError
        If their hash is another, they are too many, of another format, or no parameter set.
    """
    if len(content) > MAX_BYTES:
        raise ParameterFileError(f"larger than {MAX_BYTES} bytes")
    found = hash_of(content)
    if found != expected_hash:
        raise ParameterFileError(f"its hash is {found[:16]}, not {expected_hash[:16]}")
    try:
        file = msgspec.json.decode(content, type=ParameterFile)
    except msgspec.DecodeError as error:
        raise ParameterFileError(f"no parameter set: {error}") from error
    if file.format != FORMAT:
        raise ParameterFileError(f"format {file.format}, and {FORMAT} is what this version reads")
    return file


def place_of(directory: Path, parameters_hash: str) -> Path:
    """Return where a proposal's file lies for the gateway of a journal's directory."""
    if len(parameters_hash) != HASH_LENGTH or not set(parameters_hash) <= set("0123456789abcdef"):
        raise ParameterFileError("a hash is 64 small hex digits")
    return directory / "parameters" / f"{parameters_hash}.json"


def read_content(path: Path) -> bytes:
    """Return a file's bytes, within MAX_BYTES. Raises ParameterFileError."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ParameterFileError(f"{path.name}: {error.strerror}") from error
    if len(content) > MAX_BYTES:
        raise ParameterFileError(f"{path.name}: larger than {MAX_BYTES} bytes")
    return content
