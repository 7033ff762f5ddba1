"""Texts that make a careless reader slow, and how long reading them takes.

`python -m tests.output.speed` reads 10 MB of each shape for each format, in tokens of four characters, and prints the
microseconds a token; `make test` does the same with less.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from statistics import mean

from tests.output.corpus import CORPUS, Case, chunks

#: Characters in a token, about what vocabularies have for English.
TOKEN = 4
_FILLER = "word and <b> {\" [' "


def repeated(case: Case) -> Iterator[tuple[str, str]]:
    """Units that are repeated: the answer itself, its beginning only, and marks that may begin something or not."""
    yield "answers", case.text
    yield "beginnings", case.text[: len(case.text) * 2 // 3]
    yield "first characters", case.text.lstrip()[:1]
    marks = case.format.tools.begins if case.format.tools else ()
    for mark in marks[:1]:
        yield "marks", mark
        yield "half marks", mark[: len(mark) // 2 + 1]


def endless(case: Case) -> Iterator[tuple[str, str]]:
    """An answer broken off in its middle, and then text without an end."""
    for part in (1, 2, 3):
        yield f"broken at {part}/4", case.text[: len(case.text) * part // 4]


def texts(case: Case, size: int) -> Iterator[tuple[str, str]]:
    """Named texts of `size` characters."""
    for name, unit in repeated(case):
        yield name, (unit * (size // len(unit) + 1))[:size]
    for name, head in endless(case):
        yield name, head + _FILLER * ((size - len(head)) // len(_FILLER))


def microseconds(case: Case, text: str, token: int = TOKEN) -> list[float]:
    """The processor time of one `feed` with `token` characters, on average in each eighth of the text, in µs."""
    fed = chunks(text, token)
    eighth = len(fed) // 8
    made = case.reader()
    took = []
    for part in range(8):
        started = time.thread_time_ns()
        for chunk in fed[part * eighth : (part + 1) * eighth]:
            made.feed(chunk)
        took.append((time.thread_time_ns() - started) / eighth / 1000)
    made.end()
    return took


def main(size: int) -> None:
    """Prints the usual and the worst case of each format, and the last eighth of a text beside the first."""
    for stem, cases in CORPUS.items():
        case = max(cases, key=lambda case: len(case.text))
        took = {name: microseconds(case, text) for name, text in texts(case, size)}
        worst = max(took, key=lambda name: mean(took[name]))
        grown = max(times[-1] / times[0] for times in took.values())
        usual, most = mean(took["answers"]), mean(took[worst])
        print(f"{stem:24} {usual:6.2f} µs a token, at most {most:6.2f} ({worst}); grows by {grown:.2f}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000_000)
