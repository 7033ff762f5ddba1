"""What a constraint costs: `python -m tests.bench.constrained MODEL STREAMS TOKENS` prints speeds and their ratio.

The runner alone, the same prompts with a JSON schema and without, in turns. The schema asks for strings, numbers and
lists without end, so that the random model never finishes it.
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path

from powerd.output.formats import Format
from powerd.output.grammars import grammar, schema
from powerd.protocol import Constraint
from tests.bench.direct import ask, collect, runner
from tests.bench.figures import rate

PAIRS = 3
SCHEMA = {
    "type": "array",
    "minItems": 1000,
    "items": {
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 20},
            "age": {"type": "integer"},
            "kind": {"enum": ["printer", "inventor", "smith"]},
            "tags": {"type": "array", "items": {"type": "string", "maxLength": 12}, "minItems": 2, "maxItems": 4},
            "score": {"type": "number"},
        },
        "required": ["name", "age", "kind", "tags", "score"],
    },
}


def measured(model: Path, streams: int, tokens: int) -> dict[str, object]:
    """Tokens per second of `streams` answers at once, constrained and not."""
    constraint = grammar.answer(schema.checked(SCHEMA), Format())
    with runner(model, 2048, streams) as sock:

        def speed(first: int, constraint: Constraint | None) -> float:
            """One round of answers."""
            numbers = range(first, first + streams)
            running = {number: ask(sock, number, 100, tokens, constraint) for number in numbers}
            collect(sock, running, set(running))
            return rate(list(running.values()))

        speed(1, constraint)  # which makes the masks of the vocabulary
        pairs = [(speed(100 * turn, constraint), speed(100 * turn + 50, None)) for turn in range(1, PAIRS + 1)]
    ratios = [bound / free for bound, free in pairs]
    bound, free = (statistics.median(column) for column in zip(*pairs, strict=True))
    return {
        "ratio": round(statistics.median(ratios), 3),
        "constrained_tok_s": round(bound, 1),
        "unconstrained_tok_s": round(free, 1),
        "ratios": [round(ratio, 3) for ratio in ratios],
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(measured(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))) + "\n")
