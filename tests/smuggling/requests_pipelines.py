"""Several requests on one connection: each is answered in its order, and none behind the last."""

from __future__ import annotations

from smuggling.case import SEEN, SMUGGLED, TARGET, RequestCase, arrives, forwarded, get, post, request

A, B, C = (get(target=TARGET + name) for name in (b"/a", b"/b", b"/c"))
SEEN_A, SEEN_B, SEEN_C = (arrives(target=SEEN + name) for name in (b"/a", b"/b", b"/c"))
_ORDER = "RFC 9112, 9.3.2: answered in order"
_LAST = "RFC 9112, 9.6: nothing behind a request with close is served"
_ENDS = "RFC 9112, 2.2: behind a request that is none, no byte can be trusted"


def ends_after(name: str, why: str, data: bytes, *statuses: int) -> RequestCase:
    """Make a case whose first request is the only one that arrives."""
    return RequestCase(name=name, why=why, data=data, statuses=statuses, arrivals=(SEEN_A,), closes=True)


CASES = [
    forwarded("pipeline", _ORDER, A + B + C, SEEN_A, SEEN_B, SEEN_C),
    forwarded(
        "pipeline-with-empty-lines",
        "RFC 9112, 2.2: empty lines before a request are ignored",
        A + b"\r\n" + B,
        SEEN_A,
        SEEN_B,
    ),
    forwarded(
        "pipeline-of-all-framings",
        _ORDER,
        post(b"Content-Length: 5", body=b"hello")
        + B
        + post(b"Transfer-Encoding: chunked", body=b"5\r\nhello\r\n0\r\n\r\n")
        + C,
        arrives(b"POST", body=b"hello"),
        SEEN_B,
        arrives(b"POST", chunked=b"hello"),
        SEEN_C,
    ),
    forwarded(
        "pipeline-head-then-get",
        "RFC 9110, 9.3.2: an answer to HEAD has no body",
        request(b"HEAD") + B,
        arrives(b"HEAD"),
        SEEN_B,
    ),
    ends_after("behind-close", _LAST, get(b"Connection: close", target=TARGET + b"/a") + SMUGGLED, 200),
    ends_after("behind-close-junk", _LAST, get(b"Connection: close", target=TARGET + b"/a") + b"\x00\r\n\r\n", 200),
    ends_after("behind-http-1-0", _LAST, get(target=TARGET + b"/a", version=b"HTTP/1.0") + SMUGGLED, 200),
    ends_after(
        "behind-close-and-keep-alive",
        _LAST,
        get(b"Connection: close, keep-alive", target=TARGET + b"/a") + SMUGGLED,
        200,
    ),
    RequestCase(
        name="behind-close-with-a-body",
        why=_LAST,
        data=post(b"Connection: close", b"Content-Length: 5", body=b"hello" + SMUGGLED),
        statuses=(200,),
        arrivals=(arrives(b"POST", body=b"hello"),),
        closes=True,
    ),
    RequestCase(
        name="behind-close-with-chunks",
        why=_LAST,
        data=post(b"Connection: close", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n" + SMUGGLED),
        statuses=(200,),
        arrivals=(arrives(b"POST", chunked=b""),),
        closes=True,
    ),
    ends_after(
        "second-malformed", _ENDS, A + b"GET /function/f\x00 HTTP/1.1\r\nHost: golb\r\n\r\n" + SMUGGLED, 200, 400
    ),
    ends_after("second-without-host", _ENDS, A + get(host=None) + SMUGGLED, 200, 400),
    ends_after(
        "second-with-length-and-coding",
        _ENDS,
        A + post(b"Content-Length: 0", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n") + SMUGGLED,
        200,
        400,
    ),
    ends_after("second-of-another-version", _ENDS, A + get(version=b"HTTP/2.0") + SMUGGLED, 200, 505),
    ends_after("second-is-the-preface-of-http-2", _ENDS, A + b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SMUGGLED, 200, 505),
    ends_after("second-is-connect", _ENDS, A + request(b"CONNECT", target=b"6.6.6.6:80") + SMUGGLED, 200, 501),
    RequestCase(name="behind-a-refused-one", why=_ENDS, data=get(b"X-A : 1") + SMUGGLED, statuses=(400,), closes=True),
    RequestCase(name="behind-no-host", why=_ENDS, data=get(host=None) + SMUGGLED, statuses=(400,), closes=True),
    RequestCase(
        name="behind-a-refused-one-with-a-body",
        why=_ENDS,
        data=post(b"Content-Length: 5", b"Host: evil", body=b"hello") + SMUGGLED,
        statuses=(400,),
        closes=True,
    ),
    RequestCase(
        name="behind-an-unknown-function",
        why="golb answers in the endpoint's place, and reads the body to its end",
        data=post(b"Content-Length: %d" % len(SMUGGLED), target=b"/function/none", body=SMUGGLED),
        statuses=(404,),
        closes=False,
    ),
    RequestCase(
        name="behind-an-unknown-function-with-chunks",
        why="golb answers in the endpoint's place, and reads the body to its end",
        data=post(
            b"Transfer-Encoding: chunked",
            target=b"/function/none",
            body=b"%x\r\n%b\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED),
        ),
        statuses=(404,),
        closes=False,
    ),
    RequestCase(
        name="function-name-with-encoded-crlf",
        why="what golb says of a target must not become a header",
        data=get(target=b"/function/f%0d%0aX-Smuggled:%201%0d%0a%0d%0a"),
        statuses=(404,),
        closes=False,
    ),
    RequestCase(
        name="function-name-with-encoded-slash",
        why="the name is decoded once, behind the split: it names no path",
        data=get(target=b"/function/f%2f..%2fg"),
        statuses=(404,),
        closes=False,
    ),
    RequestCase(
        name="function-prefix-in-capitals",
        why="paths have a case",
        data=get(target=b"/FUNCTION/f"),
        statuses=(404,),
        closes=False,
    ),
    RequestCase(
        name="function-prefix-behind-slashes",
        why="paths are taken as they are",
        data=get(target=b"//function/f"),
        statuses=(404,),
        closes=False,
    ),
    RequestCase(
        name="function-prefix-behind-dots",
        why="paths are taken as they are",
        data=get(target=b"/x/../function/f"),
        statuses=(404,),
        closes=False,
    ),
    forwarded(
        "function-name-encoded", "RFC 3986, 2.3: %66 is f", get(target=b"/function/%66/x"), arrives(target=b"/x")
    ),
    forwarded(
        "function-name-then-query",
        "a query may follow the name",
        get(target=b"/function/f?/../x"),
        arrives(target=b"/?/../x"),
    ),
    RequestCase(
        name="options-of-the-server",
        why="RFC 9110, 9.3.7: golb is no function, and knows nothing of it",
        data=request(b"OPTIONS", target=b"*"),
        statuses=(404,),
        closes=False,
    ),
]
