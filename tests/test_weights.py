"""What a value in etcd may be, what is refused, and that each refusal says why."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from golb.errors import WeightsError
from golb.limits import Limits
from golb.networks import TargetNetworks
from golb.weights import (
    MAX_ENDPOINTS,
    MAX_NAME_LENGTH,
    MAX_VALUE_BYTES,
    Endpoint,
    Fault,
    Refused,
    Weights,
    check_function_name,
    parse_endpoint,
    parse_function_name,
    parse_weights,
    split_endpoint,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from ipaddress import IPv4Address, IPv6Address

REPEATABLE = settings(derandomize=True, deadline=None)

PORTS = st.integers(1, 65535)
HOST_NAMES = st.from_regex(
    r"[a-z0-9_]([a-z0-9_-]{0,8}[a-z0-9_])?(\.[a-z]([a-z0-9-]{0,8}[a-z0-9])?){0,3}", fullmatch=True
)
HOSTS = st.one_of(
    st.ip_addresses(v=4).map(str), st.ip_addresses(v=6).map(str), HOST_NAMES.filter(lambda name: not name.isdigit())
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)
# Mostly right values, so that what lies behind the first checks is reached too.
NEARLY_ENDPOINTS = st.sampled_from(["10.0.0.1", "10.0.0.1:80", "http://10.0.0.1", "[::1]:80", "f"]) | st.text() | JSON
NEARLY_WEIGHTS = st.integers(-1, 10**400) | st.floats() | JSON


def value(*ips: object, weights: object = None) -> bytes:
    return json.dumps({"ips": ips, "weights": [1] * len(ips) if weights is None else weights}).encode()


def reason(content: bytes) -> str:
    with pytest.raises(WeightsError) as refused:
        parse_weights(content)
    return str(refused.value)


def test_the_form_of_the_existing_writers_is_taken() -> None:
    weights = parse_weights(b'{"ips": ["10.42.0.5:8080", "10.0.3.1:8080"], "weights": [3, 1]}')
    assert weights == Weights({Endpoint("10.42.0.5", 8080): 3, Endpoint("10.0.3.1", 8080): 1})


def test_endpoints_stay_in_the_order_of_the_value() -> None:
    weights = parse_weights(value("10.0.0.9", "10.0.0.1", "10.0.0.5"))
    assert [endpoint.host for endpoint in weights.by_endpoint] == ["10.0.0.9", "10.0.0.1", "10.0.0.5"]


def test_empty_lists_are_good_and_mean_no_endpoint_now() -> None:
    assert parse_weights(b'{"ips": [], "weights": []}') == Weights()
    assert str(Weights()) == "none"


def test_unknown_members_are_ignored() -> None:
    content = b'{"ips": ["10.0.0.1"], "weights": [1], "cluster": {"deep": [null, true]}, "NaN": "NaN"}'
    assert parse_weights(content) == Weights({Endpoint("10.0.0.1", 80): 1})


@pytest.mark.parametrize("weight", [0, 1, 33.3, 100.0, 2**31, 10**300, 5e-324, 1.7e308, 0.0])
def test_a_finite_weight_that_is_not_negative_is_taken_as_it_is(weight: float) -> None:
    taken = parse_weights(value("10.0.0.1", weights=[weight])).by_endpoint[Endpoint("10.0.0.1", 80)]
    assert taken == weight
    assert type(taken) is type(weight)


@pytest.mark.parametrize("twin", ["10.0.0.1:80", "http://10.0.0.1", "http://10.0.0.1:80/", "10.0.0.1:080"])
def test_the_weights_of_an_endpoint_that_stands_twice_add_up(twin: str) -> None:
    weights = parse_weights(value("10.0.0.1", "10.0.0.2", twin, weights=[3, 1, 0.5]))
    assert weights == Weights({Endpoint("10.0.0.1", 80): 3.5, Endpoint("10.0.0.2", 80): 1})


def test_text_is_taken_as_well_as_bytes() -> None:
    assert parse_weights(value("ümlaut".encode("idna").decode()).decode()) == parse_weights(value("xn--mlaut-jva"))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "the value is not JSON: Expecting value: line 1 column 1 (char 0)"),
        (b"{", "the value is not JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        (b'{"ips": ["10.0.0.1"], "weights": [1]} x', "the value is not JSON: Extra data: line 1 column 39 (char 38)"),
        (b"\xff\xfe", "the value is not UTF-8: byte 0 cannot be decoded"),
        (b'{"ips": ["\xe4"], "weights": [1]}', "the value is not UTF-8: byte 10 cannot be decoded"),
        ('{"ips": [], "weights": []}'.encode("utf-16"), "the value is not UTF-8: byte 0 cannot be decoded"),
        (b"[" * 100_000, "the value is nested too deeply"),
        (b"7", "the value is a number; an object with ips and weights is needed"),
        (b"7.5", "the value is a number; an object with ips and weights is needed"),
        (b"null", "the value is null; an object with ips and weights is needed"),
        (b"true", "the value is a boolean; an object with ips and weights is needed"),
        (b'"text"', "the value is a string; an object with ips and weights is needed"),
        (b"[]", "the value is a list; an object with ips and weights is needed"),
        (b"{}", "ips is missing; a list is needed"),
        (b'{"ips": []}', "weights is missing; a list is needed"),
        (b'{"ips": null, "weights": []}', "ips is null; a list is needed"),
        (b'{"ips": {}, "weights": []}', "ips is an object; a list is needed"),
        (b'{"ips": [], "weights": 1}', "weights is a number; a list is needed"),
        (b'{"ips": ["10.0.0.1"], "weights": []}', "1 ips but 0 weights; each ip needs one weight"),
        (b'{"ips": [], "weights": [1, 2]}', "0 ips but 2 weights; each ip needs one weight"),
    ],
)
def test_what_is_no_such_object_is_refused_with_the_reason(content: bytes, expected: str) -> None:
    assert reason(content) == expected


@pytest.mark.parametrize(
    ("weight", "expected"),
    [
        ("-1", "weights[1] is -1; a weight is finite and not negative"),
        ("-0.5", "weights[1] is -0.5; a weight is finite and not negative"),
        ("1e999", "weights[1] is inf; a weight is finite and not negative"),
        ("NaN", "the value holds NaN; a weight is finite"),
        ("Infinity", "the value holds Infinity; a weight is finite"),
        ("-Infinity", "the value holds -Infinity; a weight is finite"),
        ("true", "weights[1] is true; a number is needed"),
        ("null", "weights[1] is null; a number is needed"),
        ('"1"', "weights[1] is '1'; a number is needed"),
        ("[1]", "weights[1] is [1]; a number is needed"),
        ("{}", "weights[1] is {}; a number is needed"),
        (
            "1" + 309 * "0",
            "weights[1] is 100000000000000000...0000000000000000000; a weight is finite and not negative",
        ),
    ],
)
def test_a_weight_that_is_none_is_refused_with_the_reason(weight: str, expected: str) -> None:
    assert reason(b'{"ips": ["10.0.0.1", "10.0.0.2"], "weights": [1, %b]}' % weight.encode()) == expected


def test_a_number_too_long_to_read_is_refused() -> None:
    assert reason(b'{"ips": ["10.0.0.1"], "weights": [1%b]}' % (5000 * b"0")).startswith("the value is not JSON: ")


@pytest.mark.parametrize(
    ("ips", "weights"),
    [
        (["10.0.0.1", "10.0.0.2"], [1e308, 1e308]),
        (["10.0.0.1", "10.0.0.2"], [10**308, 10**308]),
        (["10.0.0.1", "10.0.0.1"], [1e308, 1e308]),
        (["10.0.0.1", "10.0.0.1", "10.0.0.1"], [10**308, 10**308, 0.5]),
        (["10.0.0.1", "10.0.0.2"], [10**308, 1e308]),
    ],
)
def test_weights_whose_sum_is_beyond_a_double_are_refused(ips: list[str], weights: list[float]) -> None:
    assert reason(value(*ips, weights=weights)) == "the weights' sum is beyond the range of a double, 1.8e+308"


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("10.42.0.5", "10.42.0.5", None),
        ("10.42.0.5:8080", "10.42.0.5", 8080),
        ("http://10.42.0.5:8080", "10.42.0.5", 8080),
        ("http://10.42.0.5:8080/", "10.42.0.5", 8080),
        ("http://10.42.0.5", "10.42.0.5", None),
        ("10.42.0.5:65535", "10.42.0.5", 65535),
        ("[fd00::1]:9000", "fd00::1", 9000),
        ("[fd00::1]", "fd00::1", None),
        ("http://[fd00::1]:9000", "fd00::1", 9000),
        ("fd00::1", "fd00::1", None),
        ("http://fd00::1", "fd00::1", None),
        ("FD00:0:0::0001", "fd00::1", None),
        ("resnet.default.svc.cluster.local", "resnet.default.svc.cluster.local", None),
        ("resnet:8080", "resnet", 8080),
        ("http://Pod-1:80", "pod-1", 80),
        ("my_container", "my_container", None),
        ("example.org.", "example.org.", None),
        ("a" * 63, "a" * 63, None),
    ],
)
def test_an_endpoint_is_read(text: str, host: str, port: int | None) -> None:
    assert split_endpoint(text) == (host, port)
    assert parse_endpoint(text) == Endpoint(host, port or 80)


ADDRESS_OR_NAME = "that is neither an address nor a host name"
PORT = "a port is a number from 1 to 65535"


@pytest.mark.parametrize(
    ("ip", "expected"),
    [
        ("", ADDRESS_OR_NAME),
        (" ", ADDRESS_OR_NAME),
        ("10.0.0.1 ", ADDRESS_OR_NAME),
        ("10.0.0.1\n", ADDRESS_OR_NAME),
        ("a\r\nb", ADDRESS_OR_NAME),
        ("-a", ADDRESS_OR_NAME),
        ("a..b", ADDRESS_OR_NAME),
        (".", ADDRESS_OR_NAME),
        ("a/b", ADDRESS_OR_NAME),
        ("user@host", ADDRESS_OR_NAME),
        ("ümlaut", ADDRESS_OR_NAME),
        ("a" * 64, ADDRESS_OR_NAME),
        (".".join(["a" * 50] * 6), ADDRESS_OR_NAME),
        ("http://", ADDRESS_OR_NAME),
        ("http://10.0.0.1/path", ADDRESS_OR_NAME),
        (":80", ADDRESS_OR_NAME),
        ("300.0.0.1", "that is no valid IPv4 address"),
        ("10.0.0", "that is no valid IPv4 address"),
        ("10.0.0.01", "that is no valid IPv4 address"),
        ("8080", "that is no valid IPv4 address"),
        ("10.0.0.1.", "that is no valid IPv4 address"),
        ("10.0.0.1:", PORT),
        ("10.0.0.1:0", PORT),
        ("10.0.0.1:65536", PORT),
        ("10.0.0.1:-1", PORT),
        ("10.0.0.1:+1", PORT),
        ("10.0.0.1: 80", PORT),
        ("10.0.0.1:8o", PORT),
        ("10.0.0.1:٨٠", PORT),
        ("10.0.0.1:80/path", PORT),
        ("[fd00::1]:", PORT),
        ("[fd00::1", "an IPv6 endpoint is written [address]:port"),
        ("[fd00::1]80", "an IPv6 endpoint is written [address]:port"),
        ("[10.0.0.1]:80", "that is no valid IPv6 address"),
        ("10.0.0.1:80:80", "that is no valid IPv6 address"),
        ("fe80::1%eth0", "an address with a scope means another host on each node"),
        ("https://10.0.0.1", "golb speaks plain http to endpoints"),
        ("HTTP://10.0.0.1", "golb speaks plain http to endpoints"),
        (7, "an endpoint is a string such as 10.42.0.5:8080"),
        (None, "an endpoint is a string such as 10.42.0.5:8080"),
        (["10.0.0.1"], "an endpoint is a string such as 10.42.0.5:8080"),
    ],
)
def test_what_is_no_endpoint_is_refused_by_its_index_and_the_reason(ip: object, expected: str) -> None:
    text = reason(value("10.0.0.1", ip))
    assert text.startswith("ips[1] is ")
    assert text.endswith(f"; {expected}")
    assert text.isprintable()


def test_a_long_string_is_cut_short_in_the_reason() -> None:
    assert len(reason(value("x" * 100_000))) < 120


@REPEATABLE
@given(st.binary() | st.text().map(str.encode) | JSON.map(lambda found: json.dumps(found).encode()))
@example(b'{"ips":["\\ud800"],"weights":[1]}')
@example(b"\xef\xbb\xbf{}")
def test_nothing_but_a_refusal_comes_of_any_bytes(content: bytes) -> None:
    with pytest.raises(WeightsError) as refused:
        parse_weights(content)
    assert str(refused.value)


@REPEATABLE
@given(ips=st.lists(NEARLY_ENDPOINTS) | JSON, weights=st.lists(NEARLY_WEIGHTS) | JSON, equal=st.booleans())
def test_nearly_right_values_are_refused_or_become_weights_that_keep_the_rules(
    ips: object, weights: object, *, equal: bool
) -> None:
    if equal and isinstance(ips, list) and isinstance(weights, list):
        ips, weights = ips[: len(weights)], weights[: len(ips)]
    try:
        taken = parse_weights(json.dumps({"ips": ips, "weights": weights}))
    except WeightsError:
        return
    assert all(weight >= 0 for weight in taken.by_endpoint.values())
    assert math.isfinite(float(sum(taken.by_endpoint.values())))
    assert str(taken)
    for endpoint in taken.by_endpoint:
        assert parse_endpoint(endpoint.authority) == endpoint


@REPEATABLE
@given(host=HOSTS, port=PORTS, scheme=st.sampled_from(["", "http://"]))
def test_an_endpoint_comes_back_from_what_it_is_written_as(host: str, port: int, scheme: str) -> None:
    endpoint = Endpoint(host, port)
    assert parse_endpoint(scheme + endpoint.authority) == endpoint
    assert str(endpoint) == endpoint.authority
    bare = parse_endpoint(scheme + host)
    assert bare == Endpoint(host, 80)


@REPEATABLE
@given(st.ip_addresses(v=4) | st.ip_addresses(v=6), PORTS)
def test_all_ways_to_write_an_address_are_one_endpoint(address: IPv4Address | IPv6Address, port: int) -> None:
    ways = {str(address), address.exploded, address.exploded.upper()}
    bracketed = {f"[{way}]" if address.version == 6 else way for way in ways}
    assert {parse_endpoint(f"{way}:{port}") for way in bracketed} == {Endpoint(str(address), port)}


@REPEATABLE
@given(st.text())
def test_any_text_is_an_endpoint_or_refused(text: str) -> None:
    try:
        endpoint = parse_endpoint(text)
    except WeightsError as exc:
        assert str(exc).isprintable()  # noqa: PT017 - both ends are right
    else:
        assert endpoint.authority.isascii()
        assert parse_endpoint(endpoint.authority) == endpoint


@pytest.mark.parametrize("name", ["resnet", "request_responder_250", "mobilenet-v2", "a b", "größe", "%2F", "f?x"])
def test_the_fourth_segment_of_a_key_is_the_function(name: str) -> None:
    assert parse_function_name(f"golb/function/zone-a/{name}".encode(), "zone-a") == name


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (b"golb/function/zone-a/", "the key is not golb/function/zone-a/<function>, four segments"),
        (b"golb/function/zone-a", "the key is not golb/function/zone-a/<function>, four segments"),
        (b"golb/function/zone-a/f/g", "the key is not golb/function/zone-a/<function>, four segments"),
        (b"golb/function/zone-a/f/", "the key is not golb/function/zone-a/<function>, four segments"),
        (b"golb/function/zone-a2/f", "the key is not golb/function/zone-a/<function>, four segments"),
        (b"/golb/function/zone-a/f", "the key is not golb/function/zone-a/<function>, four segments"),
        (b"f", "the key is not golb/function/zone-a/<function>, four segments"),
        (b"golb/function/zone-a/\xff", "the key is not UTF-8"),
        (
            b"golb/function/zone-a/a\nb",
            "a function's name is not empty and holds neither slashes nor control characters",
        ),
        (
            b"golb/function/zone-a/\x1b[31m",
            "a function's name is not empty and holds neither slashes nor control characters",
        ),
    ],
)
def test_a_key_that_is_no_functions_is_refused_with_the_reason(key: bytes, expected: str) -> None:
    with pytest.raises(WeightsError) as refused:
        parse_function_name(key, "zone-a")
    assert str(refused.value) == expected


@REPEATABLE
@given(st.binary() | st.binary().map(b"golb/function/z/".__add__))
def test_nothing_but_a_name_or_a_refusal_comes_of_any_key(key: bytes) -> None:
    try:
        name = parse_function_name(key, "z")
    except WeightsError:
        return
    assert f"golb/function/z/{name}".encode() == key


def many_endpoints(count: int) -> bytes:
    return value(*(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}:80" for number in range(count)))


def test_as_many_endpoints_as_a_function_may_have_are_taken_and_one_more_is_refused() -> None:
    assert len(parse_weights(many_endpoints(MAX_ENDPOINTS)).by_endpoint) == MAX_ENDPOINTS
    expected = f"{MAX_ENDPOINTS + 1} ips; {MAX_ENDPOINTS} are the most that a function may have"
    assert reason(many_endpoints(MAX_ENDPOINTS + 1)) == expected


def test_a_value_is_read_up_to_its_greatest_length_and_not_beyond() -> None:
    good = value("10.0.0.1")
    assert parse_weights(good.ljust(MAX_VALUE_BYTES)) == parse_weights(good)
    expected = f"the value has {MAX_VALUE_BYTES + 1} bytes; {MAX_VALUE_BYTES} are the most"
    assert reason(good.ljust(MAX_VALUE_BYTES + 1)) == expected
    assert reason(b"\xff" * (MAX_VALUE_BYTES + 1)) == expected  # not even decoded


def test_a_name_has_a_greatest_length() -> None:
    check_function_name("f" * MAX_NAME_LENGTH)
    with pytest.raises(Refused, match="the function's name has 1025 characters; 1024 are the most"):
        check_function_name("f" * (MAX_NAME_LENGTH + 1))


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"\xff", Fault.JSON),
        (b"{", Fault.JSON),
        (b"[" * 100_000, Fault.JSON),
        (b"7", Fault.SHAPE),
        (b"{}", Fault.SHAPE),
        (b'{"ips": 1}', Fault.SHAPE),
        (b'{"ips": ["a"], "weights": []}', Fault.SHAPE),
        (b'{"ips": ["a b"], "weights": [1]}', Fault.ENDPOINT),
        (b'{"ips": [1], "weights": [1]}', Fault.ENDPOINT),
        (b'{"ips": ["10.0.0.1", "169.254.169.254"], "weights": [1, 1]}', Fault.NETWORK),
        (b'{"ips": ["a"], "weights": [-1]}', Fault.WEIGHT),
        (b'{"ips": ["a"], "weights": [NaN]}', Fault.WEIGHT),
        (b'{"ips": ["a", "b"], "weights": [1e308, 1e308]}', Fault.WEIGHT),
        (b'{"ips": [], "weights": [], "max_inflight": -1}', Fault.LIMIT),
        (b'{"ips": [], "weights": [], "timeout": "1"}', Fault.LIMIT),
        (b" " * (MAX_VALUE_BYTES + 1), Fault.SIZE),
        (many_endpoints(MAX_ENDPOINTS + 1), Fault.SIZE),
    ],
)
def test_a_refusal_says_in_a_word_what_is_wrong(content: bytes, fault: Fault) -> None:
    with pytest.raises(Refused) as refused:
        parse_weights(content)
    assert refused.value.fault is fault


def test_a_value_may_limit_its_function_beside_its_weights() -> None:
    content = b'{"max_inflight": 100, "ips": ["a"], "queue": 50, "weights": [1], "timeout": 0.5, "other": {}}'
    assert parse_weights(content) == Weights({Endpoint("a", 80): 1}, Limits(100, 50, 0.5))
    assert parse_weights(value("a")).limits == Limits()
    assert parse_weights(content) != parse_weights(value("a"))


def test_a_bad_limit_refuses_the_whole_value_with_the_reason() -> None:
    assert reason(b'{"ips": ["a"], "weights": [1], "timeout": -1}') == (
        "timeout is -1; seconds from 0 to 3600 are needed"
    )
    assert reason(b'{"ips": ["a"], "weights": [1], "max_inflight": 1.5}') == (
        "max_inflight is 1.5; a whole number from 0 to 1000000000 is needed"
    )


def test_one_address_where_no_endpoint_may_lie_refuses_the_whole_value() -> None:
    with pytest.raises(Refused) as refused:
        parse_weights(value("10.0.0.1", "http://[fd00:ec2::254]:80", "10.0.0.2"))
    assert str(refused.value) == (
        "ips[1] is 'http://[fd00:ec2::254]:80'; fd00:ec2::254 is a cloud's metadata service, "
        "and eb_go_lb_target_networks does not list it"
    )


def test_endpoints_may_be_kept_to_some_networks_and_names_are_left_to_be_resolved() -> None:
    targets = TargetNetworks.parse("10.0.0.0/8")
    content = value("10.0.0.1", "pod.example")
    assert parse_weights(content, targets) == parse_weights(content)
    with pytest.raises(Refused, match=r"ips\[1\] .* 127\.0\.0\.1 lies in no network of eb_go_lb_target_networks$"):
        parse_weights(value("10.0.0.1", "127.0.0.1"), targets)


@REPEATABLE
@given(st.lists(st.integers(0, 300), min_size=4, max_size=4), st.text("0123456789", max_size=6))
def test_the_short_way_for_ipv4_reads_what_the_general_one_does(octets: list[int], port: str) -> None:
    def outcome(parse: Callable[[str], object]) -> object:
        try:
            return parse(text)
        except WeightsError as exc:
            return str(exc)

    def parse_the_general_way(text: str) -> Endpoint:
        host, read_port = split_endpoint(text)
        return Endpoint(host, read_port or 0)

    text = f"{'.'.join(map(str, octets))}:{port}"
    assert outcome(parse_endpoint) == outcome(parse_the_general_way)
