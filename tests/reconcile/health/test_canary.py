"""canary: one token through the queue after a load and at an interval; late ones told, real traffic as proof."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

import pytest

from powerd.errors import PowerError, RunnerDied
from powerd.fleet.terms import RunnerView
from powerd.protocol import Stats
from powerd.reconcile.health import canary as canary_module
from powerd.reconcile.health.bulletin import Bulletin
from powerd.reconcile.health.canary import Canary

VIEW = RunnerView("m", ("m",), "key", "a" * 64, 77, "ready", 4096, 2, 10, 0, None, 0, 0, 1.0, None, None, "")


def stats(steps: int) -> Stats:
    return Stats(1, 100, 1, 0, 1, 1, 1, steps, 0, steps)


@dataclass
class Flock:
    """A fleet of runners that answer when they are told to."""

    view: list[RunnerView] = field(default_factory=lambda: [VIEW])
    asked: int = 0
    answering: bool = True
    error: PowerError | None = None
    go_on: asyncio.Event = field(default_factory=asyncio.Event)

    def views(self) -> list[RunnerView]:
        return self.view

    async def canary(self, key: str, timeout: float) -> None:
        assert (key, timeout) == ("key", canary_module.ON_THE_WAY_SECONDS)
        self.asked += 1
        if self.error is not None:
            raise self.error
        while not self.answering:
            await self.go_on.wait()

    def change(self, **fields: object) -> None:
        self.view = [replace(self.view[0], **fields)]  # type: ignore[arg-type]  # a dict has one type for all values

    def recover(self) -> None:
        self.answering = True
        self.go_on.set()


@dataclass
class Scene:
    fleet: Flock
    canary: Canary
    bulletin: Bulletin
    changed: list[str]

    @property
    def status(self) -> str:
        return self.canary.verdict(77).status

    async def until(self, status: str) -> None:
        async with asyncio.timeout(5):
            while self.status != status:
                await asyncio.sleep(0.005)
                self.canary.look()

    def told(self) -> list[tuple[str, str]]:
        return [(event.reason, event.model) for event in self.bulletin.events]


Play = Callable[[Scene], Awaitable[None]]


def play(act: Play, *, interval: float = 60.0, timeout: float = 0.1, fleet: Flock | None = None) -> None:
    async def scene() -> None:
        bulletin, changed = Bulletin(), list[str]()
        flock = fleet or Flock()
        canary = Canary(flock, bulletin, changed.append, interval=interval, timeout=timeout)
        try:
            await act(Scene(flock, canary, bulletin, changed))
        finally:
            await canary.stop()

    asyncio.run(scene())


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canary_module, "AGAIN_SECONDS", (0.0, 0.02))


def test_a_loaded_runner_is_pending_until_its_first_token_and_answers_after_it() -> None:
    async def act(scene: Scene) -> None:
        assert scene.status == "pending"
        scene.canary.look()
        assert scene.status == "pending"
        await scene.until("answered")
        assert "one token came back in" in scene.canary.verdict(77).message
        assert (scene.fleet.asked, scene.changed, scene.told()) == (1, ["key"], [])

    play(act)


def test_it_is_not_asked_again_before_the_interval_and_then_it_is() -> None:
    async def act(scene: Scene) -> None:
        await scene.until("answered")
        scene.canary.look()
        assert scene.fleet.asked == 1
        await asyncio.sleep(0.2)
        scene.canary.look()
        assert scene.fleet.asked == 1 and scene.status == "answered"
        await asyncio.sleep(0.15)
        scene.canary.look()
        await asyncio.sleep(0)
        assert scene.fleet.asked == 2

    play(act, interval=0.3)


def test_real_traffic_that_finishes_stands_for_the_canary() -> None:
    async def act(scene: Scene) -> None:
        for _ in range(3):
            scene.fleet.change(answered_at=asyncio.get_running_loop().time())
            scene.canary.look()
            await asyncio.sleep(0.05)
        assert (scene.fleet.asked, scene.status) == (0, "answered")
        assert scene.canary.verdict(77).message == "a request was answered"

    play(act, interval=0.1)


def test_requests_in_flight_without_a_sign_of_life_do_not_stand_for_it() -> None:
    async def act(scene: Scene) -> None:
        scene.fleet.change(answered_at=asyncio.get_running_loop().time())
        scene.canary.look()
        scene.fleet.change(requests=1)
        scene.fleet.answering = False
        scene.canary.look()
        assert scene.fleet.asked == 0
        await scene.until("failed")
        assert scene.fleet.asked == 1

    play(act)


def test_requests_in_flight_that_make_progress_need_no_canary() -> None:
    async def act(scene: Scene) -> None:
        scene.fleet.change(answered_at=asyncio.get_running_loop().time(), requests=1)
        for step in range(6):
            scene.fleet.change(stats=stats(step))
            scene.canary.look()
            await asyncio.sleep(0.04)
        assert (scene.fleet.asked, scene.status) == (0, "answered")

    play(act)


def test_a_late_canary_is_told_once_and_recovery_the_moment_it_is_answered() -> None:
    async def act(scene: Scene) -> None:
        scene.fleet.answering = False
        await scene.until("failed")
        await asyncio.sleep(0.05)
        scene.canary.look()
        assert "no answer to a request for one token in" in scene.canary.verdict(77).message
        assert scene.fleet.asked == 1, "one canary in flight is enough"
        assert scene.told() == [("CanaryFailed", "m")]
        [reason] = scene.canary.reasons()
        assert reason.startswith("model 'm' does not answer: no answer")
        scene.fleet.recover()
        await asyncio.sleep(0.01)
        assert scene.status == "answered"
        assert scene.canary.reasons() == []
        assert scene.told() == [("CanaryFailed", "m"), ("CanaryAnswered", "m")]

    play(act)


def test_a_canary_behind_long_answers_that_make_progress_is_not_late() -> None:
    async def act(scene: Scene) -> None:
        scene.fleet.answering = False
        scene.fleet.change(requests=2)
        for step in range(6):
            scene.fleet.change(stats=stats(step))
            scene.canary.look()
            assert scene.status != "failed"
            await asyncio.sleep(0.04)
        assert scene.status == "answered"
        await scene.until("failed")  # and now nothing moves any more

    play(act)


def test_one_that_comes_back_with_an_error_fails_and_is_tried_again() -> None:
    async def act(scene: Scene) -> None:
        scene.fleet.error = RunnerDied("the step failed")
        await scene.until("failed")
        assert "a request for one token failed:" in scene.canary.verdict(77).message
        scene.fleet.error = None
        await scene.until("answered")

    play(act)


def test_a_runner_that_goes_away_meanwhile_has_not_failed() -> None:
    async def act(scene: Scene) -> None:
        scene.fleet.error = RunnerDied("killed")
        scene.canary.look()
        scene.fleet.view = []
        await asyncio.sleep(0.01)
        scene.canary.look()
        assert (scene.told(), scene.status) == ([], "pending")

    play(act)


def test_after_sleep_every_runner_is_asked_at_once_and_pending_until_then() -> None:
    async def act(scene: Scene) -> None:
        await scene.until("answered")
        scene.fleet.answering = False
        scene.canary.resumed()
        await asyncio.sleep(0)
        assert (scene.fleet.asked, scene.status) == (2, "pending")
        scene.fleet.recover()
        await scene.until("answered")

    play(act)


def test_a_reader_who_wants_the_present_waits_for_it_and_shares_the_canary(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canary_module, "FRESH_SECONDS", 0.02)

    async def act(scene: Scene) -> None:
        await scene.until("answered")
        await scene.canary.fresh()
        assert scene.fleet.asked == 1, "what is known is fresh"
        await asyncio.sleep(0.03)
        scene.fleet.answering = False
        await asyncio.gather(*(scene.canary.fresh() for _ in range(20)))
        assert (scene.fleet.asked, scene.status) == (2, "failed")
        started = asyncio.get_running_loop().time()
        await scene.canary.fresh()
        assert asyncio.get_running_loop().time() - started < 0.05, "what is late already is not waited for"
        scene.fleet.recover()
        await asyncio.sleep(0)
        await scene.canary.fresh()
        assert scene.status == "answered"

    play(act)


def test_switched_off_it_asks_nothing() -> None:
    async def act(scene: Scene) -> None:
        scene.canary.look()
        await scene.canary.fresh()
        scene.canary.resumed()
        assert (scene.fleet.asked, scene.status, scene.canary.reasons()) == (0, "off", [])

    play(act, interval=0.0)
