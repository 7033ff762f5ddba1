"""A conversation: what was said, and how the model should answer."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any

from powerd.ctl import pictures, question, words
from powerd.ctl.answer import Answer, statistics
from powerd.ctl.client import Client, objects
from powerd.ctl.keyboard import PROMPT, Keyboard
from powerd.ctl.question import Question
from powerd.ctl.terminal import Terminal


@dataclass(slots=True)
class Session:
    """One conversation. `messages` is what the next request sends."""

    client: Client
    terminal: Terminal
    keyboard: Keyboard
    asked: Question
    shown: Mapping[str, Any]
    messages: list[dict[str, Any]] = field(default_factory=list)
    wrap: bool = True
    verbose: bool = False
    hide_thinking: bool = False

    def direct(self, text: str) -> None:
        """Give the model a system prompt from here on."""
        self.asked = replace(self.asked, system=text)
        if self.messages and self.messages[-1]["role"] == "system":
            self.messages.pop()
        self.messages.append({"role": "system", "content": text})

    def load(self) -> None:
        """Bring the model into memory, and show what its owner had it say first. Raises Failed."""
        with closing(self.client.stream("/api/generate", question.load(self.asked))) as lines:
            for _ in objects(lines):
                pass
        for message in self.shown.get("messages") or ():
            content = words.harmless(str(message.get("content", "")))
            if message.get("role") == "user":
                self.terminal.line(f"{PROMPT}{content}")
            elif message.get("role") == "assistant":
                self.terminal.line(f"{content}\n")

    def say(self, text: str) -> None:
        """Send a message and print the answer; Ctrl-C ends the answer. Raises Failed, and then nothing was said."""
        content, images = pictures.split(text, self.shown, self.asked.model, self.terminal)
        message = {"role": "user", "content": content} | ({"images": images} if images else {})
        request = question.chat(self.asked, [*self.messages, message])
        answer = Answer(self.terminal, wrap=self.wrap, hide_thinking=self.hide_thinking)
        try:
            with closing(self.client.stream("/api/chat", request)) as lines:
                final = answer.all(objects(lines))
        except KeyboardInterrupt:
            final = {}
            self.terminal.line()
        self.messages.append(message)
        if answer.text or final:
            reply = {"role": "assistant", "content": answer.text}
            self.messages.append(reply | ({"thinking": answer.thinking} if answer.thinking else {}))
        if self.verbose and final:
            self.terminal.note("\n".join(statistics(final)))
