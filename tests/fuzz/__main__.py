"""`make fuzz`: search for inputs that break a target, guided by which of golb's code they reach. Needs atheris.

What is found to reach more is kept under build/fuzz/<target>/corpus, what breaks the target in build/fuzz/<target>.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import atheris

from fuzz import loop

FOLDER = Path(__file__).parent
TARGETS = ("answers", "connection", "etcd", "weights")
_OPTIONS = (
    "-max_len=4096",
    "-rss_limit_mb=2048",
    "-timeout=120",  # an input takes a second at most, where nothing else keeps the machine busy
    "-len_control=10",  # inputs grow soon: a message with all that belongs to it is some hundred bytes long
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=int, default=600, help="for how long")
    parser.add_argument("--work", type=Path, default=Path("build/fuzz"), help="where corpora and findings are kept")
    parser.add_argument("--merge", action="store_true", help="make the project's corpus anew of it and what was found")
    parser.epilog = "What stands behind -- is for libFuzzer, in place of all else: an input to run, say."
    own, rest = _split(sys.argv[1:])
    arguments = parser.parse_args(own)
    target: str = arguments.target
    work: Path = arguments.work / target
    found, kept, seeds = work / "corpus", FOLDER / "corpus" / target, FOLDER / "seeds" / target
    found.mkdir(parents=True, exist_ok=True)
    if rest:
        run(target, rest)
    elif arguments.merge:
        merge(target, found, kept)
    else:
        dictionary = FOLDER / "dictionaries" / f"{target}.dict"
        limits = [f"-max_total_time={arguments.seconds}", f"-dict={dictionary}", f"-artifact_prefix={work}/"]
        run(target, [*_OPTIONS, *limits, str(found), str(kept), str(seeds)])


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Return what is in front of `--`, and what is behind it. argparse would not take options there."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    return arguments[:end], arguments[end + 1 :]


def merge(target: str, found: Path, kept: Path) -> None:
    """Keep the fewest and smallest of all inputs that together reach what they reach."""
    with tempfile.TemporaryDirectory() as fresh:
        options = ["-set_cover_merge=1", *_OPTIONS, fresh, str(found), str(kept)]
        subprocess.run([sys.executable, "-m", "fuzz", target, "--", *options], check=True)
        shutil.rmtree(kept)
        shutil.copytree(fresh, kept)


def run(target: str, options: list[str]) -> None:
    """Hand over to libFuzzer, which ends the process."""
    with atheris.instrument_imports(include=["golb"]):
        from fuzz.targets import TARGETS as FUNCTIONS  # noqa: PLC0415 - only what is imported here is instrumented
    # To merge, libFuzzer starts itself anew by its first argument.
    again = f"{sys.executable} -m fuzz {target} --"
    atheris.Setup([again, *options], FUNCTIONS[target])
    with loop.open_loop():
        atheris.Fuzz()


if __name__ == "__main__":
    main()
