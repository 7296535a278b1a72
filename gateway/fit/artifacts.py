"""The files of a fit: parameters, trees, tail points for the house's stress, each with its hash; a card to read.

Same data, same code, same files, to the byte. What is read back is what was written, or it is refused.
"""

from __future__ import annotations

import hashlib
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import msgspec
import orjson
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from gateway.backtest.study import Data
from gateway.fit.study import Fitted
from gateway.parameters.file import FORMAT as PARAMETERS_FORMAT
from gateway.parameters.file import NAME as PARAMETERS
from gateway.parameters.file import ParameterFile, encoded
from risk.parameter_set import ParameterSet, UnderlyingParameters

MANIFEST: Final = "manifest.json"
FITTED: Final = "fitted.json"
POINTS: Final = "tail-points.toml"
CARD: Final = "card.html"
FORMAT: Final = 1
MAX_BYTES: Final = 256 << 20


class ArtifactError(ValueError):
    """Files that are not a fit, or not as they were written; the text says which and why."""


class Source(msgspec.Struct, frozen=True):
    """A file that was learnt from."""

    underlying: str
    file: str
    sha256: str


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What makes a fit what it is. `identity` is of data, code and settings: two fits with the same are the same."""

    format: int
    identity: str
    as_of: str
    code_version: str
    libraries: dict[str, str]
    sources: list[Source]
    files: dict[str, str]


def write(directory: Path, fitted: Fitted, data: Data) -> Manifest:
    """Write a fit into a directory, which is made. Raises OSError."""
    directory.mkdir(parents=True, exist_ok=True)
    sources = [Source(file.underlying.name, file.path.name, file.sha256) for file in data.files]
    quotes = [file.implied for file in data.files if file.implied is not None]
    sources += [Source(one.underlying, one.path.name, one.sha256) for one in quotes]
    libraries = {name: version(name) for name in ("numpy", "scipy", "lightgbm")}
    code = version("margingate")
    body = orjson.dumps(msgspec.to_builtins(fitted), option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS)
    identity = identity_of(sources, libraries, code, fitted.settings)
    parts = {FITTED: body, POINTS: points_toml(fitted, identity).encode()}
    parts[PARAMETERS] = encoded(parameter_file(fitted, identity, code, data_hash(sources)))
    parts[CARD] = card(fitted, sources, identity, code, libraries).encode()
    files = {name: hashlib.sha256(content).hexdigest() for name, content in parts.items()}
    manifest = Manifest(FORMAT, identity, fitted.as_of, code, libraries, sources, files)
    for name, content in parts.items():
        (directory / name).write_bytes(content)
    # Last: a directory without a manifest is no fit.
    (directory / MANIFEST).write_bytes(orjson.dumps(msgspec.to_builtins(manifest), option=orjson.OPT_INDENT_2))
    return manifest


def identity_of(sources: list[Source], libraries: dict[str, str], code: str, settings: dict[str, Any]) -> str:
    """Return what a fit is told by: a hash over its data, libraries, code and settings."""
    told = [msgspec.to_builtins(source) for source in sources], libraries, code, settings
    return hashlib.sha256(orjson.dumps(told, option=orjson.OPT_SORT_KEYS)).hexdigest()


def data_hash(sources: list[Source]) -> str:
    """Return one hash over all files that were learnt from."""
    return hashlib.sha256(orjson.dumps([msgspec.to_builtins(source) for source in sources])).hexdigest()


def parameter_file(fitted: Fitted, identity: str, code: str, data: str) -> ParameterFile:
    """Return what of a fit can act in a gateway."""
    coins = {
        name: UnderlyingParameters(
            **each, haircut=fitted.haircuts[name], collar=fitted.collars[name], used=fitted.used.get(name)
        )
        for name, each in fitted.volatilities.items()
    }
    points = fitted.points
    given = ParameterSet(
        points.as_of_day, fitted.horizon_days, points.confidence, coins, points.points, fitted.by_product
    )
    return ParameterFile(PARAMETERS_FORMAT, identity, code, data, given)


def verified(directory: Path, data: Path | None = None) -> bytes:
    """Return the bytes of a fit's parameters, once all of it is what it says.

    Raises
    ------
    ArtifactError
        If a file is not what was written, the manifest's identity is not of its data, code and settings, the
        parameters are of another fit, or, with a directory of `data`, that holds other files than were learnt from.
    """
    manifest, fitted = read(directory)
    if PARAMETERS not in manifest.files:
        raise ArtifactError(f"{directory}: has no {PARAMETERS}: fit again")
    if manifest.identity != identity_of(manifest.sources, manifest.libraries, manifest.code_version, fitted.settings):
        raise ArtifactError(f"{directory}: the manifest's identity is not of its data, code and settings")
    content = _content(directory / PARAMETERS)
    expected = parameter_file(fitted, manifest.identity, manifest.code_version, data_hash(manifest.sources))
    if content != encoded(expected):
        raise ArtifactError(f"{directory / PARAMETERS}: is not of this fit")
    if data is not None:
        for source in manifest.sources:
            if hashlib.sha256(_content(data / source.file)).hexdigest() != source.sha256:
                raise ArtifactError(f"{data / source.file}: is not what {source.underlying} was learnt from")
    return content


def read(directory: Path) -> tuple[Manifest, Fitted]:
    """Read a fit back.

    Raises
    ------
    ArtifactError
        If a file is missing, too large, of another format, or its hash is not the manifest's.
    """
    try:
        manifest = msgspec.json.decode(_content(directory / MANIFEST), type=Manifest)
        if manifest.format != FORMAT:
            raise ArtifactError(f"{directory}: format {manifest.format}, and {FORMAT} is what this version reads")
        for name, expected in manifest.files.items():
            if Path(name).name != name:
                raise ArtifactError(f"{directory}: {name!r} is no name of a file")
            if hashlib.sha256(_content(directory / name)).hexdigest() != expected:
                raise ArtifactError(f"{directory / name}: is not what was written, its hash is another")
        return manifest, msgspec.json.decode(_content(directory / FITTED), type=Fitted)
    except msgspec.DecodeError as error:
        raise ArtifactError(f"{directory}: {error}") from error


def _content(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ArtifactError(f"{path}: larger than {MAX_BYTES} bytes")
        return path.read_bytes()
    except OSError as error:
        raise ArtifactError(f"{path}: {error.strerror}") from error


def points_toml(fitted: Fitted, identity: str) -> str:
    """The tail points as the file of days that a house's stress reads (docs/configuration.md, history_file)."""
    found = fitted.points
    lines = [
        f"# Tail points of {fitted.as_of}: expected shortfall over {fitted.horizon_days:g} days at",
        f"# {found.confidence:.1%}, at the volatility through the cycle, moved out by {found.widened:.4f}.",
        f"# Fit {identity[:16]}.",
    ]
    for point in found.points:
        lines += ["", f'["{point.name}"]', *(f'"{coin}" = {move!r}' for coin, move in point.moves.items())]
    return "\n".join(lines) + "\n"


def card(fitted: Fitted, sources: list[Source], identity: str, code: str, libraries: dict[str, str]) -> str:
    """The model card: a page that a person can read."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["percent"] = lambda value, digits=1: f"{100 * value:.{digits}f} %"
    values: dict[str, Any] = {"fitted": fitted, "sources": sources, "identity": identity}
    return environment.get_template(CARD).render(**values, code=code, libraries=libraries)
