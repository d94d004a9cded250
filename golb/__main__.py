"""`python -m golb`: hands the arguments and the environment to the command line."""

from __future__ import annotations

import os
import signal
import sys

if os.getpid() == 1:
    # A container's first process gets only signals that it has handlers for (pid_namespaces(7)), and what follows takes half a second.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))

if "rich" not in sys.modules:
    # structlog imports it wherever it finds it, for tracebacks that golb does not print: 5 MiB, and a fifth of the start. It does
    # without; golb's own commands, which need rich, import it later.
    sys.modules["rich"] = None  # type: ignore[assignment] # how Python is told that there is none ("The import system", 5.3.1)
    import structlog  # noqa: F401 - only so that this is when it looks for rich

    del sys.modules["rich"]

from golb.cli import run


def main() -> None:
    """Run golb and exit."""
    sys.exit(run(sys.argv[1:], os.environ))


if __name__ == "__main__":
    main()
