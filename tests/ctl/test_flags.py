from __future__ import annotations

import pytest

from powerd.ctl.flags import BadFlag, Flag, Value, read

FLAGS = (
    Flag("verbose", "", short="v"),
    Flag("file", "", "string", "f"),
    Flag("count", "", "int"),
    Flag("think", "", "string", alone="true"),
)


@pytest.mark.parametrize(
    ("words", "values", "others"),
    [
        (["a", "--verbose", "b"], {"verbose": True}, ["a", "b"]),
        (["--verbose=false"], {"verbose": False}, []),
        (["--file", "-1m", "x"], {"file": "-1m"}, ["x"]),
        (["--file=x=y"], {"file": "x=y"}, []),
        (["-vfx"], {"verbose": True, "file": "x"}, []),
        (["-f=x", "-f", "y"], {"file": "y"}, []),
        (["--think", "hello"], {"think": "true"}, ["hello"]),
        (["--think=low"], {"think": "low"}, []),
        (["--count", "3", "-"], {"count": 3}, ["-"]),
        (["a", "--", "--verbose"], {}, ["a", "--verbose"]),
    ],
)
def test_flags_are_read_as_pflag_reads_them(words: list[str], values: dict[str, Value], others: list[str]) -> None:
    assert read(words, FLAGS) == (values, others)


@pytest.mark.parametrize("words", [["--nope"], ["-x"], ["--file"], ["-f"], ["--count", "x"], ["--verbose=x"]])
def test_what_cannot_be_read_is_named(words: list[str]) -> None:
    with pytest.raises(BadFlag):
        read(words, FLAGS)
