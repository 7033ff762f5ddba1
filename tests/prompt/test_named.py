"""The templates known by name, against texts written by hand from each family's rules."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from powerd.jobs import RenderJob
from powerd.prompt.conversation import render
from powerd.prompt.named import NAMED
from powerd.protocol import Message

NOW = datetime(2025, 1, 1, tzinfo=UTC)
TURNS = (
    Message("system", "Be brief."),
    Message("user", "a"),
    Message("assistant", "b"),
    Message("user", "c"),
)
EXPECTED = {
    "chatml": "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb"
    "<|im_end|>\n<|im_start|>user\nc<|im_end|>\n<|im_start|>assistant\n",
    "llama3-instruct": "<s><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\na<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nb<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\nc<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
    "phi-3": "<|system|>\nBe brief.<|end|>\n<|user|>\na<|end|>\n<|assistant|>\nb<|end|>\n<|user|>\nc<|end|>\n"
    "<|assistant|>\n",
    "gemma-instruct": "<s><start_of_turn>user\nBe brief.\n\na<end_of_turn>\n<start_of_turn>model\nb<end_of_turn>\n"
    "<start_of_turn>user\nc<end_of_turn>\n<start_of_turn>model\n",
    "llama2-chat": "<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\na [/INST] b</s><s>[INST] c [/INST]",
    "mistral-instruct": "<s>[INST] Be brief.\n\na [/INST] b</s>[INST] c [/INST]",
    "alpaca": "Be brief.\n\n### Instruction:\na\n\n### Response:\nb\n\n### Instruction:\nc\n\n### Response:\n",
}


def test_every_named_template_is_tried() -> None:
    assert set(EXPECTED) == set(NAMED)


@pytest.mark.parametrize("name", NAMED)
def test_a_conversation_with_a_system_text(name: str) -> None:
    job = RenderJob(1, TURNS, NAMED[name].text, bos="<s>", eos="</s>")
    assert render(job, NOW) == EXPECTED[name]


@pytest.mark.parametrize("name", NAMED)
def test_braces_in_a_message_are_text_and_an_answer_can_be_left_open(name: str) -> None:
    turns = (Message("user", "{{ 1 }}"), Message("assistant", "{% x %}"))
    text = render(RenderJob(1, turns, NAMED[name].text, add_generation_prompt=False), NOW)
    assert "{{ 1 }}" in text
    assert "{% x %}" in text
