"""A real Chromium for the tests of the live page."""

from __future__ import annotations

import os
import shutil
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from selenium.webdriver.remote.webelement import WebElement

T = TypeVar("T")

# The page reads golb once a second, and observed shares reach back 5 s; what it shows comes within that, unless it hangs.
BOUND_S = 15.0

# Runs in each document before its own script: a task that blocks the page for more than 50 ms is a long one (W3C, Long Tasks).
_NOTE_LONG_TASKS = """
window.longTasksMs = [];
new PerformanceObserver((list) => list.getEntries().forEach((task) => window.longTasksMs.push(task.duration)))
    .observe({ type: "longtask" });
"""


class Browser:
    """One tab of a Chromium without a window.

    Args:
        driver: steers it.
    """

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver
        self.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": _NOTE_LONG_TASKS})
        self.driver.execute_cdp_cmd("Performance.enable", {"timeDomain": "threadTicks"})

    def open(self, url: str) -> None:
        """Load a page as in a new tab, which knows no token."""
        self.driver.get("about:blank")  # a URL that differs in its fragment only would not be loaded
        self.driver.get(url)

    def find(self, css: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, css)

    def run(self, script: str, *arguments: object) -> Any:
        """Return what the script does."""
        return self.driver.execute_script(script, *arguments)

    def text(self, css: str) -> str:
        """Return what is shown of the first such element; empty where it is hidden."""
        return self.find(css).text

    def texts(self, css: str) -> list[str]:
        """Return what is shown of each such element that is not hidden."""
        return list(
            self.run(
                "return [...document.querySelectorAll(arguments[0])].filter((e) => e.checkVisibility()).map((e) => e.innerText)",
                css,
            )
        )

    def table(self, css: str) -> list[list[str]]:
        """Return the rows of a table that are shown, by cells, its head left out."""
        rows = "return [...document.querySelectorAll(arguments[0] + ' tbody tr')].filter((e) => e.checkVisibility())"
        return list(self.run(rows + ".map((e) => [...e.children].map((cell) => cell.innerText))", css))

    def wait(self, condition: Callable[[], bool]) -> None:
        """Wait until something is so, for `BOUND_S` at most; else fail with what is shown instead."""
        deadline_s = time.monotonic() + BOUND_S
        while not condition():
            if time.monotonic() > deadline_s:
                pytest.fail(f"this is shown instead: {self.text('body')}\nThe browser says: {self.errors()}")
            time.sleep(0.05)

    def wait_for(self, read: Callable[[Browser], T], expected: T) -> None:
        """Wait until that is what is read, as `wait` does."""
        self.wait(lambda: read(self) == expected)

    def prefer(self, scheme: str) -> None:
        """Let the user prefer the colours `light` or `dark`."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def cpu_s(self) -> float:
        """Return the CPU time that the page's own thread has used, whatever else the machine did meanwhile."""
        metrics = self.driver.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]
        return float(next(metric["value"] for metric in metrics if metric["name"] == "TaskDuration"))

    def errors(self) -> list[str]:
        """Return what the browser has complained of since it was asked last: exceptions, what the policy forbids, failed loads."""
        log = self.driver.get_log("browser")  # type: ignore[no-untyped-call] # selenium has no type for it
        return [entry["message"] for entry in log if entry["level"] == "SEVERE"]


@contextmanager
def running_browser() -> Iterator[Browser]:
    """Start a Chromium; skips the test, and says why, where there is none."""
    chromium, driver_path = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver_path is None:
        pytest.skip("there is no chromium with chromedriver on the PATH (Debian: apt install chromium chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ("--headless=new", "--window-size=1400,1000", "--disable-gpu", "--disable-extensions"):
        options.add_argument(argument)
    if os.geteuid() == 0:  # Chromium's sandbox does not start as root, as in CI
        options.add_argument("--no-sandbox")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    # With both paths given, selenium does not look for a browser to download.
    driver = webdriver.Chrome(options=options, service=Service(driver_path))
    try:
        yield Browser(driver)
    finally:
        driver.quit()
