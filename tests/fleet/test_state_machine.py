"""FleetState under random events: the cross-checks hold after each one, and everybody is answered in the end."""

from __future__ import annotations

import math

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from powerd.errors import Busy
from powerd.fleet.entries import Phase, Runner
from powerd.fleet.foretell import foretell
from powerd.fleet.terms import FleetConfig, Reason, SchedulingClass
from powerd.fleet.views import failures, overrides, views
from powerd.fleet.why import why_request
from tests.fleet.play import GIB, Play, embedder, model, wish, wordy

MODELS = {
    "a": model("a", 3),
    "b": model("b", 4, parallel=2),
    "c": model("c", 5, parallel=3),
    "g": model("g", 2, auto=True, per_context=True),
    "h": model("h", 3, auto=True, per_context=True),
    "w": wordy(model("w", 3, parallel=2), GIB // 208),  # whatever it comes to hold later takes 2 GiB or more
    "x": model("x", 12),
    "v": embedder("v", 2),
    "p": model("p", parallel=2),
    "q": model("q"),
    "r": model("r"),
}
PLACES = {"p": {"gpu0": 4, "cpu": 1}, "q": {"gpu0": 3, "gpu1": 1}, "r": {"gpu1": 2, "cpu": 2}}
CLASSES = {"interactive": SchedulingClass(60.0, 4.0), "batch": SchedulingClass(200.0, 1.0)}
LOAD_TIMEOUT = 20.0
NAMES = st.sampled_from(sorted(MODELS))
KEEP_ALIVE = st.sampled_from([None, 0.0, 1.0, 60.0, -1.0, math.inf])
CHANCE = st.integers(0, 1000)


class Fleets(RuleBasedStateMachine):
    """Random requests, processes, owners and time."""

    @initialize(count=st.sampled_from([0, 0, 1, 2]), queue=st.sampled_from([3, 512]), residency=st.sampled_from([0, 2]))
    def begin(self, count: int, queue: int, residency: float) -> None:
        config = FleetConfig(
            max_loaded_models=count,
            max_queue=queue,
            min_residency=residency,
            load_timeout=LOAD_TIMEOUT,
            classes=CLASSES,
        )
        self.play = Play(10, {"gpu0": 6, "gpu1": 2}, PLACES, config)
        self.held: list[int] = []
        self.closed = False

    # ------------------------------------------------------------ requests

    @rule(
        name=NAMES,
        keep_alive=KEEP_ALIVE,
        num_ctx=st.sampled_from([None, None, 512, 2048, 4096, 90_000]),
        kind=st.sampled_from(sorted(CLASSES)),
        options=st.sampled_from([None, "declared", "grow", "reject"]),
        more=st.sampled_from([{}, {"embeds": True}, {"masked": True}, {"likely": True}]),
    )
    def ask(
        self,
        name: str,
        keep_alive: float | None,
        num_ctx: int | None,
        kind: str,
        options: str | None,
        more: dict[str, bool],
    ) -> None:
        changes = {"keep_alive": keep_alive, "num_ctx": num_ctx, "scheduling_class": kind, "request_options": options}
        self.play.ask(MODELS[name], **changes, **more, request_id=str(self.play.ticket + 1))

    @rule(name=NAMES, deadline=st.sampled_from([1.0, 20.0, math.inf]))
    def canary(self, name: str, deadline: float) -> None:
        self.play.wait(0)  # what is due anyway is not the canary's doing
        before = self._traces()
        self.play.canary(MODELS[name], deadline)
        assert self._traces() == before

    def _traces(self) -> object:
        """All that a canary must leave alone."""
        board = self.play.state.board
        known = [entry for entry in board.entries.values() if not entry.cold]
        entries = {entry.key: (entry.priority, entry.override, entry.warm, entry.grown) for entry in known}
        runners = [(runner.id, runner.phase, runner.used, runner.sticky) for runner in board.runners.values()]
        return entries, runners, board.virtual, dict(board.ledger._held), list(board.requests())

    @rule(name=NAMES, deadline=st.sampled_from([0.5, 5.0]))
    def ask_in_a_hurry(self, name: str, deadline: float) -> None:
        self.play.ask(MODELS[name], deadline_s=deadline)

    @rule(pick=CHANCE)
    def release(self, pick: int) -> None:
        held = sorted(self.play.state.board.leases)
        if held:
            self.play.release(held[pick % len(held)])

    @rule(pick=CHANCE)
    def cancel(self, pick: int) -> None:
        waiting = self.play.waiting()
        if waiting:
            ticket = waiting[pick % len(waiting)]
            self.play.cancel(ticket)
            self.held.append(ticket)

    # ------------------------------------------------------------ processes

    def _pick(self, pick: int, *phases: Phase) -> Runner | None:
        runners = [runner for runner in self.play.state.board.runners.values() if runner.phase in phases]
        return runners[pick % len(runners)] if runners else None

    @rule(pick=CHANCE, size=st.sampled_from([1, 1, 1, 4 << 30]))
    def ready(self, pick: int, size: int) -> None:
        runner = self._pick(pick, Phase.LOADING)
        if runner is not None:
            self.play.ready(runner.deployment.weights_digest[0], size)

    @rule(pick=CHANCE, fraction=st.floats(0, 1))
    def progress(self, pick: int, fraction: float) -> None:
        runner = self._pick(pick, Phase.LOADING)
        if runner is not None:
            self.play.do(lambda state: state.progress(runner.id, fraction, self.play.now))

    @rule(pick=CHANCE, oom=st.booleans())
    def fail(self, pick: int, oom: bool) -> None:
        runner = self._pick(pick, Phase.LOADING)
        if runner is not None:
            self.play.fail_load(runner.deployment.weights_digest[0], oom=oom)

    @rule(pick=CHANCE, oom=st.booleans())
    def crash(self, pick: int, oom: bool) -> None:
        runner = self._pick(pick, Phase.LOADING, Phase.READY)
        if runner is not None:
            how, now = "killed by signal 9 (SIGKILL)", self.play.now
            self.play.do(lambda state: state.exited(runner.id, how, now, out_of_memory=oom))

    @rule(pick=CHANCE)
    def reap(self, pick: int) -> None:
        runner = self._pick(pick, Phase.STOPPING)
        if runner is not None:
            self.play.do(lambda state: state.exited(runner.id, "exit status 0", self.play.now))

    # ------------------------------------------------------------ owner and time

    @rule(
        names=st.lists(NAMES, unique=True, max_size=3),
        loaded=st.booleans(),
        pinned=st.booleans(),
        priority=st.integers(0, 2),
    )
    def wish(self, names: list[str], loaded: bool, pinned: bool, priority: int) -> None:
        first = [wish(MODELS[name], "first", loaded=loaded, pinned=pinned, priority=priority) for name in names[:1]]
        wishes = [*first, *(wish(MODELS[name], loaded=loaded) for name in names[1:])]
        before = repr(self.play.state.board.entries)
        foretell(self.play.state.board, {each.deployment.key: each for each in wishes}, self.play.now)
        assert repr(self.play.state.board.entries) == before
        self.play.wish(*wishes)

    @rule(name=NAMES, reason=st.sampled_from([Reason.IDLE, Reason.OPERATOR, Reason.CONFIG]), force=st.booleans())
    def unload(self, name: str, reason: Reason, force: bool) -> None:
        self.play.unload(MODELS[name], reason, force=force, hold=30.0 if force else None)

    @rule(name=NAMES, hold=st.sampled_from([None, 20.0]))
    def load(self, name: str, hold: float | None) -> None:
        self.play.load(MODELS[name], hold)

    @rule(seconds=st.sampled_from([0.1, 1.0, 10.0, 400.0]), heard=st.booleans())
    def wait(self, seconds: float, heard: bool) -> None:
        self.play.wait(seconds, heard=heard)

    @precondition(lambda self: not self.closed)
    @rule(chance=st.integers(0, 9))
    def shut_down(self, chance: int) -> None:
        if chance == 0:
            self.closed = True
            self.play.do(lambda state: state.shut_down(lambda: Busy("stopping"), self.play.now))

    # ------------------------------------------------------------ what must hold

    @invariant()
    def every_ticket_waits_or_has_its_one_outcome(self) -> None:
        if hasattr(self, "play"):
            accounted = self.play.outcomes | set(self.play.waiting()) | set(self.held)
            assert accounted == set(range(1, self.play.ticket + 1))

    @invariant()
    def nobody_waits_longer_than_allowed(self) -> None:
        if hasattr(self, "play"):
            for waiter in self.play.state.board.requests():
                waited = self.play.now - waiter.since
                loads = waiter.limit - waiter.since - CLASSES[waiter.want.scheduling_class].max_wait
                assert loads > -1e-6
                assert waiter.stopped is not None or waited < waiter.limit - waiter.since

    @invariant()
    def what_is_told_can_be_told(self) -> None:
        if hasattr(self, "play"):
            board, now = self.play.state.board, self.play.now
            assert len(views(board, {}, now)) == len(board.runners)
            assert all(failure.next_try >= failure.at for failure in failures(board))
            assert all(hand.message for hand in overrides(board, now))
            asked = [waiter.want.request_id for waiter in board.requests() if waiter.want.request_id]
            assert all(why_request(board, request_id, now) for request_id in asked)

    def teardown(self) -> None:
        if hasattr(self, "play") and self.play.ticket % 2:
            self._everything_ends()
        elif hasattr(self, "play"):
            self._nothing_comes()

    def _nothing_comes(self) -> None:
        """With runners that neither load nor exit, and requests that never end, everybody is answered in time."""
        self.play.wait(max(kind.max_wait for kind in CLASSES.values()) + 2 * LOAD_TIMEOUT)
        assert not list(self.play.state.board.requests()), self.play.running()

    def _everything_ends(self) -> None:
        """With processes that behave and requests that end, everybody is answered within a bounded time."""
        play = self.play
        rounds = 10 * (play.ticket + 10)
        for _ in range(rounds):
            if not play.waiting():
                break
            for runner in list(play.state.board.runners.values()):
                if runner.phase is Phase.STOPPING:
                    play.do(lambda state, n=runner.id: state.exited(n, "exit status 0", play.now))  # type: ignore[misc]
                elif runner.phase is Phase.LOADING:
                    play.ready(runner.deployment.weights_digest[0])
            for ticket in list(play.state.board.leases):
                play.release(ticket)
            play.wait(5.0)
        assert not play.waiting(), play.running()


TestFleets = Fleets.TestCase
TestFleets.settings = settings(max_examples=120, stateful_step_count=40, deadline=None, derandomize=True)
