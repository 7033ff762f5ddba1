from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from powerd.ctl.progress import Bars, Log, Meter, bar
from powerd.ctl.terminal import Style

GB = 10**9


def pulling(completed: int, total: int = 10 * GB, name: str = "aa") -> dict[str, object]:
    return {"status": f"pulling {name}", "digest": f"sha256:{name}", "total": total, "completed": completed}


def test_the_rate_leaves_out_what_was_there_before() -> None:
    meter = Meter()
    meter.feed(5 * GB, 100.0)
    assert meter.rate == 0
    meter.feed(5 * GB + 30, 101.0)
    meter.feed(5 * GB + 60, 102.0)
    assert meter.rate == 30


def test_the_rate_follows_the_last_seconds() -> None:
    meter = Meter()
    for second in range(20):
        meter.feed(second * 100, second)
    for second in range(20, 31):
        meter.feed(1900, second)
    assert meter.rate == 0


def test_a_clock_that_stands_still_gives_no_rate() -> None:
    meter = Meter()
    meter.feed(0, 1.0)
    meter.feed(10, 1.0)
    assert meter.rate == 0


def test_a_bar_names_share_bytes_rate_and_time_left() -> None:
    line = bar("pulling aa:", 41 * GB // 10, 10 * GB, 35_000_000, Style(width=80))
    assert line.startswith("pulling aa:  41% ▕█████")
    assert line.endswith("▏ 4.1 GB/10 GB 35 MB/s 2m48s")
    assert len(line) <= 80


def test_a_pipe_or_a_narrow_terminal_gets_no_bar() -> None:
    for style in (Style(), Style(width=20)):
        assert bar("x", 1, 2, 0, style) == "x  50% 1 B/2 B"


def test_a_finished_transfer_shows_its_size_alone() -> None:
    assert bar("x", 10, 10, 5, Style()) == "x 100% 10 B"


def test_an_unknown_total_shows_what_came() -> None:
    assert bar("x", 1_200_000_000, 0, 35_000_000, Style(width=80)) == "x 1.2 GB 35 MB/s"


@given(st.integers(0, 2**60), st.integers(0, 2**60), st.floats(0, 1e12), st.integers(1, 300))
def test_a_bar_never_fails_and_keeps_to_the_width_when_it_draws(done: int, total: int, rate: float, width: int) -> None:
    line = bar("pulling aa:", done, total, rate, Style(width))
    assert "▕" not in line or len(line) < width


def test_every_step_keeps_its_line_though_transfers_interleave() -> None:
    bars = Bars(Style(width=80))
    bars.feed({"status": "pulling manifest"}, 0.0)
    for at in range(3):
        bars.feed(pulling(at * GB, name="aa"), float(at))
        bars.feed(pulling(at * GB, name="bb"), float(at))
    bars.feed({"status": "success"}, 3.0)
    first, second, third, last = bars.lines
    assert (first, last) == ("pulling manifest", "success")
    assert second.startswith("pulling aa:  20%")
    assert third.startswith("pulling bb:  20%")
    assert "1 GB/s" in second


def test_no_line_is_wider_than_the_terminal() -> None:
    bars = Bars(Style(width=20))
    bars.feed({"status": "verifying sha256 digest of everything"}, 0.0)
    bars.feed(pulling(1), 0.0)
    assert [len(line) for line in bars.lines] == [20, 20]


def test_a_log_says_each_step_once_and_each_tenth_once() -> None:
    log = Log()
    steps: list[dict[str, object]] = [
        {"status": "pulling manifest"},
        *(pulling(at, total=1000) for at in range(0, 1001, 7)),
        pulling(1000, total=1000),
        {"status": "success"},
        {"status": "success"},
    ]
    lines = [line for step in steps if (line := log.feed(step))]
    assert lines[0] == "pulling manifest"
    assert lines[1] == "pulling aa:   0% 0 B/1 KB"
    assert lines[-2:] == ["pulling aa: 100% 1 KB", "success"]
    assert len(lines) == 1 + 11 + 1


@pytest.mark.parametrize("step", [{}, {"status": 5, "digest": 5, "total": "x", "completed": None}, {"digest": "d"}])
def test_odd_progress_objects_are_survived(step: dict[str, object]) -> None:
    Bars(Style(width=80)).feed(step, 0.0)
    Log().feed(step)
