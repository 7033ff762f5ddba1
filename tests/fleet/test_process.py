"""Runners that misbehave: crashes, hangs, nonsense, and children that outlive them."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from dataclasses import replace

import pytest

from powerd.errors import DoesNotFit, LoadFailed, RunnerDied
from powerd.fleet.child import clean_environment, describe_exit
from powerd.fleet.terms import Wish
from powerd.protocol import Row
from tests.fleet.stage import (
    CONFIG,
    Stage,
    alive,
    children,
    collect,
    fake,
    generate,
    kill,
    on_stage,
    text,
    until,
    want,
)

DEATHS = {
    "signal=11": r"killed by signal 11 \(SIGSEGV\)",
    "signal=6": r"killed by signal 6 \(SIGABRT\)",
    "signal=9": r"killed by signal 9 \(SIGKILL\)",
    "exit-after=0": "exit status 0",
    "exit-after=1": "exit status 1",
}


@pytest.mark.parametrize("death", DEATHS)
def test_x01_a_crash_mid_stream_fails_its_requests_within_a_second_and_the_next_one_is_served(death: str) -> None:
    async def play(stage: Stage) -> None:
        deployment = fake(parallel=2)
        async with await stage.fleet.lease(want(deployment)) as lease:
            bystander = lease.submit(generate("rate=10", num_predict=100))
            stream = lease.submit(generate(f"rate=50,crash-after=3,{death}"))
            got: list[object] = []
            with pytest.raises(RunnerDied, match=f"has unexpectedly stopped: {DEATHS[death]}"):
                async for batch in stream:
                    got += batch
                    last = time.monotonic()
            assert time.monotonic() - last < 1
            assert [item.text for item in got if isinstance(item, Row)] == ["0 ", "1 ", "2 "]
            with pytest.raises(RunnerDied):
                await collect(bystander)
        assert text(await stage.ask(deployment, num_predict=2)) == "0 1 "
        assert stage.said("crash") == ["crash"]

    on_stage(play)


@pytest.mark.parametrize("phase", ["", "rate=1,tokens=100"])
def test_x01_kill_nine_from_outside_mid_prompt_and_mid_stream(phase: str) -> None:
    async def play(stage: Stage) -> None:
        deployment = fake()
        async with await stage.fleet.lease(want(deployment)) as lease:
            stream = lease.submit(generate(phase or "hang-after=0"))
            await asyncio.sleep(0.1)
            started = time.monotonic()
            kill(lease.pid)
            with pytest.raises(RunnerDied):
                await collect(stream)
            assert time.monotonic() - started < 1

    on_stage(play)


def test_x01_a_request_sent_to_a_runner_that_was_just_killed_is_answered_by_the_next_one() -> None:
    async def play(stage: Stage) -> None:
        deployment = fake()
        async with await stage.fleet.lease(want(deployment)) as lease:
            kill(lease.pid, signal.SIGSTOP)
            stream = lease.submit(generate(num_predict=3))
            kill(lease.pid)
            assert text(await collect(stream)) == "0 1 2 "
        await until(lambda: stage.fleet.views()[0].requests == 0)
        assert len(stage.said("load")) == 2

    on_stage(play)


def test_x01_a_crash_when_idle_is_noticed_and_a_wish_is_met_again() -> None:
    async def play(stage: Stage) -> None:
        deployment = fake()
        stage.fleet.wish({deployment.key: Wish(deployment, ("m",), loaded=True)})
        await until(lambda: stage.fleet.views()[0].state == "ready")
        old = stage.fleet.views()[0].pid
        kill(old)
        await until(lambda: [view.state for view in stage.fleet.views() if view.pid != old] == ["ready"])
        assert stage.said("crash") == ["crash"]

    on_stage(play)


@pytest.mark.parametrize(
    ("orders", "reason"),
    [
        ("load-fails=unknown_tensor", "unknown tensor"),
        ("oom=cannot_allocate_cells", "cannot allocate cells"),
        ("crash-on-load", "SIGSEGV"),
        ("exit-on-load=3", "exit status 3"),
    ],
)
def test_x01_a_runner_that_dies_before_it_is_ready_is_a_failed_load(orders: str, reason: str) -> None:
    async def play(stage: Stage) -> None:
        with pytest.raises(DoesNotFit if orders.startswith("oom") else LoadFailed, match=reason):
            await stage.fleet.lease(want(fake(orders)))
        good = fake()
        assert text(await stage.ask(good, num_predict=1)) == "0 "

    on_stage(play)


def test_x03_a_load_without_progress_is_ended() -> None:
    async def play(stage: Stage) -> None:
        with pytest.raises(LoadFailed, match="timed out waiting for the model to load"):
            await stage.fleet.lease(want(fake("never-ready")))
        await until(lambda: not stage.fleet.views())

    on_stage(play, replace(CONFIG, load_timeout=0.5))


def test_x03_a_load_with_progress_takes_the_time_it_needs() -> None:
    async def play(stage: Stage) -> None:
        assert text(await stage.ask(fake("slow-load=1.2"), num_predict=1)) == "0 "

    on_stage(play, replace(CONFIG, load_timeout=0.6))


def test_x03_a_runner_that_hangs_is_killed_and_its_requests_are_told() -> None:
    async def play(stage: Stage) -> None:
        async with await stage.fleet.lease(want(fake("ignore-sigterm"))) as lease:
            stream = lease.submit(generate("hang-after=2"))
            with pytest.raises(RunnerDied, match=r"no progress for 0\.3 s"):
                await collect(stream)
            await until(lambda: not alive(lease.pid), 2)

    on_stage(play, replace(CONFIG, stall_timeout=0.3))


def test_a_lease_that_asks_nothing_is_not_a_hang() -> None:
    async def play(stage: Stage) -> None:
        async with await stage.fleet.lease(want(fake())) as lease:
            await asyncio.sleep(0.5)
            assert text(await collect(lease.submit(generate(num_predict=1)))) == "0 "

    on_stage(play, replace(CONFIG, stall_timeout=0.2))


def test_x03_a_stopped_process_is_killed() -> None:
    async def play(stage: Stage) -> None:
        deployment = fake()
        async with await stage.fleet.lease(want(deployment)) as lease:
            kill(lease.pid, signal.SIGSTOP)
        await stage.fleet.unload(deployment.key)
        assert not alive(lease.pid)

    on_stage(play, replace(CONFIG, shutdown_grace=0.1, terminate_grace=0.1))


def test_x03_the_ladder_ends_a_runner_that_ignores_everything_in_its_deadlines() -> None:
    async def play(stage: Stage) -> None:
        deployment = fake("ignore-sigterm,ignore-shutdown")
        await stage.fleet.load(deployment, "m")
        [view] = stage.fleet.views()
        started = time.monotonic()
        await stage.fleet.unload(deployment.key)
        assert 0.4 < time.monotonic() - started < 1.4
        assert not alive(view.pid)

    on_stage(play, replace(CONFIG, shutdown_grace=0.2, terminate_grace=0.2))


def test_x03_a_grandchild_that_holds_the_pipes_does_not_hold_up_the_end() -> None:
    async def play(stage: Stage) -> None:
        deployment = fake("grandchild")
        await stage.fleet.load(deployment, "m")
        [view] = stage.fleet.views()
        [grandchild] = children(view.pid)
        kill(view.pid)
        await until(lambda: not stage.fleet.views(), 1)
        await until(lambda: not alive(grandchild), 1)
        assert stage.said("crash") == ["crash"]

    on_stage(play)


@pytest.mark.parametrize(
    ("orders", "why"),
    [
        ("garbage-after=1", "a frame that cannot be read"),
        ("huge-after=1", "over the limit"),
        ("close-after=1", "closed its"),
    ],
)
def test_x05_a_runner_that_speaks_nonsense_is_killed(orders: str, why: str) -> None:
    async def play(stage: Stage) -> None:
        deployment = fake()
        async with await stage.fleet.lease(want(deployment)) as lease:
            with pytest.raises(RunnerDied, match=why):
                await collect(lease.submit(generate(f"rate=50,{orders}")))
            assert not alive(lease.pid)
        assert text(await stage.ask(deployment, num_predict=1)) == "0 "

    on_stage(play)


def test_h49_a_crash_hurts_one_model_only() -> None:
    async def play(stage: Stage) -> None:
        other = asyncio.create_task(stage.ask(fake(), "rate=100", num_predict=60))
        await until(lambda: stage.fleet.views() and stage.fleet.views()[0].requests)
        with pytest.raises(RunnerDied):
            await stage.ask(fake(), "crash-after=1")
        assert len(text(await other).split()) == 60

    on_stage(play)


def test_a_runner_of_a_fleet_that_is_gone_ends_by_itself() -> None:
    async def play(stage: Stage) -> None:
        await stage.fleet.load(fake(), "m")
        [process] = stage.fleet._lives._processes.values()
        process._child.wire.close()
        await until(lambda: not alive(process.pid))

    on_stage(play)


def test_the_story_and_the_reason_reach_who_asks() -> None:
    async def play(stage: Stage) -> None:
        deployment = fake("load-fails=bad_magic")
        with pytest.raises(LoadFailed):
            await stage.fleet.lease(want(deployment))
        assert any("failed to load: bad magic" in line for line in stage.fleet.story(deployment.key))

    on_stage(play)


def test_children_get_an_environment_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = {"PATH": "/bin", "HOME": "/root", "CUDA_VISIBLE_DEVICES": "0", "OMP_NUM_THREADS": "2", "LANG": "C"}
    ours = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_FDS", "POWER_LISTEN", "OLLAMA_HOST"]
    secret = ["HF_TOKEN", "AWS_PROFILE", "OPENAI_API_KEY", "DB_PASSWORD", "https_proxy", "MY_SECRET", "SIGNING_KEY"]
    assert clean_environment(kept | dict.fromkeys([*ours, *secret], "x")) == kept

    async def play(stage: Stage) -> None:
        await stage.fleet.load(fake(), "m")
        [view] = stage.fleet.views()
        with open(f"/proc/{view.pid}/environ", "rb") as file:
            assert b"CANARY" not in file.read()
        assert os.getsid(view.pid) == view.pid

    monkeypatch.setenv("HF_TOKEN", "CANARY")
    on_stage(play)


def test_x02_a_runner_the_kernel_killed_for_memory_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    kills = iter(range(1000))
    monkeypatch.setattr("powerd.fleet.devices.oom_kills", lambda: next(kills))

    async def play(stage: Stage) -> None:
        with pytest.raises(DoesNotFit, match="killed by the kernel: out of memory"):
            await stage.fleet.lease(want(fake("crash-on-load,signal=9")))
        with pytest.raises(RunnerDied, match="killed by the kernel: out of memory"):
            await stage.ask(fake(), "crash-after=1,signal=9")
        assert [event.kind for event in stage.events if "out of memory" in event.message] == ["error", "crash"]

    on_stage(play)


def test_ends_are_described_for_people() -> None:
    assert describe_exit(0) == "exit status 0"
    assert describe_exit(-11) == "killed by signal 11 (SIGSEGV)"
    assert describe_exit(-250) == "killed by signal 250"
