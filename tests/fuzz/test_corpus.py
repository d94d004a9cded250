"""What fuzzing has found to reach golb's branches, and what has broken it once, replayed without a fuzzer."""

from __future__ import annotations

from pathlib import Path

import pytest

from fuzz import loop
from fuzz.targets import TARGETS

FOLDER = Path(__file__).parent
# A corpus is replayed with every test run; beyond this it is to be minimised.
_MAX_FILES = 300
_MAX_BYTES = 300_000

CRASHES = [
    pytest.param(path.parent.name, path, id=f"{path.parent.name}: {path.name}")
    for path in sorted(FOLDER.glob("crashes/*/*"))
]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("folder", ["seeds", "corpus"])
def test_no_kept_input_breaks_its_target(target: str, folder: str) -> None:
    paths = sorted((FOLDER / folder / target).iterdir())
    assert paths
    assert len(paths) <= _MAX_FILES
    assert sum(path.stat().st_size for path in paths) <= _MAX_BYTES
    with loop.open_loop():
        for path in paths:
            try:
                TARGETS[target](path.read_bytes())
            except Exception as exc:
                exc.add_note(f"input: {path}")
                raise


@pytest.mark.parametrize(("target", "path"), CRASHES)
def test_what_has_broken_a_target_once_does_so_no_more(target: str, path: Path) -> None:
    TARGETS[target](path.read_bytes())


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_takes_an_input_without_a_payload(target: str) -> None:
    TARGETS[target](b"")
