from __future__ import annotations

import io

import pytest

from powerd.ctl.terminal import Style, Terminal, table


class Tty(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_columns_stand_four_spaces_apart_without_trailing_ones() -> None:
    assert table([["NAME", "ID"], ["demo:latest", "abc"], ["x", ""]], Style()) == [
        "NAME           ID",
        "demo:latest    abc",
        "x",
    ]


def test_an_empty_table_has_no_lines() -> None:
    assert table([], Style()) == []


def test_painted_cells_keep_the_columns_straight() -> None:
    style = Style(80, colour=True)
    plain, painted = table([["ab", "x"], [style.paint("a", "red"), "y"]], style)
    assert plain == "ab    x"
    assert painted == "\x1b[31ma\x1b[0m     y"


def test_the_last_column_wraps_within_its_bounds_on_a_terminal_only() -> None:
    row = [["name", "one two three four five six seven eight nine ten"]]
    lines = table(row, Style(width=40), indent="  ")
    assert all(len(line) <= 40 for line in lines)
    assert len(lines) == 2
    assert lines[1].startswith(" " * 10)
    assert " ".join(" ".join(lines).split()) == "name " + row[0][1], "no word may be lost"
    assert len(table(row, Style(), indent="  ")) == 1


@pytest.mark.parametrize(
    ("environ", "colour"), [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False)]
)
def test_colours_only_where_they_are_wanted(environ: dict[str, str], colour: bool) -> None:
    assert Terminal(Tty(), io.StringIO(), environ).style.colour is colour


def test_a_pipe_gets_neither_width_nor_colour() -> None:
    assert Terminal(io.StringIO(), io.StringIO(), {"COLUMNS": "40"}).style == Style()


@pytest.mark.parametrize(("columns", "width"), [("132", 132), ("0", 80), ("wide", 80), ("", 80)])
def test_width_comes_from_columns_else_eighty(columns: str, width: int) -> None:
    assert Terminal(Tty(), io.StringIO(), {"COLUMNS": columns}).style.width == width


def test_a_models_text_loses_escape_sequences_on_a_terminal_and_nothing_in_a_pipe() -> None:
    tty, pipe = Tty(), io.StringIO()
    for stream in (tty, pipe):
        Terminal(stream, io.StringIO(), {}).text("a\x1b]0;title\x07b\n\tc")
    assert tty.getvalue() == "a]0;titleb\n\tc"
    assert pipe.getvalue() == "a\x1b]0;title\x07b\n\tc"


def test_redrawing_goes_back_over_what_was_drawn() -> None:
    out = Tty()
    terminal = Terminal(out, io.StringIO(), {})
    terminal.redraw(["a", "b"])
    terminal.redraw(["c", "d"])
    assert out.getvalue() == "\r\x1b[Ka\n\r\x1b[Kb\n\x1b[2A\r\x1b[Kc\n\r\x1b[Kd\n"


def test_json_is_indented_and_keeps_keys_nobody_here_knows() -> None:
    out = io.StringIO()
    Terminal(out, io.StringIO(), {}).json(b'{"b":1,"future":[true]}')
    assert out.getvalue() == '{\n  "b": 1,\n  "future": [\n    true\n  ]\n}\n'


def test_characters_the_terminal_cannot_show_are_replaced_not_fatal() -> None:
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding="ascii")
    terminal = Terminal(out, io.StringIO(), {})
    terminal.line("wörld \ud800")
    terminal.flush()
    assert raw.getvalue() == b"w?rld ?\n"
