"""FleetState: the fleet's decisions as a state machine. Events in, effects out; no I/O, no clock (pure).

Every method is a plain `def` that takes `now` (seconds, monotonic) and returns the effects to perform, in order. The
actor in `fleet` performs them and reports what comes of it as further events. Tickets are given by the caller and
ascend; runner numbers are given here. A request gets exactly one of Grant, Loaded and Refuse, unless it is cancelled.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from powerd.errors import Busy, PowerError, RunnerDied, Timeout
from powerd.fleet import admission, classes, faults
from powerd.fleet.board import Board
from powerd.fleet.budget import Estimate, estimate
from powerd.fleet.effects import Effect, Refuse
from powerd.fleet.entries import Entry, Override, Phase, Waiter, needed_context
from powerd.fleet.later import unmet
from powerd.fleet.ledger import Ledger, Sizes, larger, measured
from powerd.fleet.terms import FleetConfig, Reason, Unload, Want, Wish
from powerd.protocol import Deployment, ReadBack, Stats

QUEUE_FULL = "server busy, please try again.  maximum pending requests exceeded"


class FleetState:
    """Who is in memory, who may use it, who waits, and what memory is promised."""

    def __init__(
        self,
        config: FleetConfig,
        ledger: Ledger,
        needs: Callable[[Deployment], Estimate] = estimate,
        jitter: Callable[[], float] = lambda: 1.0,
    ) -> None:
        """`needs` says what a deployment will hold, by device; `jitter` spreads the back-offs."""
        self.board = Board(config, ledger, needs, jitter)

    @classmethod
    def on(cls, board: Board) -> FleetState:
        """The decisions over a board that exists."""
        state = cls(board.config, board.ledger, board.needs, board.jitter)
        state.board = board
        return state

    def due(self, now: float) -> float:
        """When `tick` must be called at the latest, if nothing happens before; inf = never."""
        return admission.due(self.board, now)

    def _settled(self, now: float) -> list[Effect]:
        admission.settle(self.board, now)
        return self.board.take()

    # ------------------------------------------------------------ requests

    def request(self, ticket: int, want: Want, now: float, *, load_only: bool = False) -> list[Effect]:
        """A request wants a lease on `want.deployment`, or (`load_only`) to hear that it is loaded."""
        board = self.board
        board.last_ticket = ticket
        entry = board.entry(want.deployment, want.model)
        if not want.quiet and entry.override is not None and entry.override.until is None:
            entry.override = None
        if not (want.quiet or load_only):
            entry.priority = entry.wish.priority if entry.wish else want.priority
            entry.default_keep_alive = want.default_keep_alive
        waiter = Waiter(ticket, want, needed_context(want), now, classes.turn(board, ticket, want), load_only=load_only)
        waiter.deadline = math.inf if want.deadline_s is None else now + want.deadline_s
        waiter.limit = math.inf if want.quiet else now + classes.scheduling(board.config, want).max_wait
        full = self._full(waiter)
        error = self._objection(entry, waiter, now, full=full)
        board.enqueue(entry, waiter)
        if error is not None:
            board.refuse(waiter, error)
        effects = self._settled(now)
        if full and ticket in board.waiting:  # the place that was free is kept for somebody
            board.refuse(waiter, Busy(QUEUE_FULL))
            effects += self._settled(now)
        return effects

    def _objection(self, entry: Entry, waiter: Waiter, now: float, *, full: bool) -> PowerError | None:
        """Why this request must not even wait."""
        if self.board.refusal is not None:
            return self.board.refusal()
        able = (runner for runner in entry.runners if runner.serving and runner.takes(waiter) and runner.has_room)
        at_once = any(not unmet(runner, waiter) for runner in able)
        return faults.too_soon(entry, waiter, now) or (Busy(QUEUE_FULL) if full and not at_once else None)

    def _full(self, waiter: Waiter) -> bool:
        """Whether the queue of its class holds no more; hands and canaries are not counted."""
        crowd, most = self.board.crowd[waiter.want.scheduling_class], self.board.config.max_queue
        return not (waiter.load_only or waiter.want.quiet) and crowd >= most

    def cancel(self, ticket: int, now: float) -> list[Effect]:
        """A request that waited has gone."""
        self.board.drop(ticket)
        return self._settled(now)

    def release(self, ticket: int, now: float) -> list[Effect]:
        """A lease has ended."""
        self.board.release(ticket, now)
        return self._settled(now)

    # ------------------------------------------------------------ runners

    def progress(self, number: int, fraction: float, now: float) -> list[Effect]:
        """A load goes on; its deadline moves out."""
        runner = self.board.runners.get(number)
        if runner is not None and runner.phase is Phase.LOADING:
            runner.fraction = min(1.0, max(runner.fraction, fraction))
            runner.deadline = now + self.board.config.load_timeout
        return []

    def ready(self, number: int, have: ReadBack, load_ns: int, now: float) -> list[Effect]:
        """A runner can serve; what it really holds goes into the ledger."""
        board = self.board
        runner = board.runners.get(number)
        if runner is None or runner.phase is not Phase.LOADING:
            return []
        entry = runner.entry
        runner.phase, runner.fraction, runner.readback = Phase.READY, 1.0, have
        runner.ready_at = runner.used = now
        entry.load_seconds = runner.load_seconds
        board.ledger.resize(number, larger(board.ledger.held(number), measured(have)))
        entry.grown = max(entry.grown, runner.deployment.context)
        entry.after, entry.failure = frozenset(), None
        for older in entry.runners:
            if older.id < runner.id and older.staying:
                runner.sticky = older.sticky
                board.leave(older, Reason.REPLACED)
                older.served_below = 0
        text = f"ready after {load_ns / 1e9:.2f} s with {have.context} tokens of context on {have.device}"
        board.emit("ready", entry, "", text, now)
        return self._settled(now)

    def load_failed(self, number: int, reason: str, now: float, *, out_of_memory: bool = False) -> list[Effect]:
        """A runner could not load. Once, when memory was short, everything idle is evicted and it is tried again."""
        runner = self.board.runners.get(number)
        if runner is not None and runner.phase is Phase.LOADING:
            faults.not_loaded(self.board, runner, reason, now, out_of_memory=out_of_memory)
        return self._settled(now)

    def exited(self, number: int, how: str, now: float, *, out_of_memory: bool = False) -> list[Effect]:
        """A runner's process is gone; `how` it ended, for people. Its leases have failed already.

        `out_of_memory`: the kernel killed it for that.
        """
        board = self.board
        runner = board.runners.get(number)
        if runner is None:
            return []
        phase, entry, orphans = runner.phase, runner.entry, faults.left_alone(runner)
        board.gone(runner)
        if faults.healthy(runner, now):
            entry.recovered()
        if phase is not Phase.STOPPING:
            faults.crashed(board, runner, orphans, how, now, killed=out_of_memory)
        elif runner.reason is not None and runner.reason is not Reason.LOAD_FAILED:
            board.emit("unload", entry, runner.reason, f"unloaded: {runner.why}", now)
        return self._settled(now)

    def answered(self, number: int, now: float) -> None:
        """A runner has finished a request that was no canary's."""
        runner = self.board.runners.get(number)
        if runner is not None:
            runner.answered = now

    def stats(self, number: int, stats: Stats) -> None:
        """The engine's gauges, kept for listings."""
        runner = self.board.runners.get(number)
        if runner is not None:
            runner.stats = stats

    # ------------------------------------------------------------ the owner's hand

    def wishes(self, wishes: Mapping[str, Wish], now: float) -> list[Effect]:
        """What the catalog says from now on, by key. Runners whose key it no longer names drain and are unloaded."""
        for key, wish in wishes.items():
            entry = self.board.entry(wish.deployment, wish.names[0])
            assert key == entry.key
            self._heed(entry, wish)
        for entry in self.board.entries.values():
            if entry.wish is not None and entry.key not in wishes:
                self._withdraw(entry, wishes)
        return self._settled(now)

    def _heed(self, entry: Entry, wish: Wish) -> None:
        old = entry.wish
        if old == wish:
            return
        entry.wish, entry.deployment, entry.model, entry.priority = wish, wish.deployment, wish.names[0], wish.priority
        entry.waiting = ""
        if entry.override is not None and entry.override.until is None:
            entry.override = None
        for runner in entry.runners:
            if runner.leaving is Reason.CONFIG:
                runner.leaving = None
            if old is not None and old.keep_alive != wish.keep_alive:
                runner.sticky = None

    def _withdraw(self, entry: Entry, wishes: Mapping[str, Wish]) -> None:
        assert entry.wish is not None
        if entry.current is not None:
            heirs = [
                wish.deployment.key for wish in wishes.values() if not set(wish.names).isdisjoint(entry.wish.names)
            ]
            for key in heirs:
                self.board.entries[key].warm = self.board.entries[key].current is None
        entry.wish, entry.override, entry.warm, entry.waiting = None, None, False, ""
        for runner in entry.runners:
            self.board.leave(runner, Reason.CONFIG)

    def load(self, ticket: int, want: Want, hold: float | None, now: float, *, owner: str = "operator") -> list[Effect]:
        """The operator wants it loaded; with `hold`, kept for that many seconds whatever happens short of eviction."""
        effects = self.request(ticket, want, now, load_only=True)
        if not any(isinstance(effect, Refuse) and effect.ticket == ticket for effect in effects):
            entry = self.board.entries[want.deployment.key]
            entry.override = Override("loaded", now + hold if hold else None, owner)
        return effects

    def unload(
        self,
        key: str,
        reason: Reason,
        now: float,
        *,
        force: bool = False,
        hold: float | None = None,
        owner: str = "operator",
    ) -> tuple[Unload, list[Effect]]:
        """Take a model out of memory when its requests have ended, or (`force`) at once.

        IDLE is a client's keep_alive 0, which a declared `loaded` or pinned model ignores and which forces nothing;
        OPERATOR keeps a declared model out until the next request, a change of its wish, or `hold` seconds; CONFIG
        lets it go for good.
        """
        entry = self.board.entries.get(key)
        if entry is None:
            return Unload(True, "it is not loaded"), []
        if reason is Reason.IDLE and entry.kept:
            return Unload(False, f"'{entry.model}' is declared to stay loaded; keep_alive 0 is ignored"), []
        if reason is Reason.OPERATOR:
            entry.override = Override("stopped", now + hold if hold else None, owner)
            entry.warm = False
        users = 0
        for runner in [runner for runner in entry.runners if runner.phase is not Phase.STOPPING]:
            users += runner.users
            runner.sticky = 0.0
            if reason is Reason.CONFIG:
                self.board.leave(runner, reason)
            if force and reason is not Reason.IDLE:
                self.board.stop(runner, reason, "unloaded by force", now, Busy("the model was unloaded by force"))
        effects = self._settled(now)
        if users and not force:
            return Unload(True, f"it is unloaded when its {users} running requests end"), effects
        return Unload(True, "unloaded" if entry.runners else "it is not loaded"), effects

    # ------------------------------------------------------------ time and the end

    def tick(self, now: float, heard: Mapping[int, float]) -> list[Effect]:
        """Do what is due. `heard`: by runner, when a frame last came (now, when it owes nothing)."""
        board = self.board
        for runner in list(board.runners.values()):
            runner.heard = max(runner.heard, heard.get(runner.id, runner.heard))
            if runner.phase is Phase.LOADING and now >= runner.deadline:
                faults.not_loaded(board, runner, "timed out waiting for the model to load", now)
            elif runner.phase is Phase.READY and runner.leases and now >= runner.heard + board.config.stall_timeout:
                why = f"no progress for {board.config.stall_timeout:g} s"
                runner.entry.fail(why, 0, board.jitter(), now)
                board.stop(runner, Reason.CRASH, why, now, RunnerDied(why))
        for ticket, entry in list(board.waiting.items()):
            waiter = entry.waiters[ticket]
            if now >= waiter.deadline:
                text = f"no place on '{entry.model}' came free within {now - waiter.since:.0f} s"
                board.refuse(waiter, Timeout(text))
            elif classes.late(waiter, now):
                board.refuse(waiter, classes.too_late(board, entry, waiter, now))
        return self._settled(now)

    def budgets(self, budgets: Sizes, now: float) -> list[Effect]:
        """The devices there are from now on, and what each may give out."""
        self.board.ledger.set_budgets(budgets)
        return self._settled(now)

    def refuse_all(self, error: Callable[[], PowerError], now: float) -> list[Effect]:
        """From now on nothing is leased or loaded; those who wait hear `error()`."""
        self.board.refusal = error
        for entry in list(self.board.entries.values()):
            for waiter in list(entry.waiters.values()):
                self.board.refuse(waiter, error())
        return self._settled(now)

    def shut_down(self, error: Callable[[], PowerError], now: float, *, urgent: bool = False) -> list[Effect]:
        """Refuse everything and let every runner go: when its requests have ended, or (`urgent`) at once."""
        for runner in self.board.runners.values():
            self.board.leave(runner, Reason.SHUTDOWN)
            if urgent:
                reason = runner.reason or Reason.SHUTDOWN
                self.board.stop(runner, reason, runner.why or "the server is shutting down", now, error())
        return self.refuse_all(error, now)
