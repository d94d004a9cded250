"""Users, passwords, tokens and certificates of a real etcd: renewed unseen where that helps, told clearly where not."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest
import trio
import trustme
from support.etcd_cluster import ClusterTls, EtcdCluster
from trio_etcd.faults import Relay
from updaters.etcd_follower import following, key, value, weights

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from updaters.etcd_follower import Follower

USER, PASSWORD, OTHER = "golb", "s3cret-1", "s3cret-2"
LOGIN = {"etcd_user": USER, "etcd_password": PASSWORD}


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[EtcdCluster]:
    """One member with authentication; tokens live for a second, and golb's user may read its zone only."""
    folder = tmp_path / "etcd"
    folder.mkdir()
    async with EtcdCluster(folder, size=1, token_ttl_s=1) as cluster:
        await cluster.add_user(USER, PASSWORD, key(""))
        await cluster.put(key("f"), value(1))
        yield cluster


def assert_no_secret(follower: Follower) -> None:
    assert not any(secret in str(follower.logs) for secret in (PASSWORD, OTHER))


async def test_a_token_that_is_no_more_is_renewed_and_the_watch_goes_on(guarded: EtcdCluster) -> None:
    async with following(*guarded.client_urls, variables=LOGIN) as follower:
        assert await follower.next_call() == {"f": weights(1)}
        await follower.logged("watch opened")
        # The user's tokens are void, then all are, and the auth revision is another one.
        await guarded.change_password(USER, PASSWORD)
        await follower.confirmed_after(trio.current_time())
        await guarded.switch_auth(on=False)
        await guarded.switch_auth(on=True)
        await follower.confirmed_after(trio.current_time())
        await guarded.put(key("f"), value(2))
        assert await follower.next_call() == {"f": weights(2)}
        # A new watch with a token of before the restart.
        await guarded.kill(*guarded.members)
        await guarded.start(*guarded.members)
        await guarded.wait_until_healthy()
        await guarded.put(key("f"), value(3))
        assert await follower.next_call() == {"f": weights(3)}
    assert len(follower.all_logged("weights listed")) == 1
    assert len(follower.all_logged("etcd went back")) == 0
    assert_no_secret(follower)


async def test_a_token_that_has_expired_is_renewed(guarded: EtcdCluster, nursery: trio.Nursery) -> None:
    relay = Relay(guarded.members[0].port)
    url = await relay.start(nursery)
    # With so long a timeout, more than two seconds pass between two reads.
    async with following(url, timeout_s=15, variables=LOGIN) as follower:
        await follower.next_call()
        while relay.received.count(b"POST /v3/auth/authenticate") < 2:  # noqa: ASYNC110 - it sets no event
            await trio.sleep(0.01)
        await guarded.put(key("f"), value(2))
        assert await follower.next_call() == {"f": weights(2)}
    assert not follower.all_logged("etcd lost")
    nursery.cancel_scope.cancel()


async def test_a_wrong_password_is_told_at_each_try_and_a_new_one_in_the_file_is_taken(
    guarded: EtcdCluster, tmp_path: Path
) -> None:
    file = tmp_path / "password"
    file.write_text(OTHER + "\n")
    login = {"etcd_user": USER, "etcd_password_file": str(file)}
    async with following(*guarded.client_urls, variables=login) as follower:
        for count in (1, 2, 3):
            line = await follower.logged("etcd not reached", count)
            assert "authentication failed, invalid user ID or password" in line["cause"]
        file.write_text(PASSWORD + "\n")
        assert await follower.next_call() == {"f": weights(1)}
        await follower.logged("watch opened")
        # A password that changes while golb runs.
        await guarded.change_password(USER, OTHER)
        assert "authentication failed" in (await follower.logged("etcd lost"))["cause"]
        file.unlink()
        assert "No such file" in (await follower.logged("etcd lost", 2))["cause"]
        await guarded.put(key("f"), value(2))
        file.write_text(OTHER)
        assert await follower.next_call() == {"f": weights(2)}
    assert_no_secret(follower)


async def test_a_token_from_before_a_restore_does_not_hold_golb_up(guarded: EtcdCluster, tmp_path: Path) -> None:
    async with following(*guarded.client_urls, variables=LOGIN) as follower:
        await follower.next_call()
        await follower.logged("watch opened")
        await guarded.snapshot(tmp_path / "snapshot")
        # Logins count in Raft's log, and the restored store's begins anew.
        for _ in range(20):
            await guarded.change_password(USER, PASSWORD)
        await follower.confirmed_after(trio.current_time())
        await guarded.put(key("f"), value(2))
        assert await follower.next_call() == {"f": weights(2)}
        await guarded.restore(tmp_path / "snapshot", as_new_cluster=False)
        await guarded.wait_until_healthy()
        healthy_at = trio.current_time()
        assert await follower.next_call() == {"f": weights(1)}
        assert trio.current_time() - healthy_at < 2


async def test_a_missing_permission_is_told_and_what_is_granted_later_is_used(guarded: EtcdCluster) -> None:
    await guarded.call("/v3/auth/user/revoke", {"name": USER, "role": USER})
    async with following(*guarded.client_urls, timeout_s=1, variables=LOGIN) as follower:
        line = await follower.logged("etcd not reached", 2)
        assert "permission denied" in line["cause"]
        await guarded.call("/v3/auth/user/grant", {"user": USER, "role": USER})
        assert await follower.next_call() == {"f": weights(1)}
        await follower.logged("watch opened")
        await guarded.call("/v3/auth/user/revoke", {"name": USER, "role": USER})
        assert "permission denied" in (await follower.logged("etcd lost", 2))["cause"]
        assert (await follower.logged("weights stale"))["age_s"] >= 1
        await guarded.call("/v3/auth/user/grant", {"user": USER, "role": USER})
        await follower.logged("weights current")
    assert not follower.unread


async def test_a_user_does_not_get_in_without_a_password(guarded: EtcdCluster) -> None:
    async with following(*guarded.client_urls) as follower:
        line = await follower.logged("etcd not reached", 2)
        assert "user name is empty" in line["cause"]


class Authority:
    """A CA, and the files made by it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.authority = trustme.CA()
        self.ca, self.cert, self.key = folder / "ca.pem", folder / "cert.pem", folder / "key.pem"
        self.authority.cert_pem.write_to_path(self.ca)
        issued = self.authority.issue_cert("127.0.0.1", "localhost")
        issued.private_key_pem.write_to_path(self.key)
        self.cert.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))

    def client_files(self) -> dict[str, str]:
        return {"etcd_ca": str(self.ca), "etcd_cert": str(self.cert), "etcd_key": str(self.key)}


@pytest.fixture
async def secured(tmp_path: Path) -> AsyncIterator[tuple[EtcdCluster, Authority]]:
    """One member that speaks TLS, and asks for a client's certificate."""
    authority = Authority(tmp_path / "pki")
    context = ssl.create_default_context(cafile=authority.ca)
    context.load_cert_chain(authority.cert, authority.key)
    tls = ClusterTls(
        cert=authority.cert, key=authority.key, ca=authority.ca, client_context=context, needs_client_cert=True
    )
    folder = tmp_path / "etcd"
    folder.mkdir()
    async with EtcdCluster(folder, size=1, tls=tls) as cluster:
        await cluster.put(key("f"), value(1))
        yield cluster, authority


async def test_both_sides_show_their_certificates(secured: tuple[EtcdCluster, Authority]) -> None:
    cluster, authority = secured
    async with following(*cluster.client_urls, variables=authority.client_files()) as follower:
        assert await follower.next_call() == {"f": weights(1)}
        assert (await follower.logged("watch opened"))["member"].startswith("https://")
        await cluster.put(key("f"), value(2))
        assert await follower.next_call() == {"f": weights(2)}
        await follower.confirmed_after(trio.current_time())


async def test_a_wrong_authority_is_told_at_each_try_and_the_right_one_is_taken_from_the_renewed_file(
    secured: tuple[EtcdCluster, Authority], tmp_path: Path
) -> None:
    cluster, right = secured
    files = Authority(tmp_path / "golb")
    async with following(*cluster.client_urls, variables=files.client_files()) as follower:
        line = await follower.logged("etcd not reached", 2)
        assert "CERTIFICATE_VERIFY_FAILED" in line["cause"]
        # The authority's file first: then golb trusts etcd, but etcd does not trust golb.
        files.ca.write_bytes(right.ca.read_bytes())
        # With TLS 1.3 the handshake is over for golb when etcd refuses it, with TLS 1.2 it is not.
        while not any(  # noqa: ASYNC110 - a log sets no event
            "BAD_CERTIFICATE" in log["cause"] for log in follower.all_logged("etcd not reached")
        ):
            await trio.sleep(0.01)
        # A renewal caught half way, and then whole.
        files.key.write_bytes(right.key.read_bytes())
        files.cert.write_bytes(right.cert.read_bytes())
        assert await follower.next_call() == {"f": weights(1)}


async def test_certificates_that_are_renewed_while_golb_runs_are_used_for_the_next_connection(
    secured: tuple[EtcdCluster, Authority], tmp_path: Path
) -> None:
    cluster, authority = secured
    link = tmp_path / "current"
    link.symlink_to(authority.ca.parent)
    files = {
        name: str(link / path)
        for name, path in (("etcd_ca", "ca.pem"), ("etcd_cert", "cert.pem"), ("etcd_key", "key.pem"))
    }
    async with following(*cluster.client_urls, variables=files) as follower:
        assert await follower.next_call() == {"f": weights(1)}
        await follower.logged("watch opened")
        # Everything is of another authority from now on, as after a rotation.
        other = Authority(tmp_path / "other")
        link.unlink()
        link.symlink_to(other.ca.parent)
        await cluster.kill(*cluster.members)
        for path in ("ca.pem", "cert.pem", "key.pem"):
            (authority.ca.parent / path).write_bytes((other.ca.parent / path).read_bytes())
        await cluster.start(*cluster.members)
        began_at = trio.current_time()
        await follower.confirmed_after(began_at)
        await follower.logged("watch opened", 2)


async def test_any_certificate_is_taken_where_verifying_is_off(secured: tuple[EtcdCluster, Authority]) -> None:
    cluster, authority = secured
    files = authority.client_files()
    del files["etcd_ca"]
    async with following(*cluster.client_urls, variables=files | {"etcd_insecure_skip_verify": "on"}) as follower:
        assert await follower.next_call() == {"f": weights(1)}
