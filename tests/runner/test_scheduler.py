"""The scheduler: one token for each stream, a measured share for prompts, slots in order of arrival."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from powerd.runner.scheduler import Pace, Plan, Scheduler, share
from powerd.runner.turns import MILLISECOND


@dataclass(eq=False)
class Work:
    remaining: int
    slot: int = -1
    adapters: tuple[tuple[str, float], ...] = ()


def run(scheduler: Scheduler[Work], plan: Plan[Work], took: int = MILLISECOND) -> None:
    for work, part in plan.prefill:
        work.remaining -= part
    scheduler.observe(plan, took)


def measured(row: float, token: float, rows: int = 4) -> Pace:
    """A pace that has seen a machine where a row costs `row` and a prompt token `token` milliseconds."""
    pace = Pace()
    for _ in range(30):
        pace.observe(rows, 0, round(rows * row * MILLISECOND))
        tokens = pace.prompt_tokens(rows)
        pace.observe(rows, tokens, round((rows * row + tokens * token) * MILLISECOND))
    return pace


def test_streams_get_one_token_each_and_the_prompt_the_rest() -> None:
    scheduler: Scheduler[Work] = Scheduler(4, 512)
    streams, prompt = [Work(0), Work(0)], Work(300)
    for work in (*streams, prompt):
        scheduler.add(work)
    plan = scheduler.plan()
    assert plan.decode == streams
    assert [(work, part > 0) for work, part in plan.prefill] == [(prompt, True)]


def test_beyond_the_slots_work_waits_in_order_of_arrival() -> None:
    scheduler: Scheduler[Work] = Scheduler(2, 512)
    works = [Work(5) for _ in range(5)]
    for work in works:
        scheduler.add(work)
    assert list(scheduler.waiting) == works[2:]
    scheduler.remove(works[0])
    assert scheduler.active == [works[1], works[2]]
    assert (works[0].slot, works[2].slot) == (-1, 0)


def test_waiting_work_can_be_withdrawn() -> None:
    scheduler: Scheduler[Work] = Scheduler(1, 512)
    first, second = Work(1), Work(1)
    scheduler.add(first)
    scheduler.add(second)
    scheduler.remove(second)
    assert not scheduler.waiting
    assert scheduler.active == [first]


def test_lower_slots_are_used_first() -> None:
    scheduler: Scheduler[Work] = Scheduler(3, 512)
    works = [Work(1) for _ in range(3)]
    for work in works:
        scheduler.add(work)
    for work in (works[2], works[0]):
        scheduler.remove(work)
    again = Work(1)
    scheduler.add(again)
    assert again.slot == 0


def test_a_batch_large_enough_for_tiles_is_preferred_where_tiles_are_cheaper() -> None:
    def took(tokens: int) -> int:  # a long context: 60 tokens take longer than 80
        return round((16 + tokens * (2.0 if tokens + 4 < 64 else 0.6)) * MILLISECOND)

    pace = Pace()
    for _ in range(20):
        pace.observe(4, 0, 16 * MILLISECOND)
    pace.observe(4, 24, took(24))
    for _ in range(200):
        tokens = pace.prompt_tokens(4)
        pace.observe(4, tokens, took(tokens))
    assert pace.prompt_tokens(4) + 4 >= 64
    assert took(pace.prompt_tokens(4)) <= 8.1 * 16 * MILLISECOND


def test_tiles_too_slow_for_the_streams_are_only_tried_now_and_then() -> None:
    def took(tokens: int) -> int:
        return round((16 + tokens * (3.0 if tokens + 4 < 64 else 2.5)) * MILLISECOND)

    pace = Pace()
    pace.observe(4, 0, 16 * MILLISECOND)
    large = 0
    for _ in range(300):
        tokens = pace.prompt_tokens(4)
        large += tokens + 4 >= 64
        pace.observe(4, tokens, took(tokens))
    assert 0 < large < 15


def test_nothing_measured_yet_means_a_small_first_piece() -> None:
    scheduler: Scheduler[Work] = Scheduler(1, 512)
    prompt = Work(5000)
    scheduler.add(prompt)
    assert scheduler.plan().prefill == [(prompt, 32)]


def test_alone_a_prompt_fills_the_batch_once_it_is_known_to_be_fast() -> None:
    scheduler: Scheduler[Work] = Scheduler(1, 512)
    prompt = Work(5000)
    scheduler.add(prompt)
    run(scheduler, scheduler.plan(), 3 * MILLISECOND)
    assert scheduler.plan().prefill == [(prompt, 512)]


def test_alone_on_a_slow_machine_a_step_stays_short_enough_to_cancel() -> None:
    scheduler: Scheduler[Work] = Scheduler(1, 512)
    prompt = Work(5000)
    scheduler.add(prompt)
    for _ in range(20):
        plan = scheduler.plan()
        run(scheduler, plan, plan.prefill[0][1] * 5 * MILLISECOND)
    assert scheduler.plan().prefill[0][1] * 5 <= 330  # aimed at 250, but a tile may be tried


@pytest.mark.parametrize(("row", "token"), [(1.0, 0.2), (4.0, 0.25), (50.0, 10.0), (3.0, 0.01)])
def test_beside_streams_a_step_takes_a_few_times_its_usual_length(row: float, token: float) -> None:
    pace = measured(row, token)
    step = 4 * row + min(pace.prompt_tokens(4), 508) * token
    assert step <= 8.1 * 4 * row
    assert pace.prompt_tokens(4) >= 16


def test_an_estimate_too_high_is_unlearnt() -> None:
    pace = measured(4.0, 0.25)
    for _ in range(10):  # another process takes the machine away
        pace.observe(4, pace.prompt_tokens(4), 3000 * MILLISECOND)
    squeezed = pace.prompt_tokens(4)
    for _ in range(40):
        tokens = pace.prompt_tokens(4)
        pace.observe(4, tokens, round((16 + tokens * 0.25) * MILLISECOND))
    assert squeezed < 64
    assert pace.prompt_tokens(4) > 100


@pytest.mark.parametrize("rows", [1, 4, 63, 64, 200])
def test_prompts_move_however_slow_they_are_and_however_many_stream(rows: int) -> None:
    pace = Pace()
    pace.observe(rows, 0, MILLISECOND)
    for _ in range(20):
        tokens = pace.prompt_tokens(rows)
        assert tokens >= 16 or tokens + rows == 64
        pace.observe(rows, tokens, 500 * MILLISECOND)


def test_one_hiccup_costs_little() -> None:
    pace = measured(4.0, 0.25)
    before = pace.prompt_tokens(4)
    pace.observe(4, before, 3000 * MILLISECOND)
    assert pace.prompt_tokens(4) > 0.7 * before


def test_a_number_of_streams_never_seen_is_judged_by_the_nearest() -> None:
    pace = Pace()
    pace.observe(8, 0, 32 * MILLISECOND)
    assert pace.decode(4) == 16 * MILLISECOND
    assert pace.decode(9) == 32 * MILLISECOND
    assert pace.decode(0) == 0


def test_short_prompts_are_not_held_up_by_long_ones() -> None:
    assert share(90, [1000, 20, 1000]) == [35, 20, 35]


@settings(deadline=None)
@given(st.integers(0, 600), st.lists(st.integers(1, 3000), max_size=20))
def test_shares_use_all_the_room_and_no_more(room: int, wanted: list[int]) -> None:
    given_ = share(room, wanted)
    assert sum(given_) == min(room, sum(wanted))
    assert all(0 <= part <= wish for part, wish in zip(given_, wanted, strict=True))
    unserved = [part for part, wish in zip(given_, wanted, strict=True) if part < wish]
    assert not unserved or max(given_) - min(unserved) <= 1


@settings(deadline=None)
@given(st.lists(st.integers(1, 900), min_size=1, max_size=30), st.integers(1, 6), st.integers(1, 40))
def test_every_prompt_is_fed_whole_and_batches_never_overflow(lengths: list[int], slots: int, cost: int) -> None:
    scheduler: Scheduler[Work] = Scheduler(slots, 64)
    works = [Work(length) for length in lengths]
    for work in works:
        scheduler.add(work)
    steps = 0
    while scheduler.active:
        plan = scheduler.plan()
        tokens = len(plan.decode) + sum(part for _, part in plan.prefill)
        assert 0 < tokens <= 64
        run(scheduler, plan, tokens * cost * MILLISECOND // 10)
        for work in plan.decode:
            scheduler.remove(work)
        steps += 1
    assert not any(work.remaining for work in works)
    assert steps <= sum(lengths) + len(lengths)


def test_a_batch_holds_one_adapter_set_and_the_sets_take_turns() -> None:
    scheduler: Scheduler[Work] = Scheduler(4, 64)
    pirate = (("a" * 64, 1.0),)
    works = [Work(0), Work(0, adapters=pirate), Work(0), Work(30, adapters=pirate)]
    for work in works:
        scheduler.add(work)
    seen = []
    for _ in range(4):
        plan = scheduler.plan()
        rows = [*plan.decode, *(work for work, _ in plan.prefill)]
        assert {work.adapters for work in rows} == {plan.adapters}
        seen.append((plan.adapters, len(rows)))
        run(scheduler, plan, 30 * MILLISECOND)
    assert seen == [((), 2), (pirate, 2)] * 2


def test_a_prompt_of_one_set_leaves_the_streams_of_another_smooth() -> None:
    """Alone, a prompt may take a quarter of a second at once; not while others wait for their next token."""
    scheduler: Scheduler[Work] = Scheduler(2, 512)
    scheduler.pace = measured(4.0, 1.0, rows=1)
    scheduler.add(Work(0))
    scheduler.add(Work(4000, adapters=(("a" * 64, 1.0),)))
    run(scheduler, scheduler.plan(), 30 * MILLISECOND)
    (_, part) = scheduler.plan().prefill[0]
    assert part <= 80
