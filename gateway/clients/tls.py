"""TLS towards clients: 1.3 only, and who a client certificate names."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import ssl
from pathlib import Path
from typing import Any, Final

import msgspec
from cryptography import x509

READ_BYTES: Final = 1 << 16


class Certificate(msgspec.Struct, frozen=True):
    """A client's certificate, which TLS has verified: its SHA-256 in small hex digits, its subject as in RFC 4514."""

    sha256: str
    subject: str


def certificate_of(der: bytes) -> Certificate:
    """Return what names a certificate; raises ValueError for one that can not be read."""
    return Certificate(hashlib.sha256(der).hexdigest(), x509.load_der_x509_certificate(der).subject.rfc4514_string())


def server_context(
    certificate_file: Path, key_file: Path, client_ca_file: Path | None, requires_client_certificate: bool
) -> ssl.SSLContext:
    """Return the context of a listener; raises OSError for files that are none of a certificate and its key."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(certificate_file, key_file)
    # A session lasts a day: tickets to shorten the next handshake are work for strangers' benefit.
    context.num_tickets = 0
    if client_ca_file is not None:
        context.load_verify_locations(client_ca_file)
        context.verify_mode = ssl.CERT_REQUIRED if requires_client_certificate else ssl.CERT_OPTIONAL
    return context


class TlsTransport(asyncio.Transport):
    """The server's end of TLS over an accepted transport, from its first byte on.

    A listener's own TLS would shake hands with everybody before anybody has looked at the address. The protocol stays
    that of the transport below, and passes what it receives through `receive`.
    """

    def __init__(self, below: asyncio.Transport, context: ssl.SSLContext) -> None:
        super().__init__()
        self._below = below
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self.is_open = False  # hands are shaken

    def receive(self, data: bytes) -> bytes:
        """Take bytes from the wire, answer what TLS itself wants answered, and return those for the protocol.

        Raises ssl.SSLError, an OSError, where the other end does not speak TLS as it must.
        """
        self._incoming.write(data)
        parts = []
        try:
            if not self.is_open:
                self._object.do_handshake()
                self.is_open = True
            while part := self._object.read(READ_BYTES):
                parts.append(part)
            self.close()  # the other end has said that this was all
        except ssl.SSLWantReadError:
            pass
        finally:
            self._flush()  # where it failed, the alert that says so
        return b"".join(parts)

    def client_certificate(self) -> Certificate | None:
        """Return the certificate that the client has shown, if it did; raises ValueError as `certificate_of`."""
        der = self._object.getpeercert(binary_form=True)
        return certificate_of(der) if der else None

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt and send. Nothing of a session is said before hands are shaken."""
        assert self.is_open
        rest = memoryview(data)
        while rest:
            rest = rest[self._object.write(rest) :]
        self._flush()

    def close(self) -> None:
        """Say goodbye by TLS, then close when what is queued has left."""
        if self.is_open and not self._below.is_closing():
            with contextlib.suppress(ssl.SSLError):  # SSLWantReadError: the other end's goodbye is not waited for
                self._object.unwrap()
            self._flush()
        self._below.close()

    def can_write_eof(self) -> bool:
        """TLS says by itself that nothing more comes: `close`."""
        return False

    def abort(self) -> None:
        """Close at once."""
        self._below.abort()

    def is_closing(self) -> bool:
        """Whether it is closed, or about to be."""
        return self._below.is_closing()

    def get_write_buffer_size(self) -> int:
        """Bytes that the kernel has not taken."""
        return self._below.get_write_buffer_size()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """What the transport below knows, and ssl_object."""
        return self._object if name == "ssl_object" else self._below.get_extra_info(name, default)

    def _flush(self) -> None:
        data = self._outgoing.read()
        if data and not self._below.is_closing():
            self._below.write(data)
