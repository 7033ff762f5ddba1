"""Fleet over real processes: leases, streams, queues and the owner's hand."""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import replace

import pytest

from powerd import metrics
from powerd.errors import BackendUnavailable, BadRequest, Busy, DoesNotFit, LoadFailed, Timeout
from powerd.fleet.budget import Estimate
from powerd.fleet.devices import Device
from powerd.fleet.fleet import Fleet
from powerd.fleet.terms import Reason, Wish
from powerd.protocol import Deployment, Failed, Finished, Row
from tests.fleet.stage import COMMAND, CONFIG, Stage, alive, collect, fake, generate, on_stage, text, until, want


def test_a_request_is_answered_in_order_and_ends_with_one_terminal_frame() -> None:
    async def play(stage: Stage) -> None:
        items = await stage.ask(fake(), num_predict=50)
        assert text(items) == "".join(f"{number} " for number in range(50))
        assert [isinstance(item, Finished) for item in items].count(True) == 1

    on_stage(play)


def test_a_lease_tells_context_pid_and_how_long_the_load_took() -> None:
    async def play(stage: Stage) -> None:
        deployment = fake("slow-load=0.2", context=1234)
        async with await stage.fleet.lease(want(deployment)) as lease:
            assert lease.context == 1234
            assert alive(lease.pid)
            assert lease.load_ns > 200_000_000
        async with await stage.fleet.lease(want(deployment)) as lease:
            assert lease.load_ns < 100_000_000

    on_stage(play)


def test_streams_share_a_runner_and_get_each_their_own_tokens() -> None:
    async def play(stage: Stage) -> None:
        deployment = fake(parallel=4)
        counts = (5, 17, 40, 3)
        answers = await asyncio.gather(*(stage.ask(deployment, num_predict=count) for count in counts))
        for count, items in zip(counts, answers, strict=True):
            assert text(items) == "".join(f"{number} " for number in range(count))
        assert len(stage.said("load")) == 1

    on_stage(play)


def test_a_prompt_larger_than_a_frame_arrives_whole() -> None:
    async def play(stage: Stage) -> None:
        async with await stage.fleet.lease(want(fake())) as lease:
            prompt = "é\N{GRINNING FACE}x" * 700_000
            items = await collect(lease.submit(generate("").__class__(id=0, prompt=prompt + "?echo")))
            assert text(items) == f"{len(prompt) + 5} {len(prompt.encode()) + 5}"

    on_stage(play)


def test_a_request_no_frame_can_carry_is_refused_and_the_lease_lives_on() -> None:
    async def play(stage: Stage) -> None:
        async with await stage.fleet.lease(want(fake())) as lease:
            with pytest.raises(BadRequest, match="too large"):
                lease.submit(generate(prefix=b"\0" * 300_000))
            assert text(await collect(lease.submit(generate(num_predict=1)))) == "0 "

    on_stage(play)


def test_the_runners_refusal_is_a_terminal_frame() -> None:
    async def play(stage: Stage) -> None:
        items = await stage.ask(fake(), "fail=context_overflow")
        assert isinstance(items[-1], Failed)
        assert items[-1].code == "context_overflow"

    on_stage(play)


def test_x07_leaving_a_lease_early_cancels_and_frees_the_place() -> None:
    async def play(stage: Stage) -> None:
        deployment = fake()
        async with await stage.fleet.lease(want(deployment)) as lease:
            stream = lease.submit(generate("rate=100", num_predict=100_000))
            await anext(stream)
        await until(lambda: stage.fleet.views()[0].requests == 0, 0.5)
        assert isinstance((await collect(stream))[-1], Finished)
        assert text(await stage.ask(deployment, num_predict=1)) == "0 "

    on_stage(play)


def test_x07_a_task_cancelled_mid_stream_frees_its_place() -> None:
    async def play(stage: Stage) -> None:
        deployment = fake()
        task = asyncio.create_task(stage.ask(deployment, "rate=100", num_predict=100_000))
        await until(lambda: stage.fleet.views() and stage.fleet.views()[0].requests)
        task.cancel()
        assert text(await stage.ask(deployment, num_predict=1)) == "0 "

    on_stage(play)


def test_x07_a_task_cancelled_in_the_queue_leaves_it() -> None:
    async def play(stage: Stage) -> None:
        deployment = fake()
        async with await stage.fleet.lease(want(deployment)):
            waiter = asyncio.create_task(stage.fleet.lease(want(deployment)))
            await until(lambda: stage.fleet.views()[0].queued)
            waiter.cancel()
            await until(lambda: not stage.fleet.views()[0].queued)
        assert stage.fleet.views()[0].requests == 0

    on_stage(play)


def test_a_lease_granted_to_a_task_that_is_cancelled_in_the_same_moment_is_given_back() -> None:
    async def play(stage: Stage) -> None:
        deployment = fake()
        first = await stage.fleet.lease(want(deployment))
        waiter = asyncio.create_task(stage.fleet.lease(want(deployment)))
        await until(lambda: stage.fleet.views()[0].queued)
        first.release()
        waiter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiter
        assert stage.fleet.views()[0].requests == 0

    on_stage(play)


def test_a_request_refused_and_cancelled_in_the_same_moment_is_cancelled() -> None:
    async def play(stage: Stage) -> None:
        lease = await stage.fleet.lease(want(fake()))
        waiter = asyncio.create_task(stage.fleet.lease(want(fake("never-ready"))))
        await until(lambda: len(stage.fleet.views()) == 2)
        stopping = asyncio.create_task(stage.fleet.stop(0))
        await asyncio.sleep(0)
        waiter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiter
        lease.release()
        await stopping

    on_stage(play)


def test_f09_overload_serves_in_order_and_refuses_the_rest_at_once() -> None:
    async def play(stage: Stage) -> None:
        deployment = fake("rate=200")
        served: list[int] = []

        async def one(number: int) -> str:
            try:
                await stage.ask(deployment, num_predict=1)
            except Busy as error:
                return error.message
            served.append(number)
            return "served"

        async with await stage.fleet.lease(want(deployment)):
            tasks = [asyncio.create_task(one(number)) for number in range(60)]
            await until(lambda: sum(task.done() for task in tasks) == 10)
        results = await asyncio.gather(*tasks)
        assert results[:50] == ["served"] * 50
        assert set(results[50:]) == {"server busy, please try again.  maximum pending requests exceeded"}
        assert served == list(range(50))

    on_stage(play, replace(CONFIG, max_queue=50))


def test_a_deadline_passes_while_waiting() -> None:
    async def play(stage: Stage) -> None:
        started = time.monotonic()
        with pytest.raises(Timeout):
            await stage.fleet.lease(want(fake("never-ready"), deadline_s=0.1))
        assert time.monotonic() - started < 1

    on_stage(play)


def test_keep_alive_zero_unloads_and_the_memory_is_back_when_the_process_is_gone() -> None:
    async def play(stage: Stage) -> None:
        async with await stage.fleet.lease(want(fake(), keep_alive=0.0)) as lease:
            pid = lease.pid
            assert stage.fleet.memory()[0][2] > 0
        await until(lambda: not stage.fleet.views())
        assert not alive(pid)
        assert stage.fleet.memory()[0][2] == 0
        assert stage.said("unload") == [Reason.IDLE]

    on_stage(play)


def test_an_idle_model_goes_when_its_keep_alive_has_run_out() -> None:
    async def play(stage: Stage) -> None:
        async with await stage.fleet.lease(want(fake(), keep_alive=0.2)):
            pass
        expires = stage.fleet.views()[0].expires_at
        assert expires is not None
        assert expires == pytest.approx(time.monotonic() + 0.2, abs=0.1)
        await until(lambda: not stage.fleet.views())

    on_stage(play)


def test_wishes_load_and_replacing_one_leaves_the_others_alone() -> None:
    async def play(stage: Stage) -> None:
        old, new, other = fake(), fake(), fake(parallel=2)
        first = Wish(old, ("coder",), loaded=True)
        second = Wish(other, ("other",), loaded=True)
        stage.fleet.wish({first.deployment.key: first, second.deployment.key: second})
        await until(lambda: [view.state for view in stage.fleet.views()] == ["ready", "ready"])
        pids = {view.model: view.pid for view in stage.fleet.views()}
        async with await stage.fleet.lease(want(old)) as lease, await stage.fleet.lease(want(other)) as neighbour:
            streams = [each.submit(generate("rate=200", num_predict=100)) for each in (lease, neighbour)]
            changed = Wish(new, ("coder",), loaded=True)
            stage.fleet.wish({changed.deployment.key: changed, second.deployment.key: second})
            answers = await asyncio.gather(*(collect(stream) for stream in streams))
        assert [len(answer) for answer in answers] == [101, 101]
        await until(lambda: len(stage.fleet.views()) == 2)
        after = {view.model: view.pid for view in stage.fleet.views()}
        assert after["other"] == pids["other"]
        assert after["coder"] != pids["coder"]
        assert stage.said("unload") == [Reason.CONFIG]

    on_stage(play)


def test_unload_returns_when_the_process_is_gone() -> None:
    async def play(stage: Stage) -> None:
        deployment = fake()
        await stage.fleet.load(deployment, "model")
        [view] = stage.fleet.views()
        answer = await stage.fleet.unload(deployment.key)
        assert (answer.done, answer.reason) == (True, "unloaded")
        assert not alive(view.pid)
        assert stage.fleet.views() == []

    on_stage(play)


def test_unload_by_force_ends_running_requests_with_an_error() -> None:
    async def play(stage: Stage) -> None:
        deployment = fake()
        async with await stage.fleet.lease(want(deployment)) as lease:
            stream = lease.submit(generate("rate=50", num_predict=10_000))
            await anext(stream)
            unload = asyncio.create_task(stage.fleet.unload(deployment.key, force=True))
            with pytest.raises(Busy, match="unloaded by force"):
                await collect(stream)
            assert await unload

    on_stage(play)


def test_load_raises_what_went_wrong() -> None:
    async def play(stage: Stage) -> None:
        with pytest.raises(LoadFailed, match="model failed to load: unknown architecture"):
            await stage.fleet.load(fake("load-fails=unknown_architecture"), "model")
        assert stage.said("error") == [Reason.LOAD_FAILED]

    on_stage(play)


def test_a_runner_that_cannot_be_started_is_a_failed_load() -> None:
    async def play(stage: Stage) -> None:
        with pytest.raises(LoadFailed, match="could not be started: No such file"):
            await stage.fleet.lease(want(fake()))

    on_stage(play, command=("/nowhere/runner",))


def test_without_the_engine_every_lease_says_how_to_install_it() -> None:
    async def play() -> None:
        fleet = Fleet(CONFIG, backend_available=False)
        await fleet.start()
        for _ in range(2):
            with pytest.raises(BackendUnavailable, match="llama-cpp-python is not installed"):
                await fleet.lease(want(fake()))
        deployment = fake()
        fleet.wish({deployment.key: Wish(deployment, ("m",), loaded=True)})
        assert "not installed" in fleet.why(deployment.key)
        assert fleet.views() == []
        await fleet.stop(0)

    asyncio.run(play())


def test_a_command_that_is_not_ours_needs_no_engine() -> None:
    async def play() -> None:
        assert Fleet(CONFIG, [sys.executable, "x"]).why("") == ""

    asyncio.run(play())


def test_x11_stopping_lets_running_requests_end_and_refuses_new_ones() -> None:
    async def play(stage: Stage) -> None:
        deployment = fake(parallel=2)
        async with await stage.fleet.lease(want(deployment)) as lease:
            stream = lease.submit(generate("rate=100", num_predict=30))
            stopping = asyncio.create_task(stage.fleet.stop(5))
            await asyncio.sleep(0)
            with pytest.raises(Busy, match="shutting down"):
                await stage.fleet.lease(want(deployment))
            assert len(await collect(stream)) == 31
        await stopping
        assert stage.said("unload") == [Reason.SHUTDOWN]

    on_stage(play)


def test_x11_what_does_not_end_in_time_gets_an_error() -> None:
    async def play(stage: Stage) -> None:
        async with await stage.fleet.lease(want(fake())) as lease:
            stream = lease.submit(generate("rate=20", num_predict=10_000))
            await anext(stream)
            stopping = asyncio.create_task(stage.fleet.stop(0.2))
            with pytest.raises(Busy, match="shutting down"):
                await collect(stream)
        await stopping

    on_stage(play)


def test_x11_a_second_stop_ends_the_wait() -> None:
    async def play(stage: Stage) -> None:
        lease = await stage.fleet.lease(want(fake()))
        lease.submit(generate("rate=20", num_predict=10_000))
        first = asyncio.create_task(stage.fleet.stop(60))
        await asyncio.sleep(0.05)
        assert not first.done()
        await stage.fleet.stop(60)
        await first

    on_stage(play)


def test_gauges_and_counters_follow_the_fleet() -> None:
    async def play(stage: Stage) -> None:
        deployment = fake("stats,size=2000000000")
        wishes = {deployment.key: Wish(deployment, ("gauged", "alias"))}
        stage.fleet.wish(wishes)
        async with await stage.fleet.lease(want(deployment)) as lease:
            await collect(lease.submit(generate(num_predict=3)))
            await asyncio.sleep(0.15)
            assert metrics.REGISTRY.get_sample_value("power_requests_running", {"model": "gauged"}) == 1
            assert metrics.REGISTRY.get_sample_value("power_loaded", {"model": "gauged"}) == 1
            assert metrics.REGISTRY.get_sample_value("power_cells_total", {"model": "gauged"}) == 100
            assert metrics.REGISTRY.get_sample_value("power_memory_reserved_bytes", {"device": "cpu"}) == 2e9
            error = metrics.REGISTRY.get_sample_value("power_estimate_error_bytes", {"model": "gauged"})
            assert error is not None
            assert error > 1e9
        view = stage.fleet.views()[0]
        assert view.stats is not None
        assert view.stats.output_tokens == 3
        await stage.fleet.unload(deployment.key)
        labels = {"model": "gauged", "reason": "operator"}
        assert metrics.REGISTRY.get_sample_value("power_unloads_total", labels) == 1
        assert metrics.REGISTRY.get_sample_value("power_loads_total", {"model": "gauged", "result": "ready"}) == 1

    on_stage(play)


def test_an_observer_that_fails_disturbs_nobody() -> None:
    async def play() -> None:
        def observer(event: object) -> None:
            raise RuntimeError(event)

        stage = Stage()
        stage.fleet = Fleet(CONFIG, COMMAND, observer)
        assert isinstance((await stage.ask(fake(), num_predict=1))[0], Row)
        await stage.fleet.stop(0)

    asyncio.run(play())


def test_devices_bring_their_budgets_and_measurements_go_where_they_are_wanted() -> None:
    measured: list[tuple[str, int]] = []

    def needs(deployment: Deployment) -> Estimate:
        return Estimate(7, 0, 0, {"CUDA0": 7}, "probed")

    async def play() -> None:
        devices = [Device("cpu", "cpu", budget=100), Device("CUDA0", "gpu", budget=10)]
        fleet = Fleet(
            CONFIG,
            COMMAND,
            devices=devices,
            needs=needs,
            on_measured=lambda deployment, have: measured.append((deployment.key, have.size)),
        )
        await fleet.start()
        deployment = fake("size=5")
        await fleet.load(deployment, "m")
        assert fleet.memory() == [("cpu", 100, 5), ("CUDA0", 10, 7)]
        assert fleet.views()[0].needs == "probed"
        assert measured == [(deployment.key, 5)]
        fleet.set_devices(devices[:1])
        assert fleet.memory() == [("cpu", 100, 5), ("CUDA0", 0, 7)]
        with pytest.raises(DoesNotFit, match="the memory budget of CUDA0 is 0 B"):
            await fleet.load(fake(), "n")
        await fleet.stop(0)

    asyncio.run(play())


def test_what_is_going_on_can_be_asked() -> None:
    async def play(stage: Stage) -> None:
        fleet, broken = stage.fleet, fake("load-fails=bad_tensor")
        with pytest.raises(LoadFailed):
            await fleet.load(broken, "broken")
        [failure] = fleet.failures()
        assert (failure.model, failure.key, failure.tries) == ("broken", broken.key, 1)
        assert "bad tensor" in failure.reason
        assert fleet.overrides() == []
        await until(lambda: not fleet.views())
        deployment = fake()
        wishes = {deployment.key: Wish(deployment, ("m",), loaded=True)}
        assert [move.kind for move in fleet.foretell(wishes).moves] == ["load"]
        assert fleet.views() == []
        async with await fleet.lease(want(deployment, request_id="r1")):
            assert fleet.why_request("r1")[0].startswith("it runs on 'model' since 0.")
            assert fleet.why_request("r2") == []
        await fleet.load(deployment, "m", hold=60, owner="operator")
        [hand] = fleet.overrides()
        assert (hand.key, hand.kind, hand.owner) == (deployment.key, "loaded", "operator")

    on_stage(play)
