"""Users, passwords and tokens, against a real etcd with authentication on."""

from __future__ import annotations

import subprocess
import traceback
from typing import TYPE_CHECKING

import pytest
import trio
from trio_etcd.faults import Relay

from demo.etcd import EtcdProcess, etcdctl_path
from golb.trio_etcd import EtcdClient, InvalidAuthToken, InvalidCredentials, PermissionDenied, Unauthenticated

if TYPE_CHECKING:
    from collections.abc import Iterator

DEADLINE_S = 10
ROOT = ("root", "root-secret")
USER = ("golb", "golb-secret")  # may read and write what begins with "mine/"


def etcdctl(etcd: EtcdProcess, *args: str) -> None:
    subprocess.run([etcdctl_path(), f"--endpoints={etcd.client_url}", *args], check=True, capture_output=True)


@pytest.fixture(scope="module")
def guarded_etcd() -> Iterator[EtcdProcess]:
    # The password's hash is made to be slow, and need not be here.
    with EtcdProcess(extra_args=["--bcrypt-cost=4"]) as etcd:
        etcdctl(etcd, "user", "add", ":".join(ROOT))
        etcdctl(etcd, "user", "grant-role", "root", "root")
        etcdctl(etcd, "user", "add", ":".join(USER))
        etcdctl(etcd, "role", "add", "mine")
        etcdctl(etcd, "role", "grant-permission", "--prefix=true", "mine", "readwrite", "mine/")
        etcdctl(etcd, "user", "grant-role", USER[0], "mine")
        etcdctl(etcd, "auth", "enable")
        yield etcd


def forget_all_tokens(etcd: EtcdProcess) -> None:
    etcdctl(etcd, "--user", ":".join(ROOT), "auth", "disable")
    etcdctl(etcd, "auth", "enable")


def client_of(url: str, user: tuple[str, str] = USER) -> EtcdClient:
    return EtcdClient([url], user=user[0], password=user[1])


async def test_a_user_reads_writes_and_watches_what_its_roles_cover(guarded_etcd: EtcdProcess) -> None:
    with trio.fail_after(DEADLINE_S):
        async with client_of(guarded_etcd.client_url) as client, client.watch_prefix("mine/") as watch:
            await client.put("mine/1", b"")
            assert (await anext(watch)).events[0].kv.key == b"mine/1"
            with pytest.raises(PermissionDenied):
                await client.get("theirs")
            with pytest.raises(PermissionDenied):
                async with client.watch_prefix("theirs"):
                    pass


async def test_a_wrong_password_is_told_from_a_missing_permission(guarded_etcd: EtcdProcess) -> None:
    with trio.fail_after(DEADLINE_S):
        for user in ((USER[0], "wrong"), ("nobody", USER[1])):
            async with client_of(guarded_etcd.client_url, user) as client:
                with pytest.raises(InvalidCredentials):
                    await client.get("mine/1")
                with pytest.raises(InvalidCredentials):
                    async with client.watch("mine/1"):
                        pass


async def test_without_a_user_a_token_is_missing(guarded_etcd: EtcdProcess) -> None:
    with trio.fail_after(DEADLINE_S):
        async with EtcdClient([guarded_etcd.client_url]) as client:
            with pytest.raises(InvalidAuthToken):
                await client.get("mine/1")
            # etcd 3.5 says that permission is denied.
            with pytest.raises(Unauthenticated):
                async with client.watch("mine/1"):
                    pass


async def test_a_token_that_etcd_has_forgotten_is_renewed_unseen(guarded_etcd: EtcdProcess) -> None:
    with trio.fail_after(DEADLINE_S):
        async with client_of(guarded_etcd.client_url) as client:
            await client.put("mine/1", b"1")
            forget_all_tokens(guarded_etcd)
            put = await client.put("mine/1", b"2", prev_kv=True)
            assert put.prev_kv is not None
            assert put.prev_kv.value == b"1"
            forget_all_tokens(guarded_etcd)
            async with client.watch("mine/1", start_revision=put.header.revision) as watch:
                assert (await anext(watch)).events[0].kv.value == b"2"


async def test_one_task_authenticates_for_all(guarded_etcd: EtcdProcess, nursery: trio.Nursery) -> None:
    relay = Relay(guarded_etcd.port)
    with trio.fail_after(DEADLINE_S):
        async with client_of(await relay.start(nursery)) as client:
            for expected in (1, 2):
                async with trio.open_nursery() as requests:
                    for _ in range(10):
                        requests.start_soon(client.get, "mine/1")
                assert relay.received.count(b"POST /v3/auth/authenticate") == expected
                forget_all_tokens(guarded_etcd)


async def test_a_user_does_not_disturb_an_etcd_without_authentication(etcd: EtcdProcess) -> None:
    with trio.fail_after(DEADLINE_S):
        async with client_of(etcd.client_url) as client, client.watch("k"):
            await client.get("k")


async def test_authentication_that_is_switched_on_later_is_noticed(guarded_etcd: EtcdProcess) -> None:
    with trio.fail_after(DEADLINE_S):
        etcdctl(guarded_etcd, "--user", ":".join(ROOT), "auth", "disable")
        async with client_of(guarded_etcd.client_url) as client:
            await client.get("mine/1")
            etcdctl(guarded_etcd, "auth", "enable")
            await client.get("mine/1")


async def test_no_secret_is_shown(guarded_etcd: EtcdProcess) -> None:
    with trio.fail_after(DEADLINE_S):
        async with client_of(guarded_etcd.client_url) as client:
            await client.get("mine/1")
            token = await client._auth.get_token()  # noqa: SLF001 - a secret has no public name
            assert token
            shown = [repr(client), str(client), repr(client._auth)]  # noqa: SLF001 - as above
            guarded_etcd.stop()
            try:
                await client.get("mine/1")
            except Exception as exc:  # noqa: BLE001 - whatever it is, it must not show them
                shown += traceback.format_exception(exc)
            finally:
                guarded_etcd.start()
        async with client_of(guarded_etcd.client_url, ("root", "wrong-secret")) as client:
            with pytest.raises(InvalidCredentials) as caught:
                await client.get("k")
            shown += traceback.format_exception(caught.value)
    for secret in (USER[1], token, "wrong-secret"):
        assert not any(secret in text for text in shown)


@pytest.mark.parametrize("half", [{"user": "u"}, {"password": "secret"}])
def test_half_a_login_is_refused(half: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="go together") as caught:
        EtcdClient(["http://127.0.0.1:1"], **half)  # type: ignore[arg-type]  # which argument it is depends on the case
    assert "secret" not in str(caught.value)
