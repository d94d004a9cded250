"""TLS from files, passwords from files, and what TCP is told, against a real etcd where one is needed."""

from __future__ import annotations

import socket
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from trio_etcd.faults import Relay

from golb.trio_etcd import EtcdClient, InvalidCredentials, TlsFailed, TlsFiles, Unavailable
from golb.trio_etcd._transport import socket_options

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from demo.etcd import EtcdProcess

DEADLINE_S = 10


class Pki:
    """An authority, and a certificate for loopback in files."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.authority = trustme.CA()
        self.ca, self.cert, self.key = folder / "ca.pem", folder / "cert.pem", folder / "key.pem"
        self.authority.cert_pem.write_to_path(self.ca)
        issued = self.authority.issue_cert("127.0.0.1")
        issued.private_key_pem.write_to_path(self.key)
        issued.cert_chain_pems[0].write_to_path(self.cert)

    def server_context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.cert, self.key)
        return context


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    return Pki(tmp_path / "pki")


@asynccontextmanager
async def tls_relay(etcd: EtcdProcess, context: ssl.SSLContext) -> AsyncIterator[tuple[Relay, str]]:
    async with trio.open_nursery() as nursery:
        relay = Relay(etcd.port)
        yield relay, await relay.start(nursery, tls=context)
        nursery.cancel_scope.cancel()


async def test_a_renewed_authority_counts_for_the_next_connection(etcd: EtcdProcess, pki: Pki, tmp_path: Path) -> None:
    other = Pki(tmp_path / "other")
    with trio.fail_after(DEADLINE_S):
        async with tls_relay(etcd, pki.server_context()) as (_, url):
            trusted = tmp_path / "trusted.pem"
            trusted.write_bytes(other.ca.read_bytes())
            async with EtcdClient([url], tls=TlsFiles(ca_file=trusted)) as client:
                with pytest.raises(TlsFailed, match="CERTIFICATE_VERIFY_FAILED") as refused:
                    await client.get("k")
                assert not refused.value.sent
                with pytest.raises(TlsFailed, match="CERTIFICATE_VERIFY_FAILED"):
                    async with client.watch("k"):
                        pass
                trusted.write_bytes(pki.ca.read_bytes())
                await client.get("k")
                async with client.watch("k") as watch:
                    # Connections that are open stay, also when the file is gone.
                    trusted.unlink()
                    revision = (await client.put("k", b"1")).header.revision
                    assert (await anext(watch)).revision == revision
                    assert watch.member == url


async def test_a_file_that_cannot_be_used_is_named_and_the_next_member_is_asked(
    etcd: EtcdProcess, pki: Pki, tmp_path: Path
) -> None:
    nowhere, rubbish, encrypted = tmp_path / "nowhere.pem", tmp_path / "rubbish.pem", tmp_path / "encrypted.pem"
    rubbish.write_text("no certificate")
    key = load_pem_private_key(pki.key.read_bytes(), None)
    encrypted.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, BestAvailableEncryption(b"secret"))
    )
    other = Pki(tmp_path / "other")
    unusable = [
        (TlsFiles(ca_file=nowhere), f"{nowhere}: No such file or directory"),
        (TlsFiles(ca_file=rubbish), str(rubbish)),
        (TlsFiles(ca_file=pki.ca, cert_file=nowhere, key_file=pki.key), f"{nowhere}: No such file or directory"),
        (TlsFiles(ca_file=pki.ca, cert_file=pki.cert, key_file=other.key), "KEY_VALUES_MISMATCH"),
        (TlsFiles(ca_file=pki.ca, cert_file=pki.cert, key_file=encrypted), "the private key is encrypted"),
    ]
    with trio.fail_after(DEADLINE_S):
        async with tls_relay(etcd, pki.server_context()) as (_, url):
            for files, text in unusable:
                async with EtcdClient([url], tls=files) as client:
                    with pytest.raises(TlsFailed) as refused:
                        await client.get("k")
                    assert str(refused.value).startswith(f"{url}: ")
                    assert text in str(refused.value)
                    assert not refused.value.sent
                async with EtcdClient([url, etcd.client_url], tls=files) as client:
                    await client.get("k")
            async with EtcdClient(["http://127.0.0.1:1", url], tls=unusable[0][0]) as client:
                # Not TLS alone is to blame.
                with pytest.raises(Unavailable) as unavailable:
                    await client.get("k")
                assert not isinstance(unavailable.value, TlsFailed)


async def test_a_connection_that_is_cut_is_no_refusal(etcd: EtcdProcess, pki: Pki) -> None:
    with trio.fail_after(DEADLINE_S):
        async with tls_relay(etcd, pki.server_context()) as (relay, url):
            async with EtcdClient([url], tls=TlsFiles(ca_file=pki.ca)) as client, client.watch("k") as watch:
                relay.cut()
                with pytest.raises(Unavailable) as cut:
                    await anext(watch)
            assert not isinstance(cut.value, TlsFailed)


async def test_without_verifying_any_certificate_is_taken(etcd: EtcdProcess, pki: Pki) -> None:
    with trio.fail_after(DEADLINE_S):
        async with (
            tls_relay(etcd, pki.server_context()) as (_, url),
            EtcdClient([url], tls=TlsFiles(verify=False)) as client,
        ):
            await client.get("k")


@pytest.mark.parametrize(("content", "reason"), [(None, "No such file"), (b"\xff", "is not UTF-8")])
async def test_a_password_file_that_cannot_be_read_is_named(
    content: bytes | None, reason: str, etcd: EtcdProcess, tmp_path: Path
) -> None:
    file = tmp_path / "password"
    if content is not None:
        file.write_bytes(content)
    with trio.fail_after(DEADLINE_S):
        async with EtcdClient([etcd.client_url], user="u", password=file) as client:
            with pytest.raises(InvalidCredentials, match=reason) as refused:
                await client.get("k")
            assert str(file) in str(refused.value)


@pytest.mark.parametrize(("peer_timeout_s", "pause_s"), [(0.5, 1), (5, 1), (24, 6), (1e9, 32767)])
def test_tcp_gives_a_silent_peer_up_in_time(peer_timeout_s: float, pause_s: int) -> None:
    options = socket_options(peer_timeout_s)
    with socket.socket() as sock:
        for option in options:
            sock.setsockopt(*option)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == pause_s
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL) == pause_s
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT) == 3
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 4000 * pause_s
    assert 4 * pause_s <= max(peer_timeout_s, 4)
