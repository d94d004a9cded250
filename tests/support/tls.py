"""Certificates for one test run, and what its clients need to trust them."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import trustme
from attrs import frozen

if TYPE_CHECKING:
    from pathlib import Path


@frozen
class TlsFiles:
    """A certificate for localhost, as files, and its authority."""

    authority: trustme.CA
    variables: dict[str, str]
    """The names and values by which golb is told to use it."""

    def client_context(self, *protocols: str) -> ssl.SSLContext:
        """Make a context that trusts the certificate and offers these protocols."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # verifies, and need not read the system's certificates
        self.authority.configure_trust(context)
        if protocols:
            context.set_alpn_protocols(list(protocols))
        return context


def make_tls_files(folder: Path) -> TlsFiles:
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    cert, key = folder / "cert.pem", folder / "key.pem"
    cert.write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
    certificate.private_key_pem.write_to_path(key)
    return TlsFiles(authority, {"tls_cert": str(cert), "tls_key": str(key)})
