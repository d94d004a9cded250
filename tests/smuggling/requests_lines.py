"""Request lines: spaces, methods, versions, targets."""

from __future__ import annotations

from smuggling.case import SEEN, TARGET, TOKEN, arrives, forwarded, get, post, refused, request

HOST = b"\r\nHost: golb\r\n\r\n"

_ONE_SPACE = "RFC 9112, 3: one space between the parts, or another reader sees other parts"
_REMOVED = "RFC 9112, 3: a reader may be lenient; the endpoint gets one space"
_LINE_END = "RFC 9112, 2.2: CRLF ends the line"
SPACES = [
    *[
        refused(f"line-{name}", _ONE_SPACE, line + HOST)
        for name, line in {
            "tab-behind-method": b"GET\t" + TARGET + b" HTTP/1.1",
            "tab-behind-target": b"GET " + TARGET + b"\tHTTP/1.1",
            "space-in-front": b" GET " + TARGET + b" HTTP/1.1",
            "tab-in-front": b"\tGET " + TARGET + b" HTTP/1.1",
            "space-behind-version": b"GET " + TARGET + b" HTTP/1.1 ",
            "space-in-target": b"GET " + TARGET + b" x HTTP/1.1",
            "second-version": b"GET " + TARGET + b" HTTP/1.1 HTTP/1.1",
            "second-target": b"GET " + TARGET + b" /other HTTP/1.1",
            "vertical-tab": b"GET\x0b" + TARGET + b" HTTP/1.1",
            "nul-behind-method": b"GET\x00 " + TARGET + b" HTTP/1.1",
            "no-target": b"GET  HTTP/1.1",
            "only-method": b"GET",
            "bare-cr-behind-version": b"GET " + TARGET + b" HTTP/1.1\rX: y",
        }.items()
    ],
    forwarded("line-two-spaces-behind-method", _REMOVED, b"GET  " + TARGET + b" HTTP/1.1" + HOST),
    forwarded("line-two-spaces-behind-target", _REMOVED, b"GET " + TARGET + b"  HTTP/1.1" + HOST),
    refused("line-bare-lf", _LINE_END, b"GET " + TARGET + b" HTTP/1.1\nHost: golb\r\n\r\n"),
    refused("line-bare-cr", _LINE_END, b"GET " + TARGET + b" HTTP/1.1\rHost: golb\r\n\r\n"),
    refused("line-cr-cr-lf", _LINE_END, b"GET " + TARGET + b" HTTP/1.1\r\r\nHost: golb\r\n\r\n"),
    refused("line-all-bare-lf", _LINE_END, b"GET " + TARGET + b" HTTP/1.1\nHost: golb\n\n"),
    forwarded(
        "line-behind-empty-lines", "RFC 9112, 2.2: empty lines before a request are ignored", b"\r\n\r\n" + get()
    ),
    refused("line-behind-nul", "RFC 9112, 3: a method is a token", b"\x00" + get()),
    refused("line-behind-byte-order-mark", "RFC 9112, 3: a method is a token", b"\xef\xbb\xbf" + get()),
    refused("line-is-a-header", "RFC 9112, 3", b"Host: golb\r\n\r\n"),
    refused("line-is-an-answer", "RFC 9112, 3", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    refused(
        "line-is-tls",
        "RFC 9112, 3: a TLS hello is no request",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(40),
    ),
    refused(
        "line-is-a-proxy-protocol",
        "golb trusts no PROXY line",
        b"PROXY TCP4 6.6.6.6 7.7.7.7 1 80\r\n" + get(),
        status=501,
    ),
    refused(
        "line-is-proxy-protocol-2",
        "golb trusts no PROXY line",
        b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + bytes(12) + get(),
    ),
]

_NOT_HTTP = "llhttp takes RTSP/ and ICE/ for HTTP/, and does not tell; the endpoint gets HTTP"
_NOT_SERVED = "RFC 9110, 9.1: 501 to a method that is not known"
METHODS = [
    refused("method-unknown", _NOT_SERVED, request(b"FOO"), status=501),
    refused("method-lower-case", "RFC 9110, 9.1: methods have a case", request(b"get"), status=501),
    refused("method-mixed-case", "RFC 9110, 9.1: methods have a case", request(b"Get"), status=501),
    refused("method-longer", _NOT_SERVED, request(b"GETX"), status=501),
    refused("method-shorter", _NOT_SERVED, request(b"GE"), status=501),
    refused("method-of-1000-bytes", _NOT_SERVED, request(b"A" * 1000), status=501),
    refused("method-odd-token", _NOT_SERVED, request(b"!#$%&'*+-.^_`|~"), status=501),
    refused("method-no-token", "RFC 9110, 9.1: a method is a token", request(b"GE(T")),
    refused("method-control-byte", "RFC 9110, 9.1: a method is a token", request(b"GE\x01T")),
    refused("method-high-bit", "RFC 9110, 9.1: a method is a token", request(b"GE\xc9T")),
    refused("method-connect", "golb is no tunnel to anywhere", request(b"CONNECT", target=b"6.6.6.6:80"), status=501),
    refused("method-connect-a-function", "golb is no tunnel to anywhere", request(b"CONNECT"), status=501),
    refused(
        "method-connect-a-path", "golb is no tunnel to anywhere", request(b"CONNECT", target=b"/function/f"), status=501
    ),
    refused("method-of-rtsp", "RFC 9110, 9.1: no method of HTTP", request(b"DESCRIBE")),
    refused("method-of-rtsp-in-rtsp", _NOT_SERVED, request(b"DESCRIBE", version=b"RTSP/1.0"), status=501),
    refused("method-of-rtsp-in-rtsp-1-1", _NOT_SERVED, request(b"SETUP", version=b"RTSP/1.1"), status=501),
    forwarded(
        "method-options-in-rtsp", _NOT_HTTP, request(b"OPTIONS", version=b"RTSP/1.0"), arrives(b"OPTIONS"), closes=True
    ),
    forwarded("method-get-in-rtsp", _NOT_HTTP, get(version=b"RTSP/1.1")),
    forwarded("method-post-in-rtsp", _NOT_HTTP, post(version=b"RTSP/1.1"), arrives(b"POST")),
    forwarded(
        "method-source-in-ice", _NOT_HTTP, request(b"SOURCE", version=b"ICE/1.0"), arrives(b"SOURCE"), closes=True
    ),
    refused("method-get-in-ice", "RFC 9112, 2.3: the version begins with HTTP", request(b"GET", version=b"ICE/1.0")),
    *[
        forwarded(
            f"method-{method.decode().lower()}",
            "RFC 9110, 9: any method that is known",
            request(method),
            arrives(method),
        )
        for method in (b"TRACE", b"OPTIONS", b"DELETE", b"PROPFIND", b"M-SEARCH", b"PURGE", b"SOURCE")
    ],
]

_VERSION = "RFC 9112, 2.3: HTTP, a slash, a digit, a dot, a digit"
_OTHER = "RFC 9110, 15.6.6: 505 to another major version; golb speaks 1.1 and 1.0"
VERSIONS = [
    *[
        refused(f"version-{name}", _VERSION, get(version=version))
        for name, version in {
            "lower-case": b"http/1.1",
            "leading-zero": b"HTTP/01.1",
            "no-minor": b"HTTP/1",
            "no-minor-but-a-dot": b"HTTP/1.",
            "words": b"HTTP/x.y",
            "dash": b"HTTP-1.1",
            "other-protocol": b"HTTPS/1.1",
            "space-inside": b"HTTP/ 1.1",
            "comma": b"HTTP/1,1",
            "plus": b"HTTP/+1.1",
            "nul": b"HTTP/1.1\x00",
            "two-digits": b"HTTP/1.10",
        }.items()
    ],
    refused("version-0-9", _OTHER, get(version=b"HTTP/0.9"), status=505),
    refused("version-1-2", _OTHER, get(version=b"HTTP/1.2"), status=505),
    refused("version-2-0", _OTHER, get(version=b"HTTP/2.0"), status=505),
    refused("version-3-0", _OTHER, get(version=b"HTTP/3.0"), status=505),
    refused(
        "version-none", "RFC 9112, appendix C.1: HTTP/0.9 is not served", b"GET " + TARGET + b"\r\n\r\n", status=505
    ),
    refused(
        "preface-of-http-2", _OTHER, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00", status=505
    ),
    forwarded("version-1-0", "RFC 9112, 9.3: HTTP/1.0 ends with its answer", get(version=b"HTTP/1.0"), closes=True),
    forwarded("version-1-0-kept", "RFC 9112, C.2.2", get(b"Connection: keep-alive", version=b"HTTP/1.0"), closes=False),
]

_VISIBLE = "RFC 3986, 2: a target is visible ASCII"
_FORMS = "RFC 9112, 3.2: a path or a URL"
TARGETS = [
    *[
        refused(f"target-{name}", _VISIBLE, get(target=TARGET + more))
        for name, more in {
            "nul": b"\x00",
            "control-byte": b"\x01",
            "delete": b"\x7f",
            "tab": b"\t/x",
            "high-bit": b"\xc3\xa9",
            "bare-cr": b"\rX: y",
        }.items()
    ],
    *[
        refused(f"target-{name}", _FORMS, get(target=target))
        for name, target in {
            "fragment": TARGET + b"#x",
            "asterisk": b"*",
            "relative": b"function/f/" + TOKEN,
            "authority": b"golb:8080",
            "dots": b"..",
            "query-only": b"?x",
            "at": b"@evil/function/f",
            "colon": b":80/function/f",
            "backslashes": b"\\\\evil\\function\\f",
            "absolute-no-host": b"http:///function/f",
            "absolute-one-slash": b"http:/function/f",
            "absolute-user": b"http://golb@evil/function/f",
            "absolute-user-and-port": b"http://golb:80@evil/function/f",
            "absolute-backslash": b"http://golb\\@evil/function/f",
            "absolute-fragment": b"http://golb#/function/f",
            "absolute-fragment-behind": b"http://golb/function/f#x",
            "absolute-port-junk": b"http://golb:8o/function/f",
            "absolute-open-bracket": b"http://[::1/function/f",
            "absolute-other-scheme": b"ftp://golb/function/f",
            "absolute-scheme-longer": b"httpx://golb/function/f",
            "absolute-comma-in-brackets": b"http://[a,b]/function/f",
            "file-url": b"file:///etc/passwd",
            "word-url": b"javascript:alert(1)",
        }.items()
    ],
    refused(
        "target-bare-lf",
        "RFC 9112, C.1: up to the LF this is HTTP/0.9, which is not served",
        get(target=TARGET + b"\nX: y"),
        status=505,
    ),
    refused("target-too-long", "RFC 9110, 15.5.15", get(target=TARGET + b"a" * 32768), status=414),
    forwarded("target-absolute", "RFC 9112, 3.2.2: the absolute form is accepted", get(target=b"http://golb" + TARGET)),
    forwarded(
        "target-absolute-elsewhere",
        "golb decides where: no URL names a target",
        get(target=b"http://169.254.169.254" + TARGET),
    ),
    forwarded("target-absolute-https", "RFC 9112, 3.2.2", get(target=b"HTTPS://golb:443" + TARGET)),
    forwarded("target-empty-query", "byte for byte", get(target=TARGET + b"?"), arrives(target=SEEN + b"?")),
    *[
        forwarded(
            f"target-{name}",
            "golb decides nothing by what follows the function's name",
            get(target=TARGET + more),
            arrives(target=SEEN + more),
        )
        for name, more in {
            "encoded-crlf": b"%0d%0aX-Smuggled:%201",
            "encoded-request": b"%20HTTP/1.1%0d%0aHost:%20golb%0d%0a%0d%0aGET%20/smuggled",
            "encoded-crlf-of-unicode": b"%E5%98%8A%E5%98%8DX:1",
            "encoded-nul": b"%00",
            "bad-percent": b"%zz%",
            "dot-segments": b"/../../x",
            "encoded-dot-segments": b"/%2e%2e/x",
            "slashes": b"//x//",
            "backslash": b"\\..\\x",
            "semicolon": b";a=b",
            "url-in-query": b"?u=http://evil/#".rstrip(b"#"),
            "question-marks": b"??a?b",
        }.items()
    ],
]

CASES = [*SPACES, *METHODS, *VERSIONS, *TARGETS]
