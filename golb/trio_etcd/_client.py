"""The client: etcd's calls as methods, on the transport, with a token where a user is given."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NoReturn

import trio
import trio.abc

from ._auth import Auth
from ._endpoints import Endpoints
from ._errors import (
    AnswerTooLong,
    InvalidCredentials,
    LeaseNotFound,
    MalformedAnswer,
    ServerError,
    Unauthenticated,
    Unavailable,
)
from ._transport import Transport
from ._types import (
    DeleteOp,
    DeleteResult,
    GetResult,
    Key,
    Lease,
    PrefixSummary,
    PutOp,
    PutResult,
    RangeResult,
    Status,
    TxnResult,
)
from ._watch import Watch, open_watch
from ._wire import (
    Json,
    decode_delete,
    decode_header,
    decode_keep_alive,
    decode_lease,
    decode_put,
    decode_range,
    decode_status,
    decode_summary,
    decode_txn,
    encode_delete,
    encode_next_page,
    encode_put,
    encode_range,
    encode_summary,
    encode_txn,
)

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator, Sequence
    from pathlib import Path

    from ._tls import TlsFiles
    from ._types import Compare, KeyValue, Op, ResponseHeader


# Values may have 1.5 MiB each by etcd's default, and how long they are shows only in the answer.
_FIRST_PAGE_KEYS = 32
_PAGE_BYTES = 1 << 20
_PAGE_GROWTH = 8
_TOO_LONG = "received message larger than max"


class EtcdClient(trio.abc.AsyncResource):
    """A client of one etcd cluster; any number of tasks may use it at once. It starts no task of its own.

    >>> async with EtcdClient(["http://127.0.0.1:2379"]) as client:
    ...     table = await client.get_prefix("weights/")
    ...     async with client.watch_prefix("weights/", start_revision=table.revision + 1) as watch:
    ...         async for batch in watch:
    ...             ...

    Every call raises, besides what it names itself, an `EtcdError`: `Unavailable` after each member has been tried,
    `Unauthenticated` and its kinds, `MalformedAnswer`, or `ServerError` for what etcd refuses otherwise. A call that
    is cancelled, or ends in an `Unavailable` with `sent`, may or may not have been carried out.

    Args:
        endpoints: URLs of the cluster's members, such as http://10.0.0.1:2379 or https://[fd00::1]:2379. Requests go
            to the first one until it is not available, then to the next one, and so on round.
        user: who to authenticate as; None for an etcd without authentication.
        password: the user's password, or the path of a file that holds it, which is read whenever etcd asks for it; a
            line end at its end is left out.
        tls: for https endpoints: whom to trust, and the client's certificate. `TlsFiles` are read again when they have
            changed, a context stays as it is. None trusts whom the system does.
        dial_timeout_s: the longest a connection may take to be made (> 0); a TLS handshake may take as long again.
        request_timeout_s: the longest wait for the next part of an answer (> 0). A long answer that keeps coming is
            not cut; bound a whole call with a cancel scope. etcd itself gives up after 5 s plus two elections.
        peer_timeout_s: within this time (> 0) TCP finds out that the machine at the other end is gone; it takes 4 s at least.

    Raises:
        ValueError: an endpoint is no such URL, a timeout is not positive, or there is a password without a user.
    """

    def __init__(
        self,
        endpoints: Sequence[str],
        *,
        user: str | None = None,
        password: str | Path | None = None,
        tls: ssl.SSLContext | TlsFiles | None = None,
        dial_timeout_s: float = 2.0,
        request_timeout_s: float = 10.0,
        peer_timeout_s: float = 24.0,
    ) -> None:
        if (user is None) != (password is None):
            raise ValueError("a user and a password go together")
        if not (dial_timeout_s > 0 and request_timeout_s > 0 and peer_timeout_s > 0):
            raise ValueError("a timeout is not above 0 s")
        self._endpoints = Endpoints(endpoints)
        self._transport = Transport(
            self._endpoints,
            dial_timeout_s=dial_timeout_s,
            request_timeout_s=request_timeout_s,
            peer_timeout_s=peer_timeout_s,
            tls=tls,
        )
        self._auth = Auth(self._transport, user, password)

    def __repr__(self) -> str:
        return f"<EtcdClient of {', '.join(self._endpoints.urls)}>"

    async def aclose(self) -> None:
        """Close all connections. Calls under way fail with `Unavailable`, later ones with `trio.ClosedResourceError`."""
        await self._transport.aclose()

    def pass_over(self, member: str) -> None:
        """Let the next request start with another member than this one (a URL), if there is another."""
        self._endpoints.skip(member)

    async def get(
        self, key: Key, *, revision: int | None = None, serializable: bool = False, member: str | None = None
    ) -> GetResult:
        """Return a key as it stands, or as it stood at `revision`.

        `serializable` lets the member asked answer by itself: also without a quorum, but maybe with what is old. Without
        it the answer shows that the member has a leader and has applied all that was put before. `member` (the URL of
        one) is asked alone.

        Raises:
            Compacted: `revision` is gone.
        """
        request = _read(encode_range(key, prefix=False), revision, serializable=serializable)
        page = await self._range(request, member)
        return GetResult(page.header, page.kvs[0] if page.kvs else None)

    async def get_prefix(
        self,
        prefix: Key,
        *,
        revision: int | None = None,
        page_size: int = 1000,
        keys_only: bool = False,
        serializable: bool = False,
    ) -> RangeResult:
        """Return all keys that start with `prefix` (all there are, if it is empty), as they stood at one revision.

        They are read in pages, all at the revision of the first: so neither etcd nor another task has to wait long for
        a large table, and changes meanwhile do not show. A page has up to `page_size` keys (> 0), and fewer if the
        values are long: about 1 MiB is aimed at, and a page that is too long for etcd's gateway is asked for in parts.

        Raises:
            Compacted: the revision is gone, before or while the pages were read. Without `revision`, call again.
            AnswerTooLong: a single key is too long.
        """
        base = _read(encode_range(prefix, prefix=True), revision, serializable=serializable)
        base["keys_only"] = keys_only
        limit = min(page_size, _FIRST_PAGE_KEYS)
        request = base
        header: ResponseHeader | None = None
        kvs: list[KeyValue] = []
        while True:
            try:
                page = await self._range({**request, "limit": limit})
            except AnswerTooLong:
                if limit == 1:
                    raise
                limit = max(limit // 4, 1)
                continue
            header = header or page.header
            read_revision = revision or header.revision
            kvs += page.kvs
            if not page.more:
                return RangeResult(header, read_revision, tuple(kvs))
            length_bytes = sum(len(kv.key) + len(kv.value) for kv in page.kvs) or 1
            fitting = len(page.kvs) * _PAGE_BYTES // length_bytes
            limit = max(1, min(page_size, limit * _PAGE_GROWTH, fitting))
            request = encode_next_page(base, kvs[-1].key, read_revision)

    async def summarize_prefix(self, prefix: Key, *, member: str | None = None) -> PrefixSummary:
        """Return how many keys start with `prefix`, and when the newest was put; `member` (the URL of one) is asked alone.

        etcd looks at each of the keys: that takes it some 2 ms for a thousand (etcd 3.5, one core).
        """
        request = encode_summary(prefix)
        return decode_summary(
            await self._call("/v3/kv/range", request, repeatable=True, require_leader=True, member=member)
        )

    async def put(self, key: Key, value: bytes, *, lease: int = 0, prev_kv: bool = False) -> PutResult:
        """Put a value; its key goes when `lease` (an id; 0 for none) does. `prev_kv` asks for what was there before.

        Raises:
            LeaseNotFound: there is no such lease.
        """
        request = encode_put(PutOp(key, value, lease=lease, prev_kv=prev_kv))
        return decode_put(await self._call("/v3/kv/put", request, repeatable=False))

    async def delete(self, key: Key, *, prev_kv: bool = False) -> DeleteResult:
        """Delete a key, if it is there. `prev_kv` asks for what was there before."""
        return await self._delete(DeleteOp(key, prev_kv=prev_kv))

    async def delete_prefix(self, prefix: Key, *, prev_kv: bool = False) -> DeleteResult:
        """Delete all keys that start with `prefix`, at one revision; all there are, if it is empty."""
        return await self._delete(DeleteOp(prefix, prefix=True, prev_kv=prev_kv))

    async def txn(
        self, compare: Sequence[Compare], success: Sequence[Op] = (), failure: Sequence[Op] = ()
    ) -> TxnResult:
        """Carry out `success` if all of `compare` holds, else `failure`: all of it, at one revision.

        No key may be changed twice in it, and by default etcd takes 128 operations at most.
        """
        return decode_txn(await self._call("/v3/kv/txn", encode_txn(compare, success, failure), repeatable=False))

    async def compact(self, revision: int) -> ResponseHeader:
        """Forget what the store held before `revision`. What stands at it stays.

        Raises:
            Compacted: that has been done already.
        """
        return decode_header(await self._call("/v3/kv/compaction", {"revision": revision}, repeatable=False))

    async def status(self) -> Status:
        """Return how the member asked is: the first one that is available. etcd answers without authentication."""
        return decode_status(await self._call("/v3/maintenance/status", {}, repeatable=True))

    async def grant_lease(self, ttl_s: int, *, lease: int = 0) -> Lease:
        """Grant a lease that lives `ttl_s` (> 0) seconds after it was last kept alive. `lease` is the id it gets; 0 lets etcd choose."""
        request = {"TTL": ttl_s, "ID": lease}
        return decode_lease(await self._call("/v3/lease/grant", request, repeatable=False))

    async def revoke_lease(self, lease: int) -> ResponseHeader:
        """End a lease, and delete its keys.

        Raises:
            LeaseNotFound: it has ended already.
        """
        return decode_header(await self._call("/v3/lease/revoke", {"ID": lease}, repeatable=False))

    async def keep_lease_alive_once(self, lease: int) -> int:
        """Let a lease live for its whole time from now on; return that time in seconds.

        Raises:
            LeaseNotFound: it has expired or was revoked.
        """
        ttl_s = decode_keep_alive(await self._call("/v3/lease/keepalive", {"ID": lease}, repeatable=True))
        if ttl_s <= 0:
            # A lease unknown to etcd is answered with no TTL, not with an error.
            raise LeaseNotFound(f"there is no lease {lease:x}")
        return ttl_s

    async def keep_lease_alive(
        self, lease: int, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED
    ) -> NoReturn:
        """Keep a lease alive until cancelled, at every third of its time; ready, with that time in seconds, after the first.

        While etcd is not available it tries on. Cancellation leaves the lease to expire, unless it is revoked.

        Raises:
            LeaseNotFound: the lease has expired or was revoked.
            Unavailable: etcd was not, at first; or for the lease's whole time, so that it may have expired.
        """
        ttl_s = await self.keep_lease_alive_once(lease)
        task_status.started(ttl_s)
        expires_at = trio.current_time() + ttl_s
        pause_s = ttl_s / 3
        while True:
            await trio.sleep(pause_s)
            asked_at = trio.current_time()
            try:
                ttl_s = await self.keep_lease_alive_once(lease)
            except Unavailable:
                if trio.current_time() >= expires_at:
                    raise
                pause_s = min(1.0, ttl_s / 10)
            else:
                expires_at = asked_at + ttl_s
                pause_s = ttl_s / 3

    @asynccontextmanager
    async def watch(
        self,
        key: Key,
        *,
        start_revision: int | None = None,
        prev_kv: bool = False,
        read_timeout_s: float | None = None,
    ) -> AsyncGenerator[Watch]:
        """Watch a key. On entering, etcd has confirmed the watch; on leaving, the stream is closed at once.

        The changes come from `start_revision` (> 0) on, itself included; None stands for those after the present
        revision. `prev_kv` asks for the keys as they were before. With nothing to tell, etcd sends a progress
        notification (a batch without events) every ten minutes by default; its --experimental-watch-progress-notify-interval
        changes that. `read_timeout_s` bounds the silence between two sendings; None allows any, and leaves it to TCP
        to find out that the machine at the other end is gone. A member that loses the leader ends its watches.

        Raises:
            WatchCancelled: etcd does not allow this watch.
        """
        request = encode_range(key, prefix=False)
        async with self._watch(request, start_revision, prev_kv=prev_kv, read_timeout_s=read_timeout_s) as watch:
            yield watch

    @asynccontextmanager
    async def watch_prefix(
        self,
        prefix: Key,
        *,
        start_revision: int | None = None,
        prev_kv: bool = False,
        read_timeout_s: float | None = None,
    ) -> AsyncGenerator[Watch]:
        """Watch all keys that start with `prefix`, be they there yet or not; otherwise as `watch`."""
        request = encode_range(prefix, prefix=True)
        async with self._watch(request, start_revision, prev_kv=prev_kv, read_timeout_s=read_timeout_s) as watch:
            yield watch

    @asynccontextmanager
    async def _watch(
        self, request: Json, start_revision: int | None, *, prev_kv: bool, read_timeout_s: float | None
    ) -> AsyncGenerator[Watch]:
        # Fragments keep a line within what a request may hold (1.5 MiB by default); without them the changes of a
        # thousand revisions come in one, which may be longer than is read. The price: etcd cuts them in quadratic time,
        # which shows from some ten thousand events on (server/etcdserver/api/v3rpc/watch.go, sendFragments).
        request |= {"prev_kv": prev_kv, "progress_notify": True, "fragment": True}
        if start_revision is not None:
            if start_revision <= 0:
                raise ValueError(f"{start_revision} is no start revision; they start at 1")
            request["start_revision"] = start_revision
        options: dict[str, Any] = {"start_revision": start_revision, "read_timeout_s": read_timeout_s}
        token = await self._auth.get_token()
        try:
            watch = await open_watch(self._transport, request, token, **options, on_lost=self._auth.forget)
        except Unavailable:
            self._auth.forget()
            raise
        except Unauthenticated as exc:
            token = await self._renew_token(token, exc)
            watch = await open_watch(self._transport, request, token, **options, on_lost=self._auth.forget)
        try:
            yield watch
        finally:
            await watch.aclose()

    async def _range(self, request: Json, member: str | None = None) -> RangeResult:
        require_leader = not request["serializable"]
        try:
            page = decode_range(
                await self._call("/v3/kv/range", request, repeatable=True, require_leader=require_leader, member=member)
            )
        except ServerError as exc:
            # The gateway is a client of etcd's gRPC service and has a limit for its answers, 4 MiB if it is that
            # library's own. A request for a range is never as long.
            if _TOO_LONG in exc.message:
                raise AnswerTooLong(exc.message) from exc
            raise
        if page.more and not page.kvs:
            raise MalformedAnswer("a page without keys, and more to come")
        return page

    async def _delete(self, op: DeleteOp) -> DeleteResult:
        return decode_delete(await self._call("/v3/kv/deleterange", encode_delete(op), repeatable=False))

    async def _call(
        self, path: str, request: Json, *, repeatable: bool, require_leader: bool = False, member: str | None = None
    ) -> Json:
        options: dict[str, Any] = {"repeatable": repeatable, "require_leader": require_leader, "member": member}
        token = await self._auth.get_token()
        try:
            return await self._transport.post(path, request, token, **options)
        except Unavailable:
            self._auth.forget()
            raise
        except Unauthenticated as exc:
            token = await self._renew_token(token, exc)
            return await self._transport.post(path, request, token, **options)

    async def _renew_token(self, token: str | None, refusal: Unauthenticated) -> str | None:
        # etcd has several words for a token that it does not know any more: 3.5 says of a watch with an expired one that
        # permission is denied. A permission that is missing indeed is denied again.
        if token is None or isinstance(refusal, InvalidCredentials):
            raise refusal
        return await self._auth.renew(token)


def _read(request: Json, revision: int | None, *, serializable: bool) -> Json:
    return {**request, "revision": revision or 0, "serializable": serializable}
