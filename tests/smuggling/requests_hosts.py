"""Host: none, several, and values that one reader takes for another host than the next one does."""

from __future__ import annotations

from smuggling.case import TARGET, forwarded, get, refused

_ONE = "RFC 9112, 3.2: 400 to a request of HTTP/1.1 without Host, or with more than one"
_VALUE = "RFC 9112, 3.2: 400 to a Host whose value is none"
_REPLACED = "the endpoint gets its own name, whatever a client says"
_FIELD = "RFC 9112, 5: Host is a field like others"

CASES = [
    refused("host-none", _ONE, get(host=None)),
    refused("host-none-but-absolute", _ONE, get(target=b"http://golb" + TARGET, host=None)),
    refused("host-none-but-x-forwarded-host", _ONE, get(b"X-Forwarded-Host: golb", host=None)),
    refused("host-twice", _ONE, get(b"Host: golb")),
    refused("host-two-that-differ", _ONE, get(b"Host: evil")),
    refused("host-two-in-other-case", _ONE, get(b"hOST: evil")),
    refused("host-two-one-empty", _ONE, get(b"Host:")),
    refused("host-two-far-apart", _ONE, get(*[b"X-A: 1"] * 50, b"Host: evil")),
    refused(
        "host-two-in-http-1-0", "two names are two answers, in any version", get(b"Host: evil", version=b"HTTP/1.0")
    ),
    refused("host-two-and-absolute", _ONE, get(b"Host: evil", target=b"http://golb" + TARGET)),
    *[
        refused(f"host-{name}", _VALUE, get(host=value))
        for name, value in {
            "user": b"golb@evil",
            "user-and-password": b"a:b@evil",
            "port-word": b"golb:http",
            "port-minus": b"golb:-80",
            "port-plus": b"golb:+80",
            "port-hex": b"golb:0x50",
            "port-twice": b"golb:80:80",
            "port-then-junk": b"golb:80x",
            "port-then-user": b"golb:80@evil",
            "port-space": b"golb: 80",
            "list": b"golb, evil",
            "space": b"golb evil",
            "tab": b"golb\tevil",
            "path": b"golb/function/f",
            "query": b"golb?x",
            "fragment": b"golb#x",
            "url": b"http://golb",
            "backslash": b"golb\\evil",
            "quotes": b'"golb"',
            "angles": b"<golb>",
            "open-bracket": b"[::1",
            "bracket-behind": b"[::1]x",
            "bracket-name": b"[golb]",
            "zone": b"[fe80::1%25eth0]",
            "ipv6-without-brackets": b"::1",
            "bad-percent": b"golb%zz",
            "high-bit": b"g\xf6lb",
            "nul": b"golb\x00evil",
            "bare-cr": b"golb\revil",
            "bare-lf": b"golb\nX: y",
        }.items()
    ],
    refused("host-space-before-colon", _FIELD, get(b"Host : golb", host=None)),
    refused("host-folded", _FIELD, get(b"Host:", b" golb", host=None)),
    refused("host-folded-on", _FIELD, get(b"Host: golb", b"\tevil", host=None)),
    refused("host-in-front-of-a-space", _FIELD, get(b" Host: golb", host=None)),
    forwarded("host-empty", "RFC 9112, 3.2: a target without authority has an empty Host", get(host=b"")),
    forwarded("host-white-space", "RFC 9110, 5.5: that is an empty one", get(host=b" \t ")),
    forwarded("host-white-space-around", "RFC 9110, 5.5: no part of the value", get(host=b"\tgolb \t")),
    forwarded("host-elsewhere", _REPLACED, get(host=b"169.254.169.254")),
    forwarded("host-with-port", _REPLACED, get(host=b"evil:65535")),
    forwarded("host-empty-port", "RFC 3986, 3.2.3: a port may be empty", get(host=b"golb:")),
    forwarded("host-ipv6", _REPLACED, get(host=b"[::1]:80")),
    forwarded("host-encoded-crlf", _REPLACED, get(host=b"golb%0d%0aX-A:1".replace(b":", b"%3a"))),
    forwarded(
        "host-unlike-absolute",
        "RFC 9112, 3.2.2: a proxy ignores Host for the target's; golb needs neither",
        get(target=b"http://evil" + TARGET),
    ),
    forwarded(
        "host-none-in-http-1-0", "RFC 9112, 3.2: HTTP/1.0 needs none", get(host=None, version=b"HTTP/1.0"), closes=True
    ),
]
