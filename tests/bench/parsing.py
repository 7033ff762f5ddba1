"""What telling an answer apart costs the daemon: each format's golden texts in tokens of four characters.

`python -m tests.bench.parsing` prints microseconds of processor time a token: of the reader alone for every format,
and of reader, pieces and the line of `/api/chat` together.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable

from powerd.api.answer import Output
from powerd.api.ollama.frames import ChatFrames
from powerd.output.pieces import Content, Reader
from tests.output.corpus import CASES, CORPUS

TOKENS = 20_000
_SIZE = 4


def cost(texts: list[tuple[Callable[[], Reader], str]], say: Callable[[Reader, str], object]) -> float:
    """Microseconds a token."""
    told = 0
    begun = time.process_time()
    while told < TOKENS:
        for make, text in texts:
            reader = make()
            for at in range(0, len(text), _SIZE):
                say(reader, text[at : at + _SIZE])
            reader.end()
            told += -(-len(text) // _SIZE)
    return 1e6 * (time.process_time() - begun) / told


def measured() -> dict[str, float]:
    """The figures."""
    readers = {
        name: cost([(case.reader, case.text) for case in cases if case.text], lambda reader, text: reader.feed(text))
        for name, cases in CORPUS.items()
    }
    frames = ChatFrames("model")

    def line(reader: Reader, text: str) -> bytes:
        output = Output()
        output.add(reader.feed(text) or (Content(text),))
        return frames.chunk(output, 0)

    whole = cost([(case.reader, case.text) for case in CASES if case.text], line)
    slowest = max(readers, key=readers.__getitem__)
    return {
        "reader_us": round(sum(readers.values()) / len(readers), 2),
        f"slowest_us ({slowest})": round(readers[slowest], 2),
        "reader_and_line_us": round(whole, 2),
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(measured()))
