"""`golb doctor` in this process, and what it may meet at an address."""

from __future__ import annotations

import json
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any

from attrs import frozen
from support.golb_process import free_port

from golb.cli import run

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest
    from commands.zones import Zone

NOWHERE = "127.0.0.1:1"


@frozen
class Diagnosis:
    """What the doctor has said."""

    code: int
    report: dict[str, Any]

    def of(self, check: str) -> list[tuple[str, str, str]]:
        """The findings of a check: verdict, text, advice."""
        found = [each for each in self.report["findings"] if each["check"] == check]
        return [(each["verdict"], each["text"], each["advice"]) for each in found]

    def only(self, check: str) -> tuple[str, str, str]:
        """The only finding of a check."""
        (finding,) = self.of(check)
        return finding


class Doctor:
    """The command line, with the variables of a golb that would serve the zone."""

    def __init__(self, zone: Zone, capsys: pytest.CaptureFixture[str]) -> None:
        self.environ = {
            **zone.environ,
            "eb_go_lb_handler_type": "wrr",
            "eb_go_lb_node_name": "eb-a",
            "eb_go_lb_listen_host": "127.0.0.1",
            "eb_go_lb_listen_port": str(free_port()),
            "eb_go_lb_admin_listen": f"127.0.0.1:{free_port()}",
        }
        self._capsys = capsys

    def text(self, *arguments: str, **variables: str) -> tuple[int, str, str]:
        """Run it for people; return the exit code, stdout and stderr."""
        self._capsys.readouterr()
        environ = self.environ | {f"eb_go_lb_{name}": text for name, text in variables.items()}
        code = run(["doctor", *arguments], environ)
        return code, *self._capsys.readouterr()

    def __call__(self, *arguments: str, **variables: str) -> Diagnosis:
        code, out, err = self.text("--json", *arguments, **variables)
        assert err == ""
        return Diagnosis(code, json.loads(out))


def weights(*targets: str) -> dict[str, list[Any]]:
    return {"ips": list(targets), "weights": [1] * len(targets)}


class Answering(BaseHTTPRequestHandler):
    """What else may be found at an address."""

    body = b"welcome"
    date = "Fri, 01 Jan 2021 00:00:00 GMT"

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.body)

    def date_time_string(self, timestamp: float | None = None) -> str:  # noqa: ARG002 - the base class has it
        return self.date

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
