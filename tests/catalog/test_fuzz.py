"""f20: whatever the text, the parser answers with a catalog or with problems, and soon."""

from __future__ import annotations

import time
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from powerd.catalog.fields import FIELDS
from powerd.catalog.spec import Catalog, CatalogError
from tests.catalog.reading import catalog

SAMPLE = (Path(__file__).parents[2] / "etc/models.yaml").read_text("utf-8").replace("  # ", "  ").replace("…", "0")
KEYS = ["apiVersion", "models", "defaults", "x-a", "demo", "<<", *FIELDS, "temperature", "file", "text", "role", "gpu"]
VALUES = [
    "powerd/v1",
    "auto",
    "5",
    "1e3",
    "'5'",
    "on",
    "~",
    "5m",
    "*a",
    "&a x",
    "[a, b]",
    "{gpu: true}",
    "!!str x",
    '"',
]
MARKS = [
    "\n",
    " ",
    "  ",
    "    ",
    ": ",
    ":\n",
    "- ",
    "# ",
    "{",
    "}",
    "[",
    "]",
    ",",
    "&a ",
    "*a",
    "|\n",
    "\t",
    "%TAG ",
    "---\n",
]


def answer(text: str) -> Catalog | CatalogError:
    """What comes of `text`; at most two seconds later."""
    started = time.perf_counter()
    try:
        return catalog(text, {"/etc/power/a": "x"})
    except CatalogError as error:
        assert error.problems
        assert all(problem.at.line >= 1 and problem.at.column >= 1 and problem.message for problem in error.problems)
        return error
    finally:
        assert time.perf_counter() - started < 2


@settings(max_examples=300, deadline=None)
@given(st.text())
def test_f20_any_text(text: str) -> None:
    answer(text)


@settings(max_examples=500, deadline=None)
@given(st.lists(st.sampled_from(KEYS + VALUES + MARKS), max_size=60))
def test_f20_any_sequence_of_the_languages_words(words: list[str]) -> None:
    answer("".join(words))


_SCALARS = st.sampled_from(VALUES).filter(lambda text: text not in {'"', "*a"}) | st.from_regex(
    r"[a-z0-9.:/-]{1,8}", fullmatch=True
)
_FLOW = st.recursive(
    _SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda values: f"[{', '.join(values)}]"),
        st.dictionaries(st.sampled_from(KEYS), inner, max_size=4).map(
            lambda pairs: "{" + ", ".join(f"{key}: {value}" for key, value in pairs.items()) + "}"
        ),
    ),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(FIELDS)), _FLOW, max_size=6), _FLOW)
def test_f20_any_value_in_any_field(fields: dict[str, str], defaults: str) -> None:
    lines = "".join(f"    {name}: {value}\n" for name, value in fields.items())
    answer(f"apiVersion: powerd/v1\ndefaults: {defaults}\nmodels:\n  m:\n{lines}")


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(SAMPLE)), st.text(max_size=5), st.integers(0, 20))
def test_f20_a_sample_with_a_mistake_in_it(at: int, inserted: str, dropped: int) -> None:
    answer(SAMPLE[:at] + inserted + SAMPLE[at + dropped :])


def test_y05_every_prefix_of_a_file() -> None:
    sample = (
        "apiVersion: powerd/v1\ndefaults: {keep_alive: 5m}\nmodels:\n"
        "  one: {source: x, aliases: [a, b]}\n  two:\n    source: 'y'\n    parameters: {temperature: 0.5}\n"
        "    system: |\n      Be kind.\n  three: {source: z}\n"
    )
    accepted = [found for end in range(len(sample) + 1) if isinstance(found := answer(sample[:end]), Catalog)]
    assert list(accepted[-1].models) == ["one", "two", "three"]
    assert {len(found.models) for found in accepted} >= {0, 1, 2, 3}, "why a withdrawal waits"
