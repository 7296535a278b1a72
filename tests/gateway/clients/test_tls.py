"""TLS over an accepted transport, in memory: hands shaken, bytes both ways, goodbyes, and what breaks it."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from pathlib import Path
from typing import Any

import pytest

from gateway.clients.tls import Certificate, TlsTransport, certificate_of, server_context
from tests.gateway.certificates import Authority, fingerprint


class Wire(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.state = "open"

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert self.state == "open"
        self.sent += bytes(data)

    def close(self) -> None:
        self.state = "closed"

    def abort(self) -> None:
        self.state = "aborted"

    def is_closing(self) -> bool:
        return self.state != "open"

    def get_write_buffer_size(self) -> int:
        return len(self.sent)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": ("192.0.2.1", 1)}.get(name, default)


class Ends:
    """A client of the ssl module, and our end."""

    def __init__(self, context: ssl.SSLContext, client: ssl.SSLContext) -> None:
        self.wire = Wire()
        self.ours = TlsTransport(self.wire, context)
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.client = client.wrap_bio(self._in, self._out, server_hostname="localhost")

    def to_us(self, size: int = 1 << 16) -> bytes:
        """Carry what the client has to say, in pieces; return what our protocol is given."""
        data, told = self._out.read(), b""
        for at in range(0, len(data), size):
            told += self.ours.receive(data[at : at + size])
        return told

    def to_client(self) -> None:
        self._in.write(self.wire.sent)
        self.wire.sent = b""

    def shake_hands(self, size: int = 1 << 16) -> Ends:
        for _ in range(4):
            with contextlib.suppress(ssl.SSLWantReadError):
                self.client.do_handshake()
            self.to_us(size)
            self.to_client()
        assert self.ours.is_open
        return self


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def issued(authority: Authority) -> tuple[Path, Path]:
    return authority.issue("localhost")


@pytest.mark.parametrize("size", [1, 7, 1 << 16])
def test_bytes_both_ways_however_they_are_split(authority: Authority, issued: tuple[Path, Path], size: int) -> None:
    ends = Ends(server_context(*issued, None, False), authority.trusted()).shake_hands(size)
    assert ends.client.version() == "TLSv1.3" and ends.ours.client_certificate() is None
    message = bytes(range(256)) * 300
    ends.client.write(message)
    assert ends.to_us(size) == message
    ends.ours.write(message)
    ends.to_client()
    heard = b""
    while len(heard) < len(message):
        heard += ends.client.read()
    assert heard == message
    assert ends.ours.get_extra_info("peername") == ("192.0.2.1", 1)
    assert ends.ours.get_extra_info("ssl_object").version() == "TLSv1.3"
    assert ends.ours.get_write_buffer_size() == 0


def test_a_goodbye_of_either_side(authority: Authority, issued: tuple[Path, Path]) -> None:
    context = server_context(*issued, None, False)
    ours = Ends(context, authority.trusted()).shake_hands()
    ours.ours.close()
    assert ours.ours.is_closing() and ours.wire.state == "closed"
    ours.to_client()
    assert ours.client.read() == b""  # close_notify, not a cut
    ours.ours.close()
    theirs = Ends(context, authority.trusted()).shake_hands()
    theirs.client.write(b"last words")
    with pytest.raises(ssl.SSLWantReadError):
        theirs.client.unwrap()
    assert theirs.to_us() == b"last words" and theirs.wire.state == "closed"
    cut = Ends(context, authority.trusted())
    cut.ours.close()  # before hands are shaken there is nothing to say
    assert cut.wire.sent == b"" and cut.wire.state == "closed"
    aborted = Ends(context, authority.trusted())
    aborted.ours.abort()
    assert aborted.wire.state == "aborted"


@pytest.mark.parametrize(
    "data", [b"8=FIX.4.4\x019=5\x01", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\xff\xff" + bytes(40)]
)
def test_what_is_no_tls(issued: tuple[Path, Path], data: bytes) -> None:
    wire = Wire()
    ours = TlsTransport(wire, server_context(*issued, None, False))
    with pytest.raises(ssl.SSLError):
        ours.receive(data)
    assert not ours.is_open and wire.sent[:1] in (b"", b"\x15")  # at most an alert


def test_a_record_that_was_tampered_with(authority: Authority, issued: tuple[Path, Path]) -> None:
    ends = Ends(server_context(*issued, None, False), authority.trusted()).shake_hands()
    ends.client.write(b"order")
    record = bytearray(ends._out.read())
    record[-1] ^= 1
    with pytest.raises(ssl.SSLError):
        ends.ours.receive(bytes(record))


def test_older_versions_are_refused(authority: Authority, issued: tuple[Path, Path]) -> None:
    old = authority.trusted()
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError):
        Ends(server_context(*issued, None, False), old).shake_hands()


def test_client_certificates(authority: Authority, issued: tuple[Path, Path], tmp_path: Path) -> None:
    client = authority.issue("oms-1", "Alpha")
    stranger = Authority(tmp_path, "Another authority").issue("oms-1", "Alpha")
    for is_required in (False, True):
        context = server_context(*issued, authority.file, is_required)
        ends = Ends(context, authority.trusted(client)).shake_hands()
        assert ends.ours.client_certificate() == Certificate(fingerprint(client[0]), "CN=oms-1,O=Alpha")
        with pytest.raises(ssl.SSLError):
            Ends(context, authority.trusted(stranger)).shake_hands()
    with pytest.raises(ssl.SSLError):
        Ends(server_context(*issued, authority.file, True), authority.trusted()).shake_hands()
    ends = Ends(server_context(*issued, authority.file, False), authority.trusted()).shake_hands()
    assert ends.ours.client_certificate() is None
    with pytest.raises(ValueError, match=r"error parsing|ParseError|parse"):
        certificate_of(b"no certificate")
