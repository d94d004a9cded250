"""Values to JSON bodies and back, with no I/O and no clock.

Rule: whatever bytes come in, a value or `MalformedAnswer` (or the error that etcd reports) comes out.
The mapping is proto3's JSON one as grpc-gateway prints it: 64 bit integers are strings, bytes are base64, and a field
that has its default value is absent. Decoding is guarded once for a whole answer, not for each key or event in it, so
that a hundred thousand keys cost what parsing them costs.
Sources: etcd, api/etcdserverpb/rpc.proto; https://protobuf.dev/programming-guides/json/.
"""

from __future__ import annotations

import json
from binascii import a2b_base64, b2a_base64
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

from attrs import frozen

from ._errors import EtcdError, MalformedAnswer, Unavailable, error_from_cancelled_watch, error_from_status
from ._types import (
    Compare,
    DeleteOp,
    DeleteResult,
    Event,
    EventType,
    GetOp,
    Key,
    KeyValue,
    Lease,
    Op,
    PrefixSummary,
    PutOp,
    PutResult,
    RangeResult,
    ResponseHeader,
    Status,
    TxnResult,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Json: TypeAlias = dict[str, Any]

_EVERY_KEY = b"\0"  # as a key: the smallest one; as a range's end: no end
_RELATIONS = {"=": "EQUAL", "!=": "NOT_EQUAL", "<": "LESS", ">": "GREATER"}
_OPERAND_FIELDS = {"VERSION": "version", "CREATE": "create_revision", "MOD": "mod_revision", "VALUE": "value"}
_SERVER_FAULT_STATUS = 500

# What reading a JSON value of the wrong shape raises. RecursionError: thousands of nested brackets;
# OverflowError: int(Infinity), which Python's JSON accepts.
_SHAPE_ERRORS = (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError)


# Requests


def encode_request(body: Json) -> bytes:
    """Return the bytes to POST."""
    return json.dumps(body, separators=(",", ":")).encode()


def key_bytes(key: Key) -> bytes:
    """Return the key as etcd stores it."""
    return key.encode() if isinstance(key, str) else key


def prefix_end(prefix: bytes) -> bytes:
    r"""Return the smallest key after all that start with `prefix`: the end of the range; b"\0" if there is none."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes((stem[-1] + 1,)) if stem else _EVERY_KEY


def encode_range(key: Key, *, prefix: bool) -> Json:
    """Return the fields that name one key, or all with it as prefix; the empty prefix stands for every key."""
    start = key_bytes(key)
    if not prefix:
        return {"key": _base64(start)}
    return {"key": _base64(start or _EVERY_KEY), "range_end": _base64(prefix_end(start))}


def encode_next_page(request: Json, last_key: bytes, revision: int) -> Json:
    """Return the body of a range that goes on after `last_key`, at the revision of the pages before."""
    return {**request, "key": _base64(last_key + b"\0"), "revision": revision}


def encode_summary(key: Key) -> Json:
    """Return the body of a range that answers the newest key of those with the prefix, and the number of all."""
    newest_first = {"sort_order": "DESCEND", "sort_target": "MOD"}
    return {**encode_range(key, prefix=True), **newest_first, "limit": 1, "keys_only": True}


def encode_put(op: PutOp) -> Json:
    """Return the body of a put."""
    return {"key": _base64(key_bytes(op.key)), "value": _base64(op.value), "lease": op.lease, "prev_kv": op.prev_kv}


def encode_delete(op: DeleteOp) -> Json:
    """Return the body of a delete."""
    return {**encode_range(op.key, prefix=op.prefix), "prev_kv": op.prev_kv}


def encode_txn(compare: Sequence[Compare], success: Sequence[Op], failure: Sequence[Op]) -> Json:
    """Return the body of a transaction."""
    return {
        "compare": [_encode_compare(item) for item in compare],
        "success": [_encode_op(op) for op in success],
        "failure": [_encode_op(op) for op in failure],
    }


def _encode_compare(compare: Compare) -> Json:
    operand = compare.operand
    return {
        "key": _base64(key_bytes(compare.key)),
        "target": compare.target.value,
        "result": _RELATIONS[compare.relation],
        _OPERAND_FIELDS[compare.target.value]: _base64(operand) if isinstance(operand, bytes) else operand,
    }


def _encode_op(op: Op) -> Json:
    match op:
        case GetOp():
            return {"request_range": {**encode_range(op.key, prefix=op.prefix), "limit": op.limit}}
        case PutOp():
            return {"request_put": encode_put(op)}
        case DeleteOp():
            return {"request_delete_range": encode_delete(op)}


def _base64(data: bytes) -> str:
    return b2a_base64(data, newline=False).decode("ascii")


# Answers


def decode_answer(body: bytes) -> Json:
    """Return the JSON object that is the body, or a line of it; raises what etcd reports in it, or `MalformedAnswer`."""
    try:
        answer = json.loads(body.decode())  # of bytes it would look for other encodings, for longer than for all else
    except (ValueError, RecursionError) as exc:
        raise MalformedAnswer(f"an answer that is not JSON: {exc}") from exc
    if not isinstance(answer, dict):
        raise MalformedAnswer("an answer that is JSON, but no object")
    if "error" in answer:
        # A stream's status was sent before its fault.
        raise _reported_error(answer) or MalformedAnswer("an error without code and message")
    return answer


def decode_error(status: int, body: bytes) -> EtcdError:
    """Return the error in an answer whose HTTP status is not 200."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        answer = None
    error = _reported_error(answer) if isinstance(answer, dict) else None
    if error is not None:
        return error
    if status >= _SERVER_FAULT_STATUS:
        # A reverse proxy in front of etcd says so in its own words.
        return Unavailable(f"HTTP status {status}")
    return MalformedAnswer(f"HTTP status {status} without an error of etcd's; is this an etcd with its JSON gateway?")


def _reported_error(answer: Json) -> EtcdError | None:
    # grpc-gateway 1 (etcd 3.4, 3.5) puts the text under "error" and in a stream an object with "grpc_code" there;
    # grpc-gateway 2 (etcd 3.6) has "code" and "message", in a stream under "error".
    error = answer.get("error")
    fields: Json = error if isinstance(error, dict) else answer
    code = fields.get("grpc_code", fields.get("code"))
    message = fields.get("message")
    if isinstance(code, int) and isinstance(message, str):
        return error_from_status(code, message)
    return None


@contextmanager
def _expect(what: str) -> Iterator[None]:
    try:
        yield
    except _SHAPE_ERRORS as exc:
        raise MalformedAnswer(f"not {what} as etcd answers it: {type(exc).__name__}: {exc}") from exc


def decode_header(answer: Json) -> ResponseHeader:
    """Return the header that every answer has."""
    with _expect("a header"):
        return _header(answer)


def decode_range(answer: Json) -> RangeResult:
    """Return the keys of one page."""
    with _expect("a range"):
        return _range(answer)


def decode_summary(answer: Json) -> PrefixSummary:
    """Return how many keys a range holds, and the newest revision of the first one answered."""
    with _expect("a range"):
        page = _range(answer)
        return PrefixSummary(page.header, int(answer.get("count", 0)), page.kvs[0].mod_revision if page.kvs else 0)


def decode_put(answer: Json) -> PutResult:
    """Return the result of a put."""
    with _expect("a put's result"):
        return _put(answer)


def decode_delete(answer: Json) -> DeleteResult:
    """Return the result of a delete."""
    with _expect("a delete's result"):
        return _delete(answer)


def decode_txn(answer: Json) -> TxnResult:
    """Return the results of a transaction."""
    with _expect("a transaction's result"):
        responses = tuple(_response(item) for item in answer.get("responses", ()))
        return TxnResult(_header(answer), answer.get("succeeded", False) is True, responses)


def decode_lease(answer: Json) -> Lease:
    """Return the lease granted."""
    with _expect("a lease"):
        return Lease(_header(answer), int(answer["ID"]), int(answer["TTL"]))


def decode_keep_alive(answer: Json) -> int:
    """Return the seconds that the lease lives on; 0 if there is no such lease."""
    with _expect("a kept lease"):
        # The gateway wraps what gRPC streams.
        return int(answer["result"].get("TTL", 0))


def decode_status(answer: Json) -> Status:
    """Return the member's status."""
    with _expect("a status"):
        return Status(
            header=_header(answer),
            version=str(answer["version"]),
            db_size_bytes=int(answer.get("dbSize", 0)),
            db_size_in_use_bytes=int(answer.get("dbSizeInUse", 0)),
            leader=int(answer.get("leader", 0)),
            raft_term=int(answer.get("raftTerm", 0)),
            raft_index=int(answer.get("raftIndex", 0)),
            raft_applied_index=int(answer.get("raftAppliedIndex", 0)),
            is_learner=answer.get("isLearner", False) is True,
            errors=tuple(str(error) for error in answer.get("errors", ())),
        )


def decode_token(answer: Json) -> str:
    """Return the token of a successful authentication."""
    token = answer.get("token")
    # It goes into a header as it is.
    if not isinstance(token, str) or not token.isascii() or not token.isprintable():
        raise MalformedAnswer("an authentication without a token")
    return token


def _header(answer: Json) -> ResponseHeader:
    header = answer["header"]
    return ResponseHeader(
        int(header.get("cluster_id", 0)),
        int(header.get("member_id", 0)),
        int(header.get("revision", 0)),
        int(header.get("raft_term", 0)),
    )


def _key_value(kv: Json) -> KeyValue:
    get = kv.get
    return KeyValue(
        a2b_base64(kv["key"], strict_mode=True),
        a2b_base64(get("value", ""), strict_mode=True),
        int(get("create_revision", 0)),
        int(get("mod_revision", 0)),
        int(get("version", 0)),
        int(get("lease", 0)),
    )


def _range(answer: Json) -> RangeResult:
    header = _header(answer)
    kvs = tuple(map(_key_value, answer.get("kvs", ())))
    return RangeResult(header, header.revision, kvs, answer.get("more", False) is True)


def _put(answer: Json) -> PutResult:
    prev_kv = answer.get("prev_kv")
    return PutResult(_header(answer), None if prev_kv is None else _key_value(prev_kv))


def _delete(answer: Json) -> DeleteResult:
    prev_kvs = tuple(map(_key_value, answer.get("prev_kvs", ())))
    return DeleteResult(_header(answer), int(answer.get("deleted", 0)), prev_kvs)


_RESPONSES: dict[str, Callable[[Json], RangeResult | PutResult | DeleteResult]] = {
    "response_range": _range,
    "response_put": _put,
    "response_delete_range": _delete,
}


def _response(item: Json) -> RangeResult | PutResult | DeleteResult:
    ((name, answer),) = item.items()
    return _RESPONSES[name](answer)


# The watch stream


@frozen
class WatchMessage:
    """One line of a watch stream."""

    header: ResponseHeader
    events: list[Event]
    created: bool
    fragment: bool
    """More of the same batch follows in the next message."""
    ended: EtcdError | None
    """Why etcd has ended the watch, if it has."""


def decode_watch(line: bytes) -> WatchMessage:
    """Return the message in a line of the stream; raises what etcd reports, or `MalformedAnswer`."""
    answer = decode_answer(line)
    with _expect("a watch message"):
        result = answer["result"]
        ended = None
        if result.get("canceled", False) is True:
            ended = error_from_cancelled_watch(int(result.get("compact_revision", 0)), result.get("cancel_reason", ""))
        return WatchMessage(
            _header(result),
            list(map(_event, result.get("events", ()))),
            result.get("created", False) is True,
            result.get("fragment", False) is True,
            ended,
        )


def _event(event: Json) -> Event:
    prev_kv = event.get("prev_kv")
    return Event(
        EventType(event.get("type", "PUT")),
        _key_value(event["kv"]),
        None if prev_kv is None else _key_value(prev_kv),
    )
