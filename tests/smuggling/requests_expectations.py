"""Expect: a body that waits for a 100, one that never comes, and expectations that hold another one."""

from __future__ import annotations

from smuggling.case import RequestCase, arrives, forwarded, get, hello, post, request

_EXPECT = "RFC 9110, 10.1.1: 100-continue is golb's to answer, for a body that it then gets"
_ODD = "RFC 9110, 10.1.1: 417 to an expectation that is another; an endpoint may find a 100-continue in it"


def odd(name: str, *lines: bytes) -> RequestCase:
    data = post(*[b"Expect: " + line for line in lines], b"Content-Length: 5", body=b"hello")
    return RequestCase(name=name, why=_ODD, data=data, statuses=(417,), closes=True)


CASES = [
    forwarded(
        "expect-with-its-body",
        _EXPECT,
        post(b"Expect: 100-continue", b"Content-Length: 5", body=b"hello"),
        hello(lacks=(b"Expect",)),
    ),
    forwarded(
        "expect-in-capitals",
        "RFC 9110, 10.1.1: it has no case",
        post(b"EXPECT: 100-CONTINUE", b"Content-Length: 5", body=b"hello"),
        hello(lacks=(b"Expect",)),
    ),
    forwarded(
        "expect-without-a-body",
        "RFC 9110, 10.1.1: no body, nothing to wait for",
        get(b"Expect: 100-continue"),
        arrives(lacks=(b"Expect",)),
    ),
    forwarded(
        "expect-in-http-1-0",
        "RFC 9110, 10.1.1: ignored in HTTP/1.0",
        post(b"Expect: 100-continue", b"Content-Length: 5", body=b"hello", version=b"HTTP/1.0"),
        hello(lacks=(b"Expect",)),
        closes=True,
    ),
    forwarded(
        "expect-with-an-empty-body",
        "RFC 9110, 10.1.1: no body, nothing to wait for",
        post(b"Expect: 100-continue", b"Content-Length: 0"),
        arrives(b"POST", body=b"", lacks=(b"Expect",)),
    ),
    RequestCase(
        name="expect-then-its-body",
        why=_EXPECT,
        data=post(b"Expect: 100-continue", b"Content-Length: 5"),
        then=b"hello",
        statuses=(200,),
        arrivals=(hello(has=(b"Expect: 100-continue",)),),
        closes=False,
    ),
    RequestCase(
        name="expect-then-another-request",
        why="RFC 9110, 10.1.1: what comes is the body, whatever it looks like",
        data=post(b"Expect: 100-continue", b"Content-Length: %d" % len(get())),
        then=get(),
        statuses=(200,),
        arrivals=(arrives(b"POST", body=get(), has=(b"Expect: 100-continue",)),),
        closes=False,
    ),
    RequestCase(
        name="expect-that-never-ends",
        why=_EXPECT,
        data=post(b"Expect: 100-continue", b"Content-Length: 5"),
        ends=True,
        is_told_to_continue=True,
        statuses=(),
        arrivals=(arrives(b"POST", body=b"", has=(b"Expect: 100-continue",), cut=True),),
        closes=True,
    ),
    odd("expect-odd-in-front", b"y 100-continue"),
    odd("expect-odd-behind", b"100-continue, y"),
    odd("expect-odd-list", b"y, 100-continue"),
    odd("expect-odd-parameter", b"100-continue;a=b"),
    odd("expect-odd-second-line", b"100-continue", b"y"),
    odd("expect-odd-first-line", b"y", b"100-continue"),
    RequestCase(
        name="expect-odd-in-http-1-0",
        why=_ODD,
        data=post(b"Expect: y, 100-continue", b"Content-Length: 5", body=b"hello", version=b"HTTP/1.0"),
        statuses=(417,),
        closes=True,
    ),
    forwarded(
        "expect-another",
        "RFC 9110, 10.1.1: the endpoint may answer 417",
        post(b"Expect: fish", b"Content-Length: 5", body=b"hello"),
        hello(has=(b"Expect: fish",)),
    ),
    forwarded(
        "expect-get-with-a-body",
        _EXPECT,
        request(b"GET", b"Expect: 100-continue", b"Content-Length: 5", body=b"hello"),
        arrives(body=b"hello", lacks=(b"Expect",)),
    ),
]
