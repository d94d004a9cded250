"""Several members, members that fail, and answers that no etcd gives."""

from __future__ import annotations

import contextlib
import json
import ssl
import uuid
from typing import TYPE_CHECKING

import pytest
import trio
import trustme
from trio_etcd.faults import Answering, Relay, http_answer, http_stream

from golb.trio_etcd import EtcdClient, EtcdError, MalformedAnswer, Unavailable, Watch
from golb.trio_etcd import _transport as transport

if TYPE_CHECKING:
    from demo.etcd import EtcdProcess

DEADLINE_S = 10
NOWHERE = "http://127.0.0.1:1"  # tcpmux: nobody listens there
CREATED = b'{"result":{"header":{"revision":"7"},"created":true}}\n'
UNAVAILABLE = json.dumps({"error": "etcdserver: no leader", "message": "etcdserver: no leader", "code": 14}).encode()


async def exhaust(watch: Watch) -> None:
    async for _ in watch:
        pass


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("http://localhost:2379", "http://localhost:2379"),
        ("HTTPS://Etcd.example:2379/", "https://etcd.example:2379"),
        ("http://[fd00::1]:2379", "http://[fd00::1]:2379"),
        ("http://[::1]", "http://[::1]"),
    ],
)
def test_an_endpoint_is_kept_without_what_says_nothing(given: str, kept: str) -> None:
    assert repr(EtcdClient([given])) == f"<EtcdClient of {kept}>"


@pytest.mark.parametrize(
    "url",
    [
        *(
            "",
            "localhost:2379",
            "10.0.0.1:2379",
            "ftp://h:1",
            "http://",
            "http://:2379",
            "http://h:0",
            "http://h:65536",
        ),
        *("http://h:x", "http://h:1/v3", "http://h:1?a=b", "http://h:1#a", "http://fd00::1:2379", "http://a b:1"),
        *("http://" + "a" * 64 + ":1", "http://[::1:2379"),
    ],
)
def test_what_is_no_endpoint_is_refused_by_name(url: str) -> None:
    with pytest.raises(ValueError, match="no URL of an etcd member") as caught:
        EtcdClient(["http://127.0.0.1:2379", url])
    assert repr(url) in str(caught.value)


@pytest.mark.parametrize("url", ["http://user:secret@h:1", "http://secret@h:x", "user:secret@h:1"])
def test_a_secret_in_an_endpoint_is_refused_unseen(url: str) -> None:
    with pytest.raises(ValueError, match="user information") as caught:
        EtcdClient([url])
    assert "secret" not in str(caught.value)


def test_no_endpoint_and_no_time_are_refused() -> None:
    with pytest.raises(ValueError, match="no endpoints"):
        EtcdClient([])
    for timeout_s in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="above 0 s"):
            EtcdClient([NOWHERE], dial_timeout_s=timeout_s)
        with pytest.raises(ValueError, match="above 0 s"):
            EtcdClient([NOWHERE], request_timeout_s=timeout_s)


async def test_the_next_member_is_asked_and_stays_the_one(etcd: EtcdProcess, nursery: trio.Nursery) -> None:
    leaderless = Answering(http_answer(UNAVAILABLE, status="503 Service Unavailable"))
    with trio.fail_after(DEADLINE_S):
        endpoints = [NOWHERE, await leaderless.start(nursery), etcd.client_url]
        async with EtcdClient(endpoints) as client:
            for _ in range(3):
                assert (await client.status()).version
        assert leaderless.requests == 1
        async with EtcdClient(endpoints) as client, client.watch("k"):
            pass
        assert leaderless.requests == 2


async def test_a_watch_goes_over_to_the_next_member_when_its_own_fails(
    etcd: EtcdProcess, nursery: trio.Nursery
) -> None:
    key = str(uuid.uuid4())
    relay = Relay(etcd.port)
    with trio.fail_after(DEADLINE_S):
        url = await relay.start(nursery)
        async with EtcdClient([url, etcd.client_url]) as client:
            async with client.watch(key) as watch:
                relay.cut()
                with pytest.raises(Unavailable):
                    await exhaust(watch)
            seen = len(relay.received)
            put = await client.put(key, b"")
            async with client.watch(key, start_revision=watch.revision + 1) as watch:
                assert (await anext(watch)).events[0].kv.mod_revision == put.header.revision
            assert len(relay.received) == seen


async def test_a_put_that_may_have_been_applied_is_not_repeated(etcd: EtcdProcess, nursery: trio.Nursery) -> None:
    key = str(uuid.uuid4())
    mute = Answering(b"")
    with trio.fail_after(DEADLINE_S):
        async with EtcdClient([await mute.start(nursery), etcd.client_url]) as client:
            with pytest.raises(Unavailable) as caught:
                await client.put(key, b"")
            assert caught.value.sent
            assert mute.requests == 1
            # Only the next request goes to the next member.
            assert (await client.get(key)).kv is None
            assert mute.requests == 1
        async with EtcdClient([NOWHERE, etcd.client_url]) as client:
            await client.put(key, b"")
        async with EtcdClient([await mute.start(nursery), etcd.client_url]) as client:
            assert (await client.get(key)).kv is not None


async def test_when_all_members_fail_the_error_names_each() -> None:
    other = "http://[::1]:1"
    with trio.fail_after(DEADLINE_S):
        async with EtcdClient([NOWHERE, other]) as client:
            for _ in range(2):
                with pytest.raises(Unavailable) as caught:
                    await client.get("k")
                assert NOWHERE in str(caught.value)
                assert other in str(caught.value)
                assert not caught.value.sent
            with pytest.raises(Unavailable):
                async with client.watch("k"):
                    pass


async def test_proxy_variables_are_not_obeyed(etcd: EtcdProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, NOWHERE)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with trio.fail_after(DEADLINE_S):
        async with EtcdClient([etcd.client_url]) as client, client.watch("k"):
            await client.get("k")


async def test_https_is_spoken_and_strangers_are_not_trusted(etcd: EtcdProcess, nursery: trio.Nursery) -> None:
    authority = trustme.CA()
    server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(server_context)
    client_context = ssl.create_default_context()
    authority.configure_trust(client_context)
    with trio.fail_after(DEADLINE_S):
        url = await Relay(etcd.port).start(nursery, tls=server_context)
        assert url.startswith("https:")
        async with EtcdClient([url], tls=client_context) as client, client.watch("k"):
            await client.get("k")
        async with EtcdClient([url]) as client:
            with pytest.raises(Unavailable, match="CERTIFICATE_VERIFY_FAILED"):
                await client.get("k")


async def test_an_ipv6_endpoint_is_reached(etcd: EtcdProcess, nursery: trio.Nursery) -> None:
    relay = Relay(etcd.port)
    with trio.fail_after(DEADLINE_S):
        try:
            url = await relay.start(nursery, host="::1")
        except OSError:
            pytest.skip("this machine has no IPv6")
        async with EtcdClient([url]) as client:
            await client.get("k")
    assert f"Host: {url.removeprefix('http://')}".encode() in relay.received


async def test_silence_ends_a_request_and_a_watch(nursery: trio.Nursery) -> None:
    mute = Answering(b"", hold=True)
    quiet = Answering(http_stream(CREATED), hold=True)
    with trio.fail_after(DEADLINE_S):
        async with EtcdClient([await mute.start(nursery)], dial_timeout_s=0.1, request_timeout_s=0.1) as client:
            with pytest.raises(Unavailable, match="Timeout"):
                await client.get("k")
            with pytest.raises(Unavailable, match=r"within 0\.2 s"):
                async with client.watch("k"):
                    pass
        async with (
            EtcdClient([await quiet.start(nursery)]) as client,
            client.watch("k", read_timeout_s=0.1) as watch,
        ):
            assert watch.revision == 7
            with pytest.raises(Unavailable, match=r"nothing came within 0\.1 s"):
                await anext(watch)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (http_answer(b'{"header":{}, "kvs"\n'), MalformedAnswer),
        (http_answer(b"<html>welcome</html>\n"), MalformedAnswer),
        (http_answer(b'{"hello": "world"}\n'), MalformedAnswer),
        (http_answer(b'{"header":{},"kvs":[{"key":"?"}]}\n'), MalformedAnswer),
        (http_answer(b'{"header":{},"more":true}\n'), MalformedAnswer),
        (http_answer(b"404 page not found", status="404 Not Found"), MalformedAnswer),
        (http_answer(b"", status="302 Found"), MalformedAnswer),
        (http_answer(b"oops", status="502 Bad Gateway"), Unavailable),
        (http_answer(UNAVAILABLE, status="503 Service Unavailable"), Unavailable),
        (b"SSH-2.0-OpenSSH_9.2\r\n", Unavailable),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", Unavailable),
        (b"", Unavailable),
    ],
)
async def test_what_is_no_answer_of_etcd_becomes_an_error_of_the_client(
    answer: bytes, error: type[EtcdError], nursery: trio.Nursery
) -> None:
    with trio.fail_after(DEADLINE_S):
        async with EtcdClient([await Answering(answer).start(nursery)]) as client:
            with pytest.raises(error):
                await client.get_prefix("k")
            with pytest.raises(error):
                async with client.watch("k"):
                    pass


@pytest.mark.parametrize(
    ("after", "error"),
    [
        (http_stream(CREATED, b'{"result":{"header":{"rev'), Unavailable),
        (http_stream(CREATED, b'{"result":{"header":{"rev', ended=True), Unavailable),
        (http_stream(CREATED, ended=True), Unavailable),
        (http_stream(CREATED, b"\n\n{nonsense}\n"), MalformedAnswer),
        (http_stream(CREATED, b'{"result":{"header":{},"events":[{}]}}\n'), MalformedAnswer),
        (http_stream(CREATED, b'{"error":{"grpc_code":14,"message":"EOF"}}\n'), Unavailable),
    ],
)
async def test_a_watch_stream_that_breaks_says_how(after: bytes, error: type[EtcdError], nursery: trio.Nursery) -> None:
    with trio.fail_after(DEADLINE_S):
        async with EtcdClient([await Answering(after).start(nursery)]) as client, client.watch("k") as watch:
            assert watch.revision == 7
            with pytest.raises(error):
                await anext(watch)


async def test_an_answer_of_something_else_names_the_member(nursery: trio.Nursery) -> None:
    web_server = Answering(http_answer(b"404 page not found", status="404 Not Found"))
    with trio.fail_after(DEADLINE_S):
        url = await web_server.start(nursery)
        async with EtcdClient([url]) as client:
            with pytest.raises(MalformedAnswer, match=f"{url}: HTTP status 404"):
                await client.get("k")
            with pytest.raises(MalformedAnswer, match=f"{url}: HTTP status 404"):
                async with client.watch("k"):
                    pass


async def test_lines_may_be_cut_over_chunks(nursery: trio.Nursery) -> None:
    event = b'{"result":{"header":{"revision":"9"},"events":[{"kv":{"key":"YQ==","mod_revision":"8"}}]}}\n'
    stream = CREATED + event
    chunks = [stream[i : i + 7] for i in range(0, len(stream), 7)]
    answer = Answering(http_stream(*chunks), hold=True)
    with trio.fail_after(DEADLINE_S):
        async with EtcdClient([await answer.start(nursery)]) as client, client.watch("k") as watch:
            batch = await anext(watch)
    assert (batch.revision, batch.events[0].kv.key) == (8, b"a")


async def test_an_endless_answer_is_cut_off(monkeypatch: pytest.MonkeyPatch, nursery: trio.Nursery) -> None:
    monkeypatch.setattr(transport, "MAX_ANSWER_BYTES", 1000)
    body = Answering(http_answer(b" " * 10_000))
    line = Answering(http_stream(CREATED, *[b"x" * 100] * 20), hold=True)
    with trio.fail_after(DEADLINE_S):
        async with EtcdClient([await body.start(nursery)]) as client:
            with pytest.raises(MalformedAnswer, match="1000 bytes"):
                await client.get("k")
        async with EtcdClient([await line.start(nursery)]) as client, contextlib.AsyncExitStack() as stack:
            with pytest.raises(MalformedAnswer, match="1000 bytes"):
                await anext(await stack.enter_async_context(client.watch("k")))


async def test_a_watch_that_opens_while_its_client_closes_does_not_stay(
    etcd: EtcdProcess, nursery: trio.Nursery
) -> None:
    asked, may_go_on = trio.Event(), trio.Event()

    async def hold(_request: bytes) -> None:
        asked.set()
        await may_go_on.wait()

    async def close_meanwhile() -> None:
        await asked.wait()
        await client.aclose()
        may_go_on.set()

    relay = Relay(etcd.port, before_request=hold)
    with trio.fail_after(DEADLINE_S):
        async with EtcdClient([await relay.start(nursery)]) as client:
            nursery.start_soon(close_meanwhile)
            with pytest.raises(Unavailable, match="this etcd client has been closed"):
                async with client.watch("k"):
                    pass
        await relay.all_closed.wait()


async def test_a_closed_client_says_so(etcd: EtcdProcess) -> None:
    with trio.fail_after(DEADLINE_S):
        client = EtcdClient([etcd.client_url])
        async with client, client.watch("k") as watch:
            await client.aclose()
            with pytest.raises(Unavailable):
                await exhaust(watch)
        with pytest.raises(trio.ClosedResourceError):
            await client.get("k")
