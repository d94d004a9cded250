"""The files of the tests, as pytest has to tell them apart: most stand in folders that are no packages."""

from __future__ import annotations

from collections import Counter
from pathlib import Path


def test_no_two_files_of_tests_have_the_same_name() -> None:
    # By default pytest imports each of them by its bare name, and refuses the second one of a name (import mode `prepend`).
    names = Counter(path.name for path in Path(__file__).parent.rglob("test_*.py"))
    assert [name for name, times in names.items() if times > 1] == []
    assert names[Path(__file__).name] == 1
