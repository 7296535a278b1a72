"""What is wrong with a table that says where to listen: its TLS files, and an address that others can reach."""

from collections.abc import Iterator, Mapping
from typing import Any

from gateway.config.credentials import private_file_problem
from gateway.config.rules import KeyPath
from gateway.config.values import is_loopback


def check_listener(values: Mapping[str, Any]) -> Iterator[tuple[KeyPath, str]]:
    """Yield it for listen_host, tls_certificate_file and tls_key_file: FIX's, the hook's and the operator's page's."""
    certificate, key, host = (values.get(k) for k in ("tls_certificate_file", "tls_key_file", "listen_host"))
    if (certificate is None) != (key is None):
        missing = "tls_certificate_file" if certificate is None else "tls_key_file"
        yield (missing,), "is missing; TLS needs both tls_certificate_file and tls_key_file"
    if host is not None and not is_loopback(host) and certificate is None:
        yield (
            ("listen_host",),
            f"{host} can be reached from other machines, which takes TLS: give tls_certificate_file and tls_key_file, "
            "or listen on 127.0.0.1 or ::1",
        )
    if certificate is not None and not certificate.is_file():
        yield ("tls_certificate_file",), f"there is no file {certificate}"
    if key is not None and (problem := private_file_problem(key)):
        yield ("tls_key_file",), problem
