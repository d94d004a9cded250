"""TLS under golb's own connection: the context, the wait for a handshake, and the stream behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from golb.deadlines import Wait
from golb.errors import ConfigError
from golb.server.listening import make_hypercorn_config

if TYPE_CHECKING:
    import ssl

    from golb.asgi import Buffer
    from golb.config import Config
    from golb.server.timeouts import Timeouts
    from golb.sockets import SocketStream

_CERTIFICATE = b"-----BEGIN CERTIFICATE-----"
_KEY = b"PRIVATE KEY-----"
# Of PKCS #8 (RFC 7468, 11), and of the older form (RFC 1421, 4.6.1.1).
_ENCRYPTED = (b"-----BEGIN ENCRYPTED PRIVATE KEY-----", b"Proc-Type: 4,ENCRYPTED")


def make_ssl_context(config: Config) -> ssl.SSLContext | None:
    """Read the certificate and its key; None: the configuration names none.

    Raises:
        ConfigError: they are not what they should be.
    """
    hypercorn_config = make_hypercorn_config(config)
    # Without any, OpenSSL asks for that of an encrypted key at the terminal, and golb would stand still.
    hypercorn_config.keyfile_password = ""
    try:
        return hypercorn_config.create_ssl_context()
    except OSError as exc:  # also ssl.SSLError
        raise ConfigError(
            f"eb_go_lb_tls_cert is {str(config.tls_cert)!r}, eb_go_lb_tls_key is {str(config.tls_key)!r}; "
            f"they accept a PEM certificate chain and its private key, {_fault(config, exc)}"
        ) from exc


def _fault(config: Config, exc: OSError) -> str:
    """Say what is wrong with the files, in more words than OpenSSL has, which does not tell which file it means."""
    try:
        cert, key = (path.read_bytes() if path is not None else b"" for path in (config.tls_cert, config.tls_key))
    except OSError as unreadable:
        return f"but {unreadable.filename} cannot be read: {unreadable.strerror}"
    if _CERTIFICATE not in cert:
        return "but the first holds no certificate"
    if _KEY not in key:
        return "but the second holds no private key"
    if any(mark in key for mark in _ENCRYPTED):
        return "but the key is encrypted, and golb has no password for it"
    if getattr(exc, "reason", None) == "KEY_VALUES_MISMATCH":
        return "but the key belongs to another certificate"
    return f"but OpenSSL says: {exc}"


class Handshake:
    """A client that is to complete its handshake, which has the time that a request's head has."""

    def __init__(self, socket_stream: SocketStream) -> None:
        self._socket_stream = socket_stream

    async def complete(self, stream: trio.SSLStream[SocketStream], timeouts: Timeouts) -> None:
        """Wait for its end.

        Raises:
            trio.BrokenResourceError, trio.ClosedResourceError: it failed, or took too long.
        """
        wait = Wait()
        timeouts.head.start(wait, self)
        try:
            await stream.do_handshake()
        finally:
            timeouts.head.stop(wait)

    def time_head_out(self) -> None:
        self._socket_stream.abort()

    def stop_waiting(self) -> None:
        self._socket_stream.abort()


class TlsStream:
    """TLS as a byte stream: its end, orderly or not, is the end of the socket's."""

    def __init__(self, stream: trio.SSLStream[SocketStream], socket_stream: SocketStream) -> None:
        self._stream = stream
        self._socket_stream = socket_stream
        self._ended = False
        self._stopped = False
        self._reading: trio.CancelScope | None = None

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if self._ended:  # whatever still comes is only counted
            return await self._socket_stream.receive_some(max_bytes)
        if self._stopped and not self._socket_stream.has_input():
            return b""
        with trio.CancelScope() as self._reading:
            return bytes(await self._stream.receive_some(max_bytes))
        return b""

    def stop_reading(self) -> None:
        """Let a reader, now or later, see the end of the stream behind what has arrived; writing goes on.

        If the socket ended instead, TLS would write no more either.
        """
        self._stopped = True
        if self._reading is not None and not self._socket_stream.has_input():
            self._reading.cancel()

    async def send_all(self, data: Buffer) -> None:
        await self._stream.send_all(data)

    async def send_eof(self) -> None:
        self._ended = True
        try:
            await self._stream.unwrap()  # tells the client, and waits for it to do the same
        except trio.BrokenResourceError:
            pass  # it goes on sending, or has just gone
        except trio.BusyResourceError:  # a tunnel: TLS as Python has it cannot end one direction only
            await self._stream.aclose()
