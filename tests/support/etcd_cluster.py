"""A cluster of real etcds on loopback, and what real life does to one.

The members are child processes (demo/etcd.py), so they die with the tests. Whoever asks the cluster here asks its
members directly, over the JSON that etcd serves, with a client that shares nothing with golb's.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, Any, Self

import httpx
import trio
from attrs import frozen

from demo.errors import PartFailed
from demo.etcd import HOST, START_TIMEOUT_S, EtcdProcess, etcdctl_path
from demo.ports import choose_ports

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from support.relay import Relay

ROOT = "root"
ROOT_PASSWORD = "root-pw"

_POLL_INTERVAL_S = 0.02
_CALL_TIMEOUT_S = 5.0
_PORT_ATTEMPTS = 3


class EtcdRefused(Exception):
    """etcd answered with an error."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"etcd answers: {message} (code {code})")
        self.code = code
        """gRPC's number."""


class EtcdAway(Exception):
    """No member answered. A change may have been made all the same."""


@frozen(kw_only=True)
class ClusterTls:
    """Files by which the members serve their clients over TLS; their peers and their health stay without."""

    cert: Path
    key: Path
    ca: Path
    client_context: ssl.SSLContext
    """By which the cluster's own client here trusts the members, and is trusted by them."""
    needs_client_cert: bool = False


class Member(EtcdProcess):
    """One member. `start` returns when the process runs: health is the cluster's, so `EtcdCluster` waits for it."""

    def __init__(
        self,
        name: str,
        ports: Sequence[int],
        folder: Path,
        *,
        tls: ClusterTls | None,
        binary: Path | None,
        run_relay: Callable[[int], Relay] | None,
    ) -> None:
        client_port, peer_port, health_port = ports
        self.name = name
        self.folder = folder / name
        self.folder.mkdir(parents=True, exist_ok=True)
        self.data_dir = self.folder / "data"
        self.peer_relay = None if run_relay is None else run_relay(peer_port)
        """By which the other members reach it, if there is one."""
        self._peer_listen_url = f"http://{HOST}:{peer_port}"
        self.peer_url = self._peer_listen_url if self.peer_relay is None else self.peer_relay.url
        self.health_url = f"http://{HOST}:{health_port}"
        self.is_paused = False
        self.is_cut_off = False
        self.arguments: list[str] = []
        """How it joins the cluster; set by the cluster before each start."""
        self._tls = tls
        super().__init__(port=client_port, data_dir=self.data_dir, log=self.folder / "log", binary=binary)

    def __repr__(self) -> str:
        return f"<Member {self.name} at {self.client_url}>"

    @property
    def client_url(self) -> str:
        return f"{'http' if self._tls is None else 'https'}://{HOST}:{self.port}"

    @property
    def is_running(self) -> bool:
        """Whether it can answer: its process is there, and neither paused nor cut off from the others."""
        return self.pid is not None and not self.is_paused and not self.is_cut_off

    def pause(self) -> None:
        """SIGSTOP: it does nothing, and its connections stay."""
        assert self.pid is not None
        os.kill(self.pid, signal.SIGSTOP)
        self.is_paused = True

    def resume(self) -> None:
        """SIGCONT."""
        assert self.pid is not None
        os.kill(self.pid, signal.SIGCONT)
        self.is_paused = False

    def kill(self) -> None:
        super().kill()
        self.is_paused = False

    def stop(self) -> None:
        if self.is_paused:
            self.resume()  # a stopped process does not take SIGTERM
        super().stop()

    def _command(self, port: int) -> list[str]:
        # etcd takes the last of several values of a flag.
        command = [
            *super()._command(port),
            f"--name={self.name}",
            f"--listen-client-urls={self.client_url}",
            f"--advertise-client-urls={self.client_url}",
            f"--listen-peer-urls={self._peer_listen_url}",
            f"--initial-advertise-peer-urls={self.peer_url}",
            # /health without TLS and without a client's name.
            f"--listen-metrics-urls={self.health_url}",
            # On a machine that does other work too, a member alone on its core may be late by tens of milliseconds.
            "--heartbeat-interval=50",
            "--election-timeout=500",
            # Or a member can be replaced only when all the others have been connected for 5 s.
            "--strict-reconfig-check=false",
            *self.arguments,
        ]
        if self._tls is not None:
            command += [f"--cert-file={self._tls.cert}", f"--key-file={self._tls.key}"]
            if self._tls.needs_client_cert:
                command += [f"--trusted-ca-file={self._tls.ca}", "--client-cert-auth"]
        return command

    def _wait_until_healthy(self, port: int, log_start: int) -> None:
        del port, log_start  # it may not be healthy alone; `EtcdCluster.wait_until_healthy` explains what ends early

    def explain_end(self) -> PartFailed:
        """Return why it ended while it was waited for."""
        return self._explain(PartFailed(f"etcd {self.name}", f"ended with code {self.returncode}", self.log))


class EtcdCluster:
    """Several members on loopback, three by default; an async context manager that starts and ends them.

    Client ports stay the same for the cluster's life, whatever happens to its members.

    Args:
        folder: for data and logs; it has to exist.
        size: how many members.
        token_ttl_s: None for a cluster without authentication; else it is on, and etcd's simple tokens live so long (in
            whole seconds) after their last use. The user `root` may do everything.
        tls: how clients are served; None for plain HTTP.
        extra_args: further flags for each member.
        binary: which etcd the members are; None takes the usual one.
        run_relay: runs the relays by which the members reach each other (`open_relays`), for `cut_off`; they have to
            last as long as the cluster. With None they reach each other directly.
    """

    def __init__(
        self,
        folder: Path,
        *,
        size: int = 3,
        token_ttl_s: int | None = None,
        tls: ClusterTls | None = None,
        extra_args: Sequence[str] = (),
        binary: Path | None = None,
        run_relay: Callable[[int], Relay] | None = None,
    ) -> None:
        self._folder = folder
        self._size = size
        self._token_ttl_s = token_ttl_s
        self._tls = tls
        self._extra_args = list(extra_args)
        self._binary = binary
        self._run_relay = run_relay
        self._generation = 1
        self._token: str | None = None
        self._http = httpx.AsyncClient(
            trust_env=False, timeout=_CALL_TIMEOUT_S, verify=tls.client_context if tls is not None else False
        )
        self.members: tuple[Member, ...] = ()

    async def __aenter__(self) -> Self:
        try:
            for attempt in range(_PORT_ATTEMPTS):
                ports = choose_ports([None] * 3 * self._size)
                self.members = tuple(
                    Member(
                        f"m{number}",
                        ports[3 * number : 3 * number + 3],
                        self._folder,
                        tls=self._tls,
                        binary=self._binary,
                        run_relay=self._run_relay,
                    )
                    for number in range(self._size)
                )
                try:
                    await self._start_anew()
                    break
                except PartFailed:
                    # Somebody may have been faster on a port. What else is wrong is wrong at the next attempt too.
                    await self.kill(*self.members)
                    self._remove_data()
                    if attempt == _PORT_ATTEMPTS - 1:
                        raise
            if self._token_ttl_s is not None:
                await self._enable_auth()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_exc: object) -> None:
        with trio.CancelScope(shield=True):
            await self.kill(*self.members)
            await self._http.aclose()

    @property
    def client_urls(self) -> tuple[str, ...]:
        return tuple(member.client_url for member in self.members)

    # Members

    async def start(self, *members: Member) -> None:
        """Start members that do not run; return when their processes do."""
        for member in members:
            await trio.to_thread.run_sync(member.start)

    async def stop(self, *members: Member) -> None:
        """End members by SIGTERM; return when they have ended."""
        async with trio.open_nursery() as nursery:
            for member in members:
                nursery.start_soon(trio.to_thread.run_sync, member.stop)

    async def kill(self, *members: Member) -> None:
        """End members by SIGKILL, all at once; return when they have ended."""
        async with trio.open_nursery() as nursery:
            for member in members:
                nursery.start_soon(trio.to_thread.run_sync, member.kill)

    def pause(self, *members: Member) -> None:
        """SIGSTOP."""
        for member in members:
            member.pause()

    def resume(self, *members: Member) -> None:
        """SIGCONT."""
        for member in members:
            member.resume()

    async def cut_off(self, member: Member) -> None:
        """Let nothing pass any more between a member and the others, while clients still reach all of them.

        Connections stay open, and are accepted: both sides learn of it by silence. It needs `run_relay`.
        """
        listed = await self.call("/v3/cluster/member/list", {})
        (found,) = (item for item in listed["members"] if item["peerURLs"] == [member.peer_url])
        member.is_cut_off = True
        for other in self.members:
            assert other.peer_relay is not None
            if other is member:
                other.peer_relay.stop_reading()
            else:
                # Each request of a member to another, a stream's too, names the one that sends it (rafthttp).
                other.peer_relay.stop_reading_from(f"X-Server-From: {int(found['ID']):x}\r\n".encode())

    def rejoin(self, member: Member) -> None:
        """End what `cut_off` did."""
        member.is_cut_off = False
        for each in self.members:
            assert each.peer_relay is not None
            each.peer_relay.heal()

    async def leader(self) -> Member:
        """Return the member that leads those that run; wait for an election if it has to be.

        Raises:
            EtcdAway: there is none within etcd's usual start time.
        """
        with trio.move_on_after(START_TIMEOUT_S):
            while True:
                for member in self._running():
                    try:
                        status = await self.ask(member, "/v3/maintenance/status", {}, timeout_s=1.0)
                    except (EtcdAway, EtcdRefused):
                        continue
                    if status.get("leader") == status["header"]["member_id"]:
                        return member
                await trio.sleep(_POLL_INTERVAL_S)
        raise EtcdAway("no member leads")

    async def wait_until_healthy(self, *members: Member) -> None:
        """Wait until each of these members (all, if none is named) answers linearizable reads.

        Raises:
            PartFailed: one has ended instead, or it takes too long.
        """
        deadline = time.monotonic() + START_TIMEOUT_S
        for member in members or self.members:
            while not await self._is_healthy(member):
                if member.pid is None:
                    raise member.explain_end()
                if time.monotonic() > deadline:
                    raise PartFailed(f"etcd {member.name}", "is not healthy in time", member.log)
                await trio.sleep(_POLL_INTERVAL_S)

    async def wipe(self, member: Member) -> None:
        """Lose a member's disk, and replace the member as etcd's manual says; return when its process runs.

        The others have to have a quorum. It comes back under another id, at the same ports.

        Raises:
            PartFailed: with authentication, where it is waited for until it has joined: it has ended instead.
        """
        await self.kill(member)
        shutil.rmtree(member.data_dir)
        listed = await self.call("/v3/cluster/member/list", {})
        (found,) = (item for item in listed["members"] if item["peerURLs"] == [member.peer_url])
        await self.call("/v3/cluster/member/remove", {"ID": found["ID"]})
        await self.call("/v3/cluster/member/add", {"peerURLs": [member.peer_url]})
        member.arguments = self._arguments("existing")
        await self.start(member)
        if self._token_ttl_s is not None:
            # A member that joins by the leader's snapshot, as after `restore`, gives tokens and refuses each of them
            # until it is started again (etcd#9629, mended by etcd#13172 after 3.5.1).
            await self.wait_until_healthy(member)
            await self.kill(member)
            await self.start(member)

    async def snapshot(self, path: Path) -> None:
        """Save what the first running member holds."""
        await self._etcdctl("snapshot", "save", str(path), endpoint=self._running()[0].client_url)

    async def restore(self, path: Path, *, as_new_cluster: bool) -> None:
        """Kill all members and start a cluster from a snapshot at the same ports; return when its processes run.

        The revision goes back to the snapshot's. With `as_new_cluster` the cluster's id is another one; else it stays.
        """
        await self.kill(*self.members)
        self._remove_data()
        self._generation += as_new_cluster
        for member in self.members:
            await self._etcdctl(
                "snapshot",
                "restore",
                str(path),
                f"--name={member.name}",
                f"--data-dir={member.data_dir}",
                f"--initial-advertise-peer-urls={member.peer_url}",
                *self._membership(),
            )
        # A token names the log index at which it was given, and etcd waits to reach that before it refuses the token.
        self._token = None
        await self.start(*self.members)

    # Calls

    async def ask(self, member: Member, path: str, body: dict[str, Any], *, timeout_s: float = _CALL_TIMEOUT_S) -> Any:
        """POST to one member, as root where there is authentication; return the JSON object that it answers.

        Raises:
            EtcdRefused: it answers with an error.
            EtcdAway: it does not answer within the time.
        """
        if self._token_ttl_s is not None and self._token is None:
            await self._log_in(member, timeout_s)
        try:
            return await self._post(member, path, body, timeout_s)
        except EtcdRefused as exc:
            # The token has expired, or an older cluster gave it.
            if self._token is None or ("auth token" not in str(exc) and "revision in header" not in str(exc)):
                raise
            await self._log_in(member, timeout_s)
            return await self._post(member, path, body, timeout_s)

    async def call(self, path: str, body: dict[str, Any], *, timeout_s: float = _CALL_TIMEOUT_S) -> Any:
        """POST to the first running member that answers; `timeout_s` is for each.

        Raises:
            EtcdRefused: as `ask`.
            EtcdAway: none answers.
        """
        failures = []
        for member in self._running():
            try:
                return await self.ask(member, path, body, timeout_s=timeout_s)
            except EtcdAway as exc:
                failures.append(str(exc))
            except EtcdRefused as exc:
                if "no leader" not in str(exc) and "timed out" not in str(exc) and "leader changed" not in str(exc):
                    raise
                failures.append(str(exc))
        raise EtcdAway("; ".join(failures) or "no member runs")

    async def put(self, key: str, value: bytes, *, timeout_s: float = _CALL_TIMEOUT_S) -> int:
        """Put a value; return the revision."""
        body = {"key": _base64(key.encode()), "value": _base64(value)}
        answer = await self.call("/v3/kv/put", body, timeout_s=timeout_s)
        return int(answer["header"]["revision"])

    async def delete(self, key: str, *, timeout_s: float = _CALL_TIMEOUT_S) -> int:
        """Delete a key, if it is there; return the revision."""
        answer = await self.call("/v3/kv/deleterange", {"key": _base64(key.encode())}, timeout_s=timeout_s)
        return int(answer["header"]["revision"])

    async def read_prefix(self, prefix: str) -> tuple[dict[str, bytes], int]:
        """Return the values by key of all keys with a prefix, and the store's revision; linearizable."""
        start = prefix.encode()
        body = {"key": _base64(start), "range_end": _base64(start[:-1] + bytes((start[-1] + 1,)))}
        answer = await self.call("/v3/kv/range", body)
        values = {b64decode(kv["key"]).decode(): b64decode(kv.get("value", "")) for kv in answer.get("kvs", [])}
        return values, int(answer["header"]["revision"])

    async def compact(self, revision: int) -> None:
        """Forget all before a revision, on every member, at once."""
        await self.call("/v3/kv/compaction", {"revision": revision, "physical": True})

    async def defragment(self, member: Member) -> None:
        """Rewrite a member's database, which answers nothing meanwhile."""
        await self.ask(member, "/v3/maintenance/defragment", {})

    async def add_user(self, name: str, password: str, prefix: str) -> None:
        """Make a user who may read and write keys with a prefix, by a role of the same name."""
        start = prefix.encode()
        permission = {
            "permType": "READWRITE",
            "key": _base64(start),
            "range_end": _base64(start[:-1] + bytes((start[-1] + 1,))),
        }
        await self.call("/v3/auth/role/add", {"name": name})
        await self.call("/v3/auth/role/grant", {"name": name, "perm": permission})
        await self.call("/v3/auth/user/add", {"name": name, "password": password})
        await self.call("/v3/auth/user/grant", {"user": name, "role": name})

    async def change_password(self, name: str, password: str) -> None:
        """Set a user's password, also to the one it has: each token of the user is refused from then on."""
        await self.call("/v3/auth/user/changepw", {"name": name, "password": password})

    async def switch_auth(self, *, on: bool) -> None:
        """Switch authentication; every token there is becomes void, and the auth revision changes."""
        await self.call(f"/v3/auth/{'enable' if on else 'disable'}", {})

    # How it is done

    async def _start_anew(self) -> None:
        for member in self.members:
            member.arguments = self._arguments("new")
        await self.start(*self.members)
        await self.wait_until_healthy()

    def _membership(self) -> list[str]:
        peers = ",".join(f"{member.name}={member.peer_url}" for member in self.members)
        # The token goes into the ids of cluster and members.
        return [f"--initial-cluster={peers}", f"--initial-cluster-token=generation-{self._generation}"]

    def _arguments(self, state: str) -> list[str]:
        arguments = [*self._membership(), f"--initial-cluster-state={state}", *self._extra_args]
        if self._token_ttl_s is not None:
            # The least cost: by default each login takes a tenth of a second of a core.
            arguments += [f"--auth-token-ttl={self._token_ttl_s}", "--bcrypt-cost=4"]
        return arguments

    def _remove_data(self) -> None:
        for member in self.members:
            shutil.rmtree(member.data_dir, ignore_errors=True)

    def _running(self) -> list[Member]:
        return [member for member in self.members if member.is_running]

    async def _is_healthy(self, member: Member) -> bool:
        try:
            answer = await self._http.get(f"{member.health_url}/health", timeout=1.0)
        except httpx.HTTPError:
            return False
        return answer.status_code == httpx.codes.OK and answer.json()["health"] == "true"

    async def _enable_auth(self) -> None:
        ttl_s, self._token_ttl_s = self._token_ttl_s, None  # until it is on, there is no token to ask for
        await self.call("/v3/auth/role/add", {"name": ROOT})
        await self.call("/v3/auth/user/add", {"name": ROOT, "password": ROOT_PASSWORD})
        await self.call("/v3/auth/user/grant", {"user": ROOT, "role": ROOT})
        await self.switch_auth(on=True)
        self._token_ttl_s = ttl_s

    async def _log_in(self, member: Member, timeout_s: float) -> None:
        self._token = None
        body = {"name": ROOT, "password": ROOT_PASSWORD}
        try:
            self._token = (await self._post(member, "/v3/auth/authenticate", body, timeout_s))["token"]
        except EtcdRefused as exc:
            if "not enabled" not in str(exc):
                raise

    async def _post(self, member: Member, path: str, body: dict[str, Any], timeout_s: float) -> Any:
        headers = {"Authorization": self._token} if self._token is not None else {}
        try:
            answer = await self._http.post(member.client_url + path, json=body, headers=headers, timeout=timeout_s)
            content = answer.json()
        except (httpx.HTTPError, ValueError) as exc:
            raise EtcdAway(f"{member.name}: {type(exc).__name__} {exc}") from exc
        if answer.status_code != httpx.codes.OK:
            raise EtcdRefused(int(content.get("code", 0)), str(content.get("message", content)))
        return content

    async def _etcdctl(self, *arguments: str, endpoint: str | None = None) -> None:
        command = [str(etcdctl_path()), *arguments]
        if endpoint is not None:
            command.append(f"--endpoints={endpoint}")
            if self._token_ttl_s is not None:
                command.append(f"--user={ROOT}:{ROOT_PASSWORD}")
            if self._tls is not None:
                command.append(f"--cacert={self._tls.ca}")
                if self._tls.needs_client_cert:
                    command += [f"--cert={self._tls.cert}", f"--key={self._tls.key}"]
        done = await trio.run_process(
            command, capture_stdout=True, capture_stderr=True, check=False, env={"ETCDCTL_API": "3"}
        )
        if done.returncode != 0:
            # Its output names no secret.
            raise subprocess.CalledProcessError(done.returncode, arguments, done.stdout, done.stderr)


def _base64(data: bytes) -> str:
    return b64encode(data).decode("ascii")
