"""The programs that are measured and measure, found on this machine or put there.

Debian's packages are installed by apt-get if it may; wheels come with the dependency group `bench`.
"""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_APT_TIMEOUT_S = 600
_VERSION_TIMEOUT_S = 20
# Debian keeps servers where the PATH of a user who is not root does not lead.
_SERVER_PATHS = ("/usr/local/sbin", "/usr/sbin", "/sbin")

_HEADERS = {
    "libc6-dev": Path("/usr/include/stdlib.h"),
    "libpython3-dev": Path(sysconfig.get_path("include")) / "Python.h",
}
"""What tells that a package without a program is there."""


def find_program(name: str) -> str | None:
    """Return where a program is: beside this Python, where a wheel puts it, else on the PATH."""
    beside = Path(sys.executable).parent / name
    if os.access(beside, os.X_OK):
        return str(beside)
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", os.defpath), *_SERVER_PATHS]))


def install_packages(programs: Sequence[str], say: Callable[[str], None]) -> None:
    """Install the Debian packages of those programs that are missing; a package bears its program's name here, or has headers.

    Whether it worked is told by `find_program`: who needs a program asks that, and says what to do without it.
    """
    missing = [program for program in programs if not _is_there(program)]
    if not missing:
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        say(f"missing: {' '.join(missing)}; as root on Debian: apt-get install {' '.join(missing)}")
        return
    say(f"apt-get install {' '.join(missing)} (Debian may start and enable a service of that name)")
    environ = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (["update"], ["install", "--yes", "--no-install-recommends", *missing]):
        try:
            done = subprocess.run(  # noqa: S603 - names from the benchmark itself
                ["apt-get", "--quiet=2", *arguments],  # noqa: S607 - wherever this system has it
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=_APT_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            say(f"apt-get {arguments[0]} took longer than {_APT_TIMEOUT_S} s")
            return
        if done.returncode != 0:
            say(f"apt-get {arguments[0]} failed: {done.stdout.decode(errors='replace')[-1000:]}")


def _is_there(package: str) -> bool:
    header = _HEADERS.get(package)
    return header.exists() if header is not None else find_program(package) is not None


def first_line(command: Sequence[str]) -> str:
    """Return the first line that a program prints, as programs do when asked for their version."""
    try:
        done = subprocess.run(  # noqa: S603 - programs that the benchmark starts anyway
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_VERSION_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        return f"unknown ({exc})"
    return next((line.strip() for line in done.stdout.decode(errors="replace").splitlines() if line.strip()), "unknown")


def distribution_version(name: str) -> str | None:
    """Return the version of an installed Python distribution; None: it is not installed."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
