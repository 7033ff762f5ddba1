"""`python -m powerd.ctl` is powerctl."""

from __future__ import annotations

import sys

from powerd.ctl.main import main

if __name__ == "__main__":
    sys.exit(main())
