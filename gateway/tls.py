"""TLS towards clients: 1.3 only, and who a client certificate names."""

from __future__ import annotations

import hashlib
import ssl
from pathlib import Path

import msgspec
from cryptography import x509


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
