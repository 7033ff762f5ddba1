"""The pool of render helpers, with the real helper and with ones that misbehave."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from powerd.errors import BadRequest
from powerd.fleet.renderers import DEFAULT_COMMAND, Renderers
from powerd.jobs import RenderJob
from powerd.protocol import Message
from tests.fleet.stage import alive, kill, until

HI = (Message("user", "hi"),)
ECHO = "{{ messages[0].content }}"
FOREVER = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"


def job(template: str, messages: Sequence[Message], **more: Any) -> RenderJob:
    return RenderJob(0, tuple(messages), template, **more)


def rendering(
    play: Callable[[Renderers], Awaitable[None]], command: Sequence[str] = DEFAULT_COMMAND, count: int = 1
) -> None:
    async def run() -> None:
        renderers = Renderers(command, count, limit=0.5)
        await renderers.start()
        try:
            async with asyncio.timeout(20):
                await play(renderers)
        finally:
            await renderers.stop()
        assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []

    asyncio.run(run())


def pids(renderers: Renderers) -> list[int]:
    return [helper._child.pid for helper in renderers._helpers if helper._child is not None]


def test_a_template_becomes_text_with_everything_it_may_use() -> None:
    async def play(renderers: Renderers) -> None:
        template = "{{ bos_token }}{{ messages[0].content }}{{ colour }}{% if add_generation_prompt %}>{% endif %}"
        text = await renderers.render(job(template, HI, bos="<s>", eos="</s>", variables={"colour": "red"}))
        assert text == "<s>hired>"
        assert await renderers.render(job("{{ enable_thinking }}", HI, think="low")) == "True"
        assert await renderers.render(job("{{ .ThinkLevel }}", HI, think="low", syntax="go")) == "low"

    rendering(play)


def test_a_conversation_and_an_answer_larger_than_a_frame_pass_whole() -> None:
    async def play(renderers: Renderers) -> None:
        content = "é\N{GRINNING FACE}" * 200_000
        assert await renderers.render(job(ECHO, [Message("user", content)])) == content
        assert await renderers.render(job(ECHO, HI)) == "hi"

    rendering(play)


def test_the_templates_own_refusal_is_a_bad_request() -> None:
    async def play(renderers: Renderers) -> None:
        with pytest.raises(BadRequest, match="template error: roles must alternate"):
            await renderers.render(job("{{ raise_exception('roles must alternate') }}", HI))

    rendering(play)


def test_h23_a_template_without_end_costs_its_limit_and_hurts_nobody_else() -> None:
    async def play(renderers: Renderers) -> None:
        await asyncio.gather(*(renderers.render(job(ECHO, HI)) for _ in range(4)))
        started = time.monotonic()
        endless = asyncio.create_task(renderers.render(job(FOREVER, HI)))
        await asyncio.sleep(0.05)
        before = set(pids(renderers))
        assert await renderers.render(job(ECHO, HI)) == "hi"
        with pytest.raises(BadRequest, match=r"template error: rendering took longer than 0\.5 s"):
            await endless
        assert time.monotonic() - started < 2
        assert len(set(pids(renderers)) & before) == 1
        assert await renderers.render(job(ECHO, HI)) == "hi"

    rendering(play, count=2)


def test_jobs_wait_their_turn_in_order() -> None:
    async def play(renderers: Renderers) -> None:
        done: list[int] = []

        async def one(number: int) -> None:
            assert await renderers.render(job(ECHO, [Message("user", str(number))])) == str(number)
            done.append(number)

        await asyncio.gather(*(one(number) for number in range(20)))
        assert done == list(range(20))

    rendering(play)


def test_who_goes_away_leaves_the_helper_usable() -> None:
    async def play(renderers: Renderers) -> None:
        await renderers.render(job(ECHO, HI))
        leaving = asyncio.create_task(renderers.render(job(FOREVER, HI)))
        await asyncio.sleep(0.05)
        leaving.cancel()
        assert await renderers.render(job(ECHO, HI)) == "hi"

    rendering(play)


def test_a_helper_that_was_killed_is_replaced() -> None:
    async def play(renderers: Renderers) -> None:
        await renderers.render(job(ECHO, HI))
        [pid] = pids(renderers)
        kill(pid)
        assert await renderers.render(job(ECHO, HI)) == "hi"
        assert pids(renderers) != [pid]
        assert not alive(pid)

    rendering(play)


def test_what_cannot_be_sent_is_a_bad_request() -> None:
    async def play(renderers: Renderers) -> None:
        for bad in ("\ud800", [object()]):
            with pytest.raises(BadRequest, match="cannot be rendered"):
                await renderers.render(job(ECHO, HI, variables={"x": bad}))
        assert await renderers.render(job(ECHO, HI)) == "hi"

    rendering(play)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("sys.exit(3)", "exit status 3"),
        ("s.recv(9); s.sendall(b'\\x03\\0\\0\\0\\xc1\\xc1\\xc1'); time.sleep(9)", "cannot be read"),
        ("s.recv(9); s.sendall(b'\\xff\\xff\\xff\\x7f'); time.sleep(9)", "over the limit"),
        ("s.recv(9); s.close(); time.sleep(9)", "closed its connection"),
    ],
)
def test_a_helper_that_fails_twice_over_one_job_is_a_bad_request(body: str, why: str, tmp_path: Path) -> None:
    script = tmp_path / "helper.py"
    script.write_text(f"import socket, sys, time\ns = socket.socket(fileno=int(sys.argv[1]))\n{body}\n")

    async def play(renderers: Renderers) -> None:
        with pytest.raises(BadRequest, match=f"ended twice over this request: .*{why}"):
            await renderers.render(job(ECHO, HI))

    rendering(play, (sys.executable, str(script)))


def test_a_helper_that_cannot_be_started_is_said() -> None:
    async def play(renderers: Renderers) -> None:
        with pytest.raises(BadRequest, match="cannot be started"):
            await renderers.render(job(ECHO, HI))

    rendering(play, ("/nowhere/helper",))


def test_stopping_leaves_no_process() -> None:
    seen: list[int] = []

    async def play(renderers: Renderers) -> None:
        await renderers.render(job(ECHO, HI))
        seen.extend(pids(renderers))

    rendering(play)
    assert seen
    asyncio.run(until(lambda: not alive(seen[0])))


def test_what_a_lenient_job_left_out_is_told_and_other_jobs_are_strict() -> None:
    async def play(renderers: Renderers) -> None:
        notes: list[str] = []
        assert await renderers.render(job("{% frob %}" + ECHO, HI, lenient=True), notes.append) == "hi"
        assert notes == ["tags nobody knows were left out: frob"]
        assert await renderers.render(job(ECHO, HI, lenient=True), notes.append) == "hi"
        assert len(notes) == 1
        with pytest.raises(BadRequest, match="unknown tag"):
            await renderers.render(job("{% frob %}" + ECHO, HI))

    rendering(play)


def test_go_templates_are_rendered_with_a_suffix() -> None:
    async def play(renderers: Renderers) -> None:
        assert await renderers.render(job("{{ .Prompt }}|{{ .Suffix }}", HI, syntax="go", suffix="end")) == "hi|end"
        with pytest.raises(BadRequest, match=r'template error: function "x" not defined \(line 1\)'):
            await renderers.render(job("{{ x }}", HI, syntax="go"))

    rendering(play)
