"""`make endure`: hundreds of edits under load; a seed may be given."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from tests.endure.edits import endure, judge

VALID, BROKEN = 200, 50


def main(arguments: list[str]) -> int:
    """Run, print the figures, exit 1 when something was not as it has to be."""
    seed = int(arguments[0]) if arguments else int(time.time())
    print(f"{VALID} valid and {BROKEN} broken edits under 8 streaming clients, seed {seed}", flush=True)
    with tempfile.TemporaryDirectory() as directory:
        outcome = endure(Path(directory), valid=VALID, broken=BROKEN, seed=seed)
    print(
        f"{outcome.answers} answers, {len(outcome.failed)} failed or cut; {outcome.valid} valid and {outcome.broken} "
        f"broken edits; {outcome.loads} loads for {outcome.expected} asked for; "
        f"slowest in force {outcome.slowest:.2f} s"
    )
    problems = judge(outcome)
    for problem in problems:
        print(f"FAILED: {problem}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
