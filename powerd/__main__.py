"""`python -m powerd`, and the `powerd` command."""

from __future__ import annotations

import sys

from powerd.daemon import run


def main() -> None:
    """Run the daemon (or one of its checks) and leave with its exit code."""
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
