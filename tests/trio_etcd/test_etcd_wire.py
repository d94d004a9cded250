"""JSON to values and back, and chunks to batches: pure, so without an etcd."""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from golb.trio_etcd import (
    Compacted,
    Compare,
    DeleteOp,
    DeleteResult,
    EtcdError,
    Event,
    EventType,
    GetOp,
    InvalidAuthToken,
    InvalidCredentials,
    KeyValue,
    LeaseNotFound,
    MalformedAnswer,
    PermissionDenied,
    PutOp,
    PutResult,
    RangeResult,
    ResponseHeader,
    ServerError,
    Unavailable,
    WatchBatch,
    WatchCancelled,
)
from golb.trio_etcd import _wire as wire
from golb.trio_etcd._stream import BatchBuilder, LineSplitter

if TYPE_CHECKING:
    from collections.abc import Callable

HEADER = {"cluster_id": "18446744073709551615", "member_id": "2", "revision": "3", "raft_term": "4"}


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


# Requests


@pytest.mark.parametrize(
    ("prefix", "end"),
    [
        (b"a", b"b"),
        (b"golb/function/zone-a/", b"golb/function/zone-a0"),
        (b"a\xff", b"b"),
        (b"\xff\xff", b"\0"),
        (b"", b"\0"),
    ],
)
def test_a_prefix_ends_before_the_next_key_without_it(prefix: bytes, end: bytes) -> None:
    assert wire.prefix_end(prefix) == end


@given(st.binary(max_size=4), st.binary(max_size=6))
def test_a_key_is_in_the_range_just_if_it_has_the_prefix(prefix: bytes, key: bytes) -> None:
    end = wire.prefix_end(prefix)
    in_range = prefix <= key and (end == b"\0" or key < end)
    assert in_range == key.startswith(prefix)


def test_a_transaction_is_encoded_as_the_gateway_reads_it() -> None:
    body = wire.encode_txn(
        [Compare.version("k", "=", 0), Compare.value(b"k", "!=", b"v")],
        [PutOp("k", b"v", lease=7), GetOp("p", prefix=True, limit=2)],
        [DeleteOp("k", prev_kv=True)],
    )
    assert json.loads(wire.encode_request(body)) == {
        "compare": [
            {"key": b64(b"k"), "target": "VERSION", "result": "EQUAL", "version": 0},
            {"key": b64(b"k"), "target": "VALUE", "result": "NOT_EQUAL", "value": b64(b"v")},
        ],
        "success": [
            {"request_put": {"key": b64(b"k"), "value": b64(b"v"), "lease": 7, "prev_kv": False}},
            {"request_range": {"key": b64(b"p"), "range_end": b64(b"q"), "limit": 2}},
        ],
        "failure": [{"request_delete_range": {"key": b64(b"k"), "prev_kv": True}}],
    }


def test_a_relation_that_etcd_does_not_know_is_refused() -> None:
    with pytest.raises(ValueError, match="relation"):
        Compare.version("k", ">=", 1)  # type: ignore[arg-type]  # that it is wrong is the test


# Answers


def test_absent_fields_have_their_defaults() -> None:
    page = wire.decode_range({"header": {}, "kvs": [{"key": b64(b"k")}]})
    assert page == RangeResult(ResponseHeader(), 0, (KeyValue(b"k", b""),))


def test_a_key_is_decoded_whole() -> None:
    kv = {
        "key": b64(b"k"),
        "value": b64(b"v\0"),
        "create_revision": "9223372036854775807",
        "mod_revision": "2",
        "version": "3",
        "lease": "4",
    }
    page = wire.decode_range({"header": HEADER, "kvs": [kv], "more": True, "count": "9"})
    assert page.header == ResponseHeader(2**64 - 1, 2, 3, 4)
    assert page.kvs == (KeyValue(b"k", b"v\0", 2**63 - 1, 2, 3, 4),)
    assert page.more


def test_a_transactions_results_keep_their_order_and_kind() -> None:
    header = {"revision": "3"}
    answer = {
        "header": HEADER,
        "succeeded": True,
        "responses": [
            {"response_put": {"header": header}},
            {"response_range": {"header": header, "kvs": [{"key": b64(b"k")}]}},
            {"response_delete_range": {"header": header, "deleted": "2"}},
        ],
    }
    inner = ResponseHeader(revision=3)
    result = wire.decode_txn(answer)
    assert result.succeeded
    assert result.responses == (
        PutResult(inner),
        RangeResult(inner, 3, (KeyValue(b"k", b""),)),
        DeleteResult(inner, 2),
    )


@pytest.mark.parametrize(
    ("code", "message", "error"),
    [
        (11, "etcdserver: mvcc: required revision has been compacted", Compacted),
        (11, "etcdserver: mvcc: required revision is a future revision", ServerError),
        (5, "etcdserver: requested lease not found", LeaseNotFound),
        (3, "etcdserver: authentication failed, invalid user ID or password", InvalidCredentials),
        (3, "etcdserver: user name is empty", InvalidAuthToken),
        (3, "etcdserver: revision of auth store is old", InvalidAuthToken),
        (16, "etcdserver: invalid auth token", InvalidAuthToken),
        (16, "something new", InvalidAuthToken),
        (7, "something new", PermissionDenied),
        (14, "etcdserver: no leader", Unavailable),
        (1, "grpc: the client connection is closing", Unavailable),
        (8, "etcdserver: mvcc: database space exceeded", ServerError),
    ],
)
@pytest.mark.parametrize("form", ["unary", "stream 3.5", "stream 3.6"])
def test_what_etcd_reports_becomes_the_error_named_for_it(
    code: int, message: str, error: type[EtcdError], form: str
) -> None:
    if form == "unary":
        raised = wire.decode_error(400, json.dumps({"error": message, "code": code, "message": message}).encode())
    else:
        fault = {"grpc_code" if form == "stream 3.5" else "code": code, "message": message}
        with pytest.raises(EtcdError) as caught:
            wire.decode_watch(json.dumps({"error": fault}).encode())
        raised = caught.value
    assert type(raised) is error
    if isinstance(raised, ServerError):
        assert (raised.code, raised.message) == (code, message)


def test_a_proxys_503_is_unavailable_and_its_404_is_malformed() -> None:
    assert isinstance(wire.decode_error(503, b"<html>no healthy upstream"), Unavailable)
    assert isinstance(wire.decode_error(404, b"404 page not found"), MalformedAnswer)


def test_a_peers_endless_message_is_cut() -> None:
    assert len(str(wire.decode_error(400, json.dumps({"code": 3, "message": "x" * 10**6}).encode()))) < 1000


@pytest.mark.parametrize("token", [None, 5, "a\r\nb: c", "\u2028"])
def test_a_token_that_is_no_header_value_is_malformed(token: object) -> None:
    with pytest.raises(MalformedAnswer):
        wire.decode_token({"token": token})


DECODERS: list[Callable[[dict[str, Any]], object]] = [
    wire.decode_header,
    wire.decode_range,
    wire.decode_put,
    wire.decode_delete,
    wire.decode_txn,
    wire.decode_lease,
    wire.decode_keep_alive,
    wire.decode_status,
    wire.decode_token,
    lambda answer: wire.decode_watch(json.dumps({"result": answer}).encode()),
]
FIELDS = [
    *("header", "revision", "kvs", "kv", "key", "value", "lease", "more", "prev_kv", "prev_kvs", "deleted", "type"),
    *("responses", "response_put", "ID", "TTL", "result", "events", "version", "errors", "token", "compact_revision"),
    *("canceled", "cancel_reason"),
]
SCALARS = st.sampled_from([None, True, 0, -1, 1.5, float("inf"), float("nan"), "", "7", "a", "YQ==", "DELETE"])
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=5), st.sampled_from([{}, {"header": HEADER}]))
@example({"header": {"revision": float("inf")}, "result": {"TTL": "x"}}, {})
@example({"kvs": [{"key": "?"}], "responses": ["x"], "events": [{"type": "GONE"}]}, {"header": HEADER})
def test_a_wrong_shape_is_malformed_and_nothing_else(answer: dict[str, Any], header: dict[str, Any]) -> None:
    answer = {**answer, **header}
    for decode in DECODERS:
        with suppress(MalformedAnswer):
            decode(answer)


@given(st.binary(max_size=40))
@example(b"[" * 100_000)
@example(b"\xff\xfe")
@example(b"1")
@example(b'{"error": null}')
def test_bytes_that_are_no_answer_are_malformed_and_nothing_else(body: bytes) -> None:
    assert isinstance(wire.decode_error(400, body), EtcdError)
    with suppress(EtcdError):
        wire.decode_watch(body)


# The watch stream


def test_a_watch_message_is_decoded_whole() -> None:
    put = {"kv": {"key": b64(b"k"), "value": b64(b"new"), "mod_revision": "5"}, "prev_kv": {"key": b64(b"k")}}
    delete = {"type": "DELETE", "kv": {"key": b64(b"k"), "mod_revision": "6"}}
    message = wire.decode_watch(json.dumps({"result": {"header": HEADER, "events": [put, delete]}}).encode())
    assert message.events == [
        Event(EventType.PUT, KeyValue(b"k", b"new", mod_revision=5), KeyValue(b"k", b"")),
        Event(EventType.DELETE, KeyValue(b"k", b"", mod_revision=6)),
    ]
    assert (message.created, message.fragment, message.ended) == (False, False, None)


def test_a_cancelled_watch_says_why() -> None:
    def ended(**fields: object) -> EtcdError | None:
        return wire.decode_watch(json.dumps({"result": {"header": {}, "canceled": True, **fields}}).encode()).ended

    compacted = ended(compact_revision="7", cancel_reason="whatever")
    assert isinstance(compacted, Compacted)
    assert compacted.compact_revision == 7
    denied = "rpc error: code = PermissionDenied desc = etcdserver: permission denied"
    assert isinstance(ended(cancel_reason=denied), PermissionDenied)
    cancelled = ended(cancel_reason="duplicate watch ID")
    assert isinstance(cancelled, WatchCancelled)
    assert cancelled.reason == "duplicate watch ID"
    assert isinstance(ended(), WatchCancelled)


@given(st.lists(st.text("ab\n", max_size=5).map(str.encode), max_size=20))
def test_lines_are_the_same_wherever_the_chunks_are_cut(chunks: list[bytes]) -> None:
    splitter = LineSplitter(100)
    lines = [line for chunk in chunks for line in splitter.feed(chunk)]
    whole, _, _ = b"".join(chunks).rpartition(b"\n")
    assert lines == [line for line in whole.split(b"\n") if line]


def test_a_line_beyond_the_limit_is_malformed_before_it_is_kept() -> None:
    splitter = LineSplitter(10)
    assert splitter.feed(b"0123456789") == []
    assert splitter.feed(b"\n0123456789") == [b"0123456789"]
    with pytest.raises(MalformedAnswer, match="10 bytes"):
        splitter.feed(b"x")


def message(*revisions: int, at: int = 0, fragment: bool = False) -> wire.WatchMessage:
    events = [Event(EventType.PUT, KeyValue(b"k%d" % i, b"", mod_revision=r)) for i, r in enumerate(revisions)]
    return wire.WatchMessage(ResponseHeader(revision=at), events, created=False, fragment=fragment, ended=None)


def test_a_batch_reaches_as_far_as_its_last_event_not_as_its_header() -> None:
    builder = BatchBuilder(2)
    batch = builder.add(message(3, 5, at=9))
    assert batch is not None
    assert batch.revision == builder.revision == 5
    assert builder.add(message(at=9)) == WatchBatch(9, ())


def test_progress_never_goes_back() -> None:
    builder = BatchBuilder(7)
    assert builder.add(message(at=3)) == WatchBatch(7, ())


@given(st.lists(st.integers(1, 4), min_size=1, max_size=12), st.sets(st.integers(1, 11)))
def test_a_revision_is_never_split_and_no_event_is_lost(steps: list[int], cuts: set[int]) -> None:
    # Of the steps from one event's revision to the next, 4 stands for none: the same transaction.
    revisions = [sum(step % 4 for step in steps[: i + 1]) + 1 for i in range(len(steps))]
    bounds = [0, *sorted(cut for cut in cuts if cut < len(revisions)), len(revisions)]
    parts = [revisions[a:b] for a, b in pairwise(bounds)]
    builder = BatchBuilder(0)
    seen: list[int] = []
    for i, part in enumerate(parts):
        batch = builder.add(message(*part, at=100, fragment=i < len(parts) - 1))
        if batch is None:
            continue
        new = [event.kv.mod_revision for event in batch.events]
        assert new
        assert not set(new) & set(seen)
        assert batch.revision == new[-1]
        seen += new
    assert seen == revisions
