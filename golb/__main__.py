"""`python -m golb`: hands the arguments and the environment to the command line."""

from __future__ import annotations

import os
import signal
import sys

if os.getpid() == 1:
    # A container's first process gets only signals that it has handlers for (pid_namespaces(7)), and what follows takes half a second.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))

# structlog and httpx import these wherever they find them, for tracebacks and a command line that golb has no use for: MiBs of
# memory, and a quarter of the start. Both do without; golb's own commands, which need them, import them later.
_UNUSED = [name for name in ("click", "rich") if name not in sys.modules]
for name in _UNUSED:
    sys.modules[name] = None  # type: ignore[assignment] # how Python is told that there is none ("The import system", 5.3.1)
import httpx  # noqa: E402, F401 - only so that this is when it looks for them
import structlog  # noqa: E402, F401 - the same

for name in _UNUSED:
    del sys.modules[name]

from golb.cli import run  # noqa: E402 - after what it imports in turn


def main() -> None:
    """Run golb and exit."""
    sys.exit(run(sys.argv[1:], os.environ))


if __name__ == "__main__":
    main()
