"""What a caller says of the way that a call has come: two golbs in two zones, each the other's gateway, and lies.

golbs call from 127.0.0.1, the caller from another address of loopback, so that they can be told apart.
"""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio
from attrs import frozen
from support.golb_process import GolbProcess, free_port
from support.pods import Pod, run_pods
from support.wire import Wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

CALLER = "127.0.0.9"
A, B = b"eb-a-controller", b"eb-b-controller"

# What the contract takes for no mark: the call goes to zone-b by the gateway, and there to the endpoint.
HARMLESS = {
    "nothing": b"",
    "an address": b"X-Forwarded-For: 10.0.0.8\r\n",
    "an address with a port": b"X-Forwarded-For: 10.0.0.8:1234\r\n",
    "an IPv6 address": b"X-Forwarded-For: 2001:db8::1\r\n",
    "an IPv6 address with a port": b"X-Forwarded-For: [2001:db8::1]:1234\r\n",
    "an address, then nodes": b"X-Forwarded-For: 10.0.0.8, eb-b-controller, eb-a-controller\r\n",
    "nobody": b"X-Forwarded-For:\r\n",
    "commas": b"X-Forwarded-For: ,,, ,\r\n",
    "unknown": b"X-Forwarded-For: unknown\r\n",
    "50,000 bytes of addresses": b"X-Forwarded-For: " + b"10.0.0.8, " * 5000 + b"10.0.0.8\r\n",
    "150 lines": b"X-Forwarded-For: 10.0.0.8\r\n" * 150,
    "a target": b"X-Final-Host: 127.0.0.1:1\r\n",
    "many targets": b"X-Final-Host: 127.0.0.1:1\r\n" * 50,
    "a node's mark, nearly": b"X-Forwarded-Host: eb-b-controller\r\nX-Forwarded-Hosts-Eb-A-Controller: 1.0\r\n",
    "this node's mark with underscores": b"X_Forwarded_Host_Eb_A_Controller: 1.0\r\n",
    "a stripped mark": b"Connection: X-Forwarded-Host-Eb-A-Controller, X-Forwarded-For, X-Final-Host\r\n",
}
# Taken for the marks of other load balancers: the call stays in its zone, which has no endpoint. That is the caller's loss.
MARKS = {
    "a node's name": b"X-Forwarded-For: eb-b-controller\r\n",
    "this node's name": b"X-Forwarded-For: eb-a-controller, 10.0.0.8\r\n",
    "binary": b"X-Forwarded-For: \xff\xfe\x80\r\n",
    "50,000 bytes of a name": b"X-Forwarded-For: " + b"x" * 50_000 + b"\r\n",
    "another node's mark": b"X-Forwarded-Host-Eb-C-Controller: 1.0\r\n",
    "a mark with a strange time": b"X-Forwarded-Host-Eb-C-Controller: \xff, NaN, -1\r\n",
    "a mark without a name": b"X-Forwarded-Host-: 1.0\r\n",
    "a mark with an odd name": b"X-Forwarded-Host-!#$%&'*+.^_`|~: 1.0\r\n",
    "a mark with a long name": b"X-Forwarded-Host-" + b"x" * 30_000 + b": 1.0\r\n",
    "this node's mark with a tail": b"X-Forwarded-Host-Eb-A-Controller-2: 1.0\r\n",
    "marks of 190 nodes": b"".join(b"X-Forwarded-Host-Node-%d: 1.0\r\n" % number for number in range(190)),
}
MARKS_OF_THE_WAY = (b"X-Final-Host", b"X-Forwarded-For", b"X-Forwarded-Host-")
GATEWAYS_MARK = b"X-Forwarded-Host-Eb-B-Controller: 1.0\r\n"
OWN_MARKS = {
    "as golb writes it": b"X-Forwarded-Host-Eb-A-Controller: 1795506240.2047873\r\n",
    "in lower case": b"x-forwarded-host-eb-a-controller: 1.0\r\n",
    "in upper case": b"X-FORWARDED-HOST-EB-A-CONTROLLER: 1.0\r\n",
    "in mixed case": b"x-fOrWaRdEd-hOsT-eB-a-CoNtRoLlEr: 1.0\r\n",
    "empty": b"X-Forwarded-Host-Eb-A-Controller:\r\n",
    "behind those of 150 others": b"".join(b"X-Forwarded-Host-Node-%d: 1.0\r\n" % number for number in range(150))
    + b"X-Forwarded-Host-Eb-A-Controller: 1.0\r\n",
    "named by Connection": b"Connection: close, x-forwarded-host-eb-a-controller\r\n"
    b"X-Forwarded-Host-Eb-A-Controller: 1.0\r\n",
}
TOO_MUCH = {
    "marks of 200 nodes": b"".join(b"X-Forwarded-Host-Node-%d: 1.0\r\n" % number for number in range(200)),
    "70,000 bytes": b"X-Forwarded-For: " + b"x" * 70_000 + b"\r\n",
}
# The headers and the body of a request, whose trailers have what only its head may have.
IN_TRAILERS = (
    b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Forwarded-Host-Eb-A-Controller: 1.0\r\n" + GATEWAYS_MARK
) + b"X-Forwarded-For: eb-c\r\nX-Final-Host: 127.0.0.1:1\r\n"


@frozen
class Zones:
    """zone-a has no endpoint of `f` and zone-b has one; of `loop` both have but the other's gateway; `own` is zone-a's."""

    a: GolbProcess
    b: GolbProcess
    pod: Pod

    def seen(self) -> list[tuple[bytes, bytes]]:
        """Return the headers of the endpoint's newest request that say something of the way."""
        headers = self.pod.requests[-1].headers.raw_items()
        return [(name, value) for name, value in headers if name.startswith(MARKS_OF_THE_WAY)]


@asynccontextmanager
async def two_zones(directory: Path, **variables: str) -> AsyncIterator[Zones]:
    """Run them both; afterwards neither must have met with what it did not expect."""
    ports = free_port(), free_port()
    a_address, b_address = (f"127.0.0.1:{port}" for port in ports)
    async with run_pods(1) as pods:
        tables = {
            "a": {"f": b_address, "loop": b_address, "own": pods[0].ip},
            "b": {"f": pods[0].ip, "loop": a_address},
        }
        golbs = []
        for port, (name, table), gateway in zip(ports, tables.items(), (b_address, a_address), strict=True):
            path = directory / f"{name}.json"
            path.write_text(json.dumps({function: {"ips": [ip], "weights": [1]} for function, ip in table.items()}))
            golb = GolbProcess(
                zone=f"zone-{name}",
                node_name=f"eb-{name}-controller",
                listen_port=port,
                gateways=gateway,
                weight_updater="file",
                weights_file=str(path),
                **variables,
            )
            golb.port = port
            golbs.append(golb)
        with golbs[0] as a, golbs[1] as b, trio.fail_after(30):
            yield Zones(a, b, pods[0])
            for golb in (a, b):
                assert not [line for line in golb.log() if line["level"] == "error"]


async def call(golb: GolbProcess, function: bytes, lie: bytes = b"") -> tuple[int, list[bytes]]:
    """Call as someone whom no golb knows; return the status, and the nodes by which the call has gone."""
    stream = await trio.open_tcp_stream("127.0.0.1", golb.port, local_address=CALLER)
    async with Wire(stream) as wire:
        await wire.send(b"GET /function/%b HTTP/1.1\r\nHost: golb\r\n%b\r\n" % (function, lie))
        response = await wire.read_response()
    return response.status, response.head.values(b"X-Forwarded-For")


async def test_by_default_marks_are_believed_as_the_contract_has_it_and_none_leads_into_a_loop(tmp_path: Path) -> None:
    async with two_zones(tmp_path) as zones:
        for name, lie in HARMLESS.items():
            assert await call(zones.a, b"f", lie) == (200, [A, B]), name
            targets = [value for header, value in zones.seen() if header == b"X-Final-Host"]
            assert targets == [zones.pod.ip.encode()], name
            assert await call(zones.a, b"loop", lie) == (503, [A, B]), name
        for name, lie in (MARKS | {"the gateway's mark": GATEWAYS_MARK}).items():
            assert await call(zones.a, b"f", lie) == (503, [A]), name
            assert await call(zones.a, b"own", lie) == (200, [A]), name
            assert await call(zones.a, b"loop", lie) == (503, [A]), name
        for name, lie in OWN_MARKS.items():
            for function in (b"f", b"own", b"loop"):
                assert await call(zones.a, function, lie) == (508, [A]), name
        for name, lie in TOO_MUCH.items():
            assert await call(zones.a, b"f", lie) == (431, []), name
        assert await call(zones.a, b"f", lie=IN_TRAILERS) == (200, [A, B])
        assert await call(zones.a, b"f") == (200, [A, B])


async def test_a_caller_who_is_not_trusted_is_not_believed_while_the_golbs_believe_each_other(tmp_path: Path) -> None:
    async with two_zones(tmp_path, trusted_proxies="127.0.0.1") as zones:
        for name, lie in (HARMLESS | MARKS).items():
            assert await call(zones.a, b"f", lie) == (200, [A, B]), name
            chain = [value for header, value in zones.seen() if header == b"X-Forwarded-For"]
            assert chain == [b"eb-a-controller, 127.0.0.9, eb-b-controller, 127.0.0.1"], name
            # Each golb believes the other, so a call takes one gateway at most.
            assert await call(zones.a, b"loop", lie) == (503, [A, B]), name
            assert await call(zones.a, b"own", lie) == (200, [A]), name
            assert [header for header, _ in zones.seen()] == [
                b"X-Final-Host",
                b"X-Forwarded-For",
                b"X-Forwarded-Host-Eb-A-Controller",
            ], name
        for name, lie in OWN_MARKS.items():
            assert await call(zones.a, b"own", lie) == (508, [A]), name
        assert await call(zones.a, b"own", GATEWAYS_MARK) == (200, [A])
        assert await call(zones.a, b"f", GATEWAYS_MARK) == (508, [A, B])


async def test_golbs_that_do_not_trust_each_other_stop_a_loop_where_a_node_meets_its_own_mark(tmp_path: Path) -> None:
    async with two_zones(tmp_path, trusted_proxies="none") as zones:
        for name, lie in (HARMLESS | MARKS).items():
            assert await call(zones.a, b"loop", lie) == (508, [A, B, A]), name
            assert await call(zones.a, b"f", lie) == (200, [A, B]), name
            chain = [value for header, value in zones.seen() if header == b"X-Forwarded-For"]
            assert chain == [b"eb-b-controller, 127.0.0.1"], name
        for name, lie in OWN_MARKS.items():
            assert await call(zones.a, b"loop", lie) == (508, [A]), name
        assert await call(zones.a, b"loop", GATEWAYS_MARK) == (508, [A, B])
        assert await call(zones.b, b"loop") == (508, [B, A, B])
