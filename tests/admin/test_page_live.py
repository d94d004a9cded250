"""The live page in a real Chromium, on a real golb: what it shows is what golb tells, while everything changes."""

from __future__ import annotations

import json
from base64 import b64encode
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from attrs import frozen
from support.browser import running_browser
from support.golb_process import GolbProcess, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from support.browser import Browser

    from demo.etcd import EtcdProcess

ZONE = "zone-page"


@frozen
class Node:
    """A golb with its admin port, and the etcd that it follows."""

    golb: GolbProcess
    admin_url: str
    etcd: EtcdProcess
    http: httpx.Client

    def put(self, function: str, weights: Mapping[str, float]) -> int:
        """Put weights into etcd and return the revision; golb has them a moment later."""
        return self.put_value(function, json.dumps({"ips": list(weights), "weights": list(weights.values())}))

    def put_value(self, function: str, value: str) -> int:
        key = f"golb/function/{ZONE}/{function}"
        put = {"key": b64encode(key.encode()).decode(), "value": b64encode(value.encode()).decode()}
        answer = self.http.post(f"{self.etcd.client_url}/v3/kv/put", json=put).raise_for_status().json()
        return int(answer["header"]["revision"])

    def report(self, function: str) -> dict[str, Any]:
        """Return what golb tells of a function."""
        report: dict[str, Any] = self.http.get(f"{self.admin_url}/api/functions/{function}").raise_for_status().json()
        return report

    def calls(self, function: str) -> dict[str, int]:
        """Return how often golb says that it has called each endpoint."""
        return {endpoint["endpoint"]: endpoint["calls"] for endpoint in self.report(function)["endpoints"]}

    def call(self, function: str, times: int) -> None:
        for _ in range(times):
            self.http.get(f"{self.golb.url}/function/{function}/")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def node(etcd: EtcdProcess, browser: Browser) -> Iterator[Node]:
    """A node; where there is no browser to look at it, it need not start."""
    port = free_port()
    address = f"127.0.0.1:{port}"
    with (
        GolbProcess(zone=ZONE, etcd_host=etcd.client_url, admin_listen=address) as golb,
        httpx.Client(verify=False, trust_env=False) as http,
    ):
        yield Node(golb, f"http://{address}", etcd, http)


class _Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def running_endpoints(count: int) -> Iterator[list[str]]:
    servers = [ThreadingHTTPServer(("127.0.0.1", 0), _Answers) for _ in range(count)]
    threads = [Thread(target=server.serve_forever, args=(0.05,)) for server in servers]
    for thread in threads:
        thread.start()
    try:
        yield [f"127.0.0.1:{server.server_port}" for server in servers]
    finally:
        for server, thread in zip(servers, threads, strict=True):
            server.shutdown()
            thread.join()
            server.server_close()


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def shown_shares(browser: Browser) -> dict[str, tuple[str, str]]:
    """Return for each endpoint that is shown its configured and its observed share."""
    return {cells[0]: (cells[2], cells[3]) for cells in browser.table("#endpoints")}


def shown_configured(browser: Browser) -> dict[str, str]:
    return {endpoint: configured for endpoint, (configured, _) in shown_shares(browser).items()}


def shown_calls(browser: Browser) -> dict[str, int]:
    return {cells[0]: int(cells[7].replace(",", "")) for cells in browser.table("#endpoints")}


def shown_figures(browser: Browser, css: str) -> dict[str, str]:
    """Return the figures of a list, by their names."""
    return dict(zip(browser.texts(f"{css} dt"), browser.texts(f"{css} dd"), strict=True))


def is_listed(browser: Browser, line: str) -> bool:
    """Tell whether an event is listed; each begins with the time."""
    return line in {text.split(" ", 1)[1] for text in browser.texts("#events li")}


def row_of(browser: Browser, function: str) -> list[str]:
    return next((cells for cells in browser.table(".functions") if cells[0] == function), [])


def test_shares_and_calls_are_what_golb_tells_while_weights_change(browser: Browser, node: Node) -> None:
    with running_endpoints(2) as (one, other):
        node.put("hello", {one: 3, other: 1})
        browser.open(f"{node.admin_url}/#hello")
        for weights in ({one: 3, other: 1}, {one: 1, other: 4}):
            node.put("hello", weights)
            configured = {endpoint: percent(weight / sum(weights.values())) for endpoint, weight in weights.items()}
            browser.wait_for(shown_configured, configured)
            before = node.calls("hello")
            node.call("hello", 40)
            after = node.calls("hello")
            observed = {endpoint: percent((after[endpoint] - before[endpoint]) / 40) for endpoint in weights}
            expected = {endpoint: (configured[endpoint], observed[endpoint]) for endpoint in weights}
            browser.wait_for(shown_shares, expected)
            assert shown_calls(browser) == after
        bars = browser.find("#rows tr[aria-current] svg").get_attribute("aria-label")
        assert bars is not None
        assert sorted(bars.split("; ")) == sorted(
            f"{endpoint}: configured {share[0]}, observed {share[1]}" for endpoint, share in expected.items()
        )
        report = node.report("hello")
        figures = shown_figures(browser, "#one-figures")
        assert figures["Answers 2xx"] == str(report["responses"]["2xx"]) == "80"
        assert figures["Revision"] == str(report["revision"])
        assert figures["p50"].endswith(" ms")
        plot = browser.find("#plot").get_attribute("aria-label")
        assert plot is not None
        assert f"{one} from 75.0 % to 20.0 %" in plot
        assert browser.errors() == []


def test_the_node_is_shown_as_golb_tells_of_it(browser: Browser, node: Node) -> None:
    browser.open(node.admin_url)
    status = node.http.get(f"{node.admin_url}/api/status").json()
    browser.wait(lambda: browser.text("#readiness") == "ready")
    assert browser.text("h1") == f"golb {status['node']}"
    assert f"zone {ZONE}" in browser.text("#about")
    figures = shown_figures(browser, "#figures")
    assert figures["Weights from"] == f"etcd at {status['knowledge']['member']}"
    assert figures["Functions"] == str(status["functions"])


def test_updates_are_listed_with_their_revisions_and_what_they_change(browser: Browser, node: Node) -> None:
    browser.open(node.admin_url)
    for weight, change in ((1, "+127.0.0.1:1=1"), (7, "127.0.0.1:1=1->7")):
        revision = node.put("listed", {"127.0.0.1:1": weight})
        line = f"weights listed revision {revision}: {change}"
        browser.wait(partial(is_listed, browser, line))


def test_a_refused_value_is_shown_with_its_reason_until_a_good_one_comes(browser: Browser, node: Node) -> None:
    reason = "1 ips but 2 weights; each ip needs one weight"
    browser.open(node.admin_url)
    node.put_value("wrong", '{"ips": ["127.0.0.1:1"], "weights": [1, 2]}')
    browser.wait(lambda: any(text.startswith(f"wrong {reason}") for text in browser.texts("#refused li")))
    browser.wait(lambda: any("refused wrong" in text and reason in text for text in browser.texts("#events li")))
    node.put("wrong", {"127.0.0.1:1": 1})
    browser.wait(lambda: browser.texts("#refused li") == [])


def test_an_endpoint_that_rests_is_shown_with_the_cause(browser: Browser, node: Node) -> None:
    with running_endpoints(1) as (alive,):
        dead = f"127.0.0.1:{free_port()}"
        node.put("halting", {alive: 3, dead: 1})
        browser.open(f"{node.admin_url}/#halting")
        browser.wait(lambda: row_of(browser, "halting")[1:2] == ["serving"])
        node.call("halting", 8)
        browser.wait(lambda: row_of(browser, "halting")[1] == "1 resting")
        assert {cells[0]: cells[5].split(",")[0] for cells in browser.table("#endpoints")} == {
            alive: "serving",
            dead: "resting",
        }
        assert any("cannot connect" in text for text in browser.texts("#endpoints td.state"))


def test_a_function_that_is_not_known_is_shown_once_it_comes(browser: Browser, node: Node) -> None:
    browser.open(f"{node.admin_url}/#<b>late")
    browser.wait(lambda: browser.text("#one-state") == "golb does not know it")
    assert browser.text("#one-title") == "<b>late"
    node.put("<b>late", {"127.0.0.1:1": 1})
    browser.wait(lambda: browser.text("#one-state") == "serving")


def test_a_link_that_is_cut_short_does_not_keep_the_page_from_working(browser: Browser, node: Node) -> None:
    browser.open(f"{node.admin_url}/#gr%C3")
    browser.wait(lambda: browser.text("#one-state") == "golb does not know it")
    assert browser.text("#one-title") == "gr%C3"
    assert all("404" in error for error in browser.errors())


def test_without_workers_none_are_shown(browser: Browser, node: Node) -> None:
    browser.open(node.admin_url)
    browser.wait(lambda: browser.text("#readiness") == "ready")
    assert not browser.find("#workers-part").is_displayed()


def test_workers_are_shown_where_golb_tells_of_any(browser: Browser, node: Node) -> None:
    browser.open(node.admin_url)
    browser.wait(lambda: browser.text("#readiness") == "ready")
    browser.find("#pause").click()  # what the page is given stays
    workers = [
        {
            "worker": number,
            "pid": 4711 + number,
            "state": state,
            "since_s": 1_795_506_240,
            "replaced": 2 * number,
            "connections": {"open": 1000},
            "totals": {"in_flight": 7} if state == "serving" else {},
        }
        for number, state in enumerate(("serving", "starting"))
    ]
    browser.run("status = { ...status, workers: arguments[0] }; render()", workers)
    shown = [[*cells[:3], *cells[4:]] for cells in browser.table("#workers")]  # without the time of day
    assert shown == [
        ["0", "serving", "4711", "0", "1,000", "7"],
        ["1", "starting", "4712", "2", "1,000", "\N{EN DASH}"],
    ]
    assert browser.errors() == []


def test_a_pause_keeps_what_is_shown(browser: Browser, node: Node) -> None:
    node.put("paused", {"127.0.0.1:1": 1, "127.0.0.1:2": 1})
    browser.open(f"{node.admin_url}/#paused")
    browser.wait(lambda: len(shown_shares(browser)) == 2)
    browser.find("#pause").click()
    browser.wait(lambda: browser.text("#link") == "paused")
    node.put("paused", {"127.0.0.1:1": 3, "127.0.0.1:2": 1})
    # The page knows of the change, and does not show it.
    browser.wait(lambda: bool(browser.run("return unshownEvents.some(({ data }) => data.function === 'paused')")))
    assert set(shown_configured(browser).values()) == {"50.0 %"}
    browser.find("#pause").click()
    browser.wait(lambda: set(shown_configured(browser).values()) == {"75.0 %", "25.0 %"})


def test_a_golb_that_is_lost_is_said_to_be_so_until_it_is_back(browser: Browser, node: Node) -> None:
    browser.open(node.admin_url)
    browser.wait(lambda: browser.text("#link") == "live")
    node.golb.stop()
    browser.wait(lambda: "lost" in browser.text("#link"))
    node.golb.start()
    browser.wait(lambda: browser.text("#link") == "live")
    browser.errors()  # the loads that failed meanwhile are as they should be
