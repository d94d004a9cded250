"""Nothing smuggled: raw requests and raw answers, and what golb must make of each.

A case is data: bytes, and what has to come of them by RFC 9110 and RFC 9112, or by golb's own rule where they leave a
choice: what golb and an endpoint could understand differently is refused, or removed. To add one, add it to the list of
its category; `requests_*` are what clients send, `answers_*` what endpoints send. A case that golb does not pass yet has
a `defect` that says why.
"""

import pytest

# A case that fails shall say what was found: pytest looks into tests only, unless it is told of others.
pytest.register_assert_rewrite("smuggling.arrived", "smuggling.rig")
