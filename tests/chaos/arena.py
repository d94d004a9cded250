"""Where faults happen: a cluster of three etcds, a relay to each for golb, golb, its endpoints, and what goes on there."""

from __future__ import annotations

import ssl
import time
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import trio
import trustme
from attrs import define, field, frozen
from support.etcd_cluster import ClusterTls, EtcdAway, EtcdCluster, EtcdRefused
from support.golb_process import GolbProcess
from support.pods import run_pods
from support.relay import Relay, open_relay, open_relays

from chaos.promises import MARGIN_S, RECOVERY_S, Broken, Line, Window
from chaos.traffic import PODS, PUT_EVERY_S, Load, Writer, serves
from demo.ports import HOST

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

    from support.etcd_cluster import Member

ZONE = "zone-a"
USER, PASSWORD = "golb", "golb-pw"
TOKEN_TTL_S = 2
UPSTREAM_IDLE_TIMEOUT_S = 2

# How long the truth is waited for when it did not come in time, so that the report can say when it came.
_PATIENCE_S = 20.0
_LOOK_AGAIN_S = 0.02
_QUIET_S = 20.0


class LogTail:
    """Reads the log of a golb as it grows."""

    def __init__(self, golb: GolbProcess) -> None:
        self.lines: list[Line] = []
        self._path = golb.log_path
        self._offset = 0

    def read(self) -> list[Line]:
        """Return all whole lines so far."""
        with self._path.open("rb") as log:
            log.seek(self._offset)
            whole, newline, _ = log.read().rpartition(b"\n")
        self._offset += len(whole) + len(newline)
        self.lines += [Line.parse(text.decode()) for text in whole.splitlines()]
        return self.lines


@frozen
class Held:
    """What a golb holds when nobody calls it."""

    descriptors: int
    resident_bytes: int


@define(kw_only=True)
class Arena:
    """All that a fault works on. Times are unix seconds."""

    cluster: EtcdCluster
    relays: dict[Member, Relay]
    urls: dict[Member, str]
    """By which golb knows the members: those of the relays."""
    golb: GolbProcess
    log: LogTail
    writer: Writer
    load: Load
    chosen: random.Random
    folder: Path
    timeout_s: float
    say: Callable[[str], None]
    variables: dict[str, str | int]
    """What `golb` was started with, its port and name left out."""
    golbs: list[GolbProcess] = field(factory=list)
    """All that have to serve the truth now."""
    broken: list[Broken] = field(factory=list)
    """What faults themselves found to be broken."""

    @property
    def members(self) -> tuple[Member, ...]:
        return self.cluster.members

    # Choices

    def watched(self) -> Member | None:
        """Return the member at which golb has opened its watch, as it says; None if it has said nothing."""
        opened = [line.fields["member"] for line in self.log.read() if line.event == "watch opened"]
        by_url = {url: member for member, url in self.urls.items()}
        return by_url[opened[-1]] if opened else None

    def some_member(self) -> Member:
        """Choose one: mostly that which golb watches, since its faults are those that matter."""
        watched = self.watched()
        return watched if watched is not None and self.chosen.random() < 0.7 else self.chosen.choice(self.members)

    def failover_s(self) -> float:
        """Choose how long a bad member is left: so long that a put made meanwhile has to be in force before the end."""
        return self.timeout_s + RECOVERY_S + PUT_EVERY_S + self.chosen.uniform(0.2, 1.0)

    def outage_s(self) -> float:
        """Choose how long etcd is away: one time in four so short that nothing has to be said."""
        if self.chosen.random() < 0.25:
            return self.chosen.uniform(0.3, self.timeout_s / 2)
        return self.timeout_s + MARGIN_S + self.chosen.uniform(0.3, 2.0)

    # What is done to members

    async def kill(self, *members: Member) -> None:
        """SIGKILL; who connects to them is refused."""
        await self.writer.hold()
        await self.cluster.kill(*members)
        for member in members:
            self.relays[member].refuse()
        self.writer.release()

    async def start(self, *members: Member) -> None:
        """Start them again; returns when they are healthy."""
        await self.cluster.start(*members)
        self.heal(*members)
        await self.cluster.wait_until_healthy(*members)

    async def pause(self, *members: Member) -> None:
        """SIGSTOP."""
        await self.writer.hold()
        self.cluster.pause(*members)
        self.writer.release()

    async def resume(self, *members: Member) -> None:
        """SIGCONT; returns when they are healthy."""
        self.cluster.resume(*members)
        await self.cluster.wait_until_healthy(*members)

    async def cut_off(self, member: Member) -> None:
        """Part a member from the others; golb reaches all of them."""
        await self.writer.hold()
        await self.cluster.cut_off(member)
        self.writer.release()

    async def rejoin(self, member: Member) -> None:
        """Let it reach the others again; returns when it is healthy."""
        self.cluster.rejoin(member)
        await self.cluster.wait_until_healthy(member)

    def heal(self, *members: Member) -> None:
        """Let the relays of these members pass everything; of all, if none is named."""
        for member in members or self.members:
            self.relays[member].heal()

    # What is waited for

    async def wait_for_puts(self, count: int) -> None:
        """Wait until so many more puts have been acknowledged."""
        wanted = self.writer.newest_acknowledged() + count
        while self.writer.newest_acknowledged() < wanted:  # noqa: ASYNC110 - the writer has no event for each put
            await trio.sleep(_LOOK_AGAIN_S)

    async def wait_for_truth(self, window: Window) -> float:
        """Wait until each golb serves what stands in etcd; return how many seconds after all was well.

        Unless the writer is held, it puts once more first, so that golb has to have learnt something since. What comes
        late, or not at all, is noted as broken.
        """
        failures: list[Broken] = []
        if not self.writer.is_held:
            await self.writer.put_once()
        while not await self._all_serve_the_truth(failures):
            if time.time() > window.well + _PATIENCE_S:
                break
            await trio.sleep(_LOOK_AGAIN_S)
        took_s = time.time() - window.well
        self.broken += failures
        if took_s > RECOVERY_S:
            what = f"it was after {took_s:.2f} s" if took_s < _PATIENCE_S else f"it was not within {_PATIENCE_S:g} s"
            self.broken.append(
                Broken(
                    window.well + RECOVERY_S, "2 s after a fault's end the truth is served", f"{window.fault}: {what}"
                )
            )
        return took_s

    async def _all_serve_the_truth(self, failures: list[Broken]) -> bool:
        try:
            # A put may come between the reading and the calls; then the next time shows it.
            truth = await self.writer.read()
        except (EtcdAway, EtcdRefused):
            return False
        # A put that timed out may have been carried out after all, but none may have undone a newer one.
        if truth.number < self.writer.newest_acknowledged():
            self.writer.note_lost(truth.number, time.time())
        for golb in self.golbs:
            if not await serves(golb.port, truth, failures):
                return False
        return True

    async def held_when_quiet(self, at_most: Held | None) -> Held:
        """Return what golb holds when nobody calls; wait a while for it to be no more descriptors than before."""
        deadline = trio.current_time() + (_QUIET_S if at_most is not None else UPSTREAM_IDLE_TIMEOUT_S + 1)
        while True:
            held = Held(self.golb.descriptors(), self.golb.resident_bytes())
            if trio.current_time() > deadline or (at_most is not None and held.descriptors <= at_most.descriptors):
                return held
            await trio.sleep(0.1)


@asynccontextmanager
async def open_arena(
    folder: Path, chosen: random.Random, timeout_s: float, say: Callable[[str], None], *, with_tls: bool
) -> AsyncIterator[Arena]:
    """Start everything but the writer and the load; all of it ends on leaving.

    With `with_tls` etcd and golb show each other certificates.
    """
    async with AsyncExitStack() as stack:
        pods = await stack.enter_async_context(run_pods(PODS))
        run_relay = await stack.enter_async_context(open_relays())
        tls = make_cluster_tls(folder) if with_tls else None
        cluster = await stack.enter_async_context(
            EtcdCluster(folder, token_ttl_s=TOKEN_TTL_S, tls=tls, run_relay=run_relay)
        )
        await cluster.add_user(USER, PASSWORD, "golb/")
        relays = {member: await stack.enter_async_context(open_relay(member.port)) for member in cluster.members}
        writer = Writer(cluster, ZONE, [pod.ip for pod in pods])
        await writer.put_once()
        await writer.put_once()
        scheme = "https" if with_tls else "http"
        urls = {member: f"{scheme}://{HOST}:{relay.port}" for member, relay in relays.items()}
        variables = golb_variables([*urls.values()], timeout_s, tls)
        golb = await stack.enter_async_context(running(GolbProcess(**variables)))
        yield Arena(
            cluster=cluster,
            relays=relays,
            urls=urls,
            golb=golb,
            log=LogTail(golb),
            writer=writer,
            load=Load(golb.port, writer),
            chosen=chosen,
            folder=folder,
            timeout_s=timeout_s,
            say=say,
            variables=variables,
            golbs=[golb],
        )


def make_cluster_tls(folder: Path) -> ClusterTls:
    """Write a certificate for both sides, and its authority's, into a folder."""
    authority = trustme.CA()
    certificate = authority.issue_cert(HOST)
    cert, key, ca = folder / "cert.pem", folder / "key.pem", folder / "ca.pem"
    cert.write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
    certificate.private_key_pem.write_to_path(key)
    authority.cert_pem.write_to_path(ca)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(context)
    certificate.configure_cert(context)
    return ClusterTls(cert=cert, key=key, ca=ca, client_context=context, needs_client_cert=True)


def golb_variables(etcd_urls: Sequence[str], timeout_s: float, tls: ClusterTls | None) -> dict[str, str | int]:
    """Return how a golb is told of the cluster, through the relays."""
    files: dict[str, str | int] = (
        {} if tls is None else {"etcd_ca": str(tls.ca), "etcd_cert": str(tls.cert), "etcd_key": str(tls.key)}
    )
    return files | {
        "zone": ZONE,
        "etcd_host": " ".join(etcd_urls),
        "etcd_timeout": f"{timeout_s:g}",
        "etcd_user": USER,
        "etcd_password": PASSWORD,
        "upstream_idle_timeout": UPSTREAM_IDLE_TIMEOUT_S,
    }


@asynccontextmanager
async def running(golb: GolbProcess) -> AsyncIterator[GolbProcess]:
    """Start a golb, and end it on leaving if it has not ended; the relays run on meanwhile."""
    try:
        await trio.to_thread.run_sync(golb.start)
        yield golb
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(golb.__exit__, None, None, None)
