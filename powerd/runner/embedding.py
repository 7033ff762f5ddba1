"""Embeddings: inputs become vectors, a batch at a time, between the steps of whatever else the engine does.

An embedding model's own context is used; beside a generative model a second, small context on the same weights is made
when the first input comes, for in its own every token of every prompt would cost logits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from powerd.protocol import Failed
from powerd.runner.batch import Batch
from powerd.runner.llama import EngineBroken, EngineFailed, Model
from powerd.runner.pooling import Job, NotFinite, Room, parts
from powerd.runner.pooling import fits as has_room
from powerd.vectors import Embedded, Pooling

_FATAL = -2
#: Sequences of the second context: short inputs share its batches.
_SEQUENCES = 8


class Context:
    """A native context that pools. `owned`: it is freed here, before the weights are."""

    def __init__(self, model: Model, native: Any, batch: Batch, room: Room, pooling: Pooling, *, owned: bool) -> None:
        c, _ = model.native
        self.room = room
        self.pooling = pooling
        self._model = model
        self._c = c
        self._native = native
        self._memory = c.llama_get_memory(native)
        self._width = int(c.llama_model_n_embd_out(c.llama_get_model(native)))
        self._batch = batch
        self._owned = owned

    def compute(self, plan: Sequence[tuple[Job, int]]) -> str:
        """Compute these parts, of one adapter set, and hand each job its vector. Empty, or why it could not be done.

        Raises EngineBroken.
        """
        if problem := self._model.apply(plan[0][0].adapters, self._native):
            return problem
        batch = self._batch
        batch.clear()
        for job, count in plan:
            batch.pool(job.tokens[job.fed : job.fed + count], job.fed, job.slot)
        batch.struct.n_tokens = batch.size
        code = self._c.llama_decode(self._native, batch.struct)
        if code <= _FATAL:
            raise EngineBroken(f"llama_decode failed with {code} while embedding")
        if code:
            return f"llama_decode refused the batch with {code}"
        for job, count in plan:
            job.feed(self._vector(job.slot), count, self.pooling)
        return ""

    def _vector(self, slot: int) -> list[float]:
        pointer = self._c.llama_get_embeddings_seq(self._native, slot)
        return pointer[: self._width] if pointer else [float("nan")]

    def forget(self, slot: int) -> None:
        """Free the cells of `slot`."""
        if self._memory:
            self._c.llama_memory_seq_rm(self._memory, slot, -1, -1)

    def close(self) -> None:
        """Free what is owned."""
        if self._owned:
            self._c.llama_free(self._native)


def context_of(model: Model) -> Context:
    """What makes the vectors of this model. Raises EngineFailed when a second context cannot be made."""
    c, native = model.native
    chosen = model.deployment.pooling
    if model.pooling:
        room = Room(model.batch.limit, model.sequences, model.cells, whole=not model.causal)
        return Context(model, native, model.batch, room, chosen or model.pooling, owned=False)
    small = model.deployment.pooled
    sequences = 1 if model.recurrent else _SEQUENCES
    native = model.second_context(small, sequences)
    room = Room(small.batch, sequences, small.context, whole=False)
    return Context(model, native, Batch(c, small.batch), room, chosen or "mean", owned=True)


class Embeddings:
    """The inputs that wait, those under way, and their terminal frames."""

    def __init__(self, make: Callable[[], Context]) -> None:
        """`make` is called when the first input comes, and may raise EngineFailed."""
        self._make = make
        self._context: Context | None = None
        self._waiting: deque[Job] = deque()
        self._active: list[Job] = []
        self._free: list[int] = []
        self.tokens = 0  # computed so far

    @property
    def ids(self) -> list[int]:
        """The inputs that are owed a terminal frame."""
        return [job.id for job in (*self._active, *self._waiting)]

    def __bool__(self) -> bool:
        return bool(self._active or self._waiting)

    def add(self, job: Job) -> None:
        """Take an input in."""
        self._waiting.append(job)

    def cancel(self, number: int) -> Failed | None:
        """Drop an input; its terminal frame, or None when it is not here."""
        for job in [job for job in (*self._active, *self._waiting) if job.id == number]:
            self._end(job)
            return Failed(number, "cancelled", "the request was cancelled")
        return None

    def step(self, rows: int | None = None) -> list[msgspec.Struct]:
        """One batch, of no more than `rows` tokens; the terminal frames of what it finished. Raises EngineBroken."""
        if not self:
            return []
        try:
            context = self._made()
        except EngineFailed as error:
            return self._fail(list(self._waiting), f"the context for embeddings could not be made: {error}")
        self._admit(context)
        plan = list(parts(self._active, context.room, rows))
        problem = context.compute(plan)
        if problem:
            return self._fail([job for job, _ in plan], f"the engine could not go on: {problem}")
        self.tokens += sum(count for _, count in plan)
        return [self._finish(job) for job, _ in plan if not job.left]

    def _made(self) -> Context:
        if self._context is None:
            self._context = self._make()
            self._free = list(range(self._context.room.sequences))
        return self._context

    def _admit(self, context: Context) -> None:
        while self._waiting and has_room(self._waiting[0], self._active, context.room):
            job = self._waiting.popleft()
            job.slot = self._free.pop()
            self._active.append(job)

    def _finish(self, job: Job) -> msgspec.Struct:
        self._end(job)
        try:
            return Embedded(job.id, job.vector(), len(job.tokens), job.needed)
        except NotFinite as error:
            return Failed(job.id, "bad_request", str(error))

    def _fail(self, jobs: Sequence[Job], message: str) -> list[msgspec.Struct]:
        for job in jobs:
            self._end(job)
        return [Failed(job.id, "runner_died", message) for job in jobs]

    def _end(self, job: Job) -> None:
        if job.slot < 0:
            self._waiting.remove(job)
            return
        self._active.remove(job)
        self._free.append(job.slot)
        if self._context is not None:
            self._context.forget(job.slot)
        job.slot = -1

    def close(self) -> None:
        """Free what was made."""
        if self._context is not None:
            self._context.close()
