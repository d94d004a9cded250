"""The live page: one file, with a policy that lets the browser run its script and its style, and nothing else."""

from __future__ import annotations

import base64
import hashlib
import re
from importlib.resources import files

from starlette.responses import HTMLResponse

_SCRIPTS = re.compile(r"<script>(.*?)</script>", re.DOTALL)
_STYLES = re.compile(r"<style>(.*?)</style>", re.DOTALL)


def index_page() -> HTMLResponse:
    """Read the page; it is the same for everybody, and holds no data."""
    text = files("golb.admin").joinpath("page", "index.html").read_text("utf-8")
    return HTMLResponse(text, headers={"content-security-policy": content_security_policy(text)})


def content_security_policy(text: str) -> str:
    """Return the policy under which only what stands in this page runs."""
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {_hashes(_SCRIPTS, text)}",
            f"style-src {_hashes(_STYLES, text)}",
            "connect-src 'self'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )


def _hashes(elements: re.Pattern[str], text: str) -> str:
    # A browser takes line ends as line feeds before it hashes (HTML, 13.2.3.5).
    contents = [match[1].replace("\r\n", "\n").replace("\r", "\n").encode() for match in elements.finditer(text)]
    digests = [base64.b64encode(hashlib.sha256(content).digest()).decode() for content in contents]
    return " ".join(f"'sha256-{digest}'" for digest in digests) or "'none'"
