"""Several choices for one request (OpenAI's `n`): as many generations side by side, told as one answer.

Each has its own place in the model's queue, so that they run at once as far as the model takes it, and one after the
other where it does not.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from msgspec.structs import replace as changed

from powerd.api import inference, stream
from powerd.api.answer import Answer
from powerd.api.ask import Ask
from powerd.api.call import Call
from powerd.api.openai.frames import ChatFrames, CompletionFrames
from powerd.protocol import Finished

Frames = ChatFrames | CompletionFrames
Result = TypeVar("Result")


async def reply(call: Call, ask: Ask, framings: Sequence[Frames], *, streamed: bool) -> None:
    """Generate a choice for each of `framings` and send them all, until the end, a failure or the client's leave."""
    ask = inference.in_class(ask, call.header(inference.CLASS_HEADER))
    declared = call.context.library.find(ask.model).parameters.get("seed")
    asks = apart(ask, len(framings), declared)
    sending = (_streamed if streamed else _at_once)(call, asks, framings)
    await call.while_connected(stream.told(call, framings[0], sending, stream=streamed))


def apart(ask: Ask, count: int, declared: int | None = None) -> list[Ask]:
    """The request once for each choice: the seed, of the client's or the model's, counts up, or all would be one."""
    seed = ask.options.get("seed", declared)
    if seed is None or seed < 0:
        return [ask] * count
    return [replace(ask, options={**ask.options, "seed": (seed + index) % (1 << 63)}) for index in range(count)]


async def _streamed(call: Call, asks: Sequence[Ask], framings: Sequence[Frames]) -> None:
    turn = asyncio.Lock()  # a send that waits for the client keeps the others waiting

    async def one(answer: Answer, framing: Frames) -> Finished:
        finished = None
        while finished is None:
            output, finished = await answer.read()
            data = framing.chunk(output, time.time_ns()) if output else b""
            if finished is not None:
                data += framing.finish(finished)
            if data:
                async with turn:
                    if not call.status:
                        call.headers |= answer.notes
                    await call.write(data, framing.content_type)
        return finished

    ends = await _each(call, asks, framings, one)
    await call.write(framings[0].tail(_counted(call, ends)), framings[0].content_type)


async def _at_once(call: Call, asks: Sequence[Ask], framings: Sequence[Frames]) -> None:
    async def one(answer: Answer, framing: Frames) -> tuple[Mapping[str, object], Finished]:
        output, finished = await answer.whole()
        call.headers |= answer.notes
        return framing.choice(output, finished), finished

    made = await _each(call, asks, framings, one)
    total = _counted(call, [finished for _, finished in made])
    await call.answer(framings[0].together([choice for choice, _ in made], total))


async def _each(
    call: Call, asks: Sequence[Ask], framings: Sequence[Frames], one: Callable[[Answer, Frames], Awaitable[Result]]
) -> list[Result]:
    """What `one` makes of every choice. The first failure ends them all and is raised."""

    async def opened(index: int) -> Result:
        identity = f"{call.id}.{index}" if index else call.id
        async with inference.opened(call.context, asks[index], identity, call.started) as answer:
            call.model = answer.offer.name.display
            return await one(answer, framings[index])

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(opened(index)) for index in range(len(asks))]
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return [task.result() for task in tasks]


def _counted(call: Call, ends: Sequence[Finished]) -> Finished:
    """The figures of all choices together: the prompt counts once, as OpenAI has it."""
    total = changed(ends[0], output_tokens=sum(each.output_tokens for each in ends))
    call.prompt_tokens, call.output_tokens = total.prompt_tokens, total.output_tokens
    return total
