"""The live page as it is served: what its policy lets a browser run."""

from __future__ import annotations

import base64
import hashlib

from admin.fakes import running_admin

from golb.admin.index_page import content_security_policy


def sha256(text: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


async def test_the_page_runs_its_own_script_and_style_and_nothing_else() -> None:
    async with running_admin() as admin:
        answer = await admin.client.get("/")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = answer.headers["content-security-policy"]
    script = answer.text.partition("<script>")[2].partition("</script>")[0]
    style = answer.text.partition("<style>")[2].partition("</style>")[0]
    assert f"script-src {sha256(script)};" in policy
    assert f"style-src {sha256(style)};" in policy
    assert "connect-src 'self'" in policy
    assert "unsafe" not in policy


def test_line_ends_are_hashed_as_a_browser_takes_them() -> None:
    assert sha256("a\nb\n") in content_security_policy("<script>a\r\nb\r</script>")


def test_a_page_without_a_script_runs_none() -> None:
    assert "script-src 'none'" in content_security_policy("<p>text</p>")
