"""The tokens with a meaning of their own, whether texts begin and end with one, and the chat template."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from powerd.convert.checkpoint import Checkpoint
from powerd.convert.config import Config
from powerd.convert.vocabulary import CONTROL, Vocabulary
from powerd.errors import BadRequest

_ROLES = ("bos", "eos", "unk", "sep", "pad", "mask")
#: By what names models know the tokens around a gap that is to be filled.
_GAPS = {
    "pre": ("<|fim_prefix|>", "<fim_prefix>", "<fim-prefix>", "<|fim▁begin|>", "<｜fim▁begin｜>", "▁<PRE>", "<PRE>"),
    "suf": ("<|fim_suffix|>", "<fim_suffix>", "<fim-suffix>", "<|fim▁hole|>", "<｜fim▁hole｜>", "▁<SUF>", "<SUF>"),
    "mid": ("<|fim_middle|>", "<fim_middle>", "<fim-middle>", "<|fim▁end|>", "<｜fim▁end｜>", "▁<MID>", "<MID>"),
    "pad": ("<|fim_pad|>", "<fim_pad>", "<fim-pad>"),
    "rep": ("<|repo_name|>", "<|fim_repo|>", "<reponame>", "<repo_name>"),
    "sep": ("<|file_sep|>",),
}


def describe(checkpoint: Checkpoint, vocabulary: Vocabulary, config: Config, writer: Any) -> None:
    """Write them down. Raises BadRequest for files that cannot be read."""
    settings = checkpoint.document("tokenizer_config.json", optional=True)
    numbers = {token: number for number, token in enumerate(vocabulary.tokens)}
    found = _special(checkpoint, settings, config, numbers)
    if vocabulary.model == "bert":
        _frame_words(settings, numbers, found)
    for role, number in found.items():
        getattr(writer, f"add_{role}_token_id")(number)
    _describe_turn_end(checkpoint, found.get("eos"), len(numbers), writer)
    _describe_gaps(vocabulary, numbers, writer)
    first, last = _frame(checkpoint, settings, vocabulary)
    writer.add_add_bos_token(first)
    writer.add_add_eos_token(last)
    template = _template(checkpoint, settings)
    if template:
        writer.add_chat_template(template)


def _special(checkpoint: Checkpoint, settings: Config, config: Config, numbers: Mapping[str, int]) -> dict[str, int]:
    """Numbers by role: the tokenizer's names first, then the model's numbers."""
    generation = checkpoint.document("generation_config.json", optional=True)
    listed = checkpoint.document("special_tokens_map.json", optional=True)
    found: dict[str, int] = {}
    for role in _ROLES:
        candidates: list[Any] = [_named(settings, role, numbers), _named(listed, role, numbers)]
        for source in (config, generation):
            value = source.values.get(f"{role}_token_id")
            candidates.append(value[0] if isinstance(value, list) and value else value)
        for number in candidates:
            if type(number) is int and 0 <= number < len(numbers):
                found[role] = number
                break
    return found


def _frame_words(settings: Config, numbers: Mapping[str, int], found: dict[str, int]) -> None:
    """What stands around and for the words of a BERT.

    Where a GGUF does not say it, llama.cpp takes the numbers of the first BERT, and ends the process where there are
    none such.
    """
    for role, name in (("bos", "cls"), ("eos", "sep"), ("sep", "sep"), ("unk", "unk")):
        number = _named(settings, name, numbers)
        number = found.get(role, numbers.get(f"[{name.upper()}]")) if number is None else number
        if number is None:
            raise BadRequest(f"{settings.name}: {name}_token is no token of the tokenizer's", "files")
        found[role] = number


def _named(settings: Config, role: str, numbers: Mapping[str, int]) -> int | None:
    value = settings.values.get(f"{role}_token")
    text = value.get("content") if isinstance(value, Mapping) else value
    return numbers.get(text) if isinstance(text, str) else None


def _describe_turn_end(checkpoint: Checkpoint, eos: int | None, size: int, writer: Any) -> None:
    """generation_config.json may name several tokens that end an answer; GGUF has a place for a second one."""
    ends = checkpoint.document("generation_config.json", optional=True).values.get("eos_token_id")
    others = [end for end in ends if type(end) is int and 0 <= end < size and end != eos] if type(ends) is list else []
    if others:
        writer.add_eot_token_id(others[0])


def _describe_gaps(vocabulary: Vocabulary, numbers: Mapping[str, int], writer: Any) -> None:
    for role, names in _GAPS.items():
        for name in names:
            number = numbers.get(name)
            if number is not None and vocabulary.types[number] == CONTROL:
                writer.add_uint32(f"tokenizer.ggml.fim_{role}_token_id", number)
                break


def _frame(checkpoint: Checkpoint, settings: Config, vocabulary: Vocabulary) -> tuple[bool, bool]:
    """Whether a text gets a token before it and after it: as tokenizer.json has it, else tokenizer_config.json."""
    if vocabulary.model == "bert":
        return True, True
    if "tokenizer.json" not in checkpoint:
        return settings.flag("add_bos_token", True), settings.flag("add_eos_token", False)
    processor = checkpoint.document("tokenizer.json").section("post_processor")
    for step in [processor.values, *processor.items("processors")]:
        if isinstance(step, Mapping) and step.get("type") == "TemplateProcessing":
            single = step.get("single")
            if isinstance(single, list) and single:
                return _is_special(single[0]), _is_special(single[-1])
    return settings.flag("add_bos_token", False), settings.flag("add_eos_token", False)


def _is_special(piece: Any) -> bool:
    return isinstance(piece, Mapping) and "SpecialToken" in piece


def _template(checkpoint: Checkpoint, settings: Config) -> str | list[dict[str, str]] | None:
    """The Jinja text; the file of its own goes first, as in transformers. Several have names."""
    if "chat_template.jinja" in checkpoint:
        return checkpoint.text("chat_template.jinja")
    written = checkpoint.document("chat_template.json", optional=True).values.get("chat_template")
    value = written or settings.values.get("chat_template")
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, list) and all(
        isinstance(each, Mapping) and isinstance(each.get("name"), str) and isinstance(each.get("template"), str)
        for each in value
    ):
        return [{"name": each["name"], "template": each["template"]} for each in value]
    raise BadRequest(f"{settings.name}: chat_template must be a string, or a list of names and templates", "files")
