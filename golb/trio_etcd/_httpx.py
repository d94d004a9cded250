"""httpx without the command line that it brings in wherever it finds click: with rich and pygments, 4 MiB and a tenth of a second."""

from __future__ import annotations

import sys

__all__ = ["httpx"]

_HIDES_CLICK = "click" not in sys.modules
if _HIDES_CLICK:
    sys.modules["click"] = None  # type: ignore[assignment] # how Python is told that there is none ("The import system", 5.3.1)

import httpx  # noqa: E402 - as above

if _HIDES_CLICK:
    del sys.modules["click"]
