"""The audit log: what was written verifies, and whatever is done to it is seen."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from gateway import cli
from gateway.admin.audit import FIRST, AuditError, AuditLog, Head, head_path, verify

runner = CliRunner()
ENTRIES = 6


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("audit") / "audit.log"
    log = AuditLog(path)
    for number in range(ENTRIES):
        log.append(1_000 + number, "rita", "risk_manager", "kill", "done", {"name": f"a{number}", "reason": "x"})
    log.close()
    return path


def copied(written: Path, directory: Path) -> Path:
    path = directory / "audit.log"
    shutil.copy(written, path)
    shutil.copy(head_path(written), head_path(path))
    return path


def test_what_was_written_is_whole(written: Path) -> None:
    head = verify(written)
    assert head.entries == ENTRIES and len(head.hash) == 64
    assert written.stat().st_mode & 0o777 == 0o600
    told = runner.invoke(cli.app, ["audit", "verify", str(written)])
    assert told.exit_code == 0 and f"{ENTRIES} entries, whole" in told.stdout
    asked = ["audit", "verify", str(written), "--entries", str(ENTRIES), "--hash", head.hash.upper()]
    assert runner.invoke(cli.app, asked).exit_code == 0


def test_it_goes_on_where_it_was(written: Path, tmp_path: Path) -> None:
    path = copied(written, tmp_path)
    log = AuditLog(path)
    assert [entry.about["name"] for entry in log.entries] == [f"a{number}" for number in range(ENTRIES)]
    entry = log.append(9, "adam", "administrator", "logout", "done", {"session": "S"})
    log.close()
    assert entry.n == ENTRIES + 1 and verify(path).entries == ENTRIES + 1


@given(st.data())
def test_a_flipped_bit_anywhere_is_seen(
    written: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    good = written.read_bytes()
    at = data.draw(st.integers(0, len(good) - 1))
    bit = data.draw(st.integers(0, 7))
    path = copied(written, tmp_path_factory.mktemp("flip"))
    path.write_bytes(good[:at] + bytes([good[at] ^ (1 << bit)]) + good[at + 1 :])
    with pytest.raises(AuditError):
        verify(path)


def lines_of(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


@pytest.mark.parametrize("at", range(ENTRIES))
def test_a_line_that_is_missing_is_seen(written: Path, tmp_path: Path, at: int) -> None:
    path = copied(written, tmp_path)
    lines = lines_of(path)
    path.write_bytes(b"".join(lines[:at] + lines[at + 1 :]))
    with pytest.raises(AuditError):
        verify(path)


@pytest.mark.parametrize(("first", "second"), [(a, b) for a in range(ENTRIES) for b in range(a + 1, ENTRIES)])
def test_lines_that_changed_places_are_seen(written: Path, tmp_path: Path, first: int, second: int) -> None:
    path = copied(written, tmp_path)
    lines = lines_of(path)
    lines[first], lines[second] = lines[second], lines[first]
    path.write_bytes(b"".join(lines))
    with pytest.raises(AuditError, match=f"{path}:{first + 1}"):
        verify(path)


@pytest.mark.parametrize("left", range(ENTRIES))
def test_an_end_that_was_cut_off_is_seen(written: Path, tmp_path: Path, left: int) -> None:
    path = copied(written, tmp_path)
    path.write_bytes(b"".join(lines_of(path)[:left]))
    with pytest.raises(AuditError, match=f"ends after {left} entries, and had {ENTRIES}"):
        verify(path)
    with pytest.raises(AuditError):  # and it is not written on
        AuditLog(path)


def test_who_cuts_off_the_head_too_is_seen_by_who_kept_another(written: Path, tmp_path: Path) -> None:
    kept = verify(written)
    path = copied(written, tmp_path)
    path.write_bytes(b"".join(lines_of(path)[:3]))
    last = orjson.loads(lines_of(path)[-1])
    head_path(path).write_bytes(orjson.dumps({"entries": 3, "hash": last["hash"]}))
    assert verify(path).entries == 3  # by itself it is a log like any other
    with pytest.raises(AuditError, match="ends after 3 entries"):
        verify(path, kept)
    asked = ["audit", "verify", str(path), "--entries", str(kept.entries), "--hash", kept.hash]
    assert runner.invoke(cli.app, asked).exit_code == 1


def _retold(lines: list[bytes]) -> bytes:
    fields = orjson.loads(lines[2])
    fields["who"] = "nobody"
    return b"".join([*lines[:2], orjson.dumps(fields) + b"\n", *lines[3:]])


CHANGES: dict[str, Callable[[list[bytes]], bytes]] = {
    "a name": _retold,
    "a line twice": lambda lines: b"".join([*lines, lines[-1]]),
    "an empty line": lambda lines: b"".join([*lines, b"\n"]),
    "spaces": lambda lines: lines[0].replace(b":", b": ", 1) + b"".join(lines[1:]),
    "no end of line": lambda lines: b"".join(lines) + b'{"n":7',
    "another log": lambda lines: b"garbage\n",
}


@pytest.mark.parametrize("change", CHANGES)
def test_other_changes_are_seen(written: Path, tmp_path: Path, change: str) -> None:
    path = copied(written, tmp_path)
    path.write_bytes(CHANGES[change](lines_of(path)))
    with pytest.raises(AuditError):
        verify(path)


def test_a_missing_or_foreign_head_is_seen(written: Path, tmp_path: Path) -> None:
    path = copied(written, tmp_path)
    head_path(path).write_bytes(orjson.dumps({"entries": 2, "hash": FIRST}))
    with pytest.raises(AuditError, match="not the entry that the log's head knows"):
        verify(path)
    head_path(path).unlink()
    with pytest.raises(AuditError, match="is missing"):
        verify(path)
    with pytest.raises(AuditError, match="entries"):
        verify(written, Head(ENTRIES + 1, FIRST))


def test_a_crash_in_the_middle_of_a_line_loses_that_line_alone(written: Path, tmp_path: Path) -> None:
    path = copied(written, tmp_path)
    with path.open("ab") as file:
        file.write(b'{"n":7,"time_ns":1')
    log = AuditLog(path)
    assert log.append(1, "w", "viewer", "a", "done", {}).n == ENTRIES + 1
    log.close()
    assert verify(path).entries == ENTRIES + 1


def test_a_crash_between_entry_and_head(written: Path, tmp_path: Path) -> None:
    path = copied(written, tmp_path)
    third = orjson.loads(lines_of(path)[2])
    head_path(path).write_bytes(orjson.dumps({"entries": 3, "hash": third["hash"]}))
    AuditLog(path).close()
    assert orjson.loads(head_path(path).read_bytes())["entries"] == ENTRIES


def test_one_process_writes(written: Path, tmp_path: Path) -> None:
    path = copied(written, tmp_path)
    log = AuditLog(path)
    with pytest.raises(AuditError, match="another process writes it"):
        AuditLog(path)
    log.close()


def test_secrets_are_kept_out(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "audit.log")
    log.append(1, "w", "viewer", "a", "done", {"reason": "token=canary-1", "inner": {"text": "password: canary-2"}})
    log.close()
    assert b"canary" not in (tmp_path / "audit.log").read_bytes()
