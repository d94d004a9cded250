"""A zone of a real etcd for one test of `golb weights`, and the command line in this process."""

from __future__ import annotations

import json
import uuid
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, Any

from attrs import frozen

from golb.cli import run
from golb.commands.store import Store
from golb.networks import ANYWHERE

if TYPE_CHECKING:
    from pathlib import Path

    import httpx
    import pytest

    from demo.etcd import EtcdProcess
    from golb.trio_etcd import EtcdClient


@frozen
class Ended:
    """How a command has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The only line of its output, as JSON."""
        (line,) = self.out.splitlines()
        return json.loads(line)

    @property
    def rows(self) -> list[list[str]]:
        """Its table, without the head; cells are cut at two spaces."""
        return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in self.out.splitlines()[1:]]


class Zone:
    """A zone that no other test knows; etcd is spoken to without golb's client."""

    def __init__(self, etcd: EtcdProcess, http: httpx.Client, capsys: pytest.CaptureFixture[str], path: Path) -> None:
        self.name = f"zone-{uuid.uuid4()}"
        self.etcd = etcd
        self.environ = {"eb_go_lb_zone": self.name, "eb_go_lb_etcd_host": etcd.client_url}
        self._http = http
        self._capsys = capsys
        self._path = path

    def weights(self, *arguments: str, **variables: str) -> Ended:
        """Run `golb weights ...` in this process."""
        self._capsys.readouterr()
        environ = self.environ | {f"eb_go_lb_{name}": text for name, text in variables.items()}
        try:
            code = run(["weights", *arguments], environ)
        except SystemExit as exc:  # a shell was answered
            code = int(str(exc.code))
        return Ended(code, *self._capsys.readouterr())

    def put(self, function: str, value: object) -> int:
        """Put a value, an object or a text, as its writers do; return the revision."""
        text = value if isinstance(value, str) else json.dumps(value)
        answer = self._call("put", key=_encoded(self.key(function)), value=_encoded(text))
        return int(answer["header"]["revision"])

    def get(self, function: str) -> str | None:
        """Return a value as it stands."""
        kvs = self._call("range", key=_encoded(self.key(function))).get("kvs", [])
        return b64decode(kvs[0]["value"]).decode() if kvs else None

    def members(self, function: str) -> Any:
        """Return a value as it stands, read as JSON."""
        value = self.get(function)
        assert value is not None, f"there is no {function}"
        return json.loads(value)

    def delete(self, function: str) -> int:
        """Delete a function; return the revision."""
        return int(self._call("deleterange", key=_encoded(self.key(function)))["header"]["revision"])

    def compact(self, revision: int) -> None:
        """Let etcd forget what was before a revision."""
        self._call("compaction", revision=revision)

    def key(self, function: str) -> str:
        return f"golb/function/{self.name}/{function}"

    def file(self, content: object) -> str:
        """Write a file, an object as JSON; return its path."""
        path = self._path / "weights.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return str(path)

    def store(self, client: EtcdClient) -> Store:
        """Return the zone as the commands have it."""
        return Store(client, self.name, ANYWHERE)

    def _call(self, what: str, **body: object) -> Any:
        answer = self._http.post(f"{self.etcd.client_url}/v3/kv/{what}", json=body)
        answer.raise_for_status()
        return answer.json()


def value(**weights: float) -> dict[str, list[Any]]:
    """Return a value with endpoints of these last parts: `value(**{"5": 3})` is 10.42.0.5:8080 with weight 3."""
    return {"ips": [f"10.42.0.{last}:8080" for last in weights], "weights": list(weights.values())}


def _encoded(text: str) -> str:
    return b64encode(text.encode()).decode()
