"""The step loop: take in, decode once for all, draw one token a row, report.

Runs in the main thread and alone owns the cache, the sequences and their terminal frames. Requests and cancellations
come in through a mailbox, which it empties before every step.
"""

from __future__ import annotations

from collections.abc import Callable
from queue import Empty, SimpleQueue

import msgspec

from powerd.protocol import Cancel, Delta, Failed, Row, Shutdown, Stats
from powerd.runner.embedding import Embeddings
from powerd.runner.llama import Model
from powerd.runner.outbox import Outbox
from powerd.runner.pooling import Job
from powerd.runner.scheduler import Plan, Scheduler
from powerd.runner.sequence import Sequence
from powerd.runner.token import Stuck
from powerd.runner.turns import MILLISECOND

_STATS_NS = 200 * MILLISECOND

Mail = Sequence | Job | Cancel | Shutdown


class Engine:
    """Runs requests until a Shutdown comes."""

    def __init__(
        self,
        model: Model,
        scheduler: Scheduler[Sequence],
        cells: int,
        mail: SimpleQueue[Mail],
        outbox: Outbox,
        clock: Callable[[], int],
        embeddings: Embeddings,
    ) -> None:
        self._model = model
        self._embeddings = embeddings
        self._scheduler = scheduler
        self._mail = mail
        self._outbox = outbox
        self._clock = clock
        self._live: dict[int, Sequence] = {}
        self._frames: list[msgspec.Struct] = []  # of this step, sent together
        self._stats = Stats(0, cells, 0, 0, 0, 0, 0, 0, 0, 0)
        self._stats_at = 0
        self._stopping = False

    def run(self) -> None:
        """Serve until Shutdown. Whatever else ends it is raised, after every request was told."""
        try:
            while not self._stopping:
                self.turn()
            self._fail_all("runner_died", "the model was unloaded")
        except BaseException as error:
            self._fail_all("runner_died", f"the engine failed: {error}")
            raise

    def turn(self) -> None:
        """One round: what came in, one step if anything is active, what is to be sent. Waits while there is nothing."""
        self._take_mail()
        if self._scheduler.active:
            self._step()
        self._embed_some()
        self._report()

    def _embed_some(self) -> None:
        """One batch of inputs, no larger beside running answers than a prompt's part would be."""
        talking = sum(not sequence.remaining for sequence in self._scheduler.active)
        rows = self._scheduler.pace.prompt_tokens(talking) if talking else None
        self._frames += self._embeddings.step(rows)

    def _take_mail(self) -> None:
        """Handle what came in; with nothing to do, wait for it."""
        try:
            while True:
                self._handle(
                    self._mail.get(block=not (self._live or self._embeddings or self._frames or self._stopping))
                )
        except Empty:
            pass
        if self._scheduler.waiting:
            self._drop_late()

    def _handle(self, message: Mail) -> None:
        if isinstance(message, Sequence):
            self._start(message)
        elif isinstance(message, Job):
            self._embed(message)
        elif isinstance(message, Cancel):
            self._cancel(message.id)
        else:
            self._stopping = True

    def _start(self, sequence: Sequence) -> None:
        if sequence.id in self._live:
            sequence.sampler.close()
            self._frames.append(Failed(sequence.id, "bad_request", f"request id {sequence.id} is in use"))
            return
        self._live[sequence.id] = sequence
        self._scheduler.add(sequence)

    def _embed(self, job: Job) -> None:
        if job.id in self._live or job.id in self._embeddings.ids:
            self._frames.append(Failed(job.id, "bad_request", f"request id {job.id} is in use"))
            return
        self._embeddings.add(job)

    def _cancel(self, request: int) -> None:
        sequence = self._live.get(request)
        if sequence is None:
            if (failed := self._embeddings.cancel(request)) is not None:
                self._frames.append(failed)
            return
        row = sequence.cancel()
        if row is not None:
            self._frames.append(Delta([row]))
        self._finish(sequence)

    def _drop_late(self) -> None:
        now = self._clock()
        for sequence in [
            late for late in self._scheduler.waiting if late.deadline is not None and late.deadline <= now
        ]:
            message = "the request's deadline passed while it waited for a place in the batch"
            self._drop(sequence, Failed(sequence.id, "timeout", message))

    def _step(self) -> None:
        plan = self._scheduler.plan()
        rows = self._fill(plan)
        begun = self._clock()
        problem = self._model.apply(plan.adapters) or self._model.decode()
        took = self._clock() - begun
        if problem:
            self._fail_batch(plan, problem)
            return
        self._scheduler.observe(plan, took)
        self._count(plan, took)
        self._draw(rows)

    def _fill(self, plan: Plan[Sequence]) -> list[tuple[Sequence, int]]:
        """Write the batch; the sequences to draw for, with their rows."""
        batch = self._model.batch
        batch.clear()
        rows = [(sequence, batch.add(sequence.last, sequence.position, sequence.slot)) for sequence in plan.decode]
        for sequence, count in plan.prefill:
            if not sequence.fed:
                sequence.started_at = self._clock()
            begin, end = sequence.fed, sequence.fed + count
            complete = end == len(sequence.prompt)
            row = batch.extend(sequence.prompt[begin:end], begin, sequence.slot, complete)
            sequence.fed = end
            if complete:
                rows.append((sequence, row))
        return rows

    def _draw(self, rows: list[tuple[Sequence, int]]) -> None:
        """Draw every row's token and collect what is to be sent."""
        token = self._model.vocabulary.token
        due: list[Row] = []
        ended: list[Sequence] = []
        for sequence, row in rows:
            try:
                drawn = sequence.draw(row)
            except Stuck as stuck:
                self._drop(sequence, Failed(sequence.id, "bad_request", str(stuck)))
                continue
            text = sequence.accept(token(drawn))
            if text is not None:
                if text.logprobs:  # large, so they travel in a frame of their own
                    self._frames.append(Delta([text]))
                else:
                    due.append(text)
            if sequence.reason is not None:
                ended.append(sequence)
            if len(sequence.answer) == 1:
                sequence.first_token_at = self._clock()
        self._stats.output_tokens += len(rows)
        if due:
            self._frames.append(Delta(due))
        for sequence in ended:
            if sequence.reason == "full":
                self._make_room(sequence)
            else:
                self._finish(sequence)

    def _make_room(self, sequence: Sequence) -> None:
        if not self._model.drop(sequence.slot, *sequence.make_room()):
            message = "the engine could not drop the older half of a full context"
            self._drop(sequence, Failed(sequence.id, "runner_died", message))

    def _finish(self, sequence: Sequence) -> None:
        self._drop(sequence, sequence.finished(self._clock()))

    def _drop(self, sequence: Sequence, last: msgspec.Struct) -> None:
        """Free everything the sequence holds; `last` is its terminal frame."""
        if sequence.slot >= 0:
            self._model.forget(sequence.slot)
        self._scheduler.remove(sequence)
        sequence.sampler.close()
        del self._live[sequence.id]
        self._frames.append(last)

    def _fail_batch(self, plan: Plan[Sequence], problem: str) -> None:
        for sequence in [*plan.decode, *(sequence for sequence, _ in plan.prefill)]:
            self._drop(sequence, Failed(sequence.id, "runner_died", f"the engine could not go on: {problem}"))

    def _fail_all(self, code: str, message: str) -> None:
        """Tell every request that is still owed an answer; nothing is freed, the process is ending."""
        failures = [Failed(request, code, message) for request in (*self._live, *self._embeddings.ids)]
        self._live.clear()
        self._outbox.send(*self._frames, *failures)

    def _count(self, plan: Plan[Sequence], took: int) -> None:
        stats = self._stats
        stats.batch_rows = len(plan.decode) + len(plan.prefill)
        stats.batch_rows_max = max(stats.batch_rows_max, stats.batch_rows)
        stats.decode_ns += took
        stats.steps += 1
        stats.prompt_tokens += sum(count for _, count in plan.prefill)

    def _report(self) -> None:
        """Send this step's frames, with the gauges when they are due."""
        now = self._clock()
        idle = not (self._live or self._embeddings)
        if now - self._stats_at >= _STATS_NS or (idle and self._frames):
            self._add_stats(now)
        if self._frames:
            self._outbox.send(*self._frames)
            self._frames.clear()
        self._outbox.wait()

    def _add_stats(self, now: int) -> None:
        stats = self._stats
        stats.cells_used = sum(sequence.position for sequence in self._scheduler.active)
        stats.running = len(self._scheduler.active)
        stats.waiting = len(self._scheduler.waiting)
        counted = stats.prompt_tokens + self._embeddings.tokens
        self._frames.append(msgspec.structs.replace(stats, prompt_tokens=counted))
        stats.batch_rows_max = 0
        self._stats_at = now
