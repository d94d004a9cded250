"""`python -m golb`: hands the arguments and the environment to the command line."""

from __future__ import annotations

import os
import sys

from golb.cli import run


def main() -> None:
    """Run golb and exit."""
    sys.exit(run(sys.argv[1:], os.environ))


if __name__ == "__main__":
    main()
