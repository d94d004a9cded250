"""TLS to etcd's members, from files that may be renewed at any time.

Rule: what is on disk when a connection is made is what counts for it. Connections that are open keep what they have.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any, Self

from attrs import frozen

if TYPE_CHECKING:
    from pathlib import Path

_Signature = tuple[tuple[int, int, int], ...]

# Neither httpcore's connections nor those of watches speak anything else.
ALPN = ["http/1.1"]


@frozen(kw_only=True)
class TlsFiles:
    """How https members are spoken to: PEM files, read when they are needed, and again when they have changed."""

    ca_file: Path | None = None
    """Whom to trust; None trusts whom the system does."""
    cert_file: Path | None = None
    """The certificate chain to show to etcd; None for none. Goes together with `key_file`."""
    key_file: Path | None = None
    """The chain's private key, not encrypted."""
    verify: bool = True
    """False takes any certificate: whoever is on the way can then read and change everything."""

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files there are."""
        return tuple(path for path in (self.ca_file, self.cert_file, self.key_file) if path is not None)


class RenewedContext(ssl.SSLContext):
    """An SSL context that is made from the files as they are: `renew` before each request.

    While a file cannot be used, no new connection comes about; connections that are open are not affected.
    """

    problem: str
    """Why the files cannot be used now; empty if they can."""
    _files: TlsFiles
    _signature: _Signature | None
    _current: ssl.SSLContext

    def __new__(cls, _files: TlsFiles) -> Self:
        return super().__new__(cls, ssl.PROTOCOL_TLS_CLIENT)

    def __init__(self, files: TlsFiles) -> None:
        self.problem = ""
        self._files = files
        self._signature = None

    def renew(self) -> None:
        """Read the files, if they are others than before. Takes some milliseconds then, and microseconds otherwise."""
        try:
            signature = self._sign()
            # A file that changes from here on has another signature next time.
            if signature != self._signature:
                self._current = _context(self._files)
                self._signature = signature
        except (OSError, ValueError) as exc:
            self.problem = _describe(exc, self._files)
            # It trusts nobody, so the handshake fails, and the connection is closed as any that fails in it.
            self._current = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            self._signature = None
        else:
            self.problem = ""

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        """Make the TLS side of a new connection."""
        return self._current.wrap_bio(*args, **kwargs)

    def _sign(self) -> _Signature:
        # Kubernetes swaps a symbolic link, others rename a file into place or write into it.
        stats = [path.stat() for path in self._files.paths]
        return tuple((stat.st_ino, stat.st_mtime_ns, stat.st_size) for stat in stats)


def _context(files: TlsFiles) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=files.ca_file)
    if not files.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if files.cert_file is not None:
        # Without a password function, OpenSSL would ask for one on the terminal.
        context.load_cert_chain(files.cert_file, files.key_file, password=_no_password)
    context.set_alpn_protocols(ALPN)
    return context


def _describe(exc: OSError | ValueError, files: TlsFiles) -> str:
    # OpenSSL does not say in which of its files something is wrong.
    if isinstance(exc, OSError) and not isinstance(exc, ssl.SSLError):
        return f"{exc.filename or ' or '.join(map(str, files.paths))}: {exc.strerror}"
    return f"{' or '.join(map(str, files.paths))}: {exc}"


def _no_password() -> str:
    raise ValueError("the private key is encrypted")
