"""A lease: counting texts, and what comes into a request's mailbox beside its text."""

from __future__ import annotations

import asyncio
import signal
from dataclasses import replace

import pytest

from powerd.errors import RunnerDied
from powerd.protocol import Cut, Finished, Row
from tests.fleet.stage import CONFIG, Stage, collect, fake, generate, kill, on_stage, text, until, want


def test_a_text_is_counted_without_a_place_in_the_batch() -> None:
    async def play(stage: Stage) -> None:
        async with await stage.fleet.lease(want(fake())) as lease:
            running = lease.submit(generate("rate=50", num_predict=5))
            assert await lease.count("one two three", add_bos=False) == 3
            assert await lease.count("one two three") == 4
            assert text(await collect(running)) == "0 1 2 3 4 "

    on_stage(play)


def test_a_text_larger_than_a_frame_is_counted_in_parts() -> None:
    async def play(stage: Stage) -> None:
        async with await stage.fleet.lease(want(fake())) as lease:
            assert await lease.count("é word " * 100_000, add_bos=False) == 200_000

    on_stage(play)


def test_many_counts_at_once_are_answered_each_with_its_own() -> None:
    async def play(stage: Stage) -> None:
        async with await stage.fleet.lease(want(fake())) as lease:
            counts = await asyncio.gather(*(lease.count("a " * number, add_bos=False) for number in range(20)))
            assert counts == list(range(20))

    on_stage(play)


def test_x01_a_count_sent_to_a_runner_that_was_just_killed_is_answered_by_the_next_one() -> None:
    async def play(stage: Stage) -> None:
        async with await stage.fleet.lease(want(fake())) as lease:
            kill(lease.pid, signal.SIGSTOP)
            counting = asyncio.create_task(lease.count("one two", add_bos=False))
            await asyncio.sleep(0)
            kill(lease.pid)
            assert await counting == 2
            assert text(await collect(lease.submit(generate(num_predict=1)))) == "0 "

    on_stage(play)


def test_x01_who_leaves_after_a_crash_waits_for_no_other_runner() -> None:
    async def play(stage: Stage) -> None:
        first, second = fake(), fake()
        lease = await stage.fleet.lease(want(first, request_id="left"))
        kill(lease.pid, signal.SIGSTOP)
        lease.submit(generate())
        other = asyncio.create_task(stage.fleet.lease(want(second)))
        await asyncio.sleep(0)
        kill(lease.pid)
        async with await other:  # it came before the request that is sent again
            await until(lambda: stage.fleet.why_request("left"))
            lease.release()
            await until(lambda: not stage.fleet.why_request("left"), 1.0)
        await asyncio.sleep(0.2)
        assert [view.key for view in stage.fleet.views()] == [second.key]

    on_stage(play, replace(CONFIG, max_loaded_models=1))


def test_x01_a_request_for_a_runner_that_has_gone_meanwhile_is_answered_by_the_next_one() -> None:
    async def play(stage: Stage) -> None:
        async with await stage.fleet.lease(want(fake())) as lease:
            kill(lease.pid)
            await until(lambda: not stage.fleet.views())
            async with asyncio.timeout(5):
                assert text(await collect(lease.submit(generate(num_predict=2)))) == "0 1 "
                assert await lease.count("one two", add_bos=False) == 2

    on_stage(play)


def test_x03_a_count_on_a_runner_that_hangs_fails_like_a_request() -> None:
    async def play(stage: Stage) -> None:
        async with await stage.fleet.lease(want(fake())) as lease:
            kill(lease.pid, signal.SIGSTOP)
            with pytest.raises(RunnerDied, match=r"no progress for 0\.3 s"):
                await lease.count("one")

    on_stage(play, replace(CONFIG, stall_timeout=0.3))


def test_leaving_while_a_text_is_counted_gives_the_place_back() -> None:
    async def play(stage: Stage) -> None:
        deployment = fake()
        async with await stage.fleet.lease(want(deployment)) as lease:
            kill(lease.pid, signal.SIGSTOP)
            counting = asyncio.create_task(lease.count("one"))
            await asyncio.sleep(0)
            counting.cancel()
        assert stage.fleet.views()[0].requests == 1
        kill(lease.pid, signal.SIGCONT)
        await until(lambda: stage.fleet.views()[0].requests == 0)
        assert text(await stage.ask(deployment, num_predict=1)) == "0 "

    on_stage(play)


def test_a_cut_arrives_before_the_text() -> None:
    async def play(stage: Stage) -> None:
        items = await stage.ask(fake(), "cut=900", num_predict=2, context=64, context_source="num_ctx")
        cut, *rest = items
        assert isinstance(cut, Cut)
        assert (cut.needed, cut.kept, cut.limit, cut.limit_source) == (900, 1, 64, "num_ctx")
        assert text(rest) == "0 1 "

    on_stage(play)


def test_logprobs_and_shifts_pass_through() -> None:
    async def play(stage: Stage) -> None:
        row, done = await stage.ask(fake(), "say=%C3%A9,shifted=7", logprobs=1)
        assert isinstance(row, Row)
        assert [(told.token, told.logprob) for told in row.logprobs] == [("é".encode(), -0.5)]
        assert [likely.token for likely in row.logprobs[0].top] == ["é".encode()]
        assert isinstance(done, Finished)
        assert (done.reason, done.shifted) == ("stop", 7)

    on_stage(play)
