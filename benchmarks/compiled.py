"""golb as its image has it: compiled by mypyc, as a wheel in an environment of its own beside the one that runs the benchmark.

It is made once, in a minute or three, and again when its source has changed. Its dependencies are those of the checkout's
golb, so that the two differ in nothing else.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import venv
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.children import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable

PLACE = Path(sys.prefix) / "golb-compiled"
PYTHON = PLACE / "bin" / "python"
_DIGEST = PLACE / "digest"
_TIMEOUT_S = 1200
# As the image is made: pyproject.toml says why.
_HOW = {"HATCH_BUILD_HOOK_ENABLE_MYPYC": "1", "CFLAGS": "-fno-semantic-interposition"}


def packages() -> tuple[str, ...]:
    """Return the Debian packages that compiling takes; the headers of a Python that is not Debian's come with it."""
    return ("gcc", "libc6-dev", *(("libpython3-dev",) if sys.base_prefix == "/usr" else ()))


def missing() -> str | None:
    """Return why there is no compiled golb to measure; None if there is one."""
    if not PYTHON.exists() or not _DIGEST.exists():
        return "not compiled (it takes gcc, libc6-dev and the headers of this Python)"
    return None if _DIGEST.read_text() == _source_digest() else "its source has changed since it was compiled"


def make(say: Callable[[str], None]) -> None:
    """Make it, unless it is there. Whether it worked is told by `missing`."""
    if missing() is None:
        return
    say("compiling golb, as its image has it; this takes some minutes")
    shutil.rmtree(PLACE, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="golb-compiled-") as name:
        directory = Path(name)
        for file in ("pyproject.toml", "README.md"):
            shutil.copy(ROOT / file, directory)
        shutil.copytree(ROOT / "golb", directory / "golb", ignore=shutil.ignore_patterns("__pycache__", "*.so"))
        try:
            venv.create(PLACE, symlinks=True)
        except (OSError, subprocess.SubprocessError) as exc:
            say(f"no place can be made for a compiled golb: {exc}")
            return
        pip = [sys.executable, "-m", "pip"]
        steps = (
            [*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", "dist", "."],
            [
                *pip,
                "--python",
                str(PYTHON),
                "install",
                "--quiet",
                "--no-deps",
                "--no-index",
                "--find-links",
                "dist",
                "golb",
            ],
        )
        for step in steps:
            try:
                done = subprocess.run(  # noqa: S603 - pip, on golb's own source
                    step,
                    cwd=directory,
                    env=os.environ | _HOW,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    timeout=_TIMEOUT_S,
                    check=False,
                )
            except subprocess.TimeoutExpired:
                say(f"golb cannot be compiled within {_TIMEOUT_S} s")
                return
            if done.returncode != 0:
                say(f"golb cannot be compiled: {done.stdout.decode(errors='replace')[-2000:]}")
                return
    # The packages there, but not what their .pth files add, which is the checkout.
    paths = {"base": str(PLACE), "platbase": str(PLACE)}
    Path(sysconfig.get_path("purelib", vars=paths), "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    _DIGEST.write_text(_source_digest())


def _source_digest() -> str:
    digest = hashlib.sha256(f"{sys.version} {_HOW}".encode())
    for path in [ROOT / "pyproject.toml", *sorted((ROOT / "golb").rglob("*.py"))]:
        digest.update(path.as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()
