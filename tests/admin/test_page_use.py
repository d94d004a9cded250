"""Using the live page: with a token, to search, to sort, by keyboard, by screen reader, with a thousand functions."""

from __future__ import annotations

import json
import os
import re
import time
from importlib.resources import files
from typing import TYPE_CHECKING

import httpx
import pytest
from attrs import frozen
from selenium.webdriver.common.keys import Keys
from support.browser import running_browser
from support.golb_process import GolbProcess, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.browser import Browser

FUNCTIONS = 100
TOKEN = "page-token"  # not one that anybody uses
PAGE_ROWS = 25


@frozen
class Node:
    """A golb whose weights come from a file, with a token for its admin port."""

    golb: GolbProcess
    admin_url: str
    weights_file: Path

    def rewrite(self, weight: int, functions: int = FUNCTIONS) -> None:
        """Give each of so many functions two endpoints, of this weight and of 1."""
        _write(self.weights_file, weight, functions)


def _write(path: Path, weight: int, functions: int) -> None:
    value = {"ips": ["127.0.0.1:1", "127.0.0.1:2"], "weights": [weight, 1]}
    new = path.with_suffix(".new")
    new.write_text(json.dumps({name_of(number): value for number in range(functions)}))
    new.replace(path)  # golb never reads half a file


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def node(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node; where there is no browser to look at it, it need not start."""
    weights_file = tmp_path_factory.mktemp("page") / "weights.json"
    _write(weights_file, 3, FUNCTIONS)
    address = f"127.0.0.1:{free_port()}"
    with GolbProcess(
        weight_updater="file", weights_file=str(weights_file), admin_listen=address, admin_token=TOKEN
    ) as golb:
        yield Node(golb, f"http://{address}", weights_file)


@pytest.fixture
def page(browser: Browser, node: Node) -> Browser:
    """The page, with all functions, opened with the token."""
    browser.open(node.admin_url)
    if browser.run("return sessionStorage.getItem('golb-token')") != TOKEN:
        browser.run("sessionStorage.setItem('golb-token', arguments[0]); location.reload()", TOKEN)
    browser.wait(lambda: browser.text("#place") == f"1 to {PAGE_ROWS} of {FUNCTIONS}")
    browser.errors()  # that golb refused an earlier test, which had no token yet
    return browser


def names(browser: Browser) -> list[str]:
    """Return the functions that are shown."""
    return [cells[0] for cells in browser.table(".functions")]


def name_of(number: int) -> str:
    return f"function-{number:04}"


def focused(browser: Browser) -> str:
    """Return the text of what has the focus."""
    return str(browser.run("return document.activeElement.innerText"))


def first_shares(page: Browser) -> set[str]:
    """Return the configured shares of each shown function's first endpoint, as its bars are described."""
    bars = page.run("return [...document.querySelectorAll('#rows svg')].map((e) => e.getAttribute('aria-label'))")
    return {share for text in bars for share in re.findall(r"127\.0\.0\.1:1: configured ([^,]*)", text)}


def test_the_token_is_asked_for_once_in_a_tab(browser: Browser, node: Node) -> None:
    browser.open(node.admin_url)
    browser.run("sessionStorage.clear(); location.reload()")
    browser.wait(lambda: browser.find("#token-dialog").is_displayed())
    assert browser.table(".functions") == []
    browser.find("#token").send_keys("wrong", Keys.ENTER)
    browser.wait(lambda: browser.text("#token-error") == "golb does not take this token.")
    browser.find("#token").send_keys(TOKEN, Keys.ENTER)
    browser.wait(lambda: len(names(browser)) == PAGE_ROWS)
    browser.driver.refresh()
    browser.wait(lambda: browser.text("#link") == "live")
    assert not browser.find("#token-dialog").is_displayed()
    assert TOKEN not in browser.driver.current_url


def test_a_search_shows_the_functions_of_that_name(page: Browser) -> None:
    page.find("#search").send_keys("N-004")
    page.wait(lambda: names(page) == [name_of(number) for number in range(40, 50)])
    assert page.text("#place") == "1 to 10 of 10"
    page.find("#search").send_keys("x")
    page.wait(lambda: page.text("#place") == "no function of that name")
    assert names(page) == []


def test_columns_sort_both_ways(page: Browser, node: Node) -> None:
    called = {name_of(number) for number in (7, 50, 91)}
    with httpx.Client(verify=False, trust_env=False) as http:
        for name in called:
            http.get(f"{node.golb.url}/function/{name}/")
    name_head, p50_head = page.find("#columns th"), page.find("#columns th:nth-child(6)")
    p50_head.find_element("css selector", "button").click()
    assert p50_head.get_attribute("aria-sort") == "descending"
    page.wait(lambda: set(names(page)[:3]) == called)  # the others have no calls to measure
    name_head.find_element("css selector", "button").click()
    page.wait(lambda: names(page)[0] == name_of(0))
    name_head.find_element("css selector", "button").click()
    page.wait(lambda: names(page)[0] == name_of(FUNCTIONS - 1))
    assert name_head.get_attribute("aria-sort") == "descending"
    assert p50_head.get_attribute("aria-sort") is None


def test_all_can_be_reached_by_keyboard(page: Browser) -> None:
    page.find("#search").click()
    page.find("#search").send_keys(Keys.TAB)
    while focused(page) != name_of(0):  # past the buttons that sort
        page.driver.switch_to.active_element.send_keys(Keys.TAB)
    page.driver.switch_to.active_element.send_keys(Keys.ARROW_DOWN)
    assert focused(page) == name_of(1)
    page.driver.switch_to.active_element.send_keys(Keys.PAGE_DOWN)
    assert focused(page) == name_of(PAGE_ROWS + 1)
    page.driver.switch_to.active_element.send_keys(Keys.ENTER)
    page.wait(lambda: len(page.table("#endpoints")) == 2)
    assert focused(page) == page.text("#one-title") == name_of(PAGE_ROWS + 1)
    page.driver.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert focused(page) == name_of(PAGE_ROWS + 1)
    assert page.text("#one-title") == "No function chosen"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_accessible_in_both_colour_schemes(page: Browser, scheme: str) -> None:
    page.prefer(scheme)
    page.find("#rows button").click()
    page.wait(lambda: len(page.table("#endpoints")) == 2)
    background = re.findall(r"\d+", page.run("return getComputedStyle(document.body).backgroundColor"))
    assert (max(map(int, background[:3])) < 64) is (scheme == "dark")
    page.run(files("axe_core_python").joinpath("axe.min.js").read_text("utf-8"))
    violations = page.driver.execute_async_script("axe.run().then((found) => arguments[0](found.violations))")
    assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in violations] == []


def test_a_thousand_functions_that_change_do_not_block_the_page(page: Browser, node: Node) -> None:
    node.rewrite(3, 1000)
    page.wait(lambda: page.text("#place") == f"1 to {PAGE_ROWS} of 1,000")
    page.run("window.longTasksMs.length = 0")
    began_s, began_cpu_s = time.monotonic(), page.cpu_s()
    for weight in (1, 4):
        node.rewrite(weight, 1000)
        page.wait_for(first_shares, {f"{100 * weight / (weight + 1):.1f} %"})
    # Where n processes want each core, a task takes n times as long as by itself, and now and then one is stopped for longer.
    crowd = max(1.0, os.getloadavg()[0] / len(os.sched_getaffinity(0)))
    assert len([task for task in page.run("return window.longTasksMs") if task > 100 * crowd]) <= 2
    assert page.cpu_s() - began_cpu_s < 0.5 * (time.monotonic() - began_s)
    assert page.errors() == []
